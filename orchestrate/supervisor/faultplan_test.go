package supervisor

import (
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
)

func TestCheckFaults(t *testing.T) {
	lab, _, err := labs.Load("hashicups", builtin.Names())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		mesh   orchestrate.Mesh
		target string
		want   string // of the error
	}{
		{orchestrate.OVS, "payments", ""},
		{orchestrate.Direct, "controller", ""},
		{orchestrate.OVS, "ovs-vswitchd", ""},
		{orchestrate.OVS, "consul@h2", ""},
		{orchestrate.OVS, "db1", ""},
		{orchestrate.ConsulConnect, "sidecar-payments", ""},
		{orchestrate.ConsulConnect, "sidecar-client", ""},
		{orchestrate.OVS, "sidecar-payments", "kill sidecar-payments: lab hashicups has no process and no node of that name"},
		{orchestrate.OVS, "s1", "one process, ovs-vswitchd"},
	} {
		err := CheckFaults(lab, tc.mesh, []scenarios.Fault{{Kind: scenarios.Kill, Target: tc.target}})
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("kill %s under %s: %v, want %q", tc.target, tc.mesh, err, tc.want)
		}
	}
}
