package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"meshlab.dev/meshlab/orchestrate"
)

func TestNode(t *testing.T) {
	good := corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{corev1.LabelHostname: "host1", corev1.LabelInstanceTypeStable: "Standard_B2ms"}},
		Spec:       corev1.NodeSpec{ProviderID: "azure:///subscriptions/x"},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
	for want, change := range map[string]func(*corev1.Node){
		"":          func(*corev1.Node) {},
		"not ready": func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown },
		"cordoned":  func(n *corev1.Node) { n.Spec.Unschedulable = true },
		"tainted key": func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "key", Effect: corev1.TaintEffectNoSchedule}}
		},
		"of windows": func(n *corev1.Node) { n.Labels[corev1.LabelOSStable] = "windows" },
	} {
		n := *good.DeepCopy()
		change(&n)
		got := node(n)
		if got.Idle != want || got.Hostname != "host1" || got.InstanceType != "Standard_B2ms" || got.Provider != "azure" {
			t.Errorf("%q: %+v", want, got)
		}
	}
}

func TestFindAgent(t *testing.T) {
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "meshlab-agent", Labels: map[string]string{"app.kubernetes.io/name": "meshlab-agent"}}}
	set.Spec.Template.Spec.Containers = []corev1.Container{{Name: "agent", Image: "meshlab:1", Args: []string{"agent", "--config", "/etc/agent.yaml"}}}
	set.Spec.Template.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "agent"}}}}}
	file := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "agent"},
		Data: map[string]string{"agent.yaml": "vip: 10.1.1.254\nbridges: [br7]\nconsul: {}\nkubernetes: { pod_selector: mesh=on }\n"}}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"by its file":               {nil, "10.1.1.254 br7 map[mesh:on] "},
		"flags count before it":     {[]string{"--vip=10.9.0.1", "--pod-selector", "a=b,c=d"}, "10.9.0.1 br7 map[a:b c:d] "},
		"a selector of other forms": {[]string{"--pod-selector", "a in (b)"}, "10.1.1.254 br7 map[] a in (b)"},
	} {
		t.Run(name, func(t *testing.T) {
			set := set.DeepCopy()
			set.Spec.Template.Spec.Containers[0].Args = append(set.Spec.Template.Spec.Containers[0].Args, tc.args...)
			var f Facts
			if err := (Cluster{Client: fake.NewClientset(set, file)}).findAgent(t.Context(), &f); err != nil {
				t.Fatal(err)
			}
			a := f.Agent
			if got := fmt.Sprint(a.VIP, " ", a.Bridge, " ", a.Labels, " ", a.Selector); got != tc.want || !a.Consul || a.Image != "meshlab:1" || a.Name != "kube-system/meshlab-agent" {
				t.Errorf("%s: %+v", got, a)
			}
		})
	}
}

// Pods of a lab with the mesh in the switches go where its agent is ready, if
// that is known.
func TestHostnamesWithAgent(t *testing.T) {
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "meshlab-agent", UID: "own", Labels: map[string]string{"app.kubernetes.io/name": "meshlab-agent"}}}
	set.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}}
	objects := []runtime.Object{set}
	pod := func(node string, ready corev1.ConditionStatus, owner types.UID) *corev1.Pod {
		isController := true
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "agent-" + node, Labels: map[string]string{"app": "agent"},
				OwnerReferences: []metav1.OwnerReference{{UID: owner, Controller: &isController}}},
			Spec:   corev1.PodSpec{NodeName: node},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
	}
	objects = append(objects, pod("a", corev1.ConditionTrue, "own"), pod("b", corev1.ConditionFalse, "own"), pod("d", corev1.ConditionTrue, "another"))
	f := Facts{Nodes: []Node{{Name: "a", Hostname: "ha"}, {Name: "b", Hostname: "hb"}, {Name: "c", Hostname: "hc", Idle: "cordoned"}, {Name: "d", Hostname: "hd"}}}
	if err := (Cluster{Client: fake.NewClientset(objects...)}).findAgent(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	ovs := []orchestrate.Mesh{orchestrate.Direct, orchestrate.OVS}
	if got := fmt.Sprint(f.Hostnames(ovs)); got != "[ha]" {
		t.Errorf("of ovs: %s", got)
	}
	if got := fmt.Sprint(f.Hostnames(ovs[:1])); got != "[ha hb hd]" {
		t.Errorf("of direct: %s", got)
	}
	f.Agent.On = nil
	if got := fmt.Sprint(f.Hostnames(ovs)); got != "[ha hb hd]" {
		t.Errorf("where agents are is not known: %s", got)
	}
}

func TestTaken(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{
		keyNetworkStatus: `[{"ips":["10.244.0.9"],"default":true},{"ips":["10.1.1.4"]}]`}}}
	named := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "named", Annotations: map[string]string{keyNetworks: "lan@net1"}}}
	asks := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "asks", Annotations: map[string]string{
		keyNetworks: `[{"name":"lan","ips":["10.1.1.5/24"]}]`}}}
	got, err := Cluster{Client: fake.NewClientset(pod, named, asks)}.taken(t.Context())
	if err != nil || fmt.Sprint(got) != "map[10.1.1.4:shop/web 10.1.1.5:shop/asks]" {
		t.Errorf("%v, %v", got, err)
	}
}

// Another run may have begun since the plan was made: what its pods ask for is
// not given twice, and the load has the address that it was given.
func TestAddressesAreThoseThatAreFreeNow(t *testing.T) {
	asks := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "load", Annotations: map[string]string{
		keyNetworks: `[{"name":"lan","ips":["10.1.1.2/24"]}]`}}}
	c := Cluster{Client: fake.NewClientset(asks)}
	d, err := c.Prepare(plan(shop()))
	if err != nil {
		t.Fatal(err)
	}
	own, err := d.assign(t.Context())
	if err != nil || own[loadName].String() != "10.1.1.3/24" || d.given[loadName] != own[loadName] {
		t.Errorf("%v, %v", own, err)
	}
	d.plan.Switches.Assign = false
	if own, err := d.assign(t.Context()); err != nil || len(own) != 0 {
		t.Errorf("of a network that gives addresses: %v, %v", own, err)
	}
}

func TestGives(t *testing.T) {
	for name, tc := range map[string]struct {
		config string
		want   bool
		err    string
	}{
		"whereabouts":              {`{"type":"ovs","ipam":{"type":"whereabouts"}}`, true, ""},
		"static":                   {`{"type":"ovs","ipam":{"type":"static"}}`, false, ""},
		"static, in a list":        {`{"plugins":[{"type":"ovs","ipam":{"type":"static"}},{"type":"tuning"}]}`, false, ""},
		"whereabouts, in a list":   {`{"plugins":[{"type":"ovs","ipam":{"type":"whereabouts"}}]}`, true, ""},
		"no addresses for anybody": {`{"type":"ovs","bridge":"br1"}`, false, "no ipam"},
		"no JSON":                  {`{`, false, "spec.config"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": attachments.GroupVersion().String(), "kind": "NetworkAttachmentDefinition",
				"metadata": map[string]any{"namespace": "ns", "name": "lan"}, "spec": map[string]any{"config": tc.config},
			}}
			c := Cluster{Dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
				map[schema.GroupVersionResource]string{attachments: "NetworkAttachmentDefinitionList"})}
			if _, err := c.Dynamic.Resource(attachments).Namespace("ns").Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			got, err := c.Gives(t.Context(), "ns/lan")
			if got != tc.want || (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// A namespace that somebody else has under this name stays.
func TestRemoveLeavesWhatIsNotOfTheRun(t *testing.T) {
	p := plan(shop())
	theirs := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Namespace()}}
	c := Cluster{Client: fake.NewClientset(theirs)}
	d, err := c.Prepare(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.makeNamespace(t.Context()); err == nil {
		t.Fatal("the namespace of somebody else is used")
	}
	if err := d.Remove(t.Context()); err != nil {
		t.Errorf("%v", err)
	}
	if _, err := c.Client.CoreV1().Namespaces().Get(t.Context(), theirs.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("it is removed: %v", err)
	}
}

// consul-k8s can inject its proxy among the init containers.
func TestSidecars(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-connect", Labels: map[string]string{labelMesh: string(orchestrate.ConsulConnect)}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "consul-connect-inject-init", Image: "consul-k8s:1"}, {Name: "consul-dataplane", Image: "dataplane:1", RestartPolicy: &always}},
			Containers:     []corev1.Container{{Name: serviceContainer, Image: "web:1"}},
		}}
	got, err := (&Deployment{cluster: Cluster{Client: fake.NewClientset(pod)}, namespace: "ns"}).Sidecars(t.Context())
	if err != nil || fmt.Sprint(got) != "[dataplane:1]" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTrouble(t *testing.T) {
	waiting := func(reason, message string) corev1.Pod {
		return corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "service", Image: "x:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "OOMKilled", Message: "BIND_ADDRESS: not set\n"}},
		}}}}
	}
	for name, tc := range map[string]struct {
		pod      corev1.Pod
		want     string
		patience time.Duration
		final    bool
	}{
		"image":     {waiting("ImagePullBackOff", "no such tag"), "image x:1 cannot be pulled: ImagePullBackOff: no such tag", pullPatience, false},
		"crash":     {waiting("CrashLoopBackOff", ""), "ends again and again: exit code 2 (OOMKilled): BIND_ADDRESS: not set", crashPatience, false},
		"creating":  {waiting("ContainerCreating", ""), "starting on node n1", 0, false},
		"not there": {corev1.Pod{}, "not placed on a node yet", 0, false},
		"no room": {corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes"}}}},
			"no node takes it: 0/2 nodes", placePatience, false},
		"evicted": {corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "disk"}}, "Failed Evicted disk", 0, true},
		"unready": {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"}}, "runs on node n1, and is not ready yet", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := look(&tc.pod)
			if !strings.Contains(got.text, tc.want) || got.patience != tc.patience || got.final != tc.final {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAwaitNamesWhatIsWrong(t *testing.T) {
	failed := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "api-direct", Labels: map[string]string{labelPod: "api-direct"}},
		Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "e"}, InvolvedObject: corev1.ObjectReference{Name: "api-direct"},
		Type: corev1.EventTypeWarning, Reason: "DiskPressure", Message: "the node is full"}
	d := &Deployment{cluster: Cluster{Client: fake.NewClientset(failed, event)}, namespace: "ns"}
	_, err := d.await(t.Context(), []string{"api-direct"}, isReady, nil)
	if err == nil || err.Error() != "pod api-direct: Failed Evicted (DiskPressure: the node is full)" {
		t.Errorf("%v", err)
	}
	if _, err := d.await(t.Context(), []string{"db-direct"}, isReady, nil); err == nil || !strings.Contains(err.Error(), "db-direct is gone") {
		t.Errorf("of a pod that was deleted: %v", err)
	}
}

// What a network plugin fails with is an event, and no state of a container.
func TestAwaitThatTakesTooLongNamesTheLastEvent(t *testing.T) {
	starting := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "api-ovs", Labels: map[string]string{labelPod: "api-ovs"}},
		Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "e"}, InvolvedObject: corev1.ObjectReference{Name: "api-ovs"},
		Type: corev1.EventTypeWarning, Reason: "FailedCreatePodSandBox", Message: "failed to find bridge br1"}
	d := &Deployment{cluster: Cluster{Client: fake.NewClientset(starting, event)}, namespace: "ns"}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("not ready in time"))
	defer cancel()
	_, err := d.await(ctx, []string{"api-ovs"}, isReady, nil)
	if err == nil || err.Error() != "not ready in time: pod api-ovs on node n1: starting on node n1 (FailedCreatePodSandBox: failed to find bridge br1)" {
		t.Errorf("%v", err)
	}
}

func TestPostAndRemove(t *testing.T) {
	d, err := Cluster{Client: fake.NewClientset()}.Prepare(plan(shop()))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.makeNamespace(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := d.cluster.Leftovers(t.Context())
	if err != nil || len(left) != 1 || left[0].Command() != "kubectl delete namespace "+d.namespace {
		t.Errorf("%v, %v", left, err)
	}
	load := d.plan.loadPod(netip.MustParsePrefix("10.1.1.2/24"))
	if _, err := d.cluster.Client.CoreV1().Pods(d.namespace).Create(t.Context(), load, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	post := NewPost(d.cluster.Client.CoreV1(), d.namespace)
	var heard []string
	if err := post.Progress(t.Context(), []byte("half")); err != nil {
		t.Fatal(err)
	}
	got, err := d.Result(t.Context(), time.Minute, func(text []byte) {
		heard = append(heard, string(text))
		if err := post.Result(t.Context(), []byte("all")); err != nil {
			t.Error(err)
		}
	})
	if err != nil || string(got) != "all" || strings.Join(heard, ",") != "half" {
		t.Errorf("%q after %q: %v", got, heard, err)
	}
	if err := d.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.Remove(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestResultOfALoadThatDied(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"killed": {func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{Name: "load",
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}}}}}
		}, "container load: exit code 137 (OOMKilled)"},
		"beside a sidecar that goes on": {func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "consul-dataplane"}, {Name: "load",
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "read the plan"}}}}
		}, "container load: exit code 1: read the plan"},
		"silent": {func(*corev1.Pod) {}, "has said nothing for"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: loadName}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
			tc.change(pod)
			d := &Deployment{cluster: Cluster{Client: fake.NewClientset(pod)}, namespace: "ns"}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := d.Result(ctx, time.Millisecond, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
