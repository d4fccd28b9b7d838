//go:build integration

package kubetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/controller/kube/kubetest"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
	"meshlab.dev/meshlab/scenarios"
)

// agentSet is the DaemonSet by which 'bench --kube' finds the mesh's agent. Here
// nothing runs it: the agents of these tests are processes.
const agentSet = `
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: meshlab-agent, namespace: kube-system, labels: { app.kubernetes.io/name: meshlab-agent } }
spec:
  selector: { matchLabels: { app.kubernetes.io/name: meshlab-agent } }
  template:
    metadata: { labels: { app.kubernetes.io/name: meshlab-agent } }
    spec:
      containers: [{ name: agent, image: "registry.example/meshlab:1", args: [agent, --vip, ` + kubetest.VirtualIP + `, --bridge=br1] }]
`

// benchCluster is a cluster of two nodes with all that three meshes need.
func benchCluster(t *testing.T) (c *kubetest.Cluster, kubeconfig string) {
	t.Helper()
	consul := consultest.Cluster(t, "server")[0]
	c = kubetest.StandInCluster(t, "one", "two")
	program, err := meshlab()
	if err != nil {
		t.Fatal(err)
	}
	c.SetImage("meshlab", program)
	c.ApplyText(rights)
	c.ApplyText(agentSet)
	c.StandInInjector(kubetest.Consul{Program: consul.Spec.Path, Socket: consul.Socket})
	for _, n := range c.Nodes {
		startAgent(t, c, n)
	}
	return c, kubetest.Kubeconfig(t, c.Config)
}

// bench runs `meshlab bench --kube` and returns what it printed.
func bench(t *testing.T, kubeconfig string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := meshlab()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"bench", "--kube", "kubetest", "--kubeconfig", kubeconfig}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return cmd
}

// TestBench measures HashiCups on two nodes under all meshes, by the verb.
func TestBench(t *testing.T) {
	c, kubeconfig := benchCluster(t)

	t.Run("both labs", func(t *testing.T) {
		cmd := bench(t, kubeconfig, "hashicups", "hashicups-single-node", "--quick")
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s%s", err, cmd.Stderr, cmd.Stdout)
		}
		t.Logf("%s%s", cmd.Stderr, cmd.Stdout)
		res, err := scenarios.ReadFile(filepath.Join(cmd.Dir, "results", "latest.json"))
		if err != nil {
			t.Fatal(err)
		}
		// Two requests, two numbers of connections, three meshes, two labs.
		if len(res.Cells) != 24 {
			t.Errorf("%d cells", len(res.Cells))
		}
		for _, cell := range res.Cells {
			for _, a := range cell.Attempts {
				if a.Errors > 0 {
					t.Errorf("%s under %s: %d of %d requests failed: %v", cell.Point(), cell.Mesh, a.Errors, a.Requests, a.ErrorKind)
				}
			}
		}
		if e := res.Environment; e.Runtime != scenarios.Kubernetes || e.Cluster == nil || len(e.Cluster.Workers()) != 2 || e.Cores == 0 || e.Proxy == "" {
			t.Errorf("the environment is %+v", e)
		}
		report := exec.Command(cmd.Path, "report", "results/latest.json")
		report.Dir = cmd.Dir
		if out, err := report.CombinedOutput(); err != nil {
			t.Errorf("report: %v: %s", err, out)
		}
		nothingLeft(t, c)
	})

	t.Run("interrupted", func(t *testing.T) {
		cmd := bench(t, kubeconfig, "hashicups", "--requests", "100000", "--mesh", "direct")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		measuring(t, c)
		_ = cmd.Process.Signal(syscall.SIGINT)
		err := cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(fmt.Sprint(cmd.Stderr), "nothing is left in the cluster") {
			t.Errorf("%v\n%s", err, cmd.Stderr)
		}
		nothingLeft(t, c)
	})

	t.Run("killed, and found by the next", func(t *testing.T) {
		cmd := bench(t, kubeconfig, "hashicups", "--mesh", "direct")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		name := ""
		kubetest.Eventually(t, "the namespace to be there", func(ctx context.Context) error {
			list, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: "meshlab.dev/run"})
			if err == nil && len(list.Items) == 0 {
				err = fmt.Errorf("it is not")
			}
			if err == nil {
				name = list.Items[0].Name
			}
			return err
		})
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		next := bench(t, kubeconfig, "hashicups", "--mesh", "direct", "--quick", "--only", "api", "--connections", "1")
		if err := next.Run(); err != nil {
			t.Errorf("%v\n%s", err, next.Stderr)
		}
		if !strings.Contains(fmt.Sprint(next.Stderr), "kubectl delete namespace "+name) {
			t.Errorf("the next run does not tell of %s:\n%s", name, next.Stderr)
		}
		if err := c.Client.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		nothingLeft(t, c)
	})

	t.Run("the load dies", func(t *testing.T) {
		cmd := bench(t, kubeconfig, "hashicups", "--mesh", "direct", "--requests", "100000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kubetest.Eventually(t, "the load to be killed", func(context.Context) error {
			p, err := findProcess("kube-load")
			if err == nil {
				err = p.Kill()
			}
			return err
		})
		_ = cmd.Wait()
		if text := fmt.Sprint(cmd.Stderr); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(text, "the pod that sends the load has ended before its result was there") {
			t.Errorf("exit code %d:\n%s", cmd.ProcessState.ExitCode(), text)
		}
		nothingLeft(t, c)
	})

	t.Run("the API server is away for a while", func(t *testing.T) {
		cmd := bench(t, kubeconfig, "hashicups", "--mesh", "direct,ovs", "--only", "api", "--connections", "1", "--requests", "500", "--repeats", "8")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		measuring(t, c)
		c.Stop()
		attempts := map[int]bool{} // by process
		kubetest.Eventually(t, "the load to make two more attempts", func(context.Context) error {
			p, err := findProcess("load")
			if err != nil {
				return err
			}
			if attempts[p.Pid] = true; len(attempts) < 3 {
				return fmt.Errorf("it has begun %d", len(attempts))
			}
			return nil
		})
		c.Resume()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, cmd.Stderr)
		}
		nothingLeft(t, c)
	})
}

// measuring waits until the load tells how far it is.
func measuring(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	kubetest.Eventually(t, "the load to tell how far it is", func(ctx context.Context) error {
		maps, err := c.Client.CoreV1().ConfigMaps("").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=load-progress"})
		if err == nil && (len(maps.Items) == 0 || !bytes.Contains(maps.Items[0].BinaryData["text"], []byte("event"))) {
			err = fmt.Errorf("it has not")
		}
		return err
	})
}

// nothingLeft fails unless the cluster is as it was.
func nothingLeft(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	kubetest.Eventually(t, "namespaces of runs to be gone", func(ctx context.Context) error {
		list, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: "meshlab.dev/run"})
		if err == nil && len(list.Items) > 0 {
			text, _ := json.Marshal(list.Items[0].Status)
			err = fmt.Errorf("%s is there: %s", list.Items[0].Name, text)
		}
		return err
	})
	for _, n := range c.Nodes {
		if ports := n.Vsctl("--bare", "--columns=name", "find", "Port", "external_ids:owner=ovs-cni.network.kubevirt.io"); ports != "" {
			t.Errorf("node %s has ports of pods: %s", n.Name, ports)
		}
	}
	if _, err := findProcess("kube-load"); err == nil {
		t.Error("the load runs")
	}
}

// findProcess finds a process of meshlab by its verb.
func findProcess(verb string) (*os.Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		words := strings.Split(string(line), "\x00")
		if i := slices.Index(words, verb); i != 1 {
			continue
		}
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			return os.FindProcess(pid)
		}
	}
	return nil, fmt.Errorf("no process of 'meshlab %s' runs", verb)
}
