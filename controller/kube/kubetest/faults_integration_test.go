//go:build integration

package kubetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"meshlab.dev/meshlab/controller/kube"
	"meshlab.dev/meshlab/controller/kube/kubetest"
)

// extra are pods besides HashiCups: one at a fixed address, and two of a
// Service, which say nothing of the mesh and are on a node each.
const extra = `
apiVersion: v1
kind: ServiceAccount
metadata: { name: extra }
---
apiVersion: v1
kind: Pod
metadata:
  name: NAME
  labels: { app: extra }
  annotations: { k8s.v1.cni.cncf.io/networks: '[{"name": "ovs-net-vlan-hashicups", "ips": ["ADDRESS/24"]}]', SERVICE }
spec:
  serviceAccountName: extra
  terminationGracePeriodSeconds: 2
  nodeSelector: { kubernetes.io/hostname: NODE }
  containers: [{ name: echo, image: "hashicorp/http-echo:1.0", args: ["-listen=:8080", "-text=NAME"], ports: [{ containerPort: 8080 }] }]
`

func applyExtra(c *kubetest.Cluster, name, address, node, service string) {
	c.ApplyText(strings.NewReplacer("NAME", name, "ADDRESS", address, "NODE", node, "SERVICE", service).Replace(extra))
}

// faults is a cluster with agents, and HashiCups.
type faults struct {
	t      *testing.T
	c      *kubetest.Cluster
	pods   map[string]corev1.Pod
	client corev1.Pod
	agents []*agent
}

// TestFaults lets go wrong what can, while agents do their work without
// Consul.
func TestFaults(t *testing.T) {
	c := kubetest.StandInCluster(t, "one", "two")
	c.ApplyText(rights)
	f := &faults{t: t, c: c, pods: c.ApplyHashiCups()}
	f.client = f.pods["load-testing"]
	f.agents = []*agent{startAgent(t, c, c.Nodes[0]), startAgent(t, c, c.Nodes[1])}
	coffees(t, c, f.client)
	for _, part := range []struct {
		name string
		run  func(*faults, *testing.T)
	}{
		{"the API server is away", (*faults).away},
		{"the API server hangs", (*faults).hangs},
		{"the token is not valid any more", (*faults).expired},
		{"what does not concern a node costs its agent no request", (*faults).strange},
		{"an annotation does not parse", (*faults).annotation},
		{"two pods have one address", (*faults).address},
		{"a Service of pods that say nothing", (*faults).slices},
		{"a node dies", (*faults).node},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(f, t) })
	}
}

// healthSays waits until all agents are well and say so of what does not
// answer; empty: nothing.
func (f *faults) healthSays(t *testing.T, words string) {
	t.Helper()
	for _, a := range f.agents {
		kubetest.Eventually(t, fmt.Sprintf("/healthz to say %q", words), func(context.Context) error {
			status, text, err := a.health()
			if err != nil {
				return err
			}
			var h struct {
				Registry bool
				Away     []string
			}
			if err := json.Unmarshal([]byte(text), &h); err != nil {
				return err
			}
			if status != http.StatusOK || h.Registry != (words == "") || len(h.Away) > 0 != (words != "") || !strings.Contains(strings.Join(h.Away, "\n"), words) {
				return fmt.Errorf("status %d: %s", status, text)
			}
			return nil
		})
	}
}

// refused waits until no new connection reaches nginx.
func (f *faults) refused(t *testing.T) {
	t.Helper()
	kubetest.Eventually(t, "calls to be refused", func(context.Context) error {
		if _, err := f.c.Coffees(f.client); err == nil {
			return errors.New("it answers")
		}
		return nil
	})
}

func (f *faults) away(t *testing.T) {
	l := startLoad(t, f.c, f.client)
	l.more(20)
	f.c.Stop()
	f.healthSays(t, "look whether the API server runs")
	l.more(50)
	l.end()
	f.c.Resume()
	f.unready(t) // the agents are waiting for their next try, and do not hear of this
	f.healthSays(t, "")
}

// hangs stops the API server for so long that the agents give its connections
// up, and cannot make others.
func (f *faults) hangs(t *testing.T) {
	l := startLoad(t, f.c, f.client)
	l.more(20)
	f.c.Pause()
	t.Cleanup(f.c.Continue)
	f.healthSays(t, "look whether the API server runs")
	l.more(50)
	f.c.Continue()
	l.more(20)
	l.end()
	f.unready(t)
	f.healthSays(t, "")
}

// unready has the pods that all calls go to not be ready for a while, which
// agents must hear of.
func (f *faults) unready(t *testing.T) {
	t.Helper()
	f.c.SetReady(f.pods["nginx"], corev1.ConditionFalse)
	f.refused(t)
	f.c.SetReady(f.pods["nginx"], corev1.ConditionTrue)
	coffees(t, f.c, f.client)
}

func (f *faults) expired(t *testing.T) {
	accounts := f.c.Client.CoreV1().ServiceAccounts("kube-system")
	if err := accounts.Delete(t.Context(), "meshlab-agent", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.c.Stop() // what is being watched goes on with a token that has ended
	f.c.Resume()
	f.healthSays(t, "renew the token in the kubeconfig")
	for _, a := range f.agents {
		a.says("the last state stands", "renew the token in the kubeconfig")
	}
	l := startLoad(t, f.c, f.client)
	l.more(20)
	l.end()
	f.c.ApplyText(rights)
	for _, a := range f.agents {
		text, err := os.ReadFile(kubetest.Kubeconfig(t, f.c.ServiceAccount("kube-system", "meshlab-agent")))
		if err == nil {
			err = os.WriteFile(a.kubeconfig, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f.healthSays(t, "")
	coffees(t, f.c, f.client)
}

func (f *faults) strange(t *testing.T) {
	const pods = 20
	f.c.ObjectNodes(2)
	seen := len(f.c.Requests(agentUser))
	for i := range pods {
		p := kubetest.ObjectPod{Name: fmt.Sprint("far-", i), Node: kubetest.ObjectNode(i % 2), Number: i, Service: "far", Port: 80}
		f.c.ObjectPods(p)
		if i%2 == 0 {
			if err := f.c.DeleteObjectPod(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, a := range f.agents { // they know the last of them
		kubetest.Eventually(t, "the last pod to be known", func(context.Context) error {
			for _, line := range a.out.since(0) {
				if strings.Contains(line.text, "msg=network ") && strings.Contains(line.text, fmt.Sprint("hosts=", len(kubetest.HashiCupsApps())+pods/2)) {
					return nil
				}
			}
			return errors.New("it is not")
		})
	}
	asked, watches := f.asked(seen)
	if len(asked) > 0 || watches >= pods/2 { // a watch that was just made may begin anew
		t.Errorf("%d pods of other nodes cost %q, and %d lists and watches", pods, asked, watches)
	}
}

// asked is what agents have asked for after the first so many requests: how
// many lists and watches, and what else.
func (f *faults) asked(seen int) (asked []string, watches int) {
	for _, r := range f.c.Requests(agentUser)[seen:] {
		if r.Verb == "list" || r.Verb == "watch" {
			watches++
		} else {
			asked = append(asked, r.Verb+" "+r.Resource)
		}
	}
	return asked, watches
}

// condition waits until a pod has the mesh's condition with this status.
func (f *faults) condition(t *testing.T, pod, words string, want corev1.ConditionStatus) {
	t.Helper()
	kubetest.Eventually(t, fmt.Sprintf("the condition of %s to be %s", pod, want), func(ctx context.Context) error {
		p, err := f.c.Client.CoreV1().Pods("default").Get(ctx, pod, metav1.GetOptions{})
		if err != nil {
			return err
		}
		at := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kube.ConditionType })
		if at < 0 || p.Status.Conditions[at].Status != want || !strings.Contains(p.Status.Conditions[at].Message, words) {
			return fmt.Errorf("conditions: %+v", p.Status.Conditions)
		}
		return nil
	})
}

// events counts those of a pod that have a reason and some words.
func (f *faults) events(t *testing.T, pod, reason, words string) (n int) {
	t.Helper()
	all, err := f.c.Client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=" + reason})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all.Items {
		if e.InvolvedObject.Name == pod && strings.Contains(e.Message, words) {
			n++
		}
	}
	return n
}

// annotate sets annotations of a pod; null removes one.
func (f *faults) annotate(t *testing.T, pod, annotations string) {
	t.Helper()
	patch := `{"metadata":{"annotations":` + annotations + `}}`
	if _, err := f.c.Client.CoreV1().Pods("default").Patch(t.Context(), pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (f *faults) annotation(t *testing.T) {
	pod, seen := f.pods["payments"].Name, len(f.c.Requests(agentUser))
	f.annotate(t, pod, `{"meshlab.dev/upstreams":"mistyped"}`)
	f.condition(t, pod, "mistyped", corev1.ConditionFalse)
	f.annotate(t, pod, `{"meshlab.dev/upstreams":null}`)
	f.condition(t, pod, "", corev1.ConditionTrue)
	if n := f.events(t, pod, kube.ReasonAnnotation, "mistyped"); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	asked, _ := f.asked(seen)
	if want := []string{"create events", "patch pods/status", "patch pods/status"}; !slices.Equal(asked, want) {
		t.Errorf("the agents asked for %q, want %q", asked, want)
	}
	coffees(t, f.c, f.client)
}

func (f *faults) address(t *testing.T) {
	const second = "second"
	l := startLoad(t, f.c, f.client)
	applyExtra(f.c, second, "10.1.1.4", "one", `meshlab.dev/service: payments`) // payments has it
	f.condition(t, second, "default/"+f.pods["payments"].Name, corev1.ConditionFalse)
	if n := f.events(t, second, kube.ReasonAddress, "10.1.1.4"); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	l.more(20)
	l.end()
	if err := f.c.Client.CoreV1().Pods("default").Delete(t.Context(), second, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// echoes asks a port of the virtual address until ok tells that the answers
// are right: a pod's name, "" for none.
func (f *faults) echoes(t *testing.T, what string, port int, ok func(answers map[string]int) bool) {
	t.Helper()
	client := f.c.HTTPClient(f.client)
	kubetest.Eventually(t, what, func(context.Context) error {
		answers := map[string]int{}
		for range 12 {
			name := ""
			if response, err := client.Get(fmt.Sprintf("http://%s:%d/", kubetest.VirtualIP, port)); err == nil {
				text, _ := io.ReadAll(response.Body)
				response.Body.Close()
				name = strings.TrimSpace(string(text))
			}
			answers[name]++
		}
		if !ok(answers) {
			return fmt.Errorf("answers are %v", answers)
		}
		return nil
	})
}

const slicePort = 9200

// slices has the test do what the endpoint controller does.
func (f *faults) slices(t *testing.T) {
	for name, node := range map[string]string{"s1": "one", "s2": "two"} {
		applyExtra(f.c, name, "10.1.1.10"+name[1:], node, "")
	}
	endpoint := func(pod, address string, ready bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: pod},
		}
	}
	port, name := int32(8080), "http"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "extra-1", Labels: map[string]string{discoveryv1.LabelServiceName: "extra"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{endpoint("s1", "10.244.1.99", true), endpoint("s2", "10.244.2.99", true)},
	}
	api := f.c.Client.DiscoveryV1().EndpointSlices("default")
	made, err := api.Create(t.Context(), slice, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.annotate(t, f.client.Name, fmt.Sprintf(`{"meshlab.dev/upstreams":"nginx:9099,extra:%d"}`, slicePort))
	f.echoes(t, "both pods to answer", slicePort, func(a map[string]int) bool { return a["s1"] > 0 && a["s2"] > 0 && a[""] == 0 })
	made.Endpoints = []discoveryv1.Endpoint{endpoint("s1", "10.244.1.99", false), endpoint("s2", "10.244.2.99", true)}
	if made, err = api.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.echoes(t, "one pod to answer", slicePort, func(a map[string]int) bool { return a["s2"] == 12 })
	made.Endpoints = []discoveryv1.Endpoint{endpoint("s1", "10.244.1.99", true), endpoint("s2", "10.244.2.99", true)}
	if _, err = api.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.echoes(t, "both pods to answer again", slicePort, func(a map[string]int) bool { return a["s1"] > 0 && a["s2"] > 0 && a[""] == 0 })
}

// node ends one with a pod of the Service above. Its slice is as it was; the
// pod's condition Ready is not.
func (f *faults) node(t *testing.T) {
	dead := f.c.Nodes[1]
	if f.client.Spec.NodeName == dead.Name {
		dead = f.c.Nodes[0]
	}
	left := map[string]string{"one": "s2", "two": "s1"}[dead.Name]
	at := slices.Index(f.c.Nodes, dead)
	f.agents[at].end(syscall.SIGKILL)
	f.c.Fail(dead)
	f.echoes(t, "the pod of the other node alone to answer", slicePort, func(a map[string]int) bool { return a[left] == 12 })
}
