//go:build integration

package explain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/pipeline"
)

// install makes the network's switches bridges of a real Open vSwitch, with
// patch ports between them and hosts' ports that lead nowhere.
func install(t *testing.T, n Network) *ovstest.OVS {
	t.Helper()
	ovs := ovstest.Start(t)
	for _, dp := range n.Datapaths {
		ovs.AddBridge(dp.Name)
	}
	for _, dp := range n.Datapaths {
		for _, port := range dp.Access {
			name := fmt.Sprintf("%s-%d", dp.Name, port)
			ovs.Vsctl("add-port", dp.Name, name, "--", "set", "Interface", name, "type=internal", fmt.Sprintf("ofport_request=%d", port))
		}
		for port, peer := range dp.Trunks {
			name := fmt.Sprintf("%s-%d", dp.Name, port)
			ovs.Vsctl("add-port", dp.Name, name, "--", "set", "Interface", name, "type=patch",
				fmt.Sprintf("options:peer=%s-%d", peer.Datapath, peer.Port), fmt.Sprintf("ofport_request=%d", port))
		}
		program(t, ovs, dp.Name, n.Programs[dp.Name])
	}
	return ovs
}

func program(t *testing.T, ovs *ovstest.OVS, bridge string, p pipeline.Program) {
	t.Helper()
	for _, m := range p.Meters {
		ovs.Ofctl("add-meter", bridge, fmt.Sprintf("meter=%d,pktps,burst,bands=type=drop,rate=%d,burst_size=%d", m.ID, m.Rate, m.Burst))
	}
	for _, g := range p.Groups {
		ovs.Ofctl("add-group", bridge, g.String())
	}
	var flows []string
	for _, f := range p.Flows {
		flows = append(flows, fmt.Sprintf("cookie=%#x,%s", f.Cookie, f))
	}
	file := filepath.Join(t.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(strings.Join(flows, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	ovs.Ofctl("replace-flows", bridge, file)
}

func TestOpenVSwitchAgrees(t *testing.T) {
	n := compiled(t, nil)
	ovs := install(t, n)
	run := func(_ context.Context, _ string, args []string) (string, error) { return ovs.Appctl(args...), nil }
	for _, c := range []struct {
		name    string
		q       Question
		outcome Outcome
	}{
		{"a call over three switches", Question{From: "public-api", To: "payments"}, Reaches},
		{"one of two instances", Question{From: "web@h2", To: "api"}, Reaches},
		{"the other instance", Question{From: "web@h2", To: "api", SourcePort: 40003}, Reaches},
		{"hairpin", Question{From: "frontend", To: "public-api"}, Reaches},
		{"direct", Question{From: "h1", To: "h3:8002"}, Reaches},
		{"no service", Question{From: "h1", To: "h3:9"}, Reaches},
		{"denied", Question{From: "frontend", To: "payments"}, Denied},
		{"denied beside the mesh", Question{From: "h2", To: "h3:8080"}, Denied},
		{"refused", Question{From: "public-api", To: "refunds"}, Refused},
		{"nothing called there", Question{From: "h1", To: vip + ":1"}, Refused},
		{"stray", Question{From: "h1", To: vip + ":9340", Flags: "rst"}, Dropped},
		{"ARP for the virtual address", Question{From: "h1", To: vip, Protocol: "arp"}, Answered},
		{"ARP for a host", Question{From: "h1", To: "h3", Protocol: "arp"}, Reaches},
		{"DNS", Question{From: "h1", To: vip + ":53", Protocol: "udp"}, Controller},
		{"ping", Question{From: "h2", To: "h3", Protocol: "icmp"}, Reaches},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := TraceOf(n, c.q)
			if err != nil {
				t.Fatal(err)
			}
			if tr.There.Verdict.Outcome != c.outcome {
				t.Errorf("outcome %s (%s), want %s", tr.There.Verdict.Outcome, tr.There.Verdict.Text, c.outcome)
			}
			a, err := Check(t.Context(), tr, run)
			if err != nil {
				t.Fatal(err)
			}
			if !a.OK() || a.Choice || a.Steps == 0 {
				ways := []Way{tr.There}
				if tr.Back != nil {
					ways = append(ways, *tr.Back)
				}
				for _, w := range ways {
					for _, h := range w.Hops {
						t.Log(ovs.Appctl(h.OVS...))
					}
				}
				t.Errorf("%s", a)
			}
		})
	}
}

// TestOpenVSwitchDiffers changes a flow behind the back of the controller.
func TestOpenVSwitchDiffers(t *testing.T) {
	n := compiled(t, nil)
	ovs := install(t, n)
	ovs.Ofctl("add-flow", "s3", "table=18,priority=60000,tcp,actions=drop")
	tr, err := TraceOf(n, Question{From: "public-api", To: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Check(t.Context(), tr, func(_ context.Context, _ string, args []string) (string, error) { return ovs.Appctl(args...), nil })
	if err != nil {
		t.Fatal(err)
	}
	if a.OK() || !strings.Contains(a.Difference, "s3, step 2: it meets table 18, priority 60000") {
		t.Errorf("%s", a)
	}
	// Without the hash, Open vSwitch stops at the group, and that is no difference.
	if tr, err = TraceOf(n, Question{From: "web@h2", To: "api"}); err != nil {
		t.Fatal(err)
	}
	args := slices.Clone(tr.There.Hops[0].OVS)
	args[2], _, _ = strings.Cut(args[2], ",dp_hash=")
	steps, err := ParseOVS(ovs.Appctl(args...))
	if err != nil {
		t.Fatal(err)
	}
	if a := Compare(tr.There.Hops[0], steps); !a.OK() || !a.Choice {
		t.Errorf("without the hash: %s", a)
	}
}
