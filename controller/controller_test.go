package controller_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

const (
	patience = 10 * time.Second

	vip, vipMAC = "192.168.1.250", "02:00:00:00:00:fa"
	h1, mac1    = "192.168.1.11", "00:00:00:00:00:01"
	h2, mac2    = "192.168.1.12", "00:00:00:00:00:02"
)

func fabric() (pipeline.Fabric, controller.Datapath) {
	ip := netip.MustParseAddr
	return pipeline.Fabric{
			Mesh: true, VIP: ip(vip), Hairpin: ip("192.168.1.251"), VIPMAC: pipeline.MAC{2, 0, 0, 0, 0, 0xfa},
			Hosts: []pipeline.Host{{Name: "h1", Addr: ip(h1), MAC: pipeline.MAC{5: 1}}, {Name: "h2", Addr: ip(h2), MAC: pipeline.MAC{5: 2}}},
		}, controller.Datapath{Address: "s1.mgmt", Datapath: pipeline.Datapath{
			Name: "s1", DPID: 1, Access: map[string]uint32{"h1": 1, "h2": 2}, Flood: []uint32{1, 2},
		}}
}

func snapshot(instances ...mesh.Instance) mesh.Snapshot {
	return mesh.Snapshot{
		Services:  []*mesh.Service{{Name: "api", Instances: instances}},
		Upstreams: []mesh.Upstream{{Client: netip.MustParseAddr(h1), Source: "web", Destination: "api", BindPort: 9000}},
	}
}

func inst(addr string) mesh.Instance {
	return mesh.Instance{ID: addr, Addr: netip.MustParseAddrPort(addr), Healthy: true, Weight: 1}
}

// running is a controller with one bridge and a registry that the test plays.
type running struct {
	t      *testing.T
	snaps  chan mesh.Snapshot
	client *controller.Client
}

func run(t *testing.T, connect func(context.Context, controller.Datapath) (controller.Switch, error), change func(*controller.Config)) *running {
	t.Helper()
	f, dp := fabric()
	dir, err := os.MkdirTemp("", "ctl") // not t.TempDir: a socket's path has at most 107 bytes (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &running{t: t, snaps: make(chan mesh.Snapshot), client: controller.NewClient(filepath.Join(dir, "s"))}
	cfg := controller.Config{
		Fabric: f, Datapaths: []controller.Datapath{dp}, Connect: connect, Status: filepath.Join(dir, "s"), Drain: func() time.Duration { return time.Hour },
		Watch: func(ctx context.Context, emit func(mesh.Snapshot)) error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case s := <-r.snaps:
					emit(s)
				}
			}
		},
	}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- controller.Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
		r.client.Close()
	})
	r.health("the status socket and a connection", func(h controller.Health) bool {
		return len(h.Datapaths) > 0 && !slices.ContainsFunc(h.Datapaths, func(d controller.DatapathHealth) bool { return !d.InSync })
	})
	return r
}

func (r *running) poll(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			h, err := r.client.Health(context.Background())
			r.t.Fatalf("waited %v for %s; health %+v, error %v", patience, what, h, err)
		case <-tick.C:
		}
	}
}

// health polls for a state of the status socket.
func (r *running) health(what string, ok func(controller.Health) bool) {
	r.t.Helper()
	r.poll(what, func() bool {
		h, err := r.client.Health(context.Background())
		return err == nil && ok(h)
	})
}

// set gives a new snapshot and waits until the switch has it.
func (r *running) set(s mesh.Snapshot) {
	r.t.Helper()
	before, err := r.client.Health(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	r.snaps <- s
	r.health("the next snapshot in force", func(h controller.Health) bool { return h.OK && h.Snapshot > before.Snapshot })
}

// follow gives the first network, and then those that the test plays.
func follow(first controller.Network, networks <-chan controller.Network) func(context.Context, func(controller.Network)) error {
	return func(ctx context.Context, emit func(controller.Network)) error {
		for emit(first); ; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case n := <-networks:
				emit(n)
			}
		}
	}
}

func call(port string) emulator.Packet {
	return emulator.TCP(mac1, vipMAC, h1+":"+port, vip+":9000", emulator.SYN)
}

func TestLoopFollowsSnapshots(t *testing.T) {
	stray := flow.Flow{Table: 3, Priority: 9, Cookie: 77}
	b := newMemoryBridge(t, stray)
	r := run(t, b.connect, nil)
	if arp := b.trace(t, 1, emulator.ARPRequest(mac1, h1, vip)); len(arp.Outputs) != 1 {
		t.Error("ARP is not answered before the first snapshot")
	}
	if first := b.history()[0]; len(first.DeleteCookies) != 0 {
		t.Errorf("flows were deleted before the first snapshot: %#x", first.DeleteCookies)
	}
	if h, err := r.client.Health(t.Context()); err != nil || h.OK {
		t.Errorf("healthy without a snapshot: %+v, error %v", h, err)
	}

	r.set(snapshot(inst(h2 + ":80")))
	if got := b.trace(t, 1, call("5000")); len(got.Outputs) != 1 || got.Outputs[0].Port != 2 {
		t.Fatalf("a call went to %v", got.Outputs)
	}
	for _, f := range b.installed() {
		if f.Cookie == stray.Cookie {
			t.Error("a flow of somebody else is still there")
		}
	}

	n := len(b.history())
	r.set(snapshot(inst(h2+":80"), inst(h1+":81"))) // now a group
	r.set(snapshot(inst(h2 + ":80")))               // and one drains
	if got := b.trace(t, 1, call("5001")); len(got.Outputs) != 1 || got.Outputs[0].Port != 2 {
		t.Fatalf("a call after the drain went to %v", got.Outputs)
	}
	for _, ch := range b.history()[n:] {
		if size := len(ch.AddFlows) + len(ch.DeleteCookies); size > 8 {
			t.Errorf("one instance changed, and %d flows: %+v", size, ch)
		}
	}
	snap, err := r.client.Snapshot(t.Context())
	if err != nil || len(snap.Services) != 1 || len(snap.Services[0].Instances) != 2 {
		t.Errorf("snapshot %+v, error %v; want the draining instance in it", snap, err)
	}
}

// TestHostsMove changes the network below a mesh that stays as it is: the
// switch gets the difference, without being asked what it has, and the time
// that it took is not the age of the mesh.
func TestHostsMove(t *testing.T) {
	f, dp := fabric()
	networks, took := make(chan controller.Network), make(chan time.Duration, 8)
	var later atomic.Int64 // by which the clock is ahead
	clock := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	b := newMemoryBridge(t)
	r := run(t, b.connect, func(cfg *controller.Config) {
		cfg.Fabric, cfg.Datapaths = pipeline.Fabric{}, nil
		cfg.Networks = follow(controller.Network{Fabric: f, Datapaths: []controller.Datapath{dp}}, networks)
		cfg.Now, cfg.Converged = clock, func(_ string, d time.Duration) { took <- d }
	})
	r.set(snapshot(inst(h2 + ":80")))
	if d := <-took; d <= 0 {
		t.Errorf("the mesh took %v", d)
	}
	b.mu.Lock()
	asked, sent := b.read, len(b.changes)
	b.mu.Unlock()
	later.Store(int64(time.Hour))
	now := dp
	now.Access, now.ToHost, now.Flood = map[string]uint32{"h1": 1}, map[string]uint32{"h2": 3}, []uint32{1, 3}
	now.Trunks = map[uint32]pipeline.Peer{3: {}}
	networks <- controller.Network{Fabric: f, Datapaths: []controller.Datapath{now}, Since: clock()}
	if d := <-took; d <= 0 || d >= time.Hour {
		t.Errorf("the move of a host took %v", d)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read != asked {
		t.Error("the switch was asked for its flows")
	}
	added, gone := 0, 0
	for _, c := range b.changes[sent:] {
		added, gone = added+len(c.AddFlows), gone+len(c.DeleteCookies)
	}
	if added == 0 || gone == 0 || added+gone >= len(b.flows) {
		t.Errorf("%d flows were added and %d deleted, of %d", added, gone, len(b.flows))
	}
}

func TestLoopReconnects(t *testing.T) {
	b := newMemoryBridge(t)
	r := run(t, b.connect, nil)
	r.set(snapshot(inst(h2+":80"), inst(h1+":81")))
	n := len(b.history())

	b.mu.Lock() // somebody deletes a flow, and the connection breaks
	lost := b.flows[0]
	b.flows = b.flows[1:]
	b.mu.Unlock()
	b.cut()
	r.poll("the flow to come back", func() bool { return len(b.history()) > n })
	ch := b.history()[n]
	if len(ch.AddFlows) != 1 || ch.AddFlows[0].Cookie != lost.Cookie || len(ch.DeleteCookies) != 0 || len(ch.ModifyGroups) != 1 {
		t.Errorf("after the reconnect: %+v; want the one flow, and the group, whose content a switch does not tell", ch)
	}

	b.mu.Lock()
	b.refuse = 1
	b.mu.Unlock()
	r.set(snapshot(inst(h2 + ":82"))) // refused once, then again from a dump
	if got := b.trace(t, 1, call("5000")); len(got.Outputs) != 1 || got.Outputs[0].Packet.Dst().Port() != 82 {
		t.Errorf("after a refused change a call went to %v", got.Outputs)
	}
}

// A switch that accepts a connection and says nothing must not hold its
// worker for ever.
func TestConnectIsBounded(t *testing.T) {
	b := newMemoryBridge(t)
	bounded := make(chan bool, 1)
	run(t, func(ctx context.Context, dp controller.Datapath) (controller.Switch, error) {
		_, ok := ctx.Deadline()
		select {
		case bounded <- ok:
		default:
		}
		return b.connect(ctx, dp)
	}, nil)
	if !<-bounded {
		t.Error("Connect may take for ever")
	}
}

func TestDrainEnds(t *testing.T) {
	b := newMemoryBridge(t)
	r := run(t, b.connect, func(c *controller.Config) { c.Drain = func() time.Duration { return 50 * time.Millisecond } })
	r.set(snapshot(inst(h2 + ":80")))
	r.set(snapshot())
	r.poll("the drained instance to go", func() bool {
		s, err := r.client.Snapshot(context.Background())
		return err == nil && len(s.Services) == 1 && len(s.Services[0].Instances) == 0
	})
}

type noResponder struct{}

func (noResponder) Input(uint32, []byte) {}
func (noResponder) Close()               {}

// The mesh's DNS must move with the virtual address.
func TestDNSFollowsTheVirtualAddress(t *testing.T) {
	b := newMemoryBridge(t)
	made := make(chan netip.Addr, 10)
	networks := make(chan controller.Network)
	f, dp := fabric()
	f.DNS = true
	network := func(vip string) controller.Network {
		n := controller.Network{Fabric: f, Datapaths: []controller.Datapath{dp}}
		n.Fabric.VIP = netip.MustParseAddr(vip)
		return n
	}
	run(t, b.connect, func(c *controller.Config) {
		c.DNS = func(f pipeline.Fabric, _ func() (mesh.Snapshot, bool), _ func(uint32, []byte)) (controller.Responder, error) {
			made <- f.VIP
			return noResponder{}, nil
		}
		c.Networks = follow(network(vip), networks)
	})
	wait := func(want string) {
		t.Helper()
		select {
		case got := <-made:
			if got.String() != want {
				t.Fatalf("a responder at %v, want one at %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("no responder at %s", want)
		}
	}
	wait(vip)
	networks <- network(vip) // nothing new for it
	networks <- network("192.168.1.249")
	wait("192.168.1.249")
}

// segments are texts.
type segments struct{}

func (segments) Refuse(frame []byte) ([]byte, error) {
	if string(frame) != "syn" {
		return nil, errors.New("not to be answered")
	}
	return []byte("rst"), nil
}
func (segments) Abort([]byte) ([]byte, error) { return nil, errors.New("not asked for") }
func (segments) Ends([]byte) (src, dst netip.AddrPort, err error) {
	return src, dst, errors.New("not asked for")
}
func (segments) RefusesSYN([]byte) bool { return false }

func TestRefusal(t *testing.T) {
	b := newMemoryBridge(t)
	r := run(t, b.connect, func(c *controller.Config) {
		c.Segments = segments{}
	})
	r.set(snapshot())
	for _, frame := range []string{"junk", "syn"} {
		select {
		case b.conn.in <- controller.PacketIn{InPort: 7, Table: pipeline.TableRefuse, Data: []byte(frame)}:
		case <-time.After(patience):
			t.Fatal("nobody reads packets")
		}
	}
	select {
	case got := <-b.conn.out:
		if string(got) != "rst" {
			t.Errorf("answered %q", got)
		}
	case <-time.After(patience):
		t.Fatal("the segment was not answered")
	}
}

func TestStatusExplainsFlows(t *testing.T) {
	b := newMemoryBridge(t)
	r := run(t, b.connect, nil)
	r.set(snapshot(inst(h2+":80"), inst(h1+":81")))
	got, err := r.client.Flows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range got.Datapaths[0].Flows {
		if !f.Present || f.Packets != 3 || f.Bytes != 180 || f.Reason == "" || f.Actions == "" {
			t.Errorf("flow %+v", f)
		}
		found = found || f.Reason == "web on h1 calls api at 192.168.1.250:9000" && f.TableName == "service"
	}
	if !found || len(got.Datapaths[0].Groups) != 1 {
		t.Errorf("flows do not tell of the upstream: %+v", got)
	}
}

// Limits of connections are kept by each Open vSwitch for itself, which is said
// where there are several.
func TestLimitsOfSeveral(t *testing.T) {
	for name, c := range map[string]struct {
		address string // of the second switch; the first is at s1.mgmt
		limit   uint32
		want    bool
	}{
		"one Open vSwitch":       {"s2.mgmt", 100, false},
		"two":                    {"elsewhere/s2.mgmt", 100, true},
		"two without any limits": {"elsewhere/s2.mgmt", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, first := fabric()
			second := first
			second.Name, second.DPID, second.Address = "s2", 2, c.address
			bridges := map[string]*memoryBridge{"s1": newMemoryBridge(t), "s2": newMemoryBridge(t)}
			set := make(chan map[uint16]uint32, 100)
			r := run(t, func(ctx context.Context, dp controller.Datapath) (controller.Switch, error) {
				return bridges[dp.Name].connect(ctx, dp)
			}, func(cfg *controller.Config) {
				cfg.Datapaths = append(cfg.Datapaths, second)
				cfg.Limits = func(_ context.Context, zones map[uint16]uint32) error {
					select {
					case set <- zones:
					default:
					}
					return nil
				}
			})
			snap := snapshot(inst(h2 + ":80"))
			snap.Services[0].Limits.Connections = c.limit
			r.set(snap)
			r.poll("the limits", func() bool { zones := <-set; return len(zones) > 0 == (c.limit > 0) })
			h, err := r.client.Health(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			warned := slices.ContainsFunc(h.Warnings, func(w string) bool { return strings.Contains(w, "each of 2 Open vSwitches") })
			if warned != c.want {
				t.Errorf("warnings %q; one about several: want %v", h.Warnings, c.want)
			}
		})
	}
}

// Room is made for new connections whatever is wrong with something else: the
// limits cannot be set, that takes long, or another switch is not there.
func TestEndedConnectionsAreForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		limits func(context.Context) error
		away   bool // the second switch
	}{
		"all is well":           {func(context.Context) error { return nil }, false},
		"limits are not set":    {func(context.Context) error { return errors.New("no") }, false},
		"nobody answers":        {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, false},
		"a switch is not there": {func(context.Context) error { return nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, first := fabric()
			second := first
			second.Name, second.DPID, second.Address = "s2", 2, "s2.mgmt"
			bridges := map[string]*memoryBridge{"s1": newMemoryBridge(t), "s2": newMemoryBridge(t)}
			relieved := make(chan struct{})
			var away atomic.Bool
			r := run(t, func(ctx context.Context, dp controller.Datapath) (controller.Switch, error) {
				if away.Load() && dp.Name == "s2" {
					return nil, errors.New("it is not there")
				}
				return bridges[dp.Name].connect(ctx, dp)
			}, func(cfg *controller.Config) {
				cfg.Datapaths = append(cfg.Datapaths, second)
				cfg.Limits = func(ctx context.Context, _ map[uint16]uint32) error { return c.limits(ctx) }
				cfg.Relieve = func(ctx context.Context, _ func(context.Context, string, [][]byte) error) error {
					if _, bounded := ctx.Deadline(); !bounded {
						t.Error("a switch that does not answer would be waited for without an end")
					}
					select {
					case relieved <- struct{}{}:
					case <-ctx.Done():
					}
					return nil
				}
			})
			snap := snapshot(inst(h2 + ":80"))
			snap.Services[0].Limits.Connections = 100
			if c.away { // before it has heard of any limit
				away.Store(true)
				bridges["s2"].cut()
				r.health("the end of s2", func(h controller.Health) bool { return !h.Datapaths[1].Connected })
				r.snaps <- snap
			} else {
				r.set(snap)
			}
			for range 2 { // not only once
				select {
				case <-relieved:
				case <-time.After(patience):
					t.Fatal("nothing is forgotten")
				}
			}
		})
	}
}
