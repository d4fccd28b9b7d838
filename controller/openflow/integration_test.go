//go:build integration

package openflow

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/internal/ovstest"
)

const bridge = "br0"

func dialOVS(t testing.TB) (*ovstest.OVS, *Conn) {
	t.Helper()
	ovs := ovstest.Start(t)
	return ovs, dialBridge(t, ovs, bridge)
}

func dialBridge(t testing.TB, ovs *ovstest.OVS, name string) *Conn {
	t.Helper()
	c, err := Dial(testContext(t), Config{Network: "unix", Address: ovs.AddBridge(name)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dump is a bridge's flows without counters, in a stable order.
func dump(ovs *ovstest.OVS, name string) []string {
	lines := strings.Split(strings.TrimSpace(ovs.Ofctl("--no-stats", "dump-flows", name)), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

func dumpGroups(ovs *ovstest.OVS, name string) []string {
	lines := strings.Split(strings.TrimSpace(ovs.Ofctl("dump-groups", name)), "\n")
	lines = lines[1:] // "OFPST_GROUP_DESC reply (OF1.3) (xid=0x2):"
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

// TestEncodingMatchesOfctl installs every match field and action by us in
// one bridge, and by ovs-ofctl from the printed flow in another: the switch
// must then hold the same.
func TestEncodingMatchesOfctl(t *testing.T) {
	ovs, c := dialOVS(t)
	const reference = "reference"
	ovs.AddBridge(reference)
	groups, flows := sampleGroups(), sampleFlows()
	if err := c.Apply(testContext(t), Change{Meters: sampleMeters(), AddGroups: slices.Values(groups), AddFlows: slices.Values(flows)}); err != nil {
		t.Fatal(err)
	}
	for _, m := range sampleMeters() {
		ovs.Ofctl("add-meter", reference, m.String())
	}
	for _, g := range groups {
		ovs.Ofctl("add-group", reference, g.String())
	}
	for _, f := range flows {
		ovs.Ofctl("add-flow", reference, f.String())
	}
	compareLines(t, "flows", dump(ovs, bridge), dump(ovs, reference))
	compareLines(t, "groups", dumpGroups(ovs, bridge), dumpGroups(ovs, reference))
	meters := func(name string) []string { return strings.Split(ovs.Ofctl("dump-meters", name), "\n") }
	compareLines(t, "meters", meters(bridge), meters(reference))
	if got := len(dump(ovs, bridge)); got != len(flows) {
		t.Errorf("%d flows in the switch, want %d: two samples have the same match", got, len(flows))
	}

	// Our own text is the switch's, but for the table 0 and the default
	// priority that a dump leaves out.
	var ours []string
	for _, f := range flows {
		s := strings.TrimPrefix(f.String(), "table=0, ")
		ours = append(ours, s)
	}
	slices.Sort(ours)
	compareLines(t, "printed flows", ours, dump(ovs, bridge))
	var ourGroups []string
	for _, g := range groups {
		ourGroups = append(ourGroups, g.String())
	}
	slices.Sort(ourGroups)
	compareLines(t, "printed groups", ourGroups, dumpGroups(ovs, bridge))
}

func compareLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: only on the left:  %s", what, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: only on the right: %s", what, line)
		}
	}
}

func TestReadBack(t *testing.T) {
	ovs, c := dialOVS(t)
	ctx := testContext(t)
	if want := strings.TrimSpace(ovs.Vsctl("get", "Bridge", bridge, "datapath_id")); !strings.Contains(want, c.name()[len("switch "):]) {
		t.Errorf("DPID = %x, the bridge says %s", c.DPID(), want)
	}
	sealed := make([]flow.Flow, 3000) // needs several multipart replies
	for i := range sealed {
		sealed[i] = flow.Flow{Table: 3, Priority: 7, Match: flow.Match{flow.Reg0.Is(uint64(i))}, Actions: []flow.Action{flow.InPort{}}}.Seal()
	}
	groups := sampleGroups()
	if err := c.Apply(ctx, Change{AddGroups: slices.Values(groups), AddFlows: slices.Values(sealed)}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Flows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cookies := map[uint64]bool{}
	for _, f := range got {
		if f.Table != 3 || f.Priority != 7 || f.Packets != 0 {
			t.Errorf("flow read back as %+v", f)
		}
		cookies[f.Cookie] = true
	}
	for _, f := range sealed {
		if !cookies[f.Cookie] {
			t.Fatalf("flow %s with cookie %#x was not read back", f, f.Cookie)
		}
	}
	ids, err := c.Groups(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if !slices.Contains(ids, g.ID) {
			t.Errorf("group %d was not read back: %v", g.ID, ids)
		}
	}
	ports, err := c.Ports(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != 1 || ports[0].Number != flow.PortLocal || ports[0].Name != bridge || len(ports[0].HWAddr) != 6 {
		t.Errorf("Ports = %+v, want the local port %s", ports, bridge)
	}
	stats, err := c.PortStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(stats) != 1 || stats[0].Number != flow.PortLocal {
		t.Errorf("PortStats = %+v, want those of the local port", stats)
	}
}

func TestApplyIsAtomic(t *testing.T) {
	ovs, c := dialOVS(t)
	ctx := testContext(t)
	good := func(i uint64) flow.Flow {
		return flow.Flow{Priority: 1, Match: flow.Match{flow.Reg0.Is(i)}}.Seal()
	}
	standing := good(100)
	if err := c.Apply(ctx, Change{AddFlows: slices.Values([]flow.Flow{standing})}); err != nil {
		t.Fatal(err)
	}
	before := dump(ovs, bridge)
	for _, tt := range []struct {
		name   string
		change Change
		what   string
		index  int
	}{
		{
			"refused when added", // the switch cannot decode it
			Change{AddFlows: slices.Values([]flow.Flow{good(1), {Priority: 2, Actions: []flow.Action{flow.Output{Port: 70000}}}, good(2)}), DeleteCookies: []uint64{standing.Cookie}},
			"add flow", 1,
		},
		{
			"refused at commit", // the group is not there
			Change{AddFlows: slices.Values([]flow.Flow{good(1), good(3), {Priority: 2, Actions: []flow.Action{flow.UseGroup{ID: 77}}}, good(2)}), DeleteCookies: []uint64{standing.Cookie}},
			"add flow", 2,
		},
		{
			"group twice",
			Change{AddGroups: slices.Values([]flow.Group{{ID: 5, Type: flow.GroupAll}, {ID: 5, Type: flow.GroupAll}}), AddFlows: slices.Values([]flow.Flow{good(1)})},
			"add group", 1,
		},
		{
			"unknown group modified",
			Change{AddGroups: slices.Values([]flow.Group{{ID: 5}}), ModifyGroups: slices.Values([]flow.Group{{ID: 5}, {ID: 6}}), AddFlows: slices.Values([]flow.Flow{good(1)})},
			"modify group", 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := c.Apply(ctx, tt.change)
			var refused *ApplyError
			if !errors.As(err, &refused) {
				t.Fatalf("Apply = %v, want an *ApplyError", err)
			}
			t.Log(err)
			if refused.What != tt.what || refused.Index != tt.index {
				t.Errorf("refused part is %s %d, want %s %d", refused.What, refused.Index, tt.what, tt.index)
			}
			compareLines(t, "flows after a refusal", dump(ovs, bridge), before)
			if got := dumpGroups(ovs, bridge); len(got) != 0 {
				t.Errorf("groups after a refusal: %v", got)
			}
		})
	}
	if err := c.Apply(ctx, Change{AddFlows: slices.Values([]flow.Flow{good(1)})}); err != nil {
		t.Errorf("a good change after refused ones: %v", err)
	}
}

func TestDeleteByCookie(t *testing.T) {
	ovs, c := dialOVS(t)
	ctx := testContext(t)
	a := flow.Flow{Table: 1, Priority: 1, Match: flow.Match{flow.Reg0.Is(1)}, Actions: []flow.Action{flow.Output{Port: 1}}}.Seal()
	b := flow.Flow{Table: 200, Priority: 1, Match: flow.Match{flow.Reg0.Is(1)}, Actions: []flow.Action{flow.Output{Port: 2}}}.Seal()
	foreign := flow.Flow{Table: 1, Priority: 2}
	if err := c.Apply(ctx, Change{AddFlows: slices.Values([]flow.Flow{a, b, foreign})}); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(ctx, Change{DeleteCookies: []uint64{b.Cookie}}); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(dump(ovs, bridge), "\n")
	if strings.Contains(got, "output:2") || !strings.Contains(got, "output:1") || !strings.Contains(got, "priority=2") {
		t.Errorf("after the deletion of one cookie:\n%s", got)
	}
	// The same match with other content replaces the flow; deleting the old
	// cookie afterwards must not take the new flow.
	a2 := a
	a2.Actions = []flow.Action{flow.Output{Port: 3}}
	a2 = a2.Seal()
	if err := c.Apply(ctx, Change{AddFlows: slices.Values([]flow.Flow{a2}), DeleteCookies: []uint64{a.Cookie}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(dump(ovs, bridge), "\n"); strings.Contains(got, "output:1") || !strings.Contains(got, "output:3") {
		t.Errorf("after a replacement:\n%s", got)
	}
}

func TestGroupLifeCycle(t *testing.T) {
	ovs, c := dialOVS(t)
	ctx := testContext(t)
	g := flow.Group{ID: 9, Type: flow.GroupSelect, Buckets: []flow.Bucket{{Weight: 1, Actions: []flow.Action{flow.Output{Port: 1}}}}}
	user := flow.Flow{Priority: 3, Actions: []flow.Action{flow.UseGroup{ID: 9}}}.Seal()
	if err := c.Apply(ctx, Change{AddGroups: slices.Values([]flow.Group{g}), AddFlows: slices.Values([]flow.Flow{user})}); err != nil {
		t.Fatal(err)
	}
	for i := range 255 { // 256 slots, as a load balancer has
		g.Buckets = append(g.Buckets, flow.Bucket{Weight: 1, Actions: []flow.Action{
			flow.Load{Dst: flow.Reg1.All(), Value: 0x0a000001 + uint64(i)}, flow.Load{Dst: flow.Reg2.Sub(0, 15), Value: 80}, flow.Resubmit{Table: 50}}})
	}
	if err := c.Apply(ctx, Change{ModifyGroups: slices.Values([]flow.Group{g})}); err != nil {
		t.Fatal(err)
	}
	if got := dumpGroups(ovs, bridge); len(got) != 1 || got[0] != g.String() {
		t.Errorf("group after modification:\n%.300v\nwant\n%.300s", got, g)
	}
	if err := c.Apply(ctx, Change{DeleteCookies: []uint64{user.Cookie}, DeleteGroups: []uint32{9}}); err != nil {
		t.Fatal(err)
	}
	if ids, err := c.Groups(ctx); err != nil || len(ids) != 0 {
		t.Errorf("Groups = %v, %v after the deletion", ids, err)
	}
}

func TestPacketOutAndIn(t *testing.T) {
	_, c := dialOVS(t)
	ctx := testContext(t)
	f := flow.Flow{Table: 4, Priority: 1, Match: flow.Match{flow.Reg3.Is(7)}, Actions: []flow.Action{flow.Controller{MaxLen: 0xffff}}}.Seal()
	start := flow.Flow{Priority: 1, Actions: []flow.Action{flow.Load{Dst: flow.Reg3.All(), Value: 7}, flow.Resubmit{Table: 4}}}.Seal()
	if err := c.Apply(ctx, Change{AddFlows: slices.Values([]flow.Flow{f, start})}); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 300)
	for i := range frame {
		frame[i] = byte(i)
	}
	if err := c.PacketOut(ctx, 42, frame, []flow.Action{flow.Output{Port: flow.PortTable}}); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-c.PacketIns():
		if p.InPort != 42 || p.Table != 4 || p.Cookie != f.Cookie || string(p.Data) != string(frame) {
			t.Errorf("packet came back as %+v", p)
		}
	case <-ctx.Done():
		t.Fatal("no packet came back")
	}
}

func TestSwitchDiesAndComesBack(t *testing.T) {
	ovs, c := dialOVS(t)
	ctx := testContext(t)
	ovs.KillSwitch()
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Fatal("Done is not closed after the switch died")
	}
	if c.Err() == nil {
		t.Error("Err = nil after the switch died")
	}
	if _, err := c.Flows(ctx); err == nil {
		t.Error("Flows works on a dead connection")
	}
	if _, open := <-c.PacketIns(); open {
		t.Error("PacketIns is open on a dead connection")
	}
	ovs.StartSwitch()
	again, err := Dial(ctx, Config{Address: ovs.MgmtSocket(bridge)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.DPID() != c.DPID() {
		t.Errorf("DPID changed from %x to %x", c.DPID(), again.DPID())
	}
}

func TestDialRefusedVersion(t *testing.T) {
	ovs := ovstest.Start(t)
	ovs.AddBridge(bridge)
	ovs.Vsctl("set", "Bridge", bridge, "protocols=OpenFlow10")
	_, err := Dial(testContext(t), Config{Address: ovs.MgmtSocket(bridge)})
	if err == nil || !strings.Contains(err.Error(), "protocols=OpenFlow13") {
		t.Errorf("Dial = %v, want the remedy", err)
	}
}

// BenchmarkApply10k measures 10,000 flow-mods in one Apply, barriers included.
func BenchmarkApply10k(b *testing.B) {
	ovs, c := dialOVS(b)
	flows := make([]flow.Flow, 10_000)
	table := uint8(31)
	for i := range flows {
		flows[i] = flow.Flow{Table: 30, Priority: 100,
			Match: flow.Match{flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP), flow.IPv4Dst.Is(uint64(0x0a000000 + i)), flow.TCPDst.Is(80)},
			Actions: []flow.Action{flow.Load{Dst: flow.Reg0.All(), Value: uint64(i)},
				flow.CT{Commit: true, Zone: 1, Table: &table, Exec: []flow.Action{flow.Move{Src: flow.Reg0.All(), Dst: flow.CTLabel.Sub(0, 31)}}}}}.Seal()
	}
	for b.Loop() {
		b.StopTimer()
		ovs.Ofctl("del-flows", bridge)
		b.StartTimer()
		if err := c.Apply(context.Background(), Change{AddFlows: slices.Values(flows)}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/apply")
}
