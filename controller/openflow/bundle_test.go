package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
)

func TestApplyOrder(t *testing.T) {
	s, c := dialFake(t, 0)
	var inner []msgType
	var controls []uint16
	s.setHandle(func(s *fakeSwitch, m message) {
		switch {
		case m.kind == typeBarrierRequest:
			s.reply(typeBarrierReply, m.xid, nil)
		case binary.BigEndian.Uint32(m.body[4:]) == bundleControl:
			kind := binary.BigEndian.Uint16(m.body[12:])
			controls = append(controls, kind)
			s.reply(typeExperimenter, m.xid, bundleControlBody(binary.BigEndian.Uint32(m.body[8:]), kind+1))
		default:
			if got := binary.BigEndian.Uint32(m.body[16+4:]); got != m.xid {
				t.Errorf("inner xid %d in outer %d", got, m.xid)
			}
			command := msgType(m.body[16+9]) // of a group-mod
			if m.body[17] == 14 {
				command = 100 + msgType(m.body[16+25]) // of a flow-mod
			}
			inner = append(inner, command)
		}
	})
	g := flow.Group{ID: 1}
	err := c.Apply(fakeContext(t), Change{
		DeleteGroups: []uint32{2}, DeleteCookies: []uint64{3}, AddFlows: slices.Values([]flow.Flow{{}}),
		ModifyGroups: slices.Values([]flow.Group{g}), AddGroups: slices.Values([]flow.Group{g}),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []msgType{0, 1, 103, 100, 2} // group add, modify; flow delete, add; group delete
	if len(inner) != len(want) {
		t.Fatalf("bundle holds %v, want %v", inner, want)
	}
	for i := range want {
		if inner[i] != want[i] {
			t.Errorf("bundle holds %v, want %v", inner, want)
			break
		}
	}
	if len(controls) != 2 || controls[0] != bundleOpen || controls[1] != bundleCommit {
		t.Errorf("bundle controls %v, want open and commit", controls)
	}
}

func TestApplyOutcomeUnknown(t *testing.T) {
	s, c := dialFake(t, 0)
	s.setHandle(func(s *fakeSwitch, m message) {
		switch {
		case m.kind == typeBarrierRequest:
			s.reply(typeBarrierReply, m.xid, nil)
		case binary.BigEndian.Uint32(m.body[4:]) != bundleControl:
		case binary.BigEndian.Uint16(m.body[12:]) == bundleOpen:
			s.reply(typeExperimenter, m.xid, bundleControlBody(1, bundleOpenReply))
		default: // the commit: the switch dies
			_ = s.nc.(*net.UnixConn).Close()
		}
	})
	err := c.Apply(fakeContext(t), Change{DeleteCookies: []uint64{3}})
	if !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("Apply = %v, want %v", err, ErrOutcomeUnknown)
	}
}

func TestApplyDiscardsAfterCancel(t *testing.T) {
	s, c := dialFake(t, 0)
	ctx, cancel := context.WithCancel(fakeContext(t))
	defer cancel()
	discarded := make(chan struct{})
	s.setHandle(func(s *fakeSwitch, m message) {
		switch {
		case m.kind == typeBarrierRequest:
			cancel() // before the switch has accepted the bundle
		case binary.BigEndian.Uint32(m.body[4:]) == bundleControl && binary.BigEndian.Uint16(m.body[12:]) == bundleDiscard:
			close(discarded)
		case binary.BigEndian.Uint32(m.body[4:]) == bundleControl && binary.BigEndian.Uint16(m.body[12:]) == bundleCommit:
			t.Error("a cancelled change is committed")
		}
	})
	err := c.Apply(ctx, Change{DeleteCookies: []uint64{3}})
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("Apply = %v, want %v", err, context.Canceled)
	}
	select {
	case <-discarded:
	case <-fakeContext(t).Done():
		t.Error("the bundle is not discarded")
	}
}

// TestApplyStopsAtARefusal has a switch refuse the first flow of a change
// without an end.
func TestApplyStopsAtARefusal(t *testing.T) {
	s, c := dialFake(t, 0)
	discarded := make(chan struct{})
	added := 0
	s.setHandle(func(s *fakeSwitch, m message) {
		switch {
		case m.kind == typeBarrierRequest:
			t.Error("the refused change was sent to its end")
		case binary.BigEndian.Uint32(m.body[4:]) == bundleAdd:
			if added++; added == 1 {
				s.reply(typeError, m.xid, []byte{0, 5, 0, 1})
			}
		case binary.BigEndian.Uint16(m.body[12:]) == bundleDiscard:
			close(discarded)
		}
	})
	err := c.Apply(fakeContext(t), Change{AddFlows: func(yield func(flow.Flow) bool) {
		for i := uint16(0); yield(flow.Flow{Priority: i}); i++ {
		}
	}})
	var refused *ApplyError
	if !errors.As(err, &refused) || refused.What != "add flow" || refused.Index != 0 || refused.Text != "table=0, priority=0 actions=drop" {
		t.Errorf("Apply = %v, want the first flow", err)
	}
	select {
	case <-discarded:
	case <-fakeContext(t).Done():
		t.Error("the bundle is not discarded")
	}
}

func TestApplyRefusesBeforeSending(t *testing.T) {
	s, c := dialFake(t, 0)
	s.setHandle(func(_ *fakeSwitch, m message) { t.Errorf("message type %d was sent", m.kind) })
	big := flow.Group{ID: 1, Type: flow.GroupSelect}
	for range 2000 {
		big.Buckets = append(big.Buckets, flow.Bucket{Weight: 1, Actions: []flow.Action{flow.Resubmit{Table: 1}, flow.Resubmit{Table: 2}}})
	}
	long := flow.Flow{}
	var exec []flow.Action
	for range 3000 {
		long.Actions = append(long.Actions, flow.Load{Dst: flow.Reg0.All()})
		exec = append(exec, flow.Load{Dst: flow.CTMark.All()})
	}
	for _, tt := range []struct {
		name   string
		change Change
		want   string
	}{
		{"group too large", Change{AddGroups: slices.Values([]flow.Group{big})}, "exceed one message"},
		{"flow too large", Change{AddFlows: slices.Values([]flow.Flow{long})}, "exceed one message"},
		{"ct too large", Change{AddFlows: slices.Values([]flow.Flow{{Match: flow.Match{flow.EthType.Is(flow.EthTypeIPv4)}, Actions: []flow.Action{flow.CT{Commit: true, Exec: exec}}}})}, "exceed one message"},
		{"flow against the rules", Change{AddFlows: slices.Values([]flow.Flow{{Match: flow.Match{flow.TCPDst.Is(1)}}})}, "needs a test"},
		{"meter against the rules", Change{Meters: []flow.Meter{{}}}, "id is not within"},
		{"group against the rules", Change{ModifyGroups: slices.Values([]flow.Group{{Type: 9}})}, "unknown type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := c.Apply(fakeContext(t), tt.change); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Apply = %.200v, want %q", err, tt.want)
			}
		})
	}
	if err := c.Apply(fakeContext(t), Change{}); err != nil {
		t.Errorf("empty change: %v", err)
	}
}
