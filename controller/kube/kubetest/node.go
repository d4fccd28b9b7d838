package kubetest

import (
	"context"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/controller/internal/ovstest"
)

// Node is a node of the API with a network namespace and an Open vSwitch.
type Node struct {
	*ovstest.OVS
	Name   string
	Addr   string // its InternalIP, on the underlay
	number int    // from 1
}

// DatabaseSocket is the socket of the node's OVSDB.
func (n *Node) DatabaseSocket() string { return filepath.Join(n.RunDir, "db.sock") }

func (c *Cluster) startUnderlay() {
	c.t.Helper()
	ctx := c.t.Context()
	if err := runAll(ctx, "ip link add "+underlay+" type bridge", "ip link set "+underlay+" up"); err != nil {
		c.t.Fatalf("make underlay: %v", err)
	}
	c.t.Cleanup(func() {
		if err := runAll(context.Background(), "ip link del "+underlay); err != nil {
			c.t.Errorf("remove underlay: %v", err)
		}
	})
}

// startNode makes the namespace of a node, its Open vSwitch and its object.
// Tunnels of a switch in user space leave by a bridge that has the node's
// address (Open vSwitch documentation, "Connecting VMs Using Tunnels
// (Userspace)"), which is the one a user of that datapath would make too.
func (c *Cluster) startNode(name string, number int) *Node {
	c.t.Helper()
	n := &Node{OVS: ovstest.Start(c.t), Name: name, Addr: fmt.Sprint(underlayPrefix, number), number: number}
	n.AddBridge(Bridge)
	cable := fmt.Sprint("node", number)
	ctx := c.t.Context()
	if err := runAll(ctx,
		"ip netns exec "+n.NetNS+" sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
		"ip link add "+cable+" type veth peer name eth0 netns "+n.NetNS,
		"ip link set "+cable+" master "+underlay+" up",
		"ip -n "+n.NetNS+" link set eth0 up",
		"ip netns exec "+n.NetNS+" ethtool -K eth0 tx off",
	); err != nil {
		c.t.Fatalf("join node %s to the underlay: %v", name, err)
	}
	const physical = "br-underlay"
	n.Vsctl("add-br", physical, "--", "set", "Bridge", physical, "datapath_type=netdev", "--", "add-port", physical, "eth0")
	if err := runAll(ctx,
		"ip -n "+n.NetNS+" addr add "+n.Addr+"/24 dev "+physical,
		"ip -n "+n.NetNS+" link set "+physical+" up",
	); err != nil {
		c.t.Fatalf("give node %s its address: %v", name, err)
	}
	c.createNode(n)
	return n
}

func (c *Cluster) createNode(n *Node) {
	c.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: n.Name, Labels: map[string]string{corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux"},
	}}
	node, err := c.Client.CoreV1().Nodes().Create(c.t.Context(), node, metav1.CreateOptions{})
	if err == nil {
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.Addr}, {Type: corev1.NodeHostName, Address: n.Name}}
		node.Status.Conditions = []corev1.NodeCondition{nodeReady(corev1.ConditionTrue)}
		node, err = c.Client.CoreV1().Nodes().UpdateStatus(c.t.Context(), node, metav1.UpdateOptions{})
	}
	if err == nil { // the API server taints a node that is new, and a controller mends that
		node.Spec.Taints = nil
		_, err = c.Client.CoreV1().Nodes().Update(c.t.Context(), node, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatalf("create node %s: %v", n.Name, err)
	}
}

func nodeReady(status corev1.ConditionStatus) corev1.NodeCondition {
	return corev1.NodeCondition{
		Type: corev1.NodeReady, Status: status, Reason: "Kubetest",
		LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
	}
}

// Fail ends a node as a loss of its power does: its switch and the processes of
// its pods are killed at once. The objects are then as the node lifecycle
// controller leaves them after its patience has ended: the node's condition
// Ready is unknown, that of its pods false, and nobody deletes these.
func (c *Cluster) Fail(n *Node) {
	c.t.Helper()
	c.kubelet[n.Name].end()
	n.KillSwitch()
	node, err := c.Client.CoreV1().Nodes().Get(c.t.Context(), n.Name, metav1.GetOptions{})
	if err == nil {
		node.Status.Conditions = []corev1.NodeCondition{nodeReady(corev1.ConditionUnknown)}
		_, err = c.Client.CoreV1().Nodes().UpdateStatus(c.t.Context(), node, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatalf("mark node %s as lost: %v", n.Name, err)
	}
	pods, err := c.Client.CoreV1().Pods("").List(c.t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + n.Name})
	if err != nil {
		c.t.Fatalf("list pods of node %s: %v", n.Name, err)
	}
	for i := range pods.Items {
		if err := c.patchReady(c.t.Context(), &pods.Items[i], corev1.ConditionFalse, "NodeNotReady"); err != nil {
			c.t.Fatalf("mark pod %s as lost: %v", pods.Items[i].Name, err)
		}
	}
}
