//go:build integration

package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/internal/ovstest"
)

// tcpFrame is a SYN of 10.9.0.1:40000 to 10.9.0.2:80, 64 bytes in all.
func tcpFrame() []byte {
	b := make([]byte, 64)
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2, 0x9c, 0x40, 0, 80})
	b[14+20+12], b[14+20+13] = 0x50, 2
	binary.BigEndian.PutUint16(b[14+10:], ^sum(b[14:34]))
	pseudo := append([]byte{0, 6, 0, 30}, b[26:34]...) // protocol and length, addresses
	binary.BigEndian.PutUint16(b[14+20+16:], ^sum(append(pseudo, b[34:]...)))
	return b
}

// sum is the ones' complement sum of 16-bit words (RFC 1071).
func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func apply(t *testing.T, c *Conn, ch Change) {
	t.Helper()
	if err := c.Apply(testContext(t), ch); err != nil {
		t.Fatal(err)
	}
}

// inject sends a frame through the tables, as if it had come in by port 1.
func inject(t *testing.T, c *Conn, frame []byte) {
	t.Helper()
	if err := c.PacketOut(testContext(t), 1, frame, []flow.Action{flow.Output{Port: flow.PortTable}}); err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatalf("the connection ended before %s came", what)
		}
		return v
	case <-testContext(t).Done():
		t.Fatalf("%s did not come", what)
	}
	panic("unreachable")
}

// TestPacketInTellsRegisters takes a packet through the tables and ct, from a
// real port: what comes back from ct is looked up anew, by its port.
func TestPacketInTellsRegisters(t *testing.T) {
	ovs, c := dialOVS(t)
	addHost(t, ovs, 1)
	ip := flow.EthType.Is(flow.EthTypeIPv4)
	table := uint8(10)
	loads := []flow.Action{}
	var regs [8]uint32
	for i := range regs {
		regs[i] = 0xa0000000 + uint32(i)
		loads = append(loads, flow.Load{Dst: (flow.Reg0 + flow.Field(i)).All(), Value: uint64(regs[i])})
	}
	// ct knows a connection, and its mark, once it is committed.
	commit := flow.CT{Commit: true, Zone: 1, Table: &table, Exec: []flow.Action{flow.Load{Dst: flow.CTMark.All(), Value: 0xbeef}}}
	punt := flow.Flow{Table: table, Priority: 1, Match: flow.Match{ip}, Actions: []flow.Action{flow.Controller{MaxLen: 0xffff}}}.Seal()
	apply(t, c, Change{AddFlows: slices.Values([]flow.Flow{
		{Priority: 1, Match: flow.Match{ip, flow.IPProto.Is(flow.IPProtoTCP), flow.InputPort.Is(1)}, Actions: append(loads, commit)}, punt})})
	inject(t, c, tcpFrame())
	p := receive(t, c.PacketIns(), "packet-in")
	if p.InPort != 1 || p.Table != table || p.Cookie != punt.Cookie || p.Regs != regs || p.CTMark != 0xbeef || string(p.Data) != string(tcpFrame()) {
		t.Errorf("packet-in %+v; want registers %x and mark beef", p, regs)
	}
}

// TestMeterLimits floods a flow that has a meter, and changes its rate.
func TestMeterLimits(t *testing.T) {
	ovs, c := dialOVS(t)
	f := flow.Flow{Priority: 1, Meter: 7, Actions: []flow.Action{flow.Controller{MaxLen: 0xffff}}}.Seal()
	end := flow.Flow{Priority: 2, Match: flow.Match{flow.EthType.Is(0x88b5)}, Actions: []flow.Action{flow.Controller{MaxLen: 0xffff}}}.Seal()
	burst := func(want uint32) {
		t.Helper()
		// A packet without a meter behind the others tells that they have passed.
		for range 100 {
			inject(t, c, tcpFrame())
		}
		last := tcpFrame()
		last[12], last[13] = 0x88, 0xb5
		inject(t, c, last)
		var got uint32
		for receive(t, c.PacketIns(), "packet-in").Cookie != end.Cookie {
			got++
		}
		// The bucket fills by one packet a second while the test sends.
		if got < want || got > want+10 {
			t.Errorf("%d of 100 packets passed the meter, want %d", got, want)
		}
	}
	meter := flow.Meter{ID: 7, Rate: 1, Burst: 10}
	apply(t, c, Change{Meters: []flow.Meter{meter, {ID: 9, Rate: 1, Burst: 1}}, AddFlows: slices.Values([]flow.Flow{f, end})})
	burst(10)
	meter.Burst = 50
	apply(t, c, Change{Meters: []flow.Meter{meter}})
	burst(50)
	if ids, err := c.Meters(testContext(t)); err != nil || !slices.Equal(ids, []uint32{7, 9}) && !slices.Equal(ids, []uint32{9, 7}) {
		t.Errorf("Meters = %v, %v, want 7 and 9", ids, err)
	}
	apply(t, c, Change{DeleteCookies: []uint64{f.Cookie}, DeleteMeters: []uint32{7, 1234}})
	if got := ovs.Ofctl("dump-meters", bridge); strings.Contains(got, "meter=7") || !strings.Contains(got, "meter=9") {
		t.Errorf("meters after the deletion of 7 and of one that is not there:\n%s", got)
	}
	err := c.Apply(testContext(t), Change{AddFlows: slices.Values([]flow.Flow{{Priority: 8}, {Priority: 9, Meter: 7}})})
	var refused *ApplyError
	if !errors.As(err, &refused) || refused.What != "add flow" || refused.Index != 1 {
		t.Errorf("a flow with a meter that is not there: %v", err)
	}
	if got := dump(ovs, bridge); strings.Contains(strings.Join(got, "\n"), "priority=8") {
		t.Errorf("the refused change was applied in part: %v", got)
	}
}

// TestNotices deletes a flow, and replaces one in the same change as its old
// cookie is deleted: both tell their last counters. A flow that is merely
// overwritten does not, nor does one without Notify.
func TestNotices(t *testing.T) {
	_, c := dialOVS(t)
	make := func(priority uint16, out uint32) flow.Flow {
		return flow.Flow{Table: 3, Priority: priority, Notify: true, Match: flow.Match{flow.Reg5.Is(uint64(priority)), flow.Reg6.Masked(0, 1)},
			Actions: []flow.Action{flow.Output{Port: out}}}.Seal()
	}
	gone, replaced, overwritten, silent := make(1, 2), make(2, 2), make(3, 2), make(4, 2)
	silent.Notify = false
	// Through all four, with three packets.
	var through []flow.Action
	for i := range 4 {
		through = append(through, flow.Load{Dst: flow.Reg5.All(), Value: uint64(i + 1)}, flow.Resubmit{Table: 3})
	}
	apply(t, c, Change{AddFlows: slices.Values([]flow.Flow{gone, replaced, overwritten, silent, {Priority: 1, Actions: through}})})
	for range 3 {
		inject(t, c, tcpFrame())
	}
	awaitPackets(t, c, 3, 3)
	apply(t, c, Change{
		DeleteCookies: []uint64{gone.Cookie, replaced.Cookie, silent.Cookie},
		AddFlows:      slices.Values([]flow.Flow{make(2, 3), make(3, 3)}),
	})
	for _, want := range []flow.Flow{gone, replaced} {
		got := receive(t, c.FlowsRemoved(), "notice")
		if got.Cookie != want.Cookie || got.Table != 3 || got.Priority != want.Priority || got.Reason != flow.RemovedDelete ||
			got.Packets != 3 || got.Bytes != 3*64 || got.Idle != 0 || got.Duration <= 0 ||
			len(got.Fields) != 1 || got.Fields[flow.Reg5] != uint64(want.Priority) {
			t.Errorf("notice %+v, want one of %s with 3 packets", got, want)
		}
	}
	// What comes next is of the flow that is deleted now.
	last := make(2, 3)
	apply(t, c, Change{DeleteCookies: []uint64{last.Cookie}})
	if got := receive(t, c.FlowsRemoved(), "notice"); got.Cookie != last.Cookie {
		t.Errorf("notice %+v, want none but that of %s", got, last)
	}
}

// awaitPackets polls until all flows of a table have counted so many packets:
// Open vSwitch adds up what its caches saw once in half a second.
func awaitPackets(t *testing.T, c *Conn, table uint8, n uint64) {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		flows, err := c.TableFlows(ctx, table)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(flows, func(f FlowStats) bool { return f.Packets < n }) {
			return
		}
		<-tick.C
	}
}

// addHost joins a network namespace to the bridge: host i has 10.9.0.i.
func addHost(t *testing.T, ovs *ovstest.OVS, i int) string {
	t.Helper()
	host, port := fmt.Sprintf("%s-h%d", ovs.NetNS, i), fmt.Sprintf("p%d", i)
	for _, c := range []string{
		"ip netns add " + host,
		"ip -n " + host + " link add eth0 address 02:00:00:00:00:0" + fmt.Sprint(i) + " type veth peer name " + port + " netns " + ovs.NetNS,
		"ip -n " + ovs.NetNS + " link set " + port + " up",
		"ip -n " + host + " link set eth0 up",
		"ip -n " + host + " address add 10.9.0." + fmt.Sprint(i) + "/24 dev eth0",
		"ip netns exec " + host + " ethtool -K eth0 tx off tso off gso off",
	} {
		args := strings.Fields(c)
		if out, err := exec.CommandContext(testContext(t), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("run %s: %v: %s", c, err, out)
		}
		if args[1] == "netns" && args[2] == "add" {
			t.Cleanup(func() {
				if out, err := exec.Command("ip", "netns", "del", host).CombinedOutput(); err != nil {
					t.Errorf("remove network namespace %s: %v: %s", host, err, out)
				}
			})
		}
	}
	ovs.Vsctl("add-port", bridge, port, "--", "set", "Interface", port, fmt.Sprintf("ofport_request=%d", i))
	return host
}

// inside runs fn with its thread in a network namespace.
func inside[T any](t *testing.T, host string, fn func() (T, error)) T {
	t.Helper()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(host)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err != nil {
			done <- result{err: err}
			return
		}
		value, err := fn()
		done <- result{value, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatalf("in network namespace %s: %v", host, r.err)
	}
	return r.value
}

// TestLearnedFlowCounts sends a MiB over a real connection past a learn
// action: the learned flow appears, counts it, and tells so after the FIN.
func TestLearnedFlowCounts(t *testing.T) {
	ovs, c := dialOVS(t)
	h1, h2 := addHost(t, ovs, 1), addHost(t, ovs, 2)
	ip, tcp := flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP)
	learn := flow.Learn{Table: 48, Priority: 100, IdleTimeout: 30, FinIdle: 1, Notify: true, Match: []flow.LearnMatch{
		{Dst: flow.EthType.All(), Value: flow.EthTypeIPv4}, {Dst: flow.IPProto.All(), Value: flow.IPProtoTCP},
		{Dst: flow.IPv4Src.All(), Src: flow.IPv4Src.All()}, {Dst: flow.TCPSrc.All(), Src: flow.TCPSrc.All()},
		{Dst: flow.Reg5.All(), Src: flow.Reg5.All()}, {Dst: flow.Reg6.All(), Value: 77}}}
	apply(t, c, Change{AddFlows: slices.Values([]flow.Flow{
		{Priority: 1, Match: flow.Match{flow.InputPort.Is(1)}, Actions: []flow.Action{flow.Output{Port: 2}}},
		{Priority: 1, Match: flow.Match{flow.InputPort.Is(2)}, Actions: []flow.Action{flow.Output{Port: 1}}},
		{Priority: 2, Match: flow.Match{flow.InputPort.Is(1), ip, tcp}, Actions: []flow.Action{
			flow.Load{Dst: flow.Reg5.All(), Value: 80}, flow.Load{Dst: flow.Reg6.All(), Value: 77}, learn, flow.Resubmit{Table: 48}, flow.Output{Port: 2}}},
	})})
	listener := inside(t, h2, func() (net.Listener, error) { return net.Listen("tcp4", "10.9.0.2:0") })
	defer listener.Close()
	served := make(chan int64, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		n, _ := io.Copy(io.Discard, conn)
		served <- n
	}()
	client := inside(t, h1, func() (net.Conn, error) {
		return net.DialTimeout("tcp4", listener.Addr().String(), 10*time.Second)
	})
	defer client.Close()
	port := uint64(client.LocalAddr().(*net.TCPAddr).Port)
	const payload = 1 << 20
	if _, err := client.Write(make([]byte, payload)); err != nil {
		t.Fatal(err)
	}
	flows, err := c.TableFlows(testContext(t), 48)
	if err != nil || len(flows) != 1 || flows[0].Cookie != flow.CookieLearned {
		t.Fatalf("learned flows %+v, %v; want one", flows, err)
	}
	client.Close()
	if got := receive(t, served, "the end of the connection"); got != payload {
		t.Errorf("server got %d bytes, want %d", got, payload)
	}
	got := receive(t, c.FlowsRemoved(), "notice")
	t.Logf("%+v", got)
	// The first packet goes by before the flow is there, and headers count.
	if got.Cookie != flow.CookieLearned || got.Table != 48 || got.Priority != 100 || got.Reason != flow.RemovedIdle || got.Idle != time.Second ||
		got.Packets < payload/1500 || got.Bytes < payload || got.Bytes > payload*11/10 {
		t.Errorf("notice %+v, want one of some %d bytes that ended after a FIN", got, payload)
	}
	for f, want := range map[flow.Field]uint64{flow.IPv4Src: 0x0a090001, flow.TCPSrc: port, flow.Reg5: 80, flow.Reg6: 77, flow.IPProto: 6, flow.EthType: 0x800} {
		if got.Fields[f] != want {
			t.Errorf("%s of the learned flow is %#x, want %#x", f, got.Fields[f], want)
		}
	}
}

// TestSwitchDiesInABundle kills the switch while a change is on its way:
// Apply fails, and the switch that comes back, which would have kept flows of
// another connection, has none of the change.
func TestSwitchDiesInABundle(t *testing.T) {
	ovs, c := dialOVS(t)
	const n = 40_000
	err := c.Apply(bigContext(t), Change{AddFlows: func(yield func(flow.Flow) bool) {
		for i := range n {
			if i == n/2 {
				ovs.KillSwitch()
			}
			if !yield(flow.Flow{Priority: 1, Match: flow.Match{flow.Reg0.Is(uint64(i))}}) {
				return
			}
		}
	}})
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("Apply = %v, want an error that says that nothing was applied", err)
	}
	t.Log(err)
	ovs.StartSwitch()
	again, err := Dial(testContext(t), Config{Address: ovs.MgmtSocket(bridge)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if flows, err := again.Flows(testContext(t)); err != nil || len(flows) != 0 {
		t.Errorf("%d flows after a switch that died in a bundle, %v", len(flows), err)
	}
}

// TestConnectionCutInABundle ends the connection, and not the switch, in the
// middle of a change: the switch must forget what it had got of it.
func TestConnectionCutInABundle(t *testing.T) {
	ovs, c := dialOVS(t)
	standing := flow.Flow{Priority: 7}.Seal()
	apply(t, c, Change{AddFlows: slices.Values([]flow.Flow{standing})})
	const n = 40_000
	ctx, cancel := context.WithCancel(bigContext(t))
	defer cancel()
	err := c.Apply(ctx, Change{DeleteCookies: []uint64{standing.Cookie}, AddFlows: func(yield func(flow.Flow) bool) {
		for i := range n {
			if i == n/2 {
				_ = c.nc.Close()
			}
			if !yield(flow.Flow{Priority: 1, Match: flow.Match{flow.Reg0.Is(uint64(i))}}) {
				return
			}
		}
	}})
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("Apply = %v, want an error that says that nothing was applied", err)
	}
	again, err := Dial(testContext(t), Config{Address: ovs.MgmtSocket(bridge)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	flows, err := again.Flows(testContext(t))
	if err != nil || len(flows) != 1 || flows[0].Cookie != standing.Cookie {
		t.Errorf("%d flows after a connection that was cut in a bundle, %v; want the one from before", len(flows), err)
	}
}
