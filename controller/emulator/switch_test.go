package emulator

import (
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
)

func mustSwitch(t *testing.T, flows []flow.Flow, groups []flow.Group) *Switch {
	t.Helper()
	s, err := NewSwitch(flows, groups)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ports(r Result) []uint32 {
	var out []uint32
	for _, o := range r.Outputs {
		out = append(out, o.Port)
	}
	return out
}

func syn(src, dst string) Packet {
	return TCP("00:00:00:00:00:01", "00:00:00:00:00:02", src, dst, SYN)
}

func TestOutputNeverReturnsUnlessByName(t *testing.T) {
	s := mustSwitch(t, []flow.Flow{
		{Priority: 1, Actions: []flow.Action{flow.Output{Port: 1}, flow.Output{Port: 2}}},
		{Priority: 2, Match: flow.Match{flow.InputPort.Is(3)}, Actions: []flow.Action{flow.InPort{}}},
		{Priority: 2, Match: flow.Match{flow.InputPort.Is(4)}, Actions: []flow.Action{
			flow.Load{Dst: flow.Reg4.All(), Value: 0xfff8}, flow.OutputReg{From: flow.Reg4.Sub(0, 15)}}},
		{Priority: 2, Match: flow.Match{flow.InputPort.Is(5)}, Actions: []flow.Action{
			flow.Load{Dst: flow.Reg4.All(), Value: 5}, flow.OutputReg{From: flow.Reg4.Sub(0, 15)}}},
	}, nil)
	for _, c := range []struct {
		in   uint32
		want []uint32
	}{{1, []uint32{2}}, {2, []uint32{1}}, {3, []uint32{3}}, {4, []uint32{4}}, {5, nil}} {
		r, err := s.Trace(c.in, syn("10.0.0.1:1", "10.0.0.2:2"))
		if err != nil {
			t.Fatal(err)
		}
		if got := ports(r); len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] {
			t.Errorf("from port %d: out of %v, want %v", c.in, got, c.want)
		}
	}
}

func TestTrackerFollowsAConnection(t *testing.T) {
	table := uint8(1)
	s := mustSwitch(t, []flow.Flow{
		{Priority: 1, Actions: []flow.Action{flow.CT{Zone: 7, Table: &table}}},
		{Table: 1, Priority: 3, Match: flow.Match{flow.CTMark.Is(9)}, Actions: []flow.Action{
			flow.Move{Src: flow.CTLabel.Sub(0, 15), Dst: flow.Reg1.Sub(0, 15)}, flow.OutputReg{From: flow.Reg1.Sub(0, 15)}}},
		{Table: 1, Priority: 2, Match: flow.Match{flow.CTState.Masked(flow.CTInvalid, flow.CTInvalid)}},
		{Table: 1, Priority: 1, Match: flow.Match{flow.CTState.Masked(flow.CTNew, flow.CTNew)}, Actions: []flow.Action{
			flow.CT{Commit: true, Zone: 7, Exec: []flow.Action{
				flow.Load{Dst: flow.CTMark.All(), Value: 9}, flow.Load{Dst: flow.CTLabel.Sub(0, 15), Value: 42}}},
			flow.Output{Port: 100}}},
	}, nil)
	steps := []struct {
		name     string
		src, dst string
		flags    uint64
		want     uint32 // 0: dropped
		state    uint64
	}{
		{"answer to nothing", "10.0.0.2:80", "10.0.0.1:1000", SYN | ACK, 0, flow.CTInvalid},
		{"first", "10.0.0.1:1000", "10.0.0.2:80", SYN, 100, flow.CTNew},
		{"repeated", "10.0.0.1:1000", "10.0.0.2:80", SYN, 42, flow.CTNew},
		{"answer", "10.0.0.2:80", "10.0.0.1:1000", SYN | ACK, 42, flow.CTEstablished | flow.CTReply},
		{"next", "10.0.0.1:1000", "10.0.0.2:80", ACK, 42, flow.CTEstablished},
		{"client ends", "10.0.0.1:1000", "10.0.0.2:80", FIN | ACK, 42, flow.CTEstablished},
		{"server ends", "10.0.0.2:80", "10.0.0.1:1000", FIN | ACK, 42, flow.CTEstablished | flow.CTReply},
		{"last", "10.0.0.1:1000", "10.0.0.2:80", ACK, 42, flow.CTEstablished},
		{"port used again", "10.0.0.1:1000", "10.0.0.2:80", SYN, 100, flow.CTNew},
	}
	for _, step := range steps {
		r, err := s.Trace(1, TCP("00:00:00:00:00:01", "00:00:00:00:00:02", step.src, step.dst, step.flags))
		if err != nil {
			t.Fatal(err)
		}
		got := uint32(0)
		if len(r.Outputs) > 0 {
			got = r.Outputs[0].Port
		}
		if got != step.want {
			t.Errorf("%s: out of %d, want %d", step.name, got, step.want)
		}
		if state := r.Path[1].Packet[flow.CTState]; state != step.state|flow.CTTracked {
			t.Errorf("%s: ct_state %#x, want %#x", step.name, state, step.state|flow.CTTracked)
		}
	}
}

func TestSelectGroupFollowsWeightsAndKeepsThePacket(t *testing.T) {
	s := mustSwitch(t, []flow.Flow{{Priority: 1, Actions: []flow.Action{flow.UseGroup{ID: 1}, flow.Output{Port: 50}}}},
		[]flow.Group{{ID: 1, Type: flow.GroupSelect, Buckets: []flow.Bucket{
			{Weight: 1, Actions: []flow.Action{flow.SetField{Field: flow.TCPDst, Value: 9}, flow.Output{Port: 10}}},
			{Weight: 3, Actions: []flow.Action{flow.SetField{Field: flow.TCPDst, Value: 9}, flow.Output{Port: 30}}},
		}}})
	counts := map[uint32]int{}
	for port := range uint64(4000) {
		p := syn("10.0.0.1:1", "10.0.0.2:80")
		p[flow.TCPSrc] = port
		for range 2 {
			r, err := s.Trace(1, p)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Outputs) != 2 || r.Outputs[0].Packet[flow.TCPDst] != 9 || r.Outputs[1].Packet[flow.TCPDst] != 80 {
				t.Fatalf("outputs %v: want one bucket with its change, and the packet unchanged after the group", r.Outputs)
			}
			counts[r.Outputs[0].Port]++
		}
	}
	if share := float64(counts[10]) / 8000; share < 0.22 || share > 0.28 {
		t.Errorf("weight 1 of 4 got a share of %.3f", share)
	}
	if counts[10]%2 != 0 {
		t.Error("the same packet went to different buckets")
	}
}

func TestReplaceRefuses(t *testing.T) {
	loop := []flow.Flow{{Priority: 1, Actions: []flow.Action{flow.Resubmit{Table: 0}}}}
	for _, c := range []struct {
		name   string
		flows  []flow.Flow
		groups []flow.Group
		want   string
	}{
		{"twice", append(loop, loop...), nil, "two of it"},
		{"missing group", []flow.Flow{{Actions: []flow.Action{flow.UseGroup{ID: 3}}}}, nil, "group 3 is not there"},
		{"group twice", nil, []flow.Group{{ID: 1}, {ID: 1}}, "two of it"},
	} {
		if _, err := NewSwitch(c.flows, c.groups); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	if _, err := mustSwitch(t, loop, nil).Trace(1, syn("10.0.0.1:1", "10.0.0.2:2")); err == nil || !strings.Contains(err.Error(), "loop") {
		t.Errorf("a loop of resubmits: error %v", err)
	}
}
