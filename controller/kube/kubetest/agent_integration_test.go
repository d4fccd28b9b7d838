//go:build integration

package kubetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/controller/kube/kubetest"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
)

// coffees waits until all of HashiCups answers to a pod.
func coffees(t *testing.T, c *kubetest.Cluster, from corev1.Pod) {
	t.Helper()
	kubetest.Eventually(t, "the coffees", func(context.Context) error {
		names, err := c.Coffees(from)
		if err != nil {
			return err
		}
		if len(names) != 9 || !slices.Contains(names, "HCP Aeropress") {
			t.Fatalf("the coffees are %q", names)
		}
		return nil
	})
}

// TestHashiCups runs the manifests of HashiCups on two nodes with an agent
// each, which may do no more than docs/kubernetes.md says.
func TestHashiCups(t *testing.T) {
	c := kubetest.StandInCluster(t, "one", "two")
	c.ApplyText(rights)
	pods := c.ApplyHashiCups()
	client := pods["load-testing"]

	t.Run("services of the cluster", func(t *testing.T) {
		first := startAgent(t, c, c.Nodes[0])
		startAgent(t, c, c.Nodes[1])
		begun := time.Now()
		coffees(t, c, client)
		t.Logf("coffees %v after the agents were well", time.Since(begun).Round(time.Millisecond))
		tunnelled(t, c)
		t.Run("an agent is killed under load", func(t *testing.T) { killUnderLoad(t, c, client, first) })
		t.Run("a pod is replaced", func(t *testing.T) {
			replace(t, c, "payments")
			replace(t, c, "products-api")
			coffees(t, c, client)
		})
	})

	t.Run("services in Consul", func(t *testing.T) {
		consul := consultest.Cluster(t, "server")[0]
		flags := []string{"--consul", "unix://" + consul.Socket, "--lease", "10s"}
		startAgent(t, c, c.Nodes[0], flags...)
		startAgent(t, c, c.Nodes[1], flags...)
		coffees(t, c, client)
		instances := func() (ids []string, err error) {
			all, _, err := consul.Client.Catalog().Service("payments", "", nil)
			for _, s := range all {
				ids = append(ids, s.ServiceID)
			}
			return ids, err
		}
		registered := func(pod corev1.Pod) {
			t.Helper()
			kubetest.Eventually(t, "pod "+pod.Name+" alone to be registered", func(context.Context) error {
				ids, err := instances()
				if err == nil && (len(ids) != 1 || !strings.Contains(ids[0], pod.Name)) {
					err = fmt.Errorf("registered are %q", ids)
				}
				return err
			})
		}
		registered(c.Ready("app", "payments"))
		registered(replace(t, c, "payments"))
		coffees(t, c, client)
	})
}

// tunnelled checks that the pods are on both nodes and that frames passed
// between these.
func tunnelled(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		// Open vSwitch counts every five seconds (ovs-vswitchd.conf.db(5), stats-update-interval).
		kubetest.Eventually(t, "frames from "+n.Name+" over VXLAN", func(context.Context) error {
			statistics := n.Vsctl("--bare", "--columns=statistics", "find", "Interface", "type=vxlan")
			for field := range strings.FieldsSeq(statistics) {
				if value, ok := strings.CutPrefix(field, "tx_packets="); ok && value != "0" {
					return nil
				}
			}
			return fmt.Errorf("the tunnel tells %q", statistics)
		})
	}
}

// underLoad is how long an agent is killed again and again.
const underLoad = 10 * time.Second

// killUnderLoad kills an agent and starts it again, for as long as underLoad,
// while clients that keep their connections and others that do not ask without
// a pause; no request may fail.
func killUnderLoad(t *testing.T, c *kubetest.Cluster, from corev1.Pod, a *agent) {
	l := startLoad(t, c, from)
	times := 0
	for begun := time.Now(); time.Since(begun) < underLoad; times++ {
		a.end([]os.Signal{syscall.SIGKILL, syscall.SIGTERM}[times%2])
		l.more(20) // without it
		a.run()
		a.healthy()
		l.more(20)
	}
	l.end()
	t.Logf("the agent has ended %d times", times)
}

// replace deletes the pod of an app and returns the one that comes for it,
// once the old one has gone.
func replace(t *testing.T, c *kubetest.Cluster, app string) corev1.Pod {
	t.Helper()
	old := c.Ready("app", app)
	if err := c.Client.CoreV1().Pods(old.Namespace).Delete(t.Context(), old.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, "pod "+old.Name+" to be gone", func(ctx context.Context) error {
		pods, err := c.Client.CoreV1().Pods(old.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + old.Name})
		if err == nil && len(pods.Items) > 0 {
			err = errors.New("it is there")
		}
		return err
	})
	return c.Ready("app", app)
}
