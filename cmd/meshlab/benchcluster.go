package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/image"
	"meshlab.dev/meshlab/orchestrate/kube"
	"meshlab.dev/meshlab/scenarios"
)

// cluster reads the kubeconfig. Nothing is asked yet.
func (b kubeBench) cluster() (kube.Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = b.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: b.Context})
	file, err := loader.RawConfig()
	if err != nil {
		return kube.Cluster{}, usageError{fmt.Errorf("read kubeconfig: %w", err)}
	}
	if name := cmp.Or(b.Context, file.CurrentContext); file.Contexts[name] == nil {
		have := strings.Join(slices.Sorted(maps.Keys(file.Contexts)), ", ")
		if have == "" {
			return kube.Cluster{}, usageError{errors.New("no kubeconfig with a context was found: give the file with --kubeconfig, or set KUBECONFIG")}
		}
		return kube.Cluster{}, usageError{fmt.Errorf("--kube %q: the kubeconfig has no such context; it has %s", name, have)}
	}
	cfg, err := loader.ClientConfig()
	if err != nil {
		return kube.Cluster{}, usageError{fmt.Errorf("read kubeconfig: %w", err)}
	}
	cfg.UserAgent = "meshlab-bench/" + version()
	cfg.QPS, cfg.Burst = kubeRequestsPerSec, 2*kubeBurst
	cfg.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return kube.Cluster{}, fmt.Errorf("make a client for Kubernetes: %w", err)
	}
	other, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return kube.Cluster{}, fmt.Errorf("make a client for Kubernetes: %w", err)
	}
	return kube.Cluster{Client: client, Dynamic: other}, nil
}

// choose decides on the meshes: those that the user wants, which must be there,
// or those that are there.
func (b kubeBench) choose(p *progress, facts kube.Facts, plan *benchPlan) error {
	p.line("  cluster: %s, network %s", (&scenarios.Environment{Cluster: clusterInfo(facts)}).Place(), cmp.Or(facts.CNI, "of a kind that is not known"))
	lacks := b.lacks(facts)
	wanted := b.Meshes
	if len(wanted) == 0 {
		for _, m := range orchestrate.Meshes() {
			if lacks[m] == "" {
				wanted = append(wanted, string(m))
			} else {
				p.line("  without mesh %s: %s", m, lacks[m])
			}
		}
	}
	for _, name := range wanted {
		m := orchestrate.Mesh(name)
		if lacks[m] != "" {
			return fmt.Errorf("mesh %s: %s", m, lacks[m])
		}
		if slices.Contains(plan.meshes, name) {
			return usageError{fmt.Errorf("mesh %q is given twice", name)}
		}
		plan.meshes = append(plan.meshes, name)
	}
	if a := facts.Agent; a != nil && slices.Contains(plan.meshes, string(orchestrate.OVS)) && a.Ready < a.Wanted {
		placed := ", and pods are placed on these"
		if len(a.On) == 0 {
			placed = ""
		}
		p.line("  the mesh's agent is ready on %d of %d nodes%s: kubectl -n %s", a.Ready, a.Wanted, placed, strings.ReplaceAll(a.Name, "/", " describe daemonset "))
	}
	plan.closed.matrix.Meshes = plan.meshes
	return nil
}

// lacks says what the cluster lacks for each mesh, and what mends it.
func (b kubeBench) lacks(f kube.Facts) map[orchestrate.Mesh]string {
	all := map[orchestrate.Mesh]string{}
	switch {
	case !f.Attachments:
		all[orchestrate.OVS] = "the cluster has no network attachments: it needs Multus, ovs-cni and the mesh's agent (docs/kubernetes.md, \"What a node needs\")"
	case f.Agent == nil && b.VIP == "":
		all[orchestrate.OVS] = "no DaemonSet of the mesh's agent was found (label app.kubernetes.io/name=meshlab-agent): meshlab agent manifests --image IMAGE --vip ADDRESS | kubectl apply -f - installs it; if agents run otherwise, give their address with --vip"
	case f.Agent != nil && f.Agent.Selector != "":
		all[orchestrate.OVS] = fmt.Sprintf("agent %s hears of pods by the selector %q, which is none of labels with values: set pod_selector to one such as mesh=on", f.Agent.Name, f.Agent.Selector)
	case f.Agent != nil && !f.Agent.VIP.IsValid() && b.VIP == "":
		all[orchestrate.OVS] = fmt.Sprintf("agent %s does not say its virtual address: give it with --vip", f.Agent.Name)
	}
	if f.Injector == "" {
		all[orchestrate.ConsulConnect] = "the cluster has no injector of consul-k8s: helm install consul hashicorp/consul --namespace consul --create-namespace --set connectInject.enabled=true"
	}
	return all
}

// prepare decides what becomes of a lab in the cluster. Nothing is made.
func (r *kubeRun) prepare(ctx context.Context, plan benchPlan, lab loadedLab) (*kubeLab, error) {
	l := &kubeLab{loadedLab: lab}
	var err error
	if l.matrix, l.skipped, err = plan.matrix(lab); err != nil {
		return nil, err
	}
	l.plan = kube.Plan{
		Run: r.res.ID, Suffix: string(spread(lab.Lab)), Lab: lab.Lab,
		Image: r.Image, Program: image.Program, NamedUser: image.PostgresUID, PullSecret: r.PullSecret, By: who(),
		Intentions: r.facts.Intentions,
	}
	for _, m := range plan.meshes {
		l.plan.Meshes = append(l.plan.Meshes, orchestrate.Mesh(m))
	}
	for _, b := range builtin.All() {
		if b.Unprivileged {
			l.plan.Named = append(l.plan.Named, b.Name)
		}
	}
	if slices.Contains(l.plan.Meshes, orchestrate.OVS) {
		if l.plan.Switches, err = r.switches(ctx); err != nil {
			return nil, err
		}
	}
	if l.plan.Hosts, err = kube.Place(lab.Lab, r.facts.Hostnames(l.plan.Meshes)); err != nil {
		return nil, err
	}
	if l.deployment, err = r.target.Prepare(l.plan); err != nil {
		return nil, usageError{err}
	}
	r.addLabs(meshSides(lab, plan.meshes))
	return l, nil
}

// switches is how pods join the mesh in the switches.
func (r *kubeRun) switches(ctx context.Context) (kube.Switches, error) {
	s := kube.Switches{Bridge: "br1", Network: r.Network, Assign: true}
	if a := r.facts.Agent; a != nil {
		s.VIP, s.Bridge, s.Labels, s.Consul = a.VIP, a.Bridge, a.Labels, a.Consul
	}
	if r.VIP != "" {
		s.VIP, _ = netip.ParseAddr(r.VIP) // plan has checked it
	}
	if s.Network != "" {
		gives, err := r.target.Gives(ctx, s.Network)
		if err != nil {
			return s, err
		}
		s.Assign = !gives
	}
	return s, nil
}

// add puts what the load has measured into the document.
func (r *kubeRun) add(l *kubeLab, got loadResult, sidecars []string) {
	if len(r.res.Ceiling) == 0 {
		r.res.Ceiling = got.Ceiling
		r.res.Environment = got.Environment
		e := &r.res.Environment
		e.Meshlab, e.Runtime, e.Group, e.Cluster = version(), scenarios.Kubernetes, r.Group, clusterInfo(r.facts)
		// The image has no system of its own: that of the load's node counts.
		e.OS = cmp.Or(r.facts.Nodes[r.nodeAt(l.plan.Hosts[l.Client.Node])].OS, e.OS)
		if len(sidecars) > 0 {
			e.Proxy = strings.Join(sidecars, ", ")
		}
		for _, m := range l.plan.Meshes {
			r.res.Meshes = append(r.res.Meshes, kubeMeshInfo(m))
		}
	}
	r.res.Cells = append(r.res.Cells, got.Cells...)
	info := r.info(l.loadedLab)
	for _, host := range slices.Sorted(maps.Keys(l.plan.Hosts)) {
		info.Placement = append(info.Placement, scenarios.Placed{Host: host, Node: r.nodeAt(l.plan.Hosts[host])})
	}
}

// nodeAt is the index of a node by the value of its label for its host name.
func (r *kubeRun) nodeAt(hostname string) int {
	return slices.IndexFunc(r.facts.Nodes, func(n kube.Node) bool { return n.Hostname == hostname })
}

// clusterInfo is the cluster as the document has it.
func clusterInfo(f kube.Facts) *scenarios.Cluster {
	c := &scenarios.Cluster{Kubernetes: f.Version, CNI: f.CNI}
	for _, n := range f.Nodes {
		role := scenarios.RoleWorker
		if n.Idle != "" {
			role = scenarios.RoleControlPlane
		}
		c.Cloud = cmp.Or(c.Cloud, n.Provider)
		c.Nodes = append(c.Nodes, scenarios.Node{
			Role: role, InstanceType: n.InstanceType, Region: n.Region, Zone: n.Zone, Cores: n.Cores, MemoryBytes: n.MemoryBytes,
			OS: n.OS, Kernel: n.Kernel, Architecture: n.Architecture, Runtime: n.Runtime,
		})
	}
	return c
}

// kubeMeshInfo says what a mesh gives on a cluster, in the words of the report.
func kubeMeshInfo(m orchestrate.Mesh) scenarios.MeshInfo {
	info := meshInfo(m)
	switch m {
	case orchestrate.OVS:
		info.DataPath = "client pod, Open vSwitch of its node with the mesh's flows, VXLAN to another node, service pod"
	case orchestrate.ConsulConnect:
		info.DataPath = "client pod, its sidecar, the cluster's network, the service's sidecar, service pod"
	default:
		info.DataPath = "client pod, the cluster's network, service pod"
		info.Gives = "nothing: pods know each other's own addresses, and no Service is in between; the floor of what a mesh can cost"
	}
	return info
}
