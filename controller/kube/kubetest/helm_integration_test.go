//go:build integration

package kubetest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/controller/kube/kubetest"
)

// tool runs helm or kustomize, which .ci/helm has built.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	folder, err := exec.Command(filepath.Join("..", "..", "..", ".ci", "helm")).Output()
	if err != nil {
		t.Fatalf("find %s: %v; it is built outside of these tests, where there is a network: .ci/helm", name, err)
	}
	home := t.TempDir()
	cmd := exec.Command(filepath.Join(strings.TrimSpace(string(folder)), name), args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, problem.String())
	}
	return string(out)
}

// TestHelm installs the chart by Helm, changes it and removes it; and applies
// the base.
func TestHelm(t *testing.T) {
	s := kubetest.Start(t)
	const namespace, name = "kube-system", "agents"
	kubeconfig := kubetest.Kubeconfig(t, s.Config)
	chart := filepath.Join("..", "deploy", "chart")
	helm := func(args ...string) string {
		t.Helper()
		return tool(t, "helm", append(args, "--kubeconfig", kubeconfig, "--namespace", namespace)...)
	}
	agents := func() *appsv1.DaemonSet {
		t.Helper()
		set, err := s.Client.AppsV1().DaemonSets(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	said := helm("install", name, chart, "--set", "image=meshlab:1,config.vip=10.1.1.254")
	if !strings.Contains(said, "Upstreams of pods are at 10.1.1.254") {
		t.Errorf("helm install says:\n%s", said)
	}
	first := agents()
	helm("upgrade", name, chart, "--reuse-values", "--set", "config.drain=90s")
	second := agents()
	if a, b := first.Spec.Template.Annotations, second.Spec.Template.Annotations; len(a) != 1 || a["checksum/config"] == b["checksum/config"] {
		t.Errorf("another configuration makes no new pods: annotations were %v, and are %v", a, b)
	}
	if got := second.Spec.Template.Spec.Containers[0].Image; got != "meshlab:1" {
		t.Errorf("the image is %s", got)
	}
	// What deletes a DaemonSet's pods, and it after them, is not here: no --wait.
	helm("uninstall", name)
	if _, err := s.Client.RbacV1().ClusterRoles().Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after helm uninstall, the role: %v", err)
	}

	s.ApplyText(tool(t, "kustomize", "build", filepath.Join("..", "deploy", "kustomize")))
	if _, err := s.Client.AppsV1().DaemonSets(namespace).Get(t.Context(), "meshlab-agent", metav1.GetOptions{}); err != nil {
		t.Errorf("the base was applied: %v", err)
	}
}
