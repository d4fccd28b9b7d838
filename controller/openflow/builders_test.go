package openflow

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/contiv/libOpenflow/openflow13"
	"github.com/contiv/libOpenflow/util"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/internal/randflow"
)

// TestEncodersAgreeWithBuilders holds what is written by hand against
// libOpenflow's builders, whose bytes the switch is known to take.
func TestEncodersAgreeWithBuilders(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	flows, groups := sampleFlows(), sampleGroups()
	for range 20_000 {
		flows = append(flows, randflow.Flow(r))
		groups = append(groups, randflow.Group(r))
	}
	check := func(what string, got []byte, err error, want []byte) {
		t.Helper()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s\n is %x, %v\nwant %x", what, got, err, want)
		}
	}
	for i, f := range flows {
		msg, err := appendFlow([]byte("before"), uint32(i), f)
		check(f.String(), msg, err, append([]byte("before"), buildFlow(t, uint32(i), f)...))
		check("delete", appendDelete(nil, uint32(i), f.Cookie), nil, buildDelete(t, uint32(i), f.Cookie))
	}
	for i, g := range groups {
		command := []uint16{groupAdd, groupModify}[i%2]
		msg, err := appendGroup([]byte("before"), uint32(i), g, command)
		check(g.String(), msg, err, append([]byte("before"), buildGroup(t, uint32(i), g, command)...))
	}
}

func marshal(t *testing.T, m util.Message) []byte {
	t.Helper()
	b, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func buildFlow(t *testing.T, xid uint32, f flow.Flow) []byte {
	m := openflow13.NewFlowMod()
	m.Xid, m.TableId, m.Priority, m.Cookie = xid, f.Table, f.Priority, f.Cookie
	if f.Notify {
		m.Flags = openflow13.FF_SEND_FLOW_REM
	}
	for _, fm := range f.Match.Canonical() {
		m.Match.AddField(*buildField(t, fm))
	}
	if f.Meter != 0 {
		m.AddInstruction(openflow13.NewInstrMeter(f.Meter))
	}
	if len(f.Actions) > 0 {
		apply := openflow13.NewInstrApplyActions()
		apply.Actions = buildActions(t, f.Actions)
		apply.Length = apply.Len()
		m.AddInstruction(apply)
	}
	return marshal(t, m)
}

// buildDelete has no instructions: the builder would write them past the
// length that it tells.
func buildDelete(t *testing.T, xid uint32, cookie uint64) []byte {
	m := openflow13.NewFlowMod()
	m.Xid, m.Command, m.TableId, m.Priority = xid, openflow13.FC_DELETE, flow.TableAll, 0
	m.Cookie, m.CookieMask = cookie, ^uint64(0)
	// The builder writes OutPort where OutGroup belongs; both are "any" here.
	m.OutPort, m.OutGroup = anyPort, anyGroup
	return marshal(t, m)
}

func buildGroup(t *testing.T, xid uint32, g flow.Group, command uint16) []byte {
	m := openflow13.NewGroupMod()
	m.Xid, m.Command, m.Type, m.GroupId = xid, command, uint8(g.Type), g.ID
	for _, bucket := range g.Buckets {
		b := openflow13.NewBucket()
		if g.Type == flow.GroupSelect {
			b.Weight = bucket.Weight
		}
		b.Actions = buildActions(t, bucket.Actions)
		m.AddBucket(*b)
	}
	return marshal(t, m)
}

func buildField(t *testing.T, fm flow.FieldMatch) *openflow13.MatchField {
	m, err := header(fm.Field)
	if err != nil {
		t.Fatal(err)
	}
	size := m.Length
	m.Value = util.NewBuffer(appendValue(nil, fm.Value, size))
	if fm.Mask != fm.Field.FullMask() {
		m.HasMask = true
		m.Length *= 2
		m.Mask = util.NewBuffer(appendValue(nil, fm.Mask, size))
	}
	return m
}

func buildActions(t *testing.T, actions []flow.Action) []openflow13.Action {
	var out []openflow13.Action
	for _, a := range actions {
		out = append(out, buildAction(t, a))
	}
	return out
}

func buildAction(t *testing.T, a flow.Action) openflow13.Action {
	named := func(f flow.Field) *openflow13.MatchField {
		m, err := header(f)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	switch a := a.(type) {
	case flow.Output:
		return buildOutput(a.Port, 0)
	case flow.InPort:
		return buildOutput(flow.PortInPort, 0)
	case flow.Controller:
		return buildOutput(flow.PortController, a.MaxLen)
	case flow.OutputReg:
		return openflow13.NewOutputFromField(named(a.From.Field), ofsNbits(a.From))
	case flow.SetField:
		return openflow13.NewActionSetField(*buildField(t, a.Field.Is(a.Value)))
	case flow.Load:
		return openflow13.NewNXActionRegLoad(ofsNbits(a.Dst), named(a.Dst.Field), a.Value)
	case flow.Move:
		return openflow13.NewNXActionRegMove(a.Src.Bits, a.Src.Start, a.Dst.Start, named(a.Src.Field), named(a.Dst.Field))
	case flow.Resubmit:
		return openflow13.NewNXActionResubmitTableAction(openflow13.OFPP_IN_PORT, a.Table)
	case flow.UseGroup:
		return openflow13.NewActionGroup(a.ID)
	case flow.Learn:
		b, err := appendLearn(nil, a)
		if err != nil {
			t.Fatal(err)
		}
		return rawAction(b)
	case flow.CT:
		ct := openflow13.NewNXActionConnTrack().ZoneImm(a.Zone)
		if a.Commit {
			ct.Commit()
		}
		if a.Table != nil {
			ct.Table(*a.Table)
		}
		// AddAction adds up lengths at once, so the inner actions must be finished.
		return ct.AddAction(buildActions(t, a.Exec)...)
	default:
		t.Fatalf("action %T has no builder", a)
		return nil
	}
}

func buildOutput(port uint32, maxLen uint16) openflow13.Action {
	out := openflow13.NewActionOutput(port)
	out.MaxLen = maxLen
	return out
}

// rawAction stands for an action that a builder has encoded already.
type rawAction []byte

func (a rawAction) Header() *openflow13.ActionHeader { return nil }
func (a rawAction) Len() uint16                      { return uint16(len(a)) }
func (a rawAction) MarshalBinary() ([]byte, error)   { return a, nil }
func (a rawAction) UnmarshalBinary([]byte) error     { return nil }
