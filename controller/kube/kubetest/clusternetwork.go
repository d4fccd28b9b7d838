package kubetest

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// The cluster's own network, which each pod's eth0 is in: one Linux bridge for
// all nodes, so that pods reach each other at status.podIP. The API server is
// there too, at the address of the bridge, where pods look for it.
const (
	clusterBridge = "pods"
	// podPrefix is where status.podIP comes from: the node's number and the pod's.
	podPrefix = "10.244."
	// clusterAddress is that of the API server for pods.
	clusterAddress = podPrefix + "0.1"
)

func (c *Cluster) startClusterNetwork() {
	c.t.Helper()
	if err := runAll(c.t.Context(),
		"ip link add "+clusterBridge+" type bridge",
		"ip addr add "+clusterAddress+"/16 dev "+clusterBridge,
		"ip link set "+clusterBridge+" up",
	); err != nil {
		c.t.Fatalf("make the cluster's network: %v", err)
	}
	c.t.Cleanup(func() {
		if err := runAll(context.Background(), "ip link del "+clusterBridge); err != nil {
			c.t.Errorf("remove the cluster's network: %v", err)
		}
	})
}

// joinCluster makes eth0 of a pod whose namespace is there. The cable goes with
// the namespace.
func joinCluster(ctx context.Context, pod *corev1.Pod, podIP string) error {
	ns, host := podNetNS(pod), hostDevice(pod, "eth0")
	return runAll(ctx,
		fmt.Sprintf("ip link add %s type veth peer name eth0 netns %s", host, ns),
		"ip link set "+host+" master "+clusterBridge+" up",
		"ip -n "+ns+" addr add "+podIP+"/16 dev eth0",
		"ip -n "+ns+" link set eth0 up",
	)
}
