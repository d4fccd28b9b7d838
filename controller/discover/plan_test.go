package discover

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

func config(node string, bridges ...string) Config {
	return Config{Node: node, Bridges: bridges, Fabric: pipeline.Fabric{
		Mesh: true, VIP: netip.MustParseAddr("10.0.0.250"), Hairpin: netip.MustParseAddr("10.0.0.254"), VIPMAC: pipeline.MAC{2, 0, 10, 0, 0, 250}}}
}

// hostPort is the port of a host whose last byte of address and MAC address
// is that of its name.
func hostPort(name string, ofport uint32) port {
	n := strings.TrimLeft(name, "h")
	return port{name: "veth-" + name, ofport: ofport, ids: map[string]string{
		"attached-mac": "02:00:00:00:00:0" + n, "iface-id": name, "meshlab-ip": "10.0.0." + n}}
}

func patch(name, peer string, ofport uint32) port {
	return port{name: name, kind: "patch", ofport: ofport, options: map[string]string{"peer": peer}}
}

func tunnelTo(machine string, ofport uint32) port {
	return port{name: "vx-" + machine, kind: "vxlan", ofport: ofport, options: map[string]string{"remote_ip": "flow"}, ids: map[string]string{idPeer: machine}}
}

func vethTo(name, bridge string, ofport uint32) port {
	return port{name: name, ofport: ofport, ids: map[string]string{idPeer: bridge}}
}

func remoteHost(name, at string) Node {
	n := strings.TrimLeft(name, "h")
	return Node{Name: name, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0." + n)},
		Meta: map[string]string{MetaAt: at, MetaMAC: "02:00:00:00:00:0" + n}}
}

func own(name string) port { return port{name: name, kind: "internal", ofport: 0xfffe} }

// check holds what must be true of every network.
func check(t *testing.T, n Network) {
	t.Helper()
	if err := valid(n); err != nil {
		t.Fatalf("not valid: %v", err)
	}
	for _, d := range n.Datapaths {
		if _, err := pipeline.Compile(n.Fabric, d, mesh.Snapshot{}); err != nil {
			t.Fatalf("does not compile: %v", err)
		}
		trunks := slices.Collect(maps.Keys(d.Trunks))
		access := slices.Collect(maps.Values(d.Access))
		for host, p := range d.ToHost {
			if !slices.Contains(trunks, p) {
				t.Errorf("%s: the way to %s leaves by port %d, which is no trunk", d.Name, host, p)
			}
		}
		for i, p := range d.Flood {
			if !slices.Contains(trunks, p) && !slices.Contains(access, p) || i > 0 && d.Flood[i-1] >= p {
				t.Errorf("%s: flood %v, trunks %v, access %v", d.Name, d.Flood, trunks, access)
			}
		}
	}
}

func TestOneBridge(t *testing.T) {
	s := state{bridges: []bridge{{name: "br0", dpid: 7, kind: "netdev", ports: []port{own("br0"), hostPort("h1", 1), hostPort("h2", 2)}}}}
	n := plan(config("m1", "br0"), s, false)
	check(t, n)
	want := Network{Fabric: config("").Fabric, Datapaths: []pipeline.Datapath{{
		Name: "br0", DPID: 7, Access: map[string]uint32{"h1": 1, "h2": 2}, ToHost: map[string]uint32{},
		Flood: []uint32{1, 2}, Trunks: map[uint32]pipeline.Peer{}}}, Types: []string{"netdev"}}
	want.Fabric.Hosts = []pipeline.Host{
		{Name: "h1", Addr: netip.MustParseAddr("10.0.0.1"), MAC: pipeline.MAC{2, 0, 0, 0, 0, 1}},
		{Name: "h2", Addr: netip.MustParseAddr("10.0.0.2"), MAC: pipeline.MAC{2, 0, 0, 0, 0, 2}},
	}
	if !reflect.DeepEqual(n, want) {
		t.Errorf("got\n%+v\nwant\n%+v", n, want)
	}
}

// TestRingOfBridges joins three bridges in a ring, two of its links by patch
// ports and one by a veth pair, with a fourth bridge without hosts between.
func TestRingOfBridges(t *testing.T) {
	s := state{bridges: []bridge{
		{name: "br0", ports: []port{hostPort("h1", 1), patch("p01", "p10", 10), vethTo("v02", "br2", 11)}},
		{name: "br1", ports: []port{hostPort("h2", 1), patch("p10", "p01", 10), patch("p12", "p21", 12)}},
		{name: "br2", ports: []port{hostPort("h3", 1), patch("p21", "p12", 20), vethTo("v20", "br0", 21)}},
	}}
	n := plan(config("m1", "br0", "br1", "br2"), s, false)
	check(t, n)
	if len(n.Warnings) > 0 {
		t.Errorf("warnings %q", n.Warnings)
	}
	want := []pipeline.Datapath{
		{Name: "br0", Access: map[string]uint32{"h1": 1}, ToHost: map[string]uint32{"h2": 10, "h3": 11}, Flood: []uint32{1, 10, 11},
			Trunks: map[uint32]pipeline.Peer{10: {Datapath: "br1", Port: 10}, 11: {Datapath: "br2", Port: 21}}},
		{Name: "br1", Access: map[string]uint32{"h2": 1}, ToHost: map[string]uint32{"h1": 10, "h3": 12}, Flood: []uint32{1, 10},
			Trunks: map[uint32]pipeline.Peer{10: {Datapath: "br0", Port: 10}, 12: {Datapath: "br2", Port: 20}}},
		{Name: "br2", Access: map[string]uint32{"h3": 1}, ToHost: map[string]uint32{"h1": 21, "h2": 20}, Flood: []uint32{1, 21},
			Trunks: map[uint32]pipeline.Peer{20: {Datapath: "br1", Port: 12}, 21: {Datapath: "br0", Port: 11}}},
	}
	if !reflect.DeepEqual(n.Datapaths, want) {
		t.Errorf("got\n%+v\nwant\n%+v", n.Datapaths, want)
	}
}

func TestTunnels(t *testing.T) {
	s := state{
		bridges: []bridge{
			{name: "br0", ports: []port{hostPort("h1", 1), patch("p01", "p10", 10), tunnelTo("m1", 20),
				{name: "vx", kind: "vxlan", ofport: 21, options: map[string]string{"remote_ip": "172.16.0.3"}}}},
			{name: "br1", ports: []port{hostPort("h2", 1), patch("p10", "p01", 10)}},
		},
		nodes: []Node{
			remoteHost("h2", "m2"), remoteHost("h4", "m1"), remoteHost("h5", "m3"),
			{Name: "m3", Addrs: []netip.Addr{netip.MustParseAddr("172.16.0.3")}},
		},
	}
	n := plan(config("m2", "br0", "br1"), s, false)
	check(t, n)
	if len(n.Warnings) > 0 {
		t.Errorf("warnings %q", n.Warnings)
	}
	if got, want := n.Datapaths[0].ToHost, map[string]uint32{"h2": 10, "h4": 20, "h5": 21}; !maps.Equal(got, want) {
		t.Errorf("ways of br0 %v, want %v", got, want)
	}
	if got, want := n.Datapaths[1].ToHost, map[string]uint32{"h1": 10, "h4": 10, "h5": 10}; !maps.Equal(got, want) {
		t.Errorf("ways of br1 %v, want %v", got, want)
	}
	if got, want := n.Datapaths[0].Flood, []uint32{1, 10, 20}; !slices.Equal(got, want) {
		t.Errorf("m2 floods to %v, want %v: m1 is the middle of the star", got, want)
	}
	if got := n.Datapaths[0].Trunks; len(got) != 3 || got[20] != (pipeline.Peer{}) {
		t.Errorf("trunks %+v", got)
	}
	m1 := plan(config("m1", "br0"), state{bridges: []bridge{{name: "br0", ports: []port{hostPort("h4", 1), tunnelTo("m2", 2), tunnelTo("m3", 3)}}}}, true)
	check(t, m1)
	if got, want := m1.Datapaths[0].Flood, []uint32{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("m1 floods to %v, want %v", got, want)
	}
}

func TestHosts(t *testing.T) {
	ids := func(kv ...string) port {
		p := port{name: "eth7", ofport: 7, ids: map[string]string{}}
		for i := 0; i < len(kv); i += 2 {
			p.ids[kv[i]] = kv[i+1]
		}
		return p
	}
	catalog := []Node{
		{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.11")}},
		{Name: "n2"},
	}
	const mac = "02:00:00:00:00:07"
	for _, c := range []struct {
		name    string
		port    port
		partial bool
		want    string // name and address of the host
		warning string
	}{
		{"own address", ids("attached-mac", mac, "iface-id", "x", "meshlab-ip", "10.0.0.9"), false, "x 10.0.0.9", ""},
		{"of OVN-Kubernetes", ids("attached_mac", mac, "iface-id", "ns_pod", "ip_addresses", "fd00::1/64,10.0.0.9/24"), false, "ns_pod 10.0.0.9", ""},
		{"of the catalog", ids("attached-mac", mac, "iface-id", "n1"), false, "n1 10.0.0.11", ""},
		{"of the catalog, by its name there", ids("attached-mac", mac, "iface-id", "8c3f", "meshlab-node", "n1"), false, "n1 10.0.0.11", ""},
		{"name of the port", ids("attached-mac", mac, "meshlab-ip", "10.0.0.9"), false, "eth7 10.0.0.9", ""},
		{"not in the catalog", ids("attached-mac", mac, "iface-id", "n3"), false, "", "host n3 has no address"},
		{"not in the catalog yet", ids("attached-mac", mac, "iface-id", "n3"), true, "", ""},
		{"node without IPv4", ids("attached-mac", mac, "iface-id", "n2"), false, "", "the address of node n2 is no IPv4 address"},
		{"no IPv4 address", ids("attached-mac", mac, "meshlab-ip", "fd00::1"), false, "", `meshlab-ip="fd00::1" is no IPv4 address`},
		{"no MAC address", ids("attached-mac", "x", "meshlab-ip", "10.0.0.9"), false, "", "attached-mac"},
		{"MAC address of a group", ids("attached-mac", "01:00:5e:00:00:01", "meshlab-ip", "10.0.0.9"), false, "", "no address of one host"},
		{"the virtual address", ids("attached-mac", mac, "meshlab-ip", "10.0.0.250"), false, "", "is that of vip"},
		{"an address twice", ids("attached-mac", mac, "meshlab-ip", "10.0.0.1"), false, "", "10.0.0.1 is that of port veth-h1 of bridge br0"},
		{"a name twice", ids("attached-mac", mac, "meshlab-ip", "10.0.0.9", "iface-id", "h1"), false, "", "h1 is that of port veth-h1"},
		{"a MAC address twice", ids("attached-mac", "02:00:00:00:00:01", "meshlab-ip", "10.0.0.9"), false, "", "02:00:00:00:00:01 is that of"},
		{"neither host nor trunk", ids(), false, "", "neither a host"},
		{"not open", port{name: "eth7", err: "no such device", ids: ids("attached-mac", mac).ids}, false, "", "not open: no such device"},
		{"just being added", port{name: "eth7", ids: ids("attached-mac", mac).ids}, false, "", ""},
		{"a bond", port{name: "eth7", bond: true}, false, "", "is a bond"},
		{"the bridge's own port", port{name: "br0", ofport: 0xfffe, ids: ids("attached-mac", mac).ids}, false, "", "the bridge's own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := state{bridges: []bridge{{name: "br0", ports: []port{hostPort("h1", 1), c.port}}}, nodes: catalog}
			if c.partial {
				s.nodes = nil
			}
			// By name, as the database gives them; the first to claim an
			// address keeps it.
			n := plan(config("m1", "br0"), s, c.partial)
			check(t, n)
			got := ""
			for _, h := range n.Fabric.Hosts {
				if at := n.Datapaths[0].Access[h.Name]; at == 7 {
					got = h.Name + " " + h.Addr.String()
				}
			}
			if got != c.want {
				t.Errorf("host %q, want %q", got, c.want)
			}
			if c.warning == "" && len(n.Warnings) > 0 || c.warning != "" && !strings.Contains(strings.Join(n.Warnings, "\n"), c.warning) {
				t.Errorf("warnings %q, want one with %q", n.Warnings, c.warning)
			}
			if n.Partial != c.partial || n.Datapaths[0].Access["h1"] != 1 {
				t.Errorf("network %+v", n)
			}
		})
	}
}

func TestWirings(t *testing.T) {
	for _, c := range []struct {
		name    string
		bridges []bridge
		nodes   []Node
		trunks  int // in all
		warning string
	}{
		{"not joined", []bridge{{name: "br0"}, {name: "br1"}}, nil, 0, "no way leads from bridge br0 to bridge br1"},
		{"peer missing", []bridge{{name: "br0", ports: []port{patch("a", "b", 1)}}, {name: "br1"}}, nil, 0, `its peer "b" is not there`},
		{"peer not managed", []bridge{{name: "br0", ports: []port{patch("a", "b", 1)}}, {name: "ex", ports: []port{patch("b", "a", 1)}}}, nil, 0, "bridge ex, which is not managed"},
		{"patch to itself", []bridge{{name: "br0", ports: []port{patch("a", "b", 1), patch("b", "a", 2)}}}, nil, 0, "of one bridge"},
		{"joined twice", []bridge{{name: "br0", ports: []port{patch("a", "b", 1), patch("c", "d", 2)}}, {name: "br1", ports: []port{patch("b", "a", 1), patch("d", "c", 2)}}},
			nil, 2, "joined twice; frames from port 2 of br0 and port 2 of br1"},
		{"veth pair, one end", []bridge{{name: "br0", ports: []port{vethTo("a", "br1", 1)}}, {name: "br1"}}, nil, 0, "which has no port with external_ids:meshlab-peer=br0"},
		{"veth pair, ambiguous", []bridge{{name: "br0", ports: []port{vethTo("a", "br1", 1), vethTo("c", "br1", 2)}}, {name: "br1", ports: []port{vethTo("b", "br0", 1), vethTo("d", "br0", 2)}}},
			nil, 0, "nobody knows which belong together"},
		{"veth to its own bridge", []bridge{{name: "br0", ports: []port{vethTo("a", "br0", 1)}}}, nil, 0, "its own bridge"},
		{"tunnel to nobody", []bridge{{name: "br0", ports: []port{{name: "vx", kind: "vxlan", ofport: 1, options: map[string]string{"remote_ip": "172.16.0.9"}}}}},
			nil, 0, "no node of the catalog has address 172.16.0.9"},
		{"tunnel to anybody", []bridge{{name: "br0", ports: []port{{name: "vx", kind: "geneve", ofport: 1, options: map[string]string{"remote_ip": "flow"}}}}}, nil, 0, `remote_ip is "flow"`},
		{"tunnel to this machine", []bridge{{name: "br0", ports: []port{tunnelTo("m1", 1)}}}, nil, 0, "this machine itself"},
		{"two tunnels to one machine", []bridge{{name: "br0", ports: []port{tunnelTo("m2", 1)}}, {name: "br1", ports: []port{tunnelTo("m2", 1)}}},
			[]Node{remoteHost("h2", "m2")}, 1, "both lead to m2"},
		{"tunnel without hosts", []bridge{{name: "br0", ports: []port{tunnelTo("m2", 1)}}}, nil, 1, "no node of the catalog is at m2"},
		{"hosts without tunnel", []bridge{{name: "br0"}}, []Node{remoteHost("h4", "m2"), remoteHost("h2", "m2"), remoteHost("h3", "m2")}, 0, "node h2 and 2 others are at m2, and no tunnel leads there"},
		{"host without tunnel", []bridge{{name: "br0"}}, []Node{remoteHost("h2", "m2")}, 0, "h2 is at m2, and no tunnel leads there"},
		{"host of this machine", []bridge{{name: "br0"}}, []Node{remoteHost("h2", "m1")}, 0, ""},
		{"host at two machines", []bridge{{name: "br0", ports: []port{hostPort("h2", 2), tunnelTo("m2", 1)}}}, []Node{remoteHost("h2", "m2")}, 1, "h2 is said to be at m2, but it is attached here"},
		{"remote host with a bad MAC address", []bridge{{name: "br0", ports: []port{tunnelTo("m2", 1)}}},
			[]Node{{Name: "h2", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Meta: map[string]string{MetaAt: "m2", MetaMAC: "x"}}}, 1, "meshlab-mac"},
		{"remote host without IPv4", []bridge{{name: "br0", ports: []port{tunnelTo("m2", 1)}}},
			[]Node{{Name: "h2", Meta: map[string]string{MetaAt: "m2", MetaMAC: "02:00:00:00:00:02"}}}, 1, "no IPv4 address"},
		{"no bridge", nil, nil, 0, "no bridge has external_ids:meshlab=true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config("m1")
			for i := range c.bridges {
				if strings.HasPrefix(c.bridges[i].name, "br") {
					c.bridges[i].ids = map[string]string{"meshlab": "true"}
				}
			}
			n := plan(cfg, state{bridges: c.bridges, nodes: c.nodes}, false)
			check(t, n)
			trunks := 0
			for _, d := range n.Datapaths {
				trunks += len(d.Trunks)
			}
			if trunks != c.trunks {
				t.Errorf("%d trunks, want %d", trunks, c.trunks)
			}
			if c.warning == "" && len(n.Warnings) > 0 || c.warning != "" && !strings.Contains(strings.Join(n.Warnings, "\n"), c.warning) {
				t.Errorf("warnings %q, want one with %q", n.Warnings, c.warning)
			}
		})
	}
}

func TestListedBridges(t *testing.T) {
	s := state{bridges: []bridge{{name: "br0"}, {name: "br1", ids: map[string]string{"meshlab": "true"}}}}
	n := plan(config("m1", "br0", "br9"), s, false)
	check(t, n)
	if len(n.Datapaths) != 1 || n.Datapaths[0].Name != "br0" || len(n.Warnings) != 1 || !strings.Contains(n.Warnings[0], "bridge br9 is not in the database") {
		t.Errorf("network %+v", n)
	}
}

// podPort is a port that ovs-cni made.
func podPort(name string, ofport uint32, uid, iface string) port {
	return port{name: name, ofport: ofport, pod: attached{uid, iface}}
}

func podNode(name, uid, iface, addr, mac string) Node {
	n := Node{Name: name, Meta: map[string]string{MetaMAC: mac, MetaAt: "m1"}, Pod: PodInterface{uid, iface}}
	if addr != "" {
		n.Addrs = []netip.Addr{netip.MustParseAddr(addr)}
	}
	return n
}

// TestPodsOfOvsCni finds pods by what ovs-cni writes at its ports: the UID of a
// pod, and the name of its interface.
func TestPodsOfOvsCni(t *testing.T) {
	good := podNode("shop/web", "u1", "net1", "10.0.0.7", "02:00:00:00:00:07")
	for name, c := range map[string]struct {
		ports   []port
		nodes   []Node
		partial bool
		access  map[string]uint32
		warning string // a part of the only one; empty: there is none
	}{
		"a pod":                        {[]port{podPort("veth1", 4, "u1", "net1")}, []Node{good}, false, map[string]uint32{"shop/web": 4}, ""},
		"another interface":            {[]port{podPort("veth1", 4, "u1", "net2")}, []Node{good}, false, nil, "interface net2 of the pod with UID u1"},
		"an earlier pod's port":        {[]port{podPort("veth1", 4, "u0", "net1"), podPort("veth2", 5, "u1", "net1")}, []Node{good}, false, map[string]uint32{"shop/web": 5}, "UID u0"},
		"the cluster is not known yet": {[]port{podPort("veth1", 4, "u1", "net1")}, nil, true, nil, ""},
		"no address": {[]port{podPort("veth1", 4, "u1", "net1")}, []Node{podNode("shop/web", "u1", "net1", "", "02:00:00:00:00:07")}, false, nil,
			"pod shop/web has no IPv4 address"},
		"no MAC address": {[]port{podPort("veth1", 4, "u1", "net1")}, []Node{podNode("shop/web", "u1", "net1", "10.0.0.7", "02:00")}, false, nil, "pod shop/web"},
		"one address, two pods": {[]port{podPort("veth1", 4, "u1", "net1"), podPort("veth2", 5, "u2", "net1")},
			[]Node{good, podNode("shop/other", "u2", "net1", "10.0.0.7", "02:00:00:00:00:08")}, false, map[string]uint32{"shop/web": 4}, "10.0.0.7 is that of"},
		"what a person wrote counts before": {[]port{{name: "veth1", ofport: 4, pod: attached{"u1", "net1"},
			ids: map[string]string{"attached-mac": "02:00:00:00:00:09", "iface-id": "h9", "meshlab-ip": "10.0.0.9"}}}, []Node{good}, false, map[string]uint32{"h9": 4}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := state{bridges: []bridge{{name: "br1", dpid: 7, kind: "netdev", ports: append([]port{own("br1")}, c.ports...)}}, nodes: c.nodes}
			n := plan(config("m1", "br1"), s, c.partial)
			check(t, n)
			if !maps.Equal(n.Datapaths[0].Access, c.access) {
				t.Errorf("attached are %v, want %v", n.Datapaths[0].Access, c.access)
			}
			if c.warning == "" && len(n.Warnings) > 0 || c.warning != "" && (len(n.Warnings) != 1 || !strings.Contains(n.Warnings[0], c.warning)) {
				t.Errorf("warnings %q, want one with %q", n.Warnings, c.warning)
			}
		})
	}
}
