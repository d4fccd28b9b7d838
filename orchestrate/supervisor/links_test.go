package supervisor

import (
	"reflect"
	"strings"
	"testing"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

func TestLinkCounters(t *testing.T) {
	count := func(n uint64) scenarios.Counter { return scenarios.Counter{Packets: n, Bytes: 100 * n} }
	host := func(name string) topo.Endpoint { return topo.Endpoint{Node: name, Interface: "eth0"} }
	lab := &topo.Lab{Links: []topo.Link{
		{A: host("h1"), B: topo.Endpoint{Node: "s1", Interface: "1", Port: 1}},
		{A: topo.Endpoint{Node: "s1", Interface: "2", Port: 2}, B: host("h2")},
		{A: topo.Endpoint{Node: "s1", Interface: "3", Port: 3}, B: topo.Endpoint{Node: "s2", Interface: "1", Port: 1}},
	}}
	seen := portsSeen{
		devices: map[link.End]portCounters{
			{Device: "h1"}: {In: count(1), Out: count(2)}, {Device: "h2"}: {In: count(3), Out: count(4)}, {Device: "lo"}: {},
			// Of isolated switches.
			{NetNS: "s1", Device: "h1"}: {In: count(1), Out: count(2)}, {NetNS: "s1", Device: "h2"}: {In: count(3), Out: count(4)},
			{NetNS: "s1", Device: "s1.3"}: {In: count(5), Out: count(6)},
		},
		patches: map[topo.Endpoint]portCounters{lab.Links[2].A: {In: count(5), Out: count(6)}},
	}
	want := []LinkCounters{
		{Name: "h1-s1", A: "h1:eth0", B: "s1:1", AToB: count(1), BToA: count(2)},
		{Name: "s1-h2", A: "s1:2", B: "h2:eth0", AToB: count(4), BToA: count(3)},
		{Name: "s1-s2", A: "s1:3", B: "s2:1", AToB: count(6), BToA: count(5)},
	}
	if got, err := linkCounters(lab, seen); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	isolated := *lab
	isolated.Switches = topo.SwitchesIsolated
	if got, err := linkCounters(&isolated, seen); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("isolated: got  %+v, %v\nwant %+v", got, err, want)
	}
	delete(seen.devices, link.End{NetNS: "s1", Device: "s1.3"})
	if got, err := linkCounters(&isolated, seen); err == nil || !strings.Contains(err.Error(), "s1:3 to s2:1") {
		t.Errorf("isolated, without counters: %+v, %v", got, err)
	}
	delete(seen.patches, lab.Links[2].A)
	if got, err := linkCounters(lab, seen); err == nil || !strings.Contains(err.Error(), "s1:3 to s2:1") {
		t.Errorf("without counters: %+v, %v", got, err)
	}
	delete(seen.devices, link.End{Device: "h2"})
	if got, err := linkCounters(lab, seen); err == nil || !strings.Contains(err.Error(), "s1:2 to h2:eth0") {
		t.Errorf("without a device: %+v, %v", got, err)
	}
}
