//go:build integration

package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/openflow"
	"meshlab.dev/meshlab/controller/openflow/packet"
)

const (
	zone    = 5
	limit   = 10
	service = "10.0.0.2:80"
)

// flows let TCP of port 1 through if its zone has room, as table 45 of the
// pipeline does for a service with a limit. Over the limit, ct continues in
// table 47 without having stored anything: the mark stays 0.
var flows = []string{
	"table=0,priority=10,arp actions=normal",
	"table=0,priority=10,tcp actions=ct(table=30,zone=5)",
	"table=30,priority=20,tcp,tcp_flags=+syn-ack,ct_mark=0 actions=ct(commit,zone=5,exec(load:7->NXM_NX_CT_MARK[]),table=47)",
	"table=30,priority=10,tcp actions=normal",
	"table=47,priority=10,tcp,ct_mark=0 actions=resubmit(,100)",
	"table=47,priority=1 actions=normal",
	"table=100,priority=1 actions=controller(max_len=65535)",
}

// rig is a bridge with a client at port 1 and a server at port 2.
type rig struct {
	t       *testing.T
	ovs     *ovstest.OVS
	control *Control
	client  string // network namespace
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, ovs: ovstest.Start(t)}
	mgmt := r.ovs.AddBridge("br0")
	r.client = r.host(1)
	server := r.host(2)
	for _, f := range flows {
		r.ovs.Ofctl("add-flow", "br0", f)
	}
	var ln net.Listener
	r.in(server, func() (err error) {
		ln, err = net.Listen("tcp4", service)
		return err
	})
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	r.answerWithResets(mgmt)
	var err error
	if r.control, err = New(filepath.Join(r.ovs.RunDir, "vswitchd.ctl"), Userspace); err != nil {
		t.Fatal(err)
	}
	return r
}

// host makes a namespace with address 10.0.0.n behind port n.
func (r *rig) host(n int) string {
	r.t.Helper()
	ns, port := fmt.Sprintf("%sh%d", r.ovs.NetNS, n), fmt.Sprintf("p%d", n)
	r.command("ip", "netns", "add", ns)
	r.t.Cleanup(func() { r.command("ip", "netns", "del", ns) })
	r.command("ip", "-n", r.ovs.NetNS, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns)
	r.command("ip", "-n", r.ovs.NetNS, "link", "set", port, "up")
	r.command("ip", "-n", ns, "link", "set", "eth0", "up")
	r.command("ip", "-n", ns, "addr", "add", fmt.Sprintf("10.0.0.%d/24", n), "dev", "eth0")
	r.command("ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off")
	r.ovs.Vsctl("add-port", "br0", port, "--", "set", "Interface", port, fmt.Sprintf("ofport_request=%d", n))
	return ns
}

func (r *rig) command(name string, args ...string) {
	r.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("run %s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// in runs f with its thread in a namespace. Sockets made there stay there.
func (r *rig) in(ns string, f func() error) {
	r.t.Helper()
	if err := r.try(ns, f); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) try(name string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(name)
		if err != nil {
			result <- err
			return
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

// answerWithResets is what the controller does for table 100.
func (r *rig) answerWithResets(mgmt string) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := openflow.Dial(ctx, openflow.Config{Network: "unix", Address: mgmt})
	if err != nil {
		cancel()
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { cancel(); conn.Close() })
	go func() {
		for in := range conn.PacketIns() {
			if p, err := packet.ParseTCP(in.Data); err == nil {
				_ = conn.PacketOut(ctx, flow.PortController, packet.BuildReset(p), []flow.Action{flow.Output{Port: in.InPort}})
			}
		}
	}()
}

func (r *rig) dial() (net.Conn, error) {
	var conn net.Conn
	err := r.try(r.client, func() (err error) {
		conn, err = (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp4", service)
		return err
	})
	if err == nil {
		r.t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func (r *rig) mustDial() net.Conn {
	r.t.Helper()
	conn, err := r.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

func (r *rig) mustRefuse() {
	r.t.Helper()
	start := time.Now()
	if _, err := r.dial(); !errors.Is(err, syscall.ECONNREFUSED) {
		r.t.Fatalf("a connection over the limit: %v, want a refusal", err)
	}
	if d := time.Since(start); d > 900*time.Millisecond { // a lost SYN comes again after 1 s (RFC 6298, section 2)
		r.t.Errorf("refused after %v, not at once", d)
	}
}

func (r *rig) set(limits map[uint16]uint32) {
	r.t.Helper()
	if err := r.control.SetLimits(testContext(r.t), limits); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) expect(want map[uint16]ZoneLimit) {
	r.t.Helper()
	got, err := r.control.Limits(testContext(r.t))
	if err != nil || !reflect.DeepEqual(got, want) {
		r.t.Fatalf("limits %v, %v; want %v", got, err, want)
	}
}

// forget sends the flushes and a barrier on a connection of its own.
func (r *rig) forget(_ context.Context, ended []Connection) error {
	conn, err := net.Dial("unix", r.ovs.MgmtSocket("br0"))
	if err != nil {
		return err
	}
	defer conn.Close()
	message := func(b []byte, kind byte, body []byte) []byte { // OpenFlow 1.3.5, section 7.1
		b = append(b, 4, kind)
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(body)))
		return append(append(b, 0, 0, 0, 9), body...)
	}
	const hello, isError, experimenter, barrier, barrierReply = 0, 1, 4, 20, 21
	all := message(nil, hello, nil)
	for _, c := range ended {
		all = message(all, experimenter, c.FlushBody())
	}
	if _, err := conn.Write(message(all, barrier, nil)); err != nil {
		return err
	}
	for header := make([]byte, 8); ; {
		if _, err := io.ReadFull(conn, header); err != nil {
			return err
		}
		body := make([]byte, max(8, binary.BigEndian.Uint16(header[2:]))-8)
		if _, err := io.ReadFull(conn, body); err != nil {
			return err
		}
		switch header[1] {
		case isError:
			return fmt.Errorf("the switch answers with the error %x", body)
		case barrierReply:
			return nil
		}
	}
}

// roomAfterRelief polls until the switch has seen the end of a connection.
func (r *rig) roomAfterRelief(connections uint32) {
	r.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, err := r.control.Relieve(testContext(r.t), r.forget); err != nil {
			r.t.Fatal(err)
		}
		limits, err := r.control.Limits(testContext(r.t))
		if err != nil {
			r.t.Fatal(err)
		}
		if limits[zone].Connections == connections {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%v, want %d connections", limits, connections)
		}
	}
}

func TestRealLimit(t *testing.T) {
	r := newRig(t)
	r.expect(map[uint16]ZoneLimit{})
	r.set(map[uint16]uint32{zone: limit, 6: 1})
	var conns []net.Conn
	for range limit {
		conns = append(conns, r.mustDial())
	}
	r.expect(map[uint16]ZoneLimit{zone: {limit, limit}, 6: {1, 0}})
	r.mustRefuse()
	if n, err := r.control.Relieve(testContext(t), r.forget); n != 0 || err != nil {
		t.Errorf("forgot %d connections that are open, %v", n, err)
	}
	r.mustRefuse()

	// An end makes room: by FINs from both sides, and by a reset.
	conns[0].Close()
	r.roomAfterRelief(limit - 1)
	conns[0] = r.mustDial()
	r.mustRefuse()
	if err := conns[1].(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conns[1].Close()
	r.roomAfterRelief(limit - 1)
	conns[1] = r.mustDial()
	r.mustRefuse()

	// Another limit keeps the count, and none of the open ones breaks.
	r.set(map[uint16]uint32{zone: limit - 5})
	r.expect(map[uint16]ZoneLimit{zone: {limit - 5, limit}})
	r.mustRefuse()
	r.set(map[uint16]uint32{zone: limit + 1})
	r.set(map[uint16]uint32{zone: limit + 1})
	conns = append(conns, r.mustDial())
	r.mustRefuse()
	for _, c := range conns {
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(c, "x"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}
	r.set(nil)
	r.expect(map[uint16]ZoneLimit{})
	r.mustDial()

	// What is open when a limit is set does not count.
	r.set(map[uint16]uint32{zone: 1})
	r.expect(map[uint16]ZoneLimit{zone: {1, 0}})

	// Many zones at once: more than one command, at both ends of the range.
	many := map[uint16]uint32{}
	for z := range mostZones*2 + 1 {
		many[uint16(65535-z)] = 1 << 31
	}
	r.set(many)
	if got, err := r.control.Limits(testContext(t)); err != nil || len(got) != len(many) {
		t.Errorf("%d zones, %v; want %d", len(got), err, len(many))
	}

	r.ovs.KillSwitch()
	r.ovs.StartSwitch()
	r.expect(map[uint16]ZoneLimit{})
}

func TestRealDatapathMissing(t *testing.T) {
	ovs := ovstest.Start(t)
	control, err := New(filepath.Join(ovs.RunDir, "vswitchd.ctl"), Userspace)
	if err != nil {
		t.Fatal(err)
	}
	if err := control.SetLimits(testContext(t), map[uint16]uint32{1: 1}); err == nil {
		t.Error("limits are set in a datapath that is not there")
	}
	s, err := dial(testContext(t), filepath.Join(ovs.RunDir, "vswitchd.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.call("dpctl/ct-no-such-command"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("an unknown command: %v, want ErrUnsupported", err)
	}
}
