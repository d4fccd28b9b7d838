package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/topo"
)

// Switches is the mesh in the switches, as `meshlab agent` keeps it.
type Switches struct {
	VIP      netip.Addr            // virtual address of upstreams
	Bridge   string                // of each node
	Network  string                // attachment that joins pods to it, NAMESPACE/NAME; empty: one is made
	Assign   bool                  // the attachment does not give addresses (ipam "static"), so pods ask for theirs
	Labels   map[string]string     // that a pod must have to be of the mesh
	Consul   bool                  // the agents have services and intentions from Consul
	Reserved map[netip.Addr]string // who has an address in the network of VIP already; Raise asks the cluster
}

// prefixBits is the length of the network in which pods get addresses around
// the virtual address.
const prefixBits = 24

// attachmentName is that of the attachment that is made.
const attachmentName = "meshlab"

// attachmentMTU is that of the interfaces of pods, bytes: it leaves room for
// VXLAN (50, RFC 7348) on a network of 1500 with some to spare, and is what the
// thesis' manifests have.
const attachmentMTU = 1430

// attachments are the kind of network attachments (de-facto standard of the
// network plumbing working group, version 1.3, section 3).
var attachments = schema.GroupVersionResource{Group: "k8s.cni.cncf.io", Version: "v1", Resource: "network-attachment-definitions"}

// The annotations of pods: of that standard (section 4.1), and of `meshlab
// agent` (docs/kubernetes.md).
const (
	keyNetworks      = "k8s.v1.cni.cncf.io/networks"
	keyNetworkStatus = "k8s.v1.cni.cncf.io/network-status"
	keyService       = "meshlab.dev/service"
	keyUpstreams     = "meshlab.dev/upstreams"
	keyNetwork       = "meshlab.dev/network"
)

func (s Switches) validate() error {
	if !s.VIP.Is4() {
		return errors.New("mesh ovs: the virtual address of the mesh is not known: give it with --vip, as the agents have it")
	}
	if s.Network != "" {
		if namespace, name, ok := strings.Cut(s.Network, "/"); !ok || namespace == "" || name == "" {
			return fmt.Errorf("mesh ovs: network %q: want NAMESPACE/NAME of a NetworkAttachmentDefinition", s.Network)
		}
	}
	return nil
}

// attachment is the object that joins pods to the bridge.
func (p Plan) attachment() *unstructured.Unstructured {
	config, _ := json.Marshal(map[string]any{ // of strings and numbers: it cannot fail
		"cniVersion": "0.4.0", "type": "ovs", "bridge": p.Switches.Bridge, "mtu": attachmentMTU,
		"ipam": map[string]string{"type": "static"}, "capabilities": map[string]bool{"ips": true}, // as Multus passes addresses on to that IPAM
	})
	labels := map[string]any{}
	for key, value := range p.labels() {
		labels[key] = value
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": attachments.GroupVersion().String(), "kind": "NetworkAttachmentDefinition",
		"metadata": map[string]any{"name": attachmentName, "namespace": p.Namespace(), "labels": labels},
		"spec":     map[string]any{"config": string(config)},
	}}
}

// assign gives each pod of the mesh in the switches an address in the network
// around the virtual address: upwards from the second, which leaves the first
// to a gateway, without those that are taken, the virtual address and the one
// before it, which is the agents' hairpin. The keys are names of pods.
func (p Plan) assign() (map[string]netip.Prefix, error) {
	names := []string{loadName}
	for _, s := range p.Lab.Services {
		names = append(names, podName(s.Name, orchestrate.OVS))
	}
	vip := p.Switches.VIP
	network := netip.PrefixFrom(vip, prefixBits).Masked()
	all := map[string]netip.Prefix{}
	addr := network.Addr().Next().Next()
	for _, name := range names {
		for ; p.Switches.Reserved[addr] != "" || addr == vip || addr.Next() == vip; addr = addr.Next() {
		}
		if !network.Contains(addr.Next()) { // the last is for broadcasts
			return nil, fmt.Errorf("mesh ovs: network %v has no %d addresses left: %d are taken by other pods", network, len(names), len(p.Switches.Reserved))
		}
		all[name] = netip.PrefixFrom(addr, prefixBits)
		addr = addr.Next()
	}
	return all, nil
}

// joinSwitches annotates a pod for the mesh in the switches.
func (p Plan) joinSwitches(meta *metav1.ObjectMeta, service string, upstreams []topo.Upstream, address netip.Prefix) {
	network := p.Switches.Network
	if network == "" {
		network = p.Namespace() + "/" + attachmentName
	}
	set(&meta.Annotations, keyService, service)
	set(&meta.Annotations, keyNetwork, network)
	if len(upstreams) > 0 {
		set(&meta.Annotations, keyUpstreams, p.upstreams(upstreams, orchestrate.OVS))
	}
	namespace, name, _ := strings.Cut(network, "/")
	want := map[string]any{"namespace": namespace, "name": name}
	if p.Switches.Assign {
		want["ips"] = []string{address.String()}
	}
	text, _ := json.Marshal([]any{want}) // of strings: it cannot fail
	set(&meta.Annotations, keyNetworks, string(text))
	for key, value := range p.Switches.Labels {
		set(&meta.Labels, key, value)
	}
}

// upstreams is the form that both meshes' annotations have: "name:port,...".
func (p Plan) upstreams(all []topo.Upstream, m orchestrate.Mesh) string {
	var out []string
	for _, u := range all {
		out = append(out, fmt.Sprintf("%s:%d", p.service(u.Service, m), u.BindPort))
	}
	return strings.Join(out, ",")
}

func set(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}
