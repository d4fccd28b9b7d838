package fault

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// line is a lab of three switches in a row, with a host at each end.
func line(switches topo.Switches) *topo.Lab {
	end := func(n string) topo.Endpoint { return topo.Endpoint{Node: n} }
	port := func(n string, number uint32) topo.Endpoint {
		return topo.Endpoint{Node: n, Interface: fmt.Sprint(number), Port: number}
	}
	return &topo.Lab{
		Name: "line", Switches: switches,
		Nodes: []topo.Node{
			{Name: "h1", Kind: topo.KindHost}, {Name: "h-2", Kind: topo.KindHost},
			{Name: "s1", Kind: topo.KindSwitch}, {Name: "s2", Kind: topo.KindSwitch}, {Name: "s3", Kind: topo.KindSwitch},
		},
		Links: []topo.Link{
			{A: end("h1"), B: end("s1")}, {A: port("s1", 2), B: port("s2", 1)}, {A: end("s2"), B: end("s3")}, {A: end("s3"), B: end("h-2")},
		},
	}
}

func processes(isolated bool) []Process {
	all := []Process{{"controller", ""}, {"web", "h1"}, {"consul@h1", "h1"}, {"db", "h-2"}}
	if isolated {
		return append(all, Process{"ovs-vswitchd@s1", "s1"}, Process{"ovs-vswitchd@s2", "s2"})
	}
	return append(all, Process{"ovs-vswitchd", ""})
}

func TestPlan(t *testing.T) {
	kill := func(target string) scenarios.Fault { return scenarios.Fault{Kind: scenarios.Kill, Target: target} }
	cut := func(target string) scenarios.Fault { return scenarios.Fault{Kind: scenarios.Cut, Target: target} }
	part := func(a, b string) scenarios.Fault {
		return scenarios.Fault{Kind: scenarios.Partition, Groups: [][]string{strings.Split(a, ","), strings.Split(b, ",")}}
	}
	for name, tc := range map[string]struct {
		fault    scenarios.Fault
		isolated bool
		want     string // what is struck, or
		err      string
	}{
		"a service":             {fault: kill("web"), want: "web"},
		"the controller":        {fault: kill("controller"), want: "controller"},
		"an agent":              {fault: scenarios.Fault{Kind: scenarios.Pause, Target: "consul@h1"}, want: "consul@h1"},
		"a host":                {fault: kill("h1"), want: "web, consul@h1, h1-s1"},
		"a shared switch":       {fault: kill("s1"), err: "kill s1: all switches of lab line are one process, ovs-vswitchd"},
		"all switches":          {fault: kill("ovs-vswitchd"), want: "ovs-vswitchd"},
		"a switch of its own":   {fault: kill("s1"), isolated: true, want: "ovs-vswitchd@s1"},
		"nothing":               {fault: kill("wbe"), err: "kill wbe: lab line has no process and no node of that name: it has controller, web, consul@h1, db, ovs-vswitchd, h1, h-2"},
		"a link":                {fault: cut("s1-s2"), want: "s1-s2"},
		"a link with its ports": {fault: cut("s2:1-s1:2"), want: "s1-s2"},
		"a link, the other way": {fault: cut("s2-s1"), want: "s1-s2"},
		"a host with a hyphen":  {fault: cut("h-2-s3"), want: "s3-h-2"},
		"no link":               {fault: cut("h1-s2"), err: "cut h1-s2: lab line has no link \"h1-s2\": it has h1-s1, s1-s2, s2-s3, s3-h-2"},
		"a slow link":           {fault: scenarios.Fault{Kind: scenarios.Degrade, Target: "h1-s1", Delay: time.Second}, want: "h1-s1"},
		"a link like any other": {fault: scenarios.Fault{Kind: scenarios.Degrade, Target: "h1-s1"}, err: "state delay, jitter, loss or bandwidth"},
		"a partition":           {fault: part("s1", "s2,s3"), want: "s1-s2"},
		"two cuts":              {fault: part("s1,s3", "s2"), want: "s1-s2, s2-s3"},
		"a switch between":      {fault: part("s1", "s3"), err: "partition s1 s3: s2 would still join them"},
		"a switch in both":      {fault: part("s1,s2", "s2,s3"), err: "switch s2 is in both groups"},
		"a host in a group":     {fault: part("h1", "s2"), err: "h1 is a host, and hosts follow their switch"},
		"no switch":             {fault: part("s1", "s9"), err: "lab line has no switch s9: it has s1, s2, s3"},
		"one group":             {fault: scenarios.Fault{Kind: scenarios.Partition, Groups: [][]string{{"s1"}}}, err: "two groups"},
		"no kind":               {fault: scenarios.Fault{Kind: "burn", Target: "web"}, err: `no fault "burn"`},
		"no target":             {fault: kill(""), err: "name a target"},
		"too long":              {fault: scenarios.Fault{Kind: scenarios.Kill, Target: "web", For: 25 * time.Hour}, err: "24h0m0s at most"},
	} {
		t.Run(name, func(t *testing.T) {
			switches := topo.Switches("")
			if tc.isolated {
				switches = topo.SwitchesIsolated
			}
			got, err := Plan(line(switches), processes(tc.isolated), tc.fault)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("error %v, want %q", err, tc.err)
				}
				return
			}
			if names := strings.Join(got.Names(), ", "); err != nil || names != tc.want {
				t.Errorf("%s, %v; want %s", names, err, tc.want)
			}
		})
	}
}

func TestDetourThroughAnySwitch(t *testing.T) {
	lab := line("")
	lab.Links = append(lab.Links, topo.Link{A: topo.Endpoint{Node: "s1"}, B: topo.Endpoint{Node: "s3"}})
	f := scenarios.Fault{Kind: scenarios.Partition, Groups: [][]string{{"s1"}, {"s3"}}}
	if _, err := Plan(lab, nil, f); err == nil || !strings.Contains(err.Error(), "s2 would still join them") {
		t.Errorf("a ring: %v", err)
	}
	f.Groups[1] = []string{"s3", "s2"}
	got, err := Plan(lab, nil, f)
	if err != nil || !slices.Equal(got.Names(), []string{"s1-s2", "s1-s3"}) {
		t.Errorf("%v, %v", got.Names(), err)
	}
}
