package kubetest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The annotations of the network plumbing working group's de-facto standard
// ("Kubernetes Network Custom Resource Definition De-facto Standard" v1.3,
// sections 4.1 and 5.2).
const (
	networksAnnotation = "k8s.v1.cni.cncf.io/networks"
	statusAnnotation   = "k8s.v1.cni.cncf.io/network-status"
)

// portOwner is what ovs-cni writes to the ports that it makes (ovs-cni,
// pkg/ovsdb/ovsdb.go).
const portOwner = "ovs-cni.network.kubevirt.io"

// attachment is a network that a pod asks for.
type attachment struct {
	Name      string   `json:"name"`
	Namespace string   `json:"namespace"`
	IPs       []string `json:"ips"` // with the length of the prefix
	MAC       string   `json:"mac"`
	Interface string   `json:"interface"`
}

// networkStatus is what Multus tells of a network of a pod.
type networkStatus struct {
	Name      string   `json:"name"`
	Interface string   `json:"interface"`
	IPs       []string `json:"ips"` // without the length of the prefix
	MAC       string   `json:"mac,omitempty"`
	Default   bool     `json:"default,omitempty"`
	DNS       struct{} `json:"dns"`
}

// attachments reads the annotation of a pod: JSON, or the short form
// "namespace/name@interface,...".
func attachments(annotation, namespace string) ([]attachment, error) {
	var all []attachment
	annotation = strings.TrimSpace(annotation)
	switch {
	case annotation == "":
		return nil, nil
	case strings.HasPrefix(annotation, "["):
		if err := json.Unmarshal([]byte(annotation), &all); err != nil {
			return nil, fmt.Errorf("read annotation %s: %w", networksAnnotation, err)
		}
	default:
		for one := range strings.SplitSeq(annotation, ",") {
			name, device, _ := strings.Cut(strings.TrimSpace(one), "@")
			a := attachment{Name: name, Interface: device}
			if in, rest, ok := strings.Cut(name, "/"); ok {
				a.Namespace, a.Name = in, rest
			}
			all = append(all, a)
		}
	}
	for i := range all {
		if all[i].Name == "" {
			return nil, fmt.Errorf("read annotation %s: network %d has no name", networksAnnotation, i)
		}
		all[i].Namespace = cmp.Or(all[i].Namespace, namespace)
		all[i].Interface = cmp.Or(all[i].Interface, fmt.Sprint("net", i+1))
	}
	return all, nil
}

// pluginConfig is the part of an ovs-cni configuration that is heeded
// (ovs-cni, docs/cni-plugin.md), with its IPAM: static, or whereabouts with a
// range.
type pluginConfig struct {
	Type   string `json:"type"`
	Bridge string `json:"bridge"`
	VLAN   int    `json:"vlan"` // 0: none
	MTU    int    `json:"mtu"`  // bytes; 0: 1500
	IPAM   struct {
		Type  string `json:"type"`
		Range string `json:"range"`
	} `json:"ipam"`
}

func parsePlugin(config string) (pluginConfig, error) {
	var p pluginConfig
	if err := json.Unmarshal([]byte(config), &p); err != nil {
		return p, fmt.Errorf("read spec.config: %w", err)
	}
	if p.Type != "ovs" || p.Bridge != Bridge {
		return p, fmt.Errorf("spec.config: type %q at bridge %q: only ovs at %s is there", p.Type, p.Bridge, Bridge)
	}
	p.MTU = cmp.Or(p.MTU, 1500)
	return p, nil
}

// plugin reads the configuration of a network.
func (c *Cluster) plugin(ctx context.Context, a attachment) (pluginConfig, error) {
	kind := schema.GroupVersionResource{Group: "k8s.cni.cncf.io", Version: "v1", Resource: "network-attachment-definitions"}
	o, err := c.dynamic.Resource(kind).Namespace(a.Namespace).Get(ctx, a.Name, metav1.GetOptions{})
	if err != nil {
		return pluginConfig{}, fmt.Errorf("network %s/%s: %w", a.Namespace, a.Name, err)
	}
	text, _, err := unstructured.NestedString(o.Object, "spec", "config")
	if err != nil {
		return pluginConfig{}, fmt.Errorf("network %s/%s: %w", a.Namespace, a.Name, err)
	}
	p, err := parsePlugin(text)
	if err != nil {
		return p, fmt.Errorf("network %s/%s: %w", a.Namespace, a.Name, err)
	}
	return p, nil
}

// addresses returns those of an attachment, or the next one of its network.
func (c *Cluster) addresses(a attachment, p pluginConfig) ([]netip.Prefix, error) {
	if len(a.IPs) == 0 {
		if p.IPAM.Type != "whereabouts" {
			return nil, fmt.Errorf("network %s: ipam %q, and the pod asks for no ips", a.Name, p.IPAM.Type)
		}
		all, err := netip.ParsePrefix(p.IPAM.Range)
		if err != nil {
			return nil, fmt.Errorf("network %s: ipam: %w", a.Name, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		key := a.Namespace + "/" + a.Name
		last, ok := c.leases[key]
		if !ok {
			last = all.Masked().Addr()
		}
		c.leases[key] = last.Next()
		return []netip.Prefix{netip.PrefixFrom(last.Next(), all.Bits())}, nil
	}
	var all []netip.Prefix
	for _, text := range a.IPs {
		one, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("network %s: ips: %w", a.Name, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// podNetNS is the name of the namespace of a pod, as CNI plugins call it.
func podNetNS(pod *corev1.Pod) string { return "cni-" + string(pod.UID) }

// hostDevice is the node's end of the cable of a pod's interface.
func hostDevice(pod *corev1.Pod, device string) string {
	sum := sha256.Sum256([]byte(string(pod.UID) + device))
	return fmt.Sprintf("veth%x", sum[:4])
}

// hardwareAddress is that of a pod's interface: of one host, made by hand
// (IEEE 802, bits I/G and U/L).
func hardwareAddress(pod *corev1.Pod, device string) string {
	sum := sha256.Sum256([]byte(device + string(pod.UID)))
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", sum[0], sum[1], sum[2], sum[3], sum[4])
}

// addNetwork makes the namespace of a pod with its interfaces, and returns what
// Multus would tell of them. What is there from an earlier try is made anew.
func (c *Cluster) addNetwork(ctx context.Context, n *Node, pod *corev1.Pod, podIP string) ([]networkStatus, error) {
	asked, err := attachments(pod.Annotations[networksAnnotation], pod.Namespace)
	if err != nil {
		return nil, err
	}
	c.removeNetwork(ctx, n, pod)
	ns := podNetNS(pod)
	if err := runAll(ctx,
		"ip netns add "+ns,
		"ip -n "+ns+" link set lo up",
		"ip netns exec "+ns+" sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
	); err != nil {
		return nil, err
	}
	if err := joinCluster(ctx, pod, podIP); err != nil {
		return nil, err
	}
	all := []networkStatus{{Name: "kubetest", Interface: "eth0", IPs: []string{podIP}, Default: true}}
	for _, a := range asked {
		p, err := c.plugin(ctx, a)
		if err != nil {
			return nil, err
		}
		prefixes, err := c.addresses(a, p)
		if err != nil {
			return nil, err
		}
		status := networkStatus{
			Name: a.Namespace + "/" + a.Name, Interface: a.Interface,
			MAC: cmp.Or(a.MAC, hardwareAddress(pod, a.Interface)),
		}
		for _, one := range prefixes {
			status.IPs = append(status.IPs, one.Addr().String())
		}
		if err := attach(ctx, n, pod, p, status, prefixes); err != nil {
			return nil, err
		}
		all = append(all, status)
	}
	return all, nil
}

// attach makes one interface of a pod and its port, as ovs-cni does.
func attach(ctx context.Context, n *Node, pod *corev1.Pod, p pluginConfig, s networkStatus, prefixes []netip.Prefix) error {
	ns, host := podNetNS(pod), hostDevice(pod, s.Interface)
	commands := []string{
		fmt.Sprintf("ip -n %s link add %s mtu %d type veth peer name %s mtu %d netns %s", n.NetNS, host, p.MTU, s.Interface, p.MTU, ns),
		"ip -n " + n.NetNS + " link set " + host + " up",
		"ip -n " + ns + " link set " + s.Interface + " address " + s.MAC + " up",
		"ip netns exec " + ns + " ethtool -K " + s.Interface + " tx off", // a switch in user space adds no checksums
	}
	for _, one := range prefixes {
		commands = append(commands, "ip -n "+ns+" addr add "+one.String()+" dev "+s.Interface)
	}
	port := []string{"ovs-vsctl", "--db=unix:" + n.DatabaseSocket(), "--timeout=10", "add-port", p.Bridge, host}
	if p.VLAN != 0 {
		port = append(port, fmt.Sprint("tag=", p.VLAN), "vlan_mode=access")
	}
	port = append(port, "--", "set", "Port", host,
		"external_ids:contNetns=/var/run/netns/"+ns, "external_ids:contIface="+s.Interface,
		"external_ids:contPodUid="+string(pod.UID), "external_ids:owner="+portOwner)
	if err := runAll(ctx, commands...); err != nil {
		return err
	}
	return run(ctx, port...)
}

// removeNetwork removes what addNetwork has made, all of it or a part.
func (c *Cluster) removeNetwork(ctx context.Context, n *Node, pod *corev1.Pod) {
	asked, _ := attachments(pod.Annotations[networksAnnotation], pod.Namespace) // what cannot be read was not made
	for _, a := range asked {
		// The port first: ovs-cni removes it before the interface goes.
		_ = run(ctx, "ovs-vsctl", "--db=unix:"+n.DatabaseSocket(), "--timeout=10", "--if-exists", "del-port", hostDevice(pod, a.Interface))
	}
	_ = run(ctx, "ip", "netns", "del", podNetNS(pod)) // the cables go with it
}
