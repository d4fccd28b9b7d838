//go:build integration

// Package meshtest_test proves the functions of the mesh on real Open vSwitch
// bridges, with namespaces as hosts and the control loop as meshlab runs it.
// The registry is the test.
package meshtest_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/bridge"
	"meshlab.dev/meshlab/controller/datapath"
	"meshlab.dev/meshlab/controller/dns"
	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/controller/pipeline"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

const (
	vip, hairpin, vipMAC = "192.168.1.250", "192.168.1.251", "02:00:00:00:00:fa"

	h1, mac1 = "192.168.1.11", "00:00:00:00:00:01"
	h2, mac2 = "192.168.1.12", "00:00:00:00:00:02"
	h3, mac3 = "192.168.1.13", "00:00:00:00:00:03"
)

// rig is two bridges, joined by a patch, with h1 and h2 at s1 and h3 at s2,
// and a controller that follows them.
type rig struct {
	t       testing.TB
	ovs     *ovstest.OVS
	config  controller.Config
	traffic *metrics.Accumulator
	dials   atomic.Int32 // connections to switches
	ctl     *controller.Controller
	stop    func() // ends the controller and waits for that

	mu      sync.Mutex
	last    mesh.Snapshot
	changed chan struct{} // closed when last is replaced
}

// newRig starts all but the controller. The changes are made to the fabric.
func newRig(t testing.TB, changes ...func(*pipeline.Fabric)) *rig {
	t.Helper()
	r := &rig{t: t, ovs: ovstest.Start(t), traffic: metrics.New(time.Now), changed: make(chan struct{}), stop: func() {}}
	f := pipeline.Fabric{Mesh: true, VIP: netip.MustParseAddr(vip), Hairpin: netip.MustParseAddr(hairpin), VIPMAC: mac(t, vipMAC)}
	at := map[string]string{"h1": "s1", "h2": "s1", "h3": "s2"}
	dps := map[string]*pipeline.Datapath{
		"s1": {Name: "s1", DPID: 1, Access: map[string]uint32{"h1": 1, "h2": 2}, ToHost: map[string]uint32{"h3": 3},
			Flood: []uint32{1, 2, 3}, Trunks: map[uint32]pipeline.Peer{3: {Datapath: "s2", Port: 2}}},
		"s2": {Name: "s2", DPID: 2, Access: map[string]uint32{"h3": 1}, ToHost: map[string]uint32{"h1": 2, "h2": 2},
			Flood: []uint32{1, 2}, Trunks: map[uint32]pipeline.Peer{2: {Datapath: "s1", Port: 3}}},
	}
	for _, name := range []string{"s1", "s2"} {
		address := r.ovs.AddBridge(name)
		r.config.Datapaths = append(r.config.Datapaths, controller.Datapath{Datapath: *dps[name], Address: address})
	}
	r.ovs.AddPatch("s1", 3, "s2", 2)
	for _, h := range []struct{ name, addr, mac string }{{"h1", h1, mac1}, {"h2", h2, mac2}, {"h3", h3, mac3}} {
		f.Hosts = append(f.Hosts, pipeline.Host{Name: h.name, Addr: netip.MustParseAddr(h.addr), MAC: mac(t, h.mac)})
		r.ovs.AddHost(ovstest.Host{Name: h.name, MAC: h.mac, Addr: h.addr + "/24"}, at[h.name], dps[at[h.name]].Access[h.name])
	}
	for _, change := range changes {
		change(&f)
	}
	r.wire(f)
	return r
}

// wire joins the parts of the controller as cmd/meshlab does.
func (r *rig) wire(f pipeline.Fabric) {
	r.t.Helper()
	control, err := datapath.New(filepath.Join(r.ovs.RunDir, "vswitchd.ctl"), datapath.Userspace)
	if err != nil {
		r.t.Fatal(err)
	}
	log := r.logger()
	connect := bridge.Connector(bridge.Config{Logger: log})
	r.config.Fabric = f
	r.config.Connect = func(ctx context.Context, dp controller.Datapath) (controller.Switch, error) {
		sw, err := connect(ctx, dp)
		if err == nil {
			r.dials.Add(1)
		}
		return sw, err
	}
	r.config.Watch = r.watch
	r.config.Segments = bridge.Segments{}
	r.config.DNS = func(f pipeline.Fabric, snapshot func() (mesh.Snapshot, bool), send func(uint32, []byte)) (controller.Responder, error) {
		return dns.New(dns.Config{Addr: f.VIP, MAC: f.VIPMAC, Domain: "consul", Snapshot: snapshot, Send: send, Logger: log})
	}
	r.config.Limits = control.SetLimits
	r.config.Relieve = func(ctx context.Context, forget func(context.Context, string, [][]byte) error) error {
		_, err := control.Relieve(ctx, func(ctx context.Context, ended []datapath.Connection) error {
			var bodies [][]byte
			for _, e := range ended {
				bodies = append(bodies, e.FlushBody())
			}
			return forget(ctx, r.ovs.RunDir, bodies)
		})
		return err
	}
	r.config.Metrics = r.traffic
	r.config.Drain = func() time.Duration { return time.Hour }
	r.config.Logger = log
}

// logger shows the log of the controller with -v alone.
func (r *rig) logger() *slog.Logger {
	if !testing.Verbose() || os.Getenv("MESHTEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// watch is the registry: it gives the last snapshot that set was given.
func (r *rig) watch(ctx context.Context, emit func(mesh.Snapshot)) error {
	for {
		r.mu.Lock()
		last, changed := r.last, r.changed
		r.mu.Unlock()
		if len(last.Services) > 0 {
			emit(last)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// control starts the controller. It ends with the test, or with r.stop.
func (r *rig) control() {
	r.t.Helper()
	c, err := controller.New(r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	r.ctl = c
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.t.Errorf("Run ended with %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

// begin starts the controller with a snapshot.
func (r *rig) begin(snap mesh.Snapshot) {
	r.t.Helper()
	r.emit(snap)
	r.control()
	r.inForce(0)
}

// emit is what the registry says from now on.
func (r *rig) emit(snap mesh.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = snap
	close(r.changed)
	r.changed = make(chan struct{})
}

// set emits a snapshot and returns when packets meet it: the switches have
// confirmed it, and the datapath's cache of decisions has followed.
func (r *rig) set(snap mesh.Snapshot) {
	r.t.Helper()
	before := r.ctl.Health().Snapshot
	r.emit(snap)
	r.inForce(before)
}

func (r *rig) inForce(after uint64) {
	r.t.Helper()
	r.until("the snapshot in force", func() bool {
		h := r.ctl.Health()
		return h.OK && h.Snapshot > after
	})
	r.ovs.Appctl("revalidator/wait")
}

// until polls for a condition.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			r.t.Fatalf("waited %v for %s; health %+v", patience, what, r.ctl.Health())
		case <-tick.C:
		}
	}
}

// counted reads the counters of the switches. They follow packets within a
// second or so, when ovs-vswitchd looks at its cache.
func (r *rig) counted() metrics.Traffic {
	r.t.Helper()
	r.ovs.Appctl("revalidator/wait") // the counters of the cache go to the flows
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.ctl.Refresh(ctx)
	return r.traffic.Traffic()
}

// denied is the count of packets that were denied between two services.
func denied(t metrics.Traffic, source, destination string) uint64 {
	for _, e := range t.Edges {
		if e.Source == source && e.Destination == destination {
			return e.Denied.Total
		}
	}
	return 0
}

// missing are the reasons of the flows that a switch should hold and does not.
func (r *rig) missing(name string) []string {
	r.t.Helper()
	var out []string
	for _, d := range r.flows().Datapaths {
		if d.Name != name {
			continue
		}
		for _, f := range d.Flows {
			if !f.Present {
				out = append(out, f.Reason)
			}
		}
	}
	return out
}

func mac(t testing.TB, s string) pipeline.MAC {
	t.Helper()
	m, err := pipeline.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// instance is one at host:port, with the address as its id.
func instance(addr string) mesh.Instance {
	return mesh.Instance{ID: addr, Addr: netip.MustParseAddrPort(addr), Healthy: true, Weight: 1}
}

// calls is an upstream in the form "web@192.168.1.11 -> api:9000".
func calls(t testing.TB, text string) mesh.Upstream {
	t.Helper()
	source, rest, ok := strings.Cut(text, "@")
	client, to, ok2 := strings.Cut(rest, " -> ")
	at, err := netip.ParseAddrPort("0.0.0.0:" + to[strings.LastIndexByte(to, ':')+1:])
	if !ok || !ok2 || err != nil {
		t.Fatalf("%q is no upstream", text)
	}
	return mesh.Upstream{Client: netip.MustParseAddr(client), Source: source, Destination: to[:strings.LastIndexByte(to, ':')], BindPort: at.Port()}
}
