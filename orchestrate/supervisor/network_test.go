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
