package main

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/kube"
)

// TestBenchOnClusterRefuses holds that what a cluster cannot do is said before
// it is asked, with exit code 2.
func TestBenchOnClusterRefuses(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	for _, tc := range []struct{ args, want string }{
		{"--image x:1", "--image is for clusters: add --kube CONTEXT"},
		{"--kube a --duet", "--duet is not for clusters: each pair of trials needs labs of its own"},
		{"--kube a --ramp p99=20ms", "--ramp is not for clusters"},
		{"--kube a --waterfall", "--waterfall is not for clusters"},
		{"--kube a --runtime docker", "--runtime is not for clusters"},
		{"--kube a --watch", "--watch is not for clusters"},
		{"--kube a --scenario open", "scenario open is an open loop"},
		{"--kube a --scenario thesis,quick", "takes one"},
		{"--kube a --scenario thesis --quick", "--quick is a scenario"},
		{"--kube a --mesh istio", `unknown mesh "istio"`},
		{"--kube a --vip house", "--vip: "},
		{"hashicups hashicups-official --kube a", "are both MN"},
		{"no-such-lab --kube a", "no-such-lab"},
		{"--kube a", "no kubeconfig with a context was found"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			root := newRoot()
			root.SetArgs(append([]string{"bench", "--out", t.TempDir()}, strings.Fields(tc.args)...))
			err := root.ExecuteContext(t.Context())
			var usage usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestChooseMeshes holds that meshes are those that the cluster has what they
// need for, and that one which is asked for and lacks something is an error
// that says what mends it.
func TestChooseMeshes(t *testing.T) {
	all := kube.Facts{Version: "v1.34.3", Attachments: true, Injector: "consul-connect-injector",
		Agent: &kube.Agent{Name: "kube-system/meshlab-agent", VIP: netip.MustParseAddr("10.1.1.254")}}
	for name, tc := range map[string]struct {
		change func(*kube.Facts, *kubeBench)
		want   []orchestrate.Mesh
		err    string
	}{
		"all":                {func(*kube.Facts, *kubeBench) {}, orchestrate.Meshes(), ""},
		"no consul-k8s":      {func(f *kube.Facts, _ *kubeBench) { f.Injector = "" }, []orchestrate.Mesh{orchestrate.Direct, orchestrate.OVS}, ""},
		"no agent":           {func(f *kube.Facts, _ *kubeBench) { f.Agent = nil }, []orchestrate.Mesh{orchestrate.Direct, orchestrate.ConsulConnect}, ""},
		"agents of another":  {func(f *kube.Facts, b *kubeBench) { f.Agent, b.VIP = nil, "10.1.1.1" }, orchestrate.Meshes(), ""},
		"wanted, no Multus":  {func(f *kube.Facts, b *kubeBench) { f.Attachments, b.Meshes = false, []string{"ovs"} }, nil, "it needs Multus"},
		"wanted, no sidecar": {func(f *kube.Facts, b *kubeBench) { f.Injector, b.Meshes = "", []string{"consul-connect"} }, nil, "helm install consul"},
		"twice":              {func(_ *kube.Facts, b *kubeBench) { b.Meshes = []string{"direct", "direct"} }, nil, "given twice"},
		"a selector":         {func(f *kube.Facts, b *kubeBench) { f.Agent.Selector, b.Meshes = "a in (b)", []string{"ovs"} }, nil, "pod_selector"},
	} {
		t.Run(name, func(t *testing.T) {
			facts, agent := all, *all.Agent
			facts.Agent = &agent
			b := kubeBench{}
			tc.change(&facts, &b)
			plan, err := kubeBench{Quick: true}.plan()
			if err != nil {
				t.Fatal(err)
			}
			err = b.choose(&progress{w: &strings.Builder{}}, facts, &plan)
			var got []orchestrate.Mesh
			for _, m := range plan.meshes {
				got = append(got, orchestrate.Mesh(m))
			}
			if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) || err == nil && !slices.Equal(got, tc.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
