//go:build integration

package discover_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/discover"
	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/pipeline"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
)

const patience = 20 * time.Second

// follower keeps what Watch emits.
type follower struct {
	t    *testing.T
	news chan discover.Network
	last discover.Network
}

func follow(t *testing.T, cfg discover.Config) *follower {
	t.Helper()
	cfg.Fabric = pipeline.Fabric{Mesh: true, VIP: netip.MustParseAddr("10.0.0.250"), Hairpin: netip.MustParseAddr("10.0.0.254"), VIPMAC: pipeline.MAC{2, 0, 10, 0, 0, 250}}
	f := &follower{t: t, news: make(chan discover.Network, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- discover.Watch(ctx, cfg, func(n discover.Network) { f.news <- n }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	})
	return f
}

// until waits for a network that is as wanted.
func (f *follower) until(what string, ok func(discover.Network) bool) discover.Network {
	f.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case f.last = <-f.news:
			if ok(f.last) {
				return f.last
			}
		case <-deadline:
			f.t.Fatalf("waited %v for %s; the last network was %+v", patience, what, f.last)
		}
	}
}

// none fails when something has been emitted since until came back.
func (f *follower) none(what string) {
	f.t.Helper()
	select {
	case n := <-f.news:
		f.t.Errorf("%s: the network changed to %+v", what, n)
	default:
	}
}

func hosts(n discover.Network) string {
	var all []string
	for _, h := range n.Fabric.Hosts {
		all = append(all, h.Name+"="+h.Addr.String())
	}
	return strings.Join(all, " ")
}

// device adds an internal port, which needs no device of the machine, as the
// port of a host.
func device(o *ovstest.OVS, bridge, name string, ids ...string) {
	args := []string{"add-port", bridge, name, "--", "set", "Interface", name, "type=internal"}
	for _, id := range ids {
		args = append(args, "external_ids:"+id)
	}
	o.Vsctl(args...)
}

func mac(n string) string { return `attached-mac="02:00:00:00:00:0` + n + `"` }

func TestNetworkFollowsTheDatabase(t *testing.T) {
	o := ovstest.Start(t)
	o.AddBridge("br0")
	o.AddBridge("br1")
	o.Vsctl("set", "Bridge", "br0", "external_ids:meshlab=true", "--", "set", "Bridge", "br1", "external_ids:meshlab=true")
	o.Vsctl("add-port", "br0", "p0", "--", "set", "Interface", "p0", "type=patch", "options:peer=p1",
		"--", "add-port", "br1", "p1", "--", "set", "Interface", "p1", "type=patch", "options:peer=p0")
	device(o, "br0", "h1", mac("1"), "iface-id=h1", "meshlab-ip=10.0.0.1")
	f := follow(t, discover.Config{OVSDB: "unix:" + filepath.Join(o.RunDir, "db.sock"), Node: "m1"})
	first := f.until("the first network", func(discover.Network) bool { return true })
	if hosts(first) != "h1=10.0.0.1" || len(first.Datapaths) != 2 || first.Partial || len(first.Warnings) > 0 {
		t.Fatalf("first network %+v", first)
	}
	trunk := func(i int) uint32 {
		for p := range first.Datapaths[i].Trunks {
			return p
		}
		t.Fatalf("datapath %d has no trunk", i)
		return 0
	}
	if got, want := first.Datapaths[1].ToHost["h1"], trunk(1); got != want {
		t.Errorf("br1 sends to h1 by port %d, want %d", got, want)
	}
	if first.Datapaths[0].DPID == 0 || first.Datapaths[0].Trunks[trunk(0)] != (pipeline.Peer{Datapath: "br1", Port: trunk(1)}) {
		t.Errorf("datapath %+v", first.Datapaths[0])
	}

	// ovs-vsctl comes back once ovs-vswitchd has opened the port.
	device(o, "br1", "h2", mac("2"), "iface-id=h2", "meshlab-ip=10.0.0.2")
	added := time.Now()
	n := f.until("the new host", func(n discover.Network) bool { return hosts(n) == "h1=10.0.0.1 h2=10.0.0.2" })
	t.Logf("the new host was there %v after ovs-vsctl had ended", time.Since(added))
	if n.Datapaths[0].ToHost["h2"] != trunk(0) || n.Datapaths[1].Access["h2"] == 0 {
		t.Errorf("network %+v", n)
	}
	o.Vsctl("set", "Interface", "h2", "external_ids:meshlab-ip=10.0.0.9")
	f.until("the new address", func(n discover.Network) bool { return hosts(n) == "h1=10.0.0.1 h2=10.0.0.9" })
	o.Vsctl("del-port", "br1", "h2")
	f.until("the end of a host", func(n discover.Network) bool { return hosts(n) == "h1=10.0.0.1" })
	o.Vsctl("--no-wait", "add-port", "br0", "nothing", "--", "set", "Interface", "nothing", "external_ids:"+mac("3"), "external_ids:meshlab-ip=10.0.0.3")
	f.until("the warning of a missing device", func(n discover.Network) bool {
		return len(n.Warnings) == 1 && strings.Contains(n.Warnings[0], "nothing of bridge br0 is not open")
	})
	o.Vsctl("del-port", "br0", "nothing")
	o.Vsctl("del-br", "br1")
	f.until("the end of a bridge", func(n discover.Network) bool {
		return len(n.Datapaths) == 1 && len(n.Datapaths[0].Trunks) == 0
	})
	o.AddBridge("br2")
	o.Vsctl("set", "Bridge", "br2", "external_ids:meshlab=true")
	f.until("a new bridge", func(n discover.Network) bool { return len(n.Datapaths) == 2 && n.Datapaths[1].Name == "br2" })
}

// TestKilledSwitch holds that hosts do not move when ovs-vswitchd is killed
// and started again.
func TestKilledSwitch(t *testing.T) {
	o := ovstest.Start(t)
	o.AddBridge("br0")
	for _, n := range []string{"1", "2", "3"} {
		device(o, "br0", "h"+n, mac(n), "iface-id=h"+n, "meshlab-ip=10.0.0."+n)
	}
	o.Vsctl("del-port", "br0", "h1") // so that port numbers are not those that a new switch would give
	f := follow(t, discover.Config{OVSDB: "unix:" + filepath.Join(o.RunDir, "db.sock"), Bridges: []string{"br0"}, Node: "m1"})
	before := f.until("two hosts", func(n discover.Network) bool { return len(n.Fabric.Hosts) == 2 })
	o.KillSwitch()
	o.StartSwitch()
	device(o, "br0", "h4", mac("4"), "iface-id=h4", "meshlab-ip=10.0.0.4")
	f.until("a host after the new start", func(n discover.Network) bool {
		if n.Datapaths[0].Access["h2"] != before.Datapaths[0].Access["h2"] || n.Datapaths[0].Access["h3"] != before.Datapaths[0].Access["h3"] {
			t.Errorf("ports were %v, and became %v", before.Datapaths[0].Access, n.Datapaths[0].Access)
		}
		return n.Datapaths[0].Access["h4"] != 0
	})
}

// cuttable passes connections on to a unix socket until it is told to cut
// them.
type cuttable struct {
	path, to string
	mu       sync.Mutex
	open     []net.Conn
}

func newCuttable(t *testing.T, to string) *cuttable {
	t.Helper()
	c := &cuttable{path: filepath.Join(filepath.Dir(to), "cut.sock"), to: to}
	ln, err := net.Listen("unix", c.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close(); c.cut() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", to)
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.open = append(c.open, in, out)
			c.mu.Unlock()
			go func() { _, _ = io.Copy(in, out); in.Close() }()
			go func() { _, _ = io.Copy(out, in); out.Close() }()
		}
	}()
	return c
}

func (c *cuttable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		conn.Close()
	}
	c.open = nil
}

func TestDatabaseComesBack(t *testing.T) {
	o := ovstest.Start(t)
	o.AddBridge("br0")
	device(o, "br0", "h1", mac("1"), "iface-id=h1", "meshlab-ip=10.0.0.1")
	c := newCuttable(t, filepath.Join(o.RunDir, "db.sock"))
	f := follow(t, discover.Config{OVSDB: "unix:" + c.path, Bridges: []string{"br0"}, Node: "m1"})
	f.until("a host", func(n discover.Network) bool { return hosts(n) == "h1=10.0.0.1" })
	for _, ip := range []string{"10.0.0.2", "10.0.0.3", "10.0.0.4"} {
		c.cut()
		o.Vsctl("set", "Interface", "h1", "external_ids:meshlab-ip="+ip)
		f.until("what changed meanwhile", func(n discover.Network) bool {
			if len(n.Fabric.Hosts) != 1 || len(n.Datapaths) != 1 {
				t.Errorf("the network was %+v while the database was away", n)
			}
			return hosts(n) == "h1="+ip
		})
		f.none("after the database came back")
	}
	// A database that was never there.
	absent := follow(t, discover.Config{OVSDB: "unix:" + filepath.Join(t.TempDir(), "s"), Node: "m1"})
	absent.none("without a database")
}

func TestNetworkFollowsTheCatalog(t *testing.T) {
	o := ovstest.Start(t)
	o.AddBridge("br0")
	device(o, "br0", "h1", mac("1"), "iface-id=h1", "meshlab-ip=10.0.0.1")
	device(o, "br0", "h2", mac("2"), "iface-id=h2")
	o.Vsctl("add-port", "br0", "vx", "--", "set", "Interface", "vx", "type=vxlan", "options:remote_ip=172.16.0.9")
	node := consultest.Cluster(t, "m1")[0]
	register := func(name, addr string, meta map[string]string) {
		t.Helper()
		if _, err := node.Client.Catalog().Register(&api.CatalogRegistration{Node: name, Address: addr, NodeMeta: meta}, nil); err != nil {
			t.Fatal(err)
		}
	}
	release := make(chan struct{})
	watch := discover.Nodes(node.Client, nil)
	f := follow(t, discover.Config{
		OVSDB: "unix:" + filepath.Join(o.RunDir, "db.sock"), Bridges: []string{"br0"}, Node: "m1",
		Nodes: func(ctx context.Context, emit func([]discover.Node)) error {
			select {
			case <-release:
				return watch(ctx, emit)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	})
	early := f.until("a network without the catalog", func(discover.Network) bool { return true })
	if !early.Partial || hosts(early) != "h1=10.0.0.1" || len(early.Warnings) > 0 {
		t.Errorf("before the catalog has answered: %+v", early)
	}
	close(release)
	f.until("the warnings", func(n discover.Network) bool {
		all := strings.Join(n.Warnings, "\n")
		return !n.Partial && strings.Contains(all, "host h2 has no address") && strings.Contains(all, "no node of the catalog has address 172.16.0.9")
	})
	register("h2", "10.0.0.2", nil)
	f.until("the address of a node", func(n discover.Network) bool { return hosts(n) == "h1=10.0.0.1 h2=10.0.0.2" })
	register("m2", "172.16.0.9", nil)
	f.until("the machine behind the tunnel", func(n discover.Network) bool {
		return len(n.Warnings) == 1 && strings.Contains(n.Warnings[0], "no node of the catalog is at m2")
	})
	begun := time.Now()
	register("h3", "10.0.0.3", map[string]string{"meshlab-at": "m2", "meshlab-mac": "02:00:00:00:00:03"})
	n := f.until("the host of another machine", func(n discover.Network) bool { return hosts(n) == "h1=10.0.0.1 h2=10.0.0.2 h3=10.0.0.3" })
	t.Logf("the host of another machine was there %v after its registration began", time.Since(begun))
	d := n.Datapaths[0]
	trunks := slices.Collect(maps.Keys(d.Trunks))
	if len(n.Warnings) > 0 || len(trunks) != 1 || d.ToHost["h3"] != trunks[0] || !slices.Contains(d.Flood, trunks[0]) {
		t.Errorf("network %+v", n)
	}
	node.Kill()
	device(o, "br0", "h4", mac("4"), "iface-id=h4", "meshlab-ip=10.0.0.4")
	f.until("a host while Consul is away, beside all others", func(n discover.Network) bool {
		return hosts(n) == "h1=10.0.0.1 h2=10.0.0.2 h3=10.0.0.3 h4=10.0.0.4"
	})
}

func TestBadConfig(t *testing.T) {
	for name, f := range map[string]pipeline.Fabric{
		"hosts":      {Hosts: []pipeline.Host{{}}},
		"no address": {Mesh: true},
	} {
		if err := discover.Watch(t.Context(), discover.Config{OVSDB: "unix:" + os.DevNull, Fabric: f}, func(discover.Network) {}); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
