package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"meshlab.dev/meshlab/orchestrate"
)

// Cluster is a cluster that can be reached.
type Cluster struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
}

// Facts are what a cluster says of itself, as far as labs need it.
type Facts struct {
	Version     string // of the API server
	Nodes       []Node // sorted by name
	CNI         string // of the pods' own network, by the names of what runs in the cluster; empty: not known
	Attachments bool   // it has network attachments (Multus)
	Agent       *Agent // nil: no DaemonSet of `meshlab agent` was found
	Injector    string // name of the webhook of consul-k8s; empty: there is none
	Intentions  bool   // it has consul-k8s' intentions
}

// Node is a machine of the cluster.
type Node struct {
	Name         string
	Hostname     string // value of its label kubernetes.io/hostname
	InstanceType string // as the cloud calls it; empty: it has none
	Region, Zone string
	Provider     string // scheme of its providerID, such as azure; empty: none
	Cores        int
	MemoryBytes  uint64
	OS           string // image of the system
	Kernel       string
	Runtime      string // of containers, with its version
	Architecture string // of the processor, as Go names it
	Idle         string // why it takes no pods; empty: it does
}

// Agent is `meshlab agent` in the cluster.
type Agent struct {
	Name     string // NAMESPACE/NAME of the DaemonSet
	Image    string
	VIP      netip.Addr
	Bridge   string
	Labels   map[string]string // that pods must have to be heard
	Selector string            // that does not ask for labels with values only; empty: none
	Consul   bool              // services and intentions are Consul's
	Ready    int               // pods
	Wanted   int
	On       map[string]bool // names of the nodes with a pod that is ready; empty: not known
}

// agentLabel is what the DaemonSet of the agent has (controller/kube/deploy).
const agentLabel = "app.kubernetes.io/name=meshlab-agent"

// Look asks a cluster. What the user may not read counts as not there, but for
// nodes.
func (c Cluster) Look(ctx context.Context) (Facts, error) {
	version, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return Facts{}, fmt.Errorf("ask the cluster for its version: %w", err)
	}
	f := Facts{Version: version.GitVersion}
	nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return f, fmt.Errorf("list the cluster's nodes: %w", err)
	}
	for _, n := range nodes.Items {
		f.Nodes = append(f.Nodes, node(n))
	}
	slices.SortFunc(f.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	for kind, have := range map[schema.GroupVersionResource]*bool{attachments: &f.Attachments, intentions: &f.Intentions} {
		list, err := c.Client.Discovery().ServerResourcesForGroupVersion(kind.GroupVersion().String())
		if err != nil && !apierrors.IsNotFound(err) {
			return f, fmt.Errorf("ask the cluster for %s: %w", kind.GroupVersion(), err)
		}
		*have = err == nil && slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == kind.Resource })
	}
	for _, look := range []func(context.Context, *Facts) error{c.findAgent, c.findInjector, c.findCNI} {
		if err := look(ctx, &f); err != nil && !apierrors.IsForbidden(err) {
			return f, err
		}
	}
	return f, nil
}

func node(n corev1.Node) Node {
	out := Node{
		Name: n.Name, Hostname: cmp.Or(n.Labels[corev1.LabelHostname], n.Name),
		InstanceType: n.Labels[corev1.LabelInstanceTypeStable], Region: n.Labels[corev1.LabelTopologyRegion], Zone: n.Labels[corev1.LabelTopologyZone],
		Cores: int(n.Status.Capacity.Cpu().Value()), MemoryBytes: uint64(max(0, n.Status.Capacity.Memory().Value())),
		OS: n.Status.NodeInfo.OSImage, Kernel: n.Status.NodeInfo.KernelVersion, Runtime: n.Status.NodeInfo.ContainerRuntimeVersion, Architecture: n.Status.NodeInfo.Architecture,
	}
	out.Provider, _, _ = strings.Cut(n.Spec.ProviderID, "://")
	isReady := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	switch {
	case !isReady:
		out.Idle = "not ready"
	case n.Spec.Unschedulable:
		out.Idle = "cordoned"
	case n.Labels[corev1.LabelOSStable] != "" && n.Labels[corev1.LabelOSStable] != "linux":
		out.Idle = "of " + n.Labels[corev1.LabelOSStable]
	}
	for _, t := range n.Spec.Taints {
		if out.Idle == "" && t.Effect != corev1.TaintEffectPreferNoSchedule {
			out.Idle = "tainted " + t.Key
		}
	}
	return out
}

// Hostnames are the labels of the nodes that take pods of these meshes. Where
// an agent of the mesh in the switches runs on some nodes only, pods of that
// mesh would be out of it on the others, and all meshes' pods of a host share a
// node.
func (f Facts) Hostnames(meshes []orchestrate.Mesh) []string {
	agents := f.Agent != nil && len(f.Agent.On) > 0 && slices.Contains(meshes, orchestrate.OVS)
	var all []string
	for _, n := range f.Nodes {
		if n.Idle == "" && (!agents || f.Agent.On[n.Name]) {
			all = append(all, n.Hostname)
		}
	}
	return all
}

func (c Cluster) findAgent(ctx context.Context, f *Facts) error {
	sets, err := c.Client.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{LabelSelector: agentLabel})
	if err != nil || len(sets.Items) == 0 {
		return err
	}
	set := sets.Items[0]
	a := &Agent{Name: set.Namespace + "/" + set.Name, Bridge: "br1", Ready: int(set.Status.NumberReady), Wanted: int(set.Status.DesiredNumberScheduled)}
	for _, container := range set.Spec.Template.Spec.Containers {
		a.Image = cmp.Or(a.Image, container.Image)
		a.flags(slices.Concat(container.Command, container.Args))
	}
	f.Agent = a
	if a.On, err = c.nodesOf(ctx, set); err != nil && !apierrors.IsForbidden(err) {
		return err
	}
	for _, name := range configMaps(set.Spec.Template.Spec.Volumes) {
		m, err := c.Client.CoreV1().ConfigMaps(set.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, text := range m.Data {
			a.file(text)
		}
	}
	return nil
}

// nodesOf names the nodes where a DaemonSet has a pod that is ready.
func (c Cluster) nodesOf(ctx context.Context, set appsv1.DaemonSet) (map[string]bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("read the selector of DaemonSet %s: %w", set.Name, err)
	}
	pods, err := c.Client.CoreV1().Pods(set.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("list the pods of DaemonSet %s: %w", set.Name, err)
	}
	on := map[string]bool{}
	for _, p := range pods.Items {
		isReady := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if isReady && metav1.IsControlledBy(&p, &set) {
			on[p.Spec.NodeName] = true
		}
	}
	return on, nil
}

// configMaps are those that volumes have, alone or beside others.
func configMaps(volumes []corev1.Volume) []string {
	var names []string
	for _, v := range volumes {
		if v.ConfigMap != nil {
			names = append(names, v.ConfigMap.Name)
		}
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.ConfigMap != nil {
				names = append(names, source.ConfigMap.Name)
			}
		}
	}
	return names
}

// file reads what the agent's configuration says, if the text is one.
func (a *Agent) file(text string) {
	var cfg struct {
		VIP        string         `json:"vip"`
		Bridges    []string       `json:"bridges"`
		Consul     map[string]any `json:"consul"`
		Kubernetes struct {
			Selector string `json:"pod_selector"`
		} `json:"kubernetes"`
	}
	if yaml.Unmarshal([]byte(text), &cfg) != nil {
		return
	}
	if vip, err := netip.ParseAddr(cfg.VIP); err == nil && !a.VIP.IsValid() {
		a.VIP = vip
	}
	if len(cfg.Bridges) > 0 {
		a.Bridge = cfg.Bridges[0]
	}
	a.Consul = a.Consul || cfg.Consul != nil
	if a.Selector == "" && a.Labels == nil {
		a.selector(cfg.Kubernetes.Selector)
	}
}

// flags reads what the agent's command line says.
func (a *Agent) flags(words []string) {
	for i, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok && i+1 < len(words) {
			value = words[i+1]
		}
		switch name {
		case "--vip":
			a.VIP, _ = netip.ParseAddr(value) // not valid: the user is asked for it
		case "--bridge":
			a.Bridge = value
		case "--consul":
			a.Consul = true
		case "--pod-selector":
			a.selector(value)
		}
	}
}

func (a *Agent) selector(text string) {
	if text == "" {
		return
	}
	labels, err := metav1.ParseToLabelSelector(text)
	if err != nil || len(labels.MatchExpressions) > 0 {
		a.Selector = text
		return
	}
	a.Labels = labels.MatchLabels
}

// injectorSuffix is how consul-k8s' chart ends the name of its webhook
// (templates/connect-inject-mutatingwebhookconfiguration.yaml).
const injectorSuffix = "connect-injector.consul.hashicorp.com"

func (c Cluster) findInjector(ctx context.Context, f *Facts) error {
	hooks, err := c.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, h := range hooks.Items {
		for _, w := range h.Webhooks {
			if strings.HasSuffix(w.Name, injectorSuffix) {
				f.Injector = h.Name
			}
		}
	}
	return nil
}

// networks are the names that DaemonSets of cluster networks begin with.
var networks = []struct{ prefix, name string }{
	{"cilium", "Cilium"}, {"calico-node", "Calico"}, {"kube-flannel", "Flannel"}, {"azure-cns", "Azure CNI"},
	{"aws-node", "Amazon VPC CNI"}, {"antrea-agent", "Antrea"}, {"weave-net", "Weave Net"}, {"kindnet", "kindnet"}, {"ovnkube", "OVN-Kubernetes"},
}

func (c Cluster) findCNI(ctx context.Context, f *Facts) error {
	sets, err := c.Client.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range networks {
		if slices.ContainsFunc(sets.Items, func(s appsv1.DaemonSet) bool { return strings.HasPrefix(s.Name, n.prefix) }) {
			f.CNI = n.name
			return nil
		}
	}
	return nil
}

// Gives tells whether a network attachment gives pods their addresses: it does
// not when its IPAM is static, and then they ask for them.
func (c Cluster) Gives(ctx context.Context, network string) (bool, error) {
	namespace, name, _ := strings.Cut(network, "/")
	o, err := c.Dynamic.Resource(attachments).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("read network attachment %s: %w", network, err)
	}
	text, _, err := unstructured.NestedString(o.Object, "spec", "config")
	type plugin struct{ IPAM struct{ Type string } }
	var config struct {
		plugin
		Plugins []plugin // of a list (CNI specification, section 1): the first makes the interface
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &config)
	}
	if err != nil {
		return false, fmt.Errorf("read network attachment %s: spec.config: %w", network, err)
	}
	ipam := config.IPAM.Type
	if len(config.Plugins) > 0 {
		ipam = config.Plugins[0].IPAM.Type
	}
	if ipam == "" {
		return false, fmt.Errorf("network attachment %s has no ipam, so pods get no addresses by it: leave --network out, or name one with an ipam, such as static or whereabouts", network)
	}
	return ipam != "static", nil
}

// taken are the addresses that pods have in their further networks, or ask for
// there.
func (c Cluster) taken(ctx context.Context) (map[netip.Addr]string, error) {
	taken := map[netip.Addr]string{}
	for next := ""; ; {
		pods, err := c.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{Limit: 500, Continue: next})
		if err != nil {
			return nil, fmt.Errorf("list the cluster's pods, for the addresses that they have: %w", err)
		}
		for _, pod := range pods.Items {
			for _, key := range []string{keyNetworkStatus, keyNetworks} {
				var all []struct {
					IPs     []string `json:"ips"`
					Default bool     `json:"default"`
				}
				if json.Unmarshal([]byte(pod.Annotations[key]), &all) != nil {
					continue // it has none, or names networks only
				}
				for _, network := range all {
					for _, text := range network.IPs {
						text, _, _ = strings.Cut(text, "/")
						if ip, err := netip.ParseAddr(text); err == nil && !network.Default {
							taken[ip] = pod.Namespace + "/" + pod.Name
						}
					}
				}
			}
		}
		if next = pods.Continue; next == "" {
			return taken, nil
		}
	}
}
