package supervisor

import (
	"net"
	"net/netip"
	"reflect"
	"testing"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/topo"
)

// plan is a lab of two hosts on two switches, with the ends of its links in
// either order.
func plan() *topo.Lab {
	host := func(n byte) topo.Node {
		return topo.Node{
			Name: "h" + string('0'+n), Kind: topo.KindHost, MAC: net.HardwareAddr{2, 0, 0, 0, 0, n},
			IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 24),
		}
	}
	return &topo.Lab{
		Nodes: []topo.Node{
			host(1), {Name: "s1", Kind: topo.KindSwitch, DPID: 0x11}, host(2), {Name: "s2", Kind: topo.KindSwitch, DPID: 0x22},
		},
		Links: []topo.Link{
			{A: topo.Endpoint{Node: "h1", Interface: "eth0"}, B: topo.Endpoint{Node: "s1", Interface: "1", Port: 1}, MTU: 1500},
			{A: topo.Endpoint{Node: "s2", Interface: "7", Port: 7}, B: topo.Endpoint{Node: "h2", Interface: "lan"}, MTU: 9000},
			{A: topo.Endpoint{Node: "s1", Interface: "3", Port: 3}, B: topo.Endpoint{Node: "s2", Interface: "4", Port: 4}, MTU: 1500},
		},
	}
}

func TestBridges(t *testing.T) {
	want := []ovs.Bridge{
		{Name: "s1", DPID: 0x11, Ports: []ovs.Port{{Name: "h1", OFPort: 1}, {Name: "s1.3", OFPort: 3, Peer: "s2.4"}}},
		{Name: "s2", DPID: 0x22, Ports: []ovs.Port{{Name: "h2", OFPort: 7}, {Name: "s2.4", OFPort: 4, Peer: "s1.3"}}},
	}
	if got := bridges(plan()); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCables(t *testing.T) {
	lab := plan()
	want := []link.Veth{
		{Host: "h1", Device: "eth0", Peer: "h1", MAC: lab.Nodes[0].MAC, IPv4: lab.Nodes[0].IPv4, MTU: 1500, TxChecksumOffload: true},
		{Host: "h2", Device: "lan", Peer: "h2", MAC: lab.Nodes[2].MAC, IPv4: lab.Nodes[2].IPv4, MTU: 9000, TxChecksumOffload: true},
	}
	if got := cables(lab, true); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, v := range cables(lab, false) {
		if v.TxChecksumOffload {
			t.Errorf("%s keeps its checksum offload", v.Host)
		}
	}
}

// Isolated, a link between switches is a device at each end.
func TestIsolatedBridges(t *testing.T) {
	lab := plan()
	lab.Switches = topo.SwitchesIsolated
	want := []ovs.Bridge{
		{Name: "s1", DPID: 0x11, Ports: []ovs.Port{{Name: "h1", OFPort: 1}, {Name: "s1.3", OFPort: 3}}},
		{Name: "s2", DPID: 0x22, Ports: []ovs.Port{{Name: "h2", OFPort: 7}, {Name: "s2.4", OFPort: 4}}},
	}
	if got := bridges(lab); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	all := vswitches(lab)
	if len(all) != 2 || all[0].Name != "s1" || all[0].devices != 2 || all[1].Name != "s2" || all[1].devices != 2 {
		t.Errorf("instances %+v", all)
	}
	if one := vswitches(plan()); len(one) != 1 || len(one[0].bridges) != 2 || one[0].devices != 2 || one[0].Name != "" {
		t.Errorf("shared instance %+v", one)
	}
	for i, v := range cables(lab, true) {
		if want := lab.Nodes[2*i+1].Name; v.Switch != want {
			t.Errorf("the cable of %s ends in %q, not in %s", v.Host, v.Switch, want)
		}
	}
}

func TestPatchName(t *testing.T) {
	for want, e := range map[string]topo.Endpoint{
		"s1.9":            {Node: "s1", Port: 9},
		"thirteen-char.1": {Node: "thirteen-char", Port: 1},
		"c89de526.12":     {Node: "thirteen-char", Port: 12},
	} {
		if got := patchName(e); got != want || len(got) > maxDevice {
			t.Errorf("%s:%d is %s, not %s", e.Node, e.Port, got, want)
		}
	}
}

func TestPlanMachines(t *testing.T) {
	lab := plan()
	lab.Switches = topo.SwitchesIsolated
	a, b := link.End{NetNS: "s1", Device: "s1.3"}, link.End{NetNS: "s2", Device: "s2.4"}
	addr := netip.MustParsePrefix

	got, err := planMachines(lab)
	if err != nil {
		t.Fatal(err)
	}
	want := machines{
		management: link.Segment{Name: "mgmt", Addr: addr("198.18.0.1/16"), MTU: 1500, Stations: []link.Station{
			{End: link.End{NetNS: "s1", Device: "mgmt.0"}, Addr: addr("198.18.0.2/16")},
			{End: link.End{NetNS: "s2", Device: "mgmt.0"}, Addr: addr("198.18.0.3/16")},
		}},
		underlay: link.Segment{Name: "underlay", MTU: 1500},
		trunks:   []link.Trunk{{A: a, B: b, MTU: 1500}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("cables: got  %+v\nwant %+v", got, want)
	}

	lab.Links[2].Tunnel, lab.Links[2].MTU = topo.TunnelVXLAN, 1450
	if got, err = planMachines(lab); err != nil {
		t.Fatal(err)
	}
	at1, at2 := addr("198.19.0.2/16"), addr("198.19.0.3/16")
	want.trunks = nil
	want.tunnels = []link.Tunnel{
		{End: a, VNI: 3, Local: at1.Addr(), Remote: at2.Addr(), MTU: 1450},
		{End: b, VNI: 3, Local: at2.Addr(), Remote: at1.Addr(), MTU: 1450},
	}
	want.underlay.Stations = []link.Station{
		{End: link.End{NetNS: "s1", Device: "underlay.0"}, Addr: at1}, {End: link.End{NetNS: "s2", Device: "underlay.0"}, Addr: at2},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("tunnels: got  %+v\nwant %+v", got, want)
	}
}

// The networks of the machinery keep out of the way of the hosts'.
func TestPrivateNetworks(t *testing.T) {
	for hosts, want := range map[string]string{
		"10.0.0.1/8": "198.18.0.1/16", "198.18.3.1/24": "100.64.0.1/16", "198.0.0.1/8": "100.64.0.1/16", "198.19.0.9/24": "100.64.0.1/16",
	} {
		lab := plan()
		lab.Nodes[0].IPv4 = netip.MustParsePrefix(hosts)
		m, err := planMachines(lab)
		if err != nil || m.management.Addr.String() != want {
			t.Errorf("hosts in %s: %s, %v", hosts, m.management.Addr, err)
		}
	}
	lab := plan()
	lab.Nodes[0].IPv4 = netip.MustParsePrefix("0.0.0.1/0")
	if _, err := planMachines(lab); err == nil {
		t.Error("networks beside one that is everything")
	}
}

func TestUnstable(t *testing.T) {
	before := map[string]int{"web": 5}
	for name, tc := range map[string]struct {
		info process.Info
		bad  bool
	}{
		"runs":                     {process.Info{Name: "web", State: process.Running, Restarts: 5}, false},
		"has crashed before":       {process.Info{Name: "web", State: process.Waiting, Restarts: 7}, false},
		"crashes on and on":        {process.Info{Name: "web", State: process.Running, Restarts: 8}, true},
		"a new one that crashes":   {process.Info{Name: "new", State: process.Waiting, Restarts: 3}, true},
		"will not be started more": {process.Info{Name: "web", State: process.Exited, Restarts: 5}, true},
	} {
		if err := unstable(before, []process.Info{tc.info}); (err != nil) != tc.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}
