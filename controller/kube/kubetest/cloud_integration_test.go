//go:build integration

package kubetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"meshlab.dev/meshlab/controller/kube/kubetest"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/terraform/standin"
)

// cloud runs `meshlab cloud` with a home of its own.
type cloud struct {
	t    *testing.T
	home string
}

func (c cloud) run(args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	program, err := meshlab()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.CommandContext(c.t.Context(), program, append([]string{"cloud"}, args...)...)
	cmd.Dir = c.home
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+c.home, "HOME="+c.home)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	c.t.Logf("meshlab cloud %s: %v\n%s%s", strings.Join(args, " "), err, errs.String(), out.String())
	return out.String(), errs.String(), err
}

func (c cloud) ok(args ...string) string {
	c.t.Helper()
	out, errs, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("meshlab cloud %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

// rollOut writes what a controller of DaemonSets does about the agent's: here its
// pods are processes.
func rollOut(ctx context.Context, c *kubetest.Cluster) error {
	sets := c.Client.AppsV1().DaemonSets("kube-system")
	d, err := sets.Get(ctx, "meshlab-agent", metav1.GetOptions{})
	if err != nil {
		return err
	}
	status, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": d.Generation, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
		"updatedNumberScheduled": 2, "numberReady": 2, "numberMisscheduled": 0,
	}})
	if err != nil {
		return err
	}
	_, err = sets.Patch(ctx, d.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}

// TestCloudBench goes the whole way with stand-ins for Terraform's providers: up,
// bench with one cluster of stand-ins in the place of both, down, down again.
func TestCloudBench(t *testing.T) {
	consul := consultest.Cluster(t, "server")[0]
	c := kubetest.StandInCluster(t, "one", "two")
	program, err := meshlab()
	if err != nil {
		t.Fatal(err)
	}
	c.SetImage("meshlab", program)
	c.ApplyText(rights)
	c.StandInInjector(kubetest.Consul{Program: consul.Spec.Path, Socket: consul.Socket})
	for _, n := range c.Nodes {
		startAgent(t, c, n)
	}
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer images.Close()

	verbs := cloud{t, t.TempDir()}
	sky := standin.Cloud{Path: filepath.Join(verbs.home, "cloud.json")}
	verbs.ok("up", "mine", "--from", "198.51.100.7", "--stand-in", sky.Path, "--yes")
	if _, errs, err := verbs.run("bench", "--quick"); err == nil || !strings.Contains(errs, "for a rehearsal add clusters and a registry") {
		t.Errorf("without clusters: %v, %s", err, errs)
	}
	kubeconfig := kubetest.Kubeconfig(t, c.Config)
	err = sky.Change(func(s *standin.State) error {
		s.Clusters, s.Registry = map[string]string{"aks": kubeconfig, "ovs": kubeconfig}, strings.TrimPrefix(images.URL, "http://")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := verbs.ok("kubeconfig"); strings.Count(out, kubeconfig) != 2 {
		t.Errorf("kubeconfig prints %q", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rolled := make(chan struct{})
	go func() {
		defer close(rolled)
		kubetest.Eventually(t, "the agent to be applied", func(context.Context) error { return rollOut(ctx, c) })
	}()
	out := verbs.ok("bench", "--quick", "--labs", "hashicups", "--only", "api", "--output", "json")
	cancel()
	<-rolled
	var said struct {
		Group, Image, Report string
		Clusters             []struct{ Cluster, Path, Error string }
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || len(said.Clusters) != 2 {
		t.Fatalf("bench prints %s: %v", out, err)
	}
	want := map[string]string{"aks": "consul-connect", "ovs": "ovs"}
	for _, m := range said.Clusters {
		res, err := scenarios.ReadFile(filepath.Join(verbs.home, m.Path))
		if err != nil {
			t.Fatal(err)
		}
		meshes := map[string]bool{}
		for _, cell := range res.Cells {
			meshes[string(cell.Mesh)] = true
			for _, a := range cell.Attempts {
				if a.Errors > 0 {
					t.Errorf("%s, %s under %s: %d requests failed: %v", m.Cluster, cell.Point(), cell.Mesh, a.Errors, a.ErrorKind)
				}
			}
		}
		if !meshes["direct"] || !meshes[want[m.Cluster]] || len(meshes) != 2 || res.Environment.Group != said.Group {
			t.Errorf("%s was measured under %v in group %q, want %q", m.Cluster, meshes, res.Environment.Group, said.Group)
		}
	}
	for _, file := range []string{said.Report} {
		if st, err := os.Stat(filepath.Join(verbs.home, file)); err != nil || st.Size() == 0 {
			t.Errorf("the report: %v", err)
		}
	}
	d, err := c.Client.AppsV1().DaemonSets("kube-system").Get(t.Context(), "meshlab-agent", metav1.GetOptions{})
	if err != nil || d.Spec.Template.Spec.Containers[0].Image != said.Image {
		t.Errorf("the agent is of image %v, bench pushed %s: %v", d.Spec.Template.Spec.Containers, said.Image, err)
	}
	nothingLeft(t, c)

	verbs.ok("down")
	if out := verbs.ok("down", "mine"); !strings.Contains(out, "nothing to do") {
		t.Errorf("the second down says %q", out)
	}
	if s, err := sky.Load(); err != nil || len(s.Resources) > 0 {
		t.Errorf("the stand-in's cloud holds %v, %v", s.Resources, err)
	}
	if _, err := os.Stat(filepath.Join(verbs.home, "meshlab", "cloud", "mine")); !os.IsNotExist(err) {
		t.Errorf("the lab's folder: %v", err)
	}
	if _, err := os.Stat(kubeconfig); err != nil {
		t.Errorf("a kubeconfig that is not the lab's: %v", err)
	}
}
