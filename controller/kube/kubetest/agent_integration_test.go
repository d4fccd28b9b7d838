//go:build integration

package kubetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/controller/kube/kubetest"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
)

// rights are those of docs/kubernetes.md, "RBAC": an agent of these tests has
// no others.
const rights = `
apiVersion: v1
kind: ServiceAccount
metadata: { name: meshlab-agent, namespace: kube-system }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: meshlab-agent }
rules:
- {apiGroups: [""], resources: [pods, nodes], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [pods/status], verbs: [patch]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: meshlab-agent }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: meshlab-agent }
subjects: [{ kind: ServiceAccount, namespace: kube-system, name: meshlab-agent }]
`

// meshlab is the program that was built for these tests. It goes with the
// namespaces that the tests run in.
var meshlab = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), "meshlab")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "meshlab.dev/meshlab/cmd/meshlab").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build meshlab: %w: %s", err, out)
	}
	return path, nil
})

// agent is `meshlab agent` for one node.
type agent struct {
	t    *testing.T
	args []string
	web  string // where it tells how it is
	cmd  *exec.Cmd
	out  *bytes.Buffer
}

// startAgent starts the agent of a node, with more arguments, and waits until
// it is well.
func startAgent(t *testing.T, c *kubetest.Cluster, n *kubetest.Node, more ...string) *agent {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, web: ln.Addr().String()}
	ln.Close()
	a.args = append([]string{"agent", "--kubeconfig", kubetest.Kubeconfig(t, c.ServiceAccount("kube-system", "meshlab-agent")),
		"--node", n.Name, "--bridge", kubetest.Bridge, "--ovsdb", "unix:" + n.DatabaseSocket(),
		"--vip", kubetest.VirtualIP, "--network", kubetest.HashiCupsNetwork, "--metrics", a.web}, more...)
	a.run()
	t.Cleanup(func() {
		a.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the agent of %s printed:\n%s", n.Name, a.out)
		}
	})
	a.healthy()
	return a
}

func (a *agent) run() {
	a.t.Helper()
	path, err := meshlab()
	if err != nil {
		a.t.Fatal(err)
	}
	a.out = &bytes.Buffer{}
	a.cmd = exec.Command(path, a.args...)
	a.cmd.Stdout, a.cmd.Stderr = a.out, a.out
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
}

// end ends the agent by a signal and waits.
func (a *agent) end(signal os.Signal) {
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Signal(signal)
		_ = a.cmd.Wait() // its output tells
	}
}

func (a *agent) healthy() {
	a.t.Helper()
	kubetest.Eventually(a.t, "the agent to be well", func(context.Context) error {
		response, err := http.Get("http://" + a.web + "/healthz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			var text bytes.Buffer
			_, _ = text.ReadFrom(response.Body)
			return fmt.Errorf("%s: %s", response.Status, text.String())
		}
		return nil
	})
}

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

// killUnderLoad kills an agent and starts it again while a pod asks without a
// pause; no request may fail.
func killUnderLoad(t *testing.T, c *kubetest.Cluster, from corev1.Pod, a *agent) {
	stop := make(chan struct{})
	var asked int
	var failed error
	var load sync.WaitGroup
	load.Go(func() {
		for ; ; asked++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Coffees(from); err != nil {
				failed = errors.Join(failed, err)
			}
		}
	})
	a.end(syscall.SIGKILL)
	a.run()
	a.healthy()
	a.end(syscall.SIGTERM)
	a.run()
	a.healthy()
	close(stop)
	load.Wait()
	t.Logf("%d requests", asked)
	if failed != nil || asked == 0 {
		t.Errorf("of %d requests failed: %v", asked, failed)
	}
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
