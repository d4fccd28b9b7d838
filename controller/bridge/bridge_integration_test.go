//go:build integration

package bridge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/bridge"
	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

const patience = 10 * time.Second

// lab is one bridge with two hosts.
type lab struct {
	t      testing.TB
	ovs    *ovstest.OVS
	config controller.Config
	snaps  chan mesh.Snapshot // read by watch
	client *controller.Client
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, ovs: ovstest.Start(t), snaps: make(chan mesh.Snapshot)}
	address := l.ovs.AddBridge("s1")
	ip := netip.MustParseAddr
	f := pipeline.Fabric{Mesh: true, VIP: ip("192.168.1.250"), Hairpin: ip("192.168.1.251"), VIPMAC: pipeline.MAC{2, 0, 0, 0, 0, 0xfa}}
	dp := pipeline.Datapath{Name: "s1", Access: map[string]uint32{}, Flood: []uint32{1, 2}}
	for i := 1; i <= 2; i++ {
		h := pipeline.Host{Name: fmt.Sprintf("h%d", i), Addr: netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + i)}), MAC: pipeline.MAC{5: byte(i)}}
		f.Hosts = append(f.Hosts, h)
		dp.Access[h.Name] = uint32(i)
		l.ovs.AddHost(ovstest.Host{Name: h.Name, MAC: h.MAC.String(), Addr: h.Addr.String() + "/24"}, "s1", uint32(i))
	}
	dir, err := os.MkdirTemp("", "ctl") // not t.TempDir: a socket's path has at most 107 bytes (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l.client = controller.NewClient(filepath.Join(dir, "s"))
	l.config = controller.Config{
		Fabric: f, Datapaths: []controller.Datapath{{Datapath: dp, Address: address}}, Status: filepath.Join(dir, "s"), Drain: func() time.Duration { return time.Hour },
		Connect: bridge.Connector(bridge.Config{}), Segments: bridge.Segments{},
	}
	return l
}

// watch is a registry that says what set gives it.
func (l *lab) watch(ctx context.Context, emit func(mesh.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s := <-l.snaps:
			emit(s)
		}
	}
}

// control runs a controller with a registry until the test ends.
func (l *lab) control(watch func(context.Context, func(mesh.Snapshot)) error) {
	l.t.Helper()
	cfg := l.config
	cfg.Watch = watch
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- controller.Run(ctx, cfg) }()
	l.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			l.t.Errorf("Run ended with %v", err)
		}
		l.client.Close()
	})
	l.health("the first connection", func(h controller.Health) bool { return len(h.Datapaths) > 0 && h.Datapaths[0].InSync })
}

// health polls for a state of the controller.
func (l *lab) health(what string, ok func(controller.Health) bool) controller.Health {
	l.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		h, err := l.client.Health(context.Background())
		if err == nil && ok(h) {
			return h
		}
		select {
		case <-deadline:
			l.t.Fatalf("waited %v for %s; health %+v, error %v", patience, what, h, err)
		case <-tick.C:
		}
	}
}

// set gives a snapshot and returns once the switch has confirmed it.
func (l *lab) set(instances ...mesh.Instance) controller.Health {
	l.t.Helper()
	before, err := l.client.Health(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	l.snaps <- mesh.Snapshot{
		Services:  []*mesh.Service{{Name: "api", Instances: instances}},
		Upstreams: []mesh.Upstream{{Client: netip.MustParseAddr("192.168.1.11"), Source: "web", Destination: "api", BindPort: 9000}},
	}
	return l.health("the snapshot in force", func(h controller.Health) bool { return h.OK && h.Snapshot > before.Snapshot })
}

func (l *lab) dial(to string) (net.Conn, error) {
	var conn net.Conn
	err := l.ovs.In("h1", func() (err error) {
		conn, err = net.DialTimeout("tcp4", to, patience)
		return err
	})
	return conn, err
}

// connected dials until it succeeds: the switch's cache of decisions follows
// its tables some milliseconds after it has confirmed a change.
func (l *lab) connected(to string) net.Conn {
	l.t.Helper()
	start := time.Now()
	for {
		conn, err := l.dial(to)
		if err == nil {
			l.t.Logf("%s answers %v after the confirmation", to, time.Since(start))
			return conn
		}
		if time.Since(start) > patience {
			l.t.Fatal(err)
		}
	}
}

// refused dials until the connection is refused; see connected.
func (l *lab) refused(to, when string) {
	l.t.Helper()
	for begin := time.Now(); ; {
		start := time.Now()
		conn, err := l.dial(to)
		if err == nil && time.Since(begin) < patience {
			conn.Close()
			continue
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) > time.Second {
			l.t.Fatalf("%s: dial gave %v after %v; want connection refused at once", when, err, time.Since(start))
		}
		return
	}
}

// echo serves on h2 what it reads.
func (l *lab) echo(port uint16) mesh.Instance {
	l.t.Helper()
	var ln net.Listener
	if err := l.ovs.In("h2", func() (err error) {
		ln, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					fmt.Fprintf(conn, "%d %s", port, line)
				}
			}()
		}
	}()
	at := netip.AddrPortFrom(netip.MustParseAddr("192.168.1.12"), port)
	return mesh.Instance{ID: at.String(), Addr: at, Healthy: true, Weight: 1}
}

func exchange(conn net.Conn) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(conn, "hello"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func TestControllerKeepsARealSwitch(t *testing.T) {
	l := newLab(t)
	l.control(l.watch)
	const vip = "192.168.1.250:9000"
	l.refused(vip, "before the first snapshot")
	l.set()
	l.refused(vip, "without an instance")

	a, b := l.echo(80), l.echo(81)
	l.set(a)
	conn := l.connected(vip)
	defer conn.Close()
	if got, err := exchange(conn); err != nil || got != "80 hello\n" {
		t.Fatalf("answer %q, error %v", got, err)
	}
	var longest float64
	for i := range 20 { // one instance comes and goes
		h := l.set([][]mesh.Instance{{a, b}, {a}}[i%2]...)
		longest = max(longest, h.Datapaths[0].SyncMS)
	}
	t.Logf("from a snapshot to the switch's confirmation: at most %.1f ms of 20 changes", longest)
	l.set(b)
	if got, err := exchange(conn); err != nil || got != "80 hello\n" {
		t.Fatalf("after its instance left: answer %q, error %v", got, err)
	}
	l.set()
	l.refused(vip, "with only draining instances")
	l.set(a)

	flows, err := l.client.Flows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var counted bool
	for _, f := range flows.Datapaths[0].Flows {
		if !f.Present {
			t.Errorf("not in the switch: %+v", f)
		}
		counted = counted || f.Reason == "web on h1 calls api at 192.168.1.250:9000" && f.Packets > 0
	}
	if !counted {
		t.Error("the flow of the upstream has counted no packet")
	}

	l.ovs.KillSwitch()
	l.health("the loss of the switch", func(h controller.Health) bool { return !h.OK })
	l.ovs.StartSwitch()
	l.health("the switch in sync again", func(h controller.Health) bool { return h.OK })
	if got, err := exchange(conn); err != nil || got != "80 hello\n" {
		t.Errorf("after a crash of the switch the connection gave %q, error %v", got, err)
	}
}
