//go:build integration

package kubetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/controller/kube/kubetest"
)

// echo is a Deployment of two pods that answer with a text, and a network
// that gives them addresses.
const echo = `
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: { name: lan }
spec: { config: '{"cniVersion": "0.4.0", "type": "ovs", "bridge": "br1", "mtu": 1430, "ipam": {"type": "whereabouts", "range": "10.9.0.0/24"}}' }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo }
spec:
  replicas: 2
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo }, annotations: { k8s.v1.cni.cncf.io/networks: lan } }
    spec:
      serviceAccountName: echo
      terminationGracePeriodSeconds: 5
      containers: [{ name: echo, image: "hashicorp/http-echo:1.0", args: ["-listen=:8080", "-text=hello"], ports: [{ containerPort: 8080 }] }]
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: echo }
`

// plain joins the bridges of two nodes as ordinary switches, as no agent is
// here to do better.
func plain(a, b *kubetest.Node) {
	for n, to := range map[*kubetest.Node]string{a: b.Addr, b: a.Addr} {
		n.Vsctl("add-port", kubetest.Bridge, "vxlan", "--", "set", "Interface", "vxlan", "type=vxlan", "options:remote_ip="+to)
		n.Ofctl("add-flow", kubetest.Bridge, "actions=NORMAL")
	}
}

// address is that of a pod in its network, as Multus tells it.
func address(t *testing.T, pod corev1.Pod) string {
	t.Helper()
	var all []struct {
		Name, Interface string
		IPs             []string
		Default         bool
	}
	if err := json.Unmarshal([]byte(pod.Annotations["k8s.v1.cni.cncf.io/network-status"]), &all); err != nil {
		t.Fatalf("read network-status of %s: %v", pod.Name, err)
	}
	if len(all) != 2 || !all[0].Default || all[1].Name != "default/lan" || all[1].Interface != "net1" || len(all[1].IPs) != 1 {
		t.Fatalf("network-status of %s: %+v", pod.Name, all)
	}
	return all[1].IPs[0]
}

func TestStandIns(t *testing.T) {
	c := kubetest.StandInCluster(t, "one", "two")
	plain(c.Nodes[0], c.Nodes[1])
	c.ApplyText(echo)
	pods := map[string]corev1.Pod{} // by node
	kubetest.Eventually(t, "a pod at each node", func(context.Context) error {
		clear(pods)
		for _, pod := range c.Pods("app", "echo") {
			if pod.Status.Phase == corev1.PodRunning {
				pods[pod.Spec.NodeName] = pod
			}
		}
		if len(pods) != 2 {
			return fmt.Errorf("%d nodes have one", len(pods))
		}
		return nil
	})
	one, two := pods["one"], pods["two"]
	from, to := address(t, one), address(t, two)
	if from == to {
		t.Fatalf("both pods have %s", from)
	}

	// What ovs-cni writes is there, and names the pod.
	ports := c.Nodes[0].Vsctl("--columns=external_ids", "find", "Port", "external_ids:contPodUid="+string(one.UID))
	for _, want := range []string{"contIface=net1", "contNetns=\"/var/run/netns/cni-", "owner=ovs-cni.network.kubevirt.io"} {
		if !strings.Contains(ports, want) {
			t.Errorf("the port of pod %s has no %s: %s", one.Name, want, ports)
		}
	}

	client := c.HTTPClient(one)
	ask := func() error {
		response, err := client.Get("http://" + to + ":8080")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err == nil && string(text) != "hello\n" {
			err = fmt.Errorf("%s answered %q", to, text)
		}
		return err
	}
	kubetest.Eventually(t, "the pod at the other node to answer", func(context.Context) error { return ask() })
	tunnelled(t, c)

	// A pod that is deleted goes, with its port and its namespace, and the
	// Deployment makes another.
	if err := c.Client.CoreV1().Pods("default").Delete(t.Context(), two.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, "the pod to be gone, and another to be ready", func(ctx context.Context) error {
		if out, _ := exec.Command("ip", "netns", "list").Output(); strings.Contains(string(out), string(two.UID)) {
			return fmt.Errorf("its namespace is there: %s", out)
		}
		if left := c.Nodes[1].Vsctl("--columns=name", "find", "Port", "external_ids:contPodUid="+string(two.UID)); left != "" {
			return fmt.Errorf("its port is there: %s", left)
		}
		return replicas(ctx, c, 2)
	})

	for _, pod := range c.Pods("app", "echo") {
		if pod.Spec.NodeName == "two" {
			to = address(t, pod)
		}
	}
	kubetest.Eventually(t, "the new pod to answer", func(context.Context) error { return ask() })

	// One node fails: its pod is not ready any more.
	c.Fail(c.Nodes[1])
	kubetest.Eventually(t, "one pod to be ready", func(ctx context.Context) error { return replicas(ctx, c, 1) })
	if err := ask(); err == nil {
		t.Error("a pod of a node that has failed answers")
	}
}

func replicas(ctx context.Context, c *kubetest.Cluster, want int32) error {
	d, err := c.Client.AppsV1().Deployments("default").Get(ctx, "echo", metav1.GetOptions{})
	if err == nil && (d.Status.ReadyReplicas != want || d.Status.ObservedGeneration != d.Generation) {
		err = fmt.Errorf("status is %+v", d.Status)
	}
	return err
}

// TestHashiCupsStarts runs the manifests without a mesh: every container runs,
// and those that need no upstream answer.
func TestHashiCupsStarts(t *testing.T) {
	c := kubetest.StandInCluster(t, "one", "two")
	plain(c.Nodes[0], c.Nodes[1])
	begun := time.Now()
	pods := c.ApplyHashiCups()
	t.Logf("all pods ready after %v", time.Since(begun).Round(time.Millisecond))
	client := c.HTTPClient(pods["load-testing"])
	for _, url := range []string{"http://10.1.1.4:8080/actuator/health", "http://10.1.1.5:3000/"} {
		kubetest.Eventually(t, url+" to answer", func(context.Context) error {
			response, err := client.Get(url)
			if err != nil {
				return err
			}
			response.Body.Close()
			if response.StatusCode != 200 {
				return fmt.Errorf("status %s", response.Status)
			}
			return nil
		})
	}
	kubetest.Eventually(t, "Postgres to listen", func(context.Context) error {
		conn, err := c.Dial(pods["load-testing"])(t.Context(), "tcp", "10.1.1.11:5432")
		if err == nil {
			conn.Close()
		}
		return err
	})
}
