package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// manifests runs the verb and returns what it prints.
func manifests(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := newAgentManifests()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

func TestAgentManifests(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "values.yaml")
	if err := os.WriteFile(file, []byte("config: {vip: 10.9.9.9, drain: 90s}\nsecret: tokens\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := manifests(t, "--image", "registry.example/meshlab:1.0", "--values", file, "--vip", "10.1.1.254", "--bridge", "br7",
		"--consul", "10.0.0.4:8500", "--network", "lan", "--pod-selector", "mesh=on", "--namespace", "mesh")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"image: registry.example/meshlab:1.0\n", "vip: 10.1.1.254\n", "drain: 90s\n", "- br7\n", "address: 10.0.0.4:8500\n",
		"network: lan\n", "pod_selector: mesh=on\n", "namespace: mesh\n", "name: tokens\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the manifests lack %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "endpointslices") || strings.Contains(text, "kube-system") {
		t.Errorf("the manifests are not those of Consul and namespace mesh:\n%s", text)
	}
}

func TestAgentManifestsInFolders(t *testing.T) {
	for _, form := range []struct {
		args []string
		file string
	}{
		{[]string{"--format", "kustomize", "--image", "a", "--vip", "10.1.1.254"}, "kustomization.yaml"},
		{[]string{"--format", "helm"}, "Chart.yaml"},
		{[]string{"--image", "a", "--vip", "10.1.1.254"}, "meshlab-agent.yaml"},
	} {
		dir := filepath.Join(t.TempDir(), "new")
		args := append(form.args, "--out", dir)
		for range 2 { // the same again is no harm
			if _, err := manifests(t, args...); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, form.file)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := manifests(t, args...); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s is in the way: %v", path, err)
		}
		if text, _ := os.ReadFile(path); string(text) != "mine" {
			t.Errorf("%s was overwritten", path)
		}
	}
}

func TestAgentManifestsSayWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct{ args, want string }{
		"nothing":        {"", "image is missing"},
		"address":        {"--image a --vip 10.1.1", "/config/vip"},
		"form":           {"--image a --vip 10.1.1.254 --format toml", "yaml, kustomize or helm"},
		"folder":         {"--image a --vip 10.1.1.254 --format kustomize", "--out is missing"},
		"chart's folder": {"--format helm", "--out is missing"},
		"chart's values": {"--format helm --out x --vip 10.1.1.254", "takes its values from Helm"},
		"values":         {"--values /nonexistent", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := manifests(t, slices.Collect(strings.FieldsSeq(tc.args))...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}
