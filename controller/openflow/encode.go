package openflow

import (
	"encoding/binary"
	"fmt"

	"github.com/contiv/libOpenflow/openflow13"

	"meshlab.dev/meshlab/controller/flow"
)

// The builders of libOpenflow write into the objects they marshal, so every
// encoder here makes its own. Lengths in them are 16 bits wide and wrap
// silently, so the encoders add up in int and refuse what does not fit.

// Commands of flow-mod and group-mod (OpenFlow 1.3.5, sections 7.3.4.1, 7.3.4.2).
const (
	groupAdd    uint16 = openflow13.OFPGC_ADD
	groupModify uint16 = openflow13.OFPGC_MODIFY
	groupDelete uint16 = openflow13.OFPGC_DELETE
)

// room is what is left of a message inside a bundle-add message.
const room = maxLen - headerLen - 16

// encodeFlow is an add of f as a whole message with xid 0.
func encodeFlow(f flow.Flow) ([]byte, error) {
	if err := flow.Check(f); err != nil {
		return nil, err
	}
	m := openflow13.NewFlowMod()
	m.TableId, m.Priority, m.Cookie = f.Table, f.Priority, f.Cookie
	for _, fm := range f.Match.Canonical() {
		field, err := matchField(fm)
		if err != nil {
			return nil, fmt.Errorf("encode flow %q: %w", f, err)
		}
		m.Match.AddField(*field)
	}
	if len(f.Actions) > 0 {
		actions, size, err := encodeActions(f.Actions)
		if err != nil {
			return nil, fmt.Errorf("encode flow %q: %w", f, err)
		}
		if size+int(m.Len())+8 > room {
			return nil, fmt.Errorf("encode flow of table %d: %d bytes of actions exceed one message: spread them over tables", f.Table, size)
		}
		apply := openflow13.NewInstrApplyActions()
		apply.Actions = actions
		apply.Length = apply.Len()
		m.AddInstruction(apply)
	}
	return m.MarshalBinary()
}

// encodeDelete is a removal of all flows with exactly this cookie, in every
// table. It has no instructions: the builder would write them past the
// length that it tells.
func encodeDelete(cookie uint64) ([]byte, error) {
	m := openflow13.NewFlowMod()
	m.Command = openflow13.FC_DELETE
	m.TableId = flow.TableAll
	m.Cookie, m.CookieMask = cookie, ^uint64(0)
	// The builder writes OutPort where OutGroup belongs; both are "any" here.
	m.OutPort, m.OutGroup = anyPort, anyGroup
	return m.MarshalBinary()
}

// encodeGroup is an add or a modification of g as a whole message with xid 0.
func encodeGroup(g flow.Group, command uint16) ([]byte, error) {
	if err := flow.CheckGroup(g); err != nil {
		return nil, err
	}
	m := openflow13.NewGroupMod()
	m.Command, m.Type, m.GroupId = command, uint8(g.Type), g.ID
	total := headerLen + 8
	for i, bucket := range g.Buckets {
		actions, size, err := encodeActions(bucket.Actions)
		if err != nil {
			return nil, fmt.Errorf("encode bucket %d of group %d: %w", i+1, g.ID, err)
		}
		if total += 16 + size; total > room {
			return nil, fmt.Errorf("encode group %d: its %d buckets exceed one message of 64 KiB: use fewer, or shorter actions", g.ID, len(g.Buckets))
		}
		b := openflow13.NewBucket()
		if g.Type == flow.GroupSelect {
			b.Weight = bucket.Weight
		}
		b.Actions = actions
		m.AddBucket(*b)
	}
	return m.MarshalBinary()
}

// encodeGroupDelete is a removal of a group, and with it of all flows that use it.
func encodeGroupDelete(id uint32) ([]byte, error) {
	m := openflow13.NewGroupMod()
	m.Command, m.GroupId = groupDelete, id
	return m.MarshalBinary()
}

// encodeActions makes the builders' values and adds up their sizes in bytes.
func encodeActions(actions []flow.Action) ([]openflow13.Action, int, error) {
	out := make([]openflow13.Action, 0, len(actions))
	size := 0
	for _, a := range actions {
		built, err := encodeAction(a)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, built)
		size += int(built.Len())
	}
	return out, size, nil
}

func encodeAction(a flow.Action) (openflow13.Action, error) {
	switch a := a.(type) {
	case flow.Output:
		return outputTo(a.Port, 0), nil
	case flow.InPort:
		return outputTo(flow.PortInPort, 0), nil
	case flow.Controller:
		return outputTo(flow.PortController, a.MaxLen), nil
	case flow.OutputReg:
		src, err := header(a.From.Field)
		if err != nil {
			return nil, err
		}
		return openflow13.NewOutputFromField(src, ofsNbits(a.From)), nil
	case flow.SetField:
		field, err := matchField(a.Field.Is(a.Value))
		if err != nil {
			return nil, err
		}
		return openflow13.NewActionSetField(*field), nil
	case flow.Load:
		dst, err := header(a.Dst.Field)
		if err != nil {
			return nil, err
		}
		return openflow13.NewNXActionRegLoad(ofsNbits(a.Dst), dst, a.Value), nil
	case flow.Move:
		src, err := header(a.Src.Field)
		if err != nil {
			return nil, err
		}
		dst, err := header(a.Dst.Field)
		if err != nil {
			return nil, err
		}
		return openflow13.NewNXActionRegMove(a.Src.Bits, a.Src.Start, a.Dst.Start, src, dst), nil
	case flow.Resubmit:
		return openflow13.NewNXActionResubmitTableAction(openflow13.OFPP_IN_PORT, a.Table), nil
	case flow.UseGroup:
		return openflow13.NewActionGroup(a.ID), nil
	case flow.CT:
		return encodeCT(a)
	default:
		return nil, fmt.Errorf("action %T has no encoding: add it to encodeAction", a)
	}
}

func outputTo(port uint32, maxLen uint16) *openflow13.ActionOutput {
	out := openflow13.NewActionOutput(port)
	out.MaxLen = maxLen
	return out
}

func encodeCT(a flow.CT) (openflow13.Action, error) {
	exec, size, err := encodeActions(a.Exec)
	if err != nil {
		return nil, fmt.Errorf("encode ct: %w", err)
	}
	if size > room {
		return nil, fmt.Errorf("encode ct: %d bytes of exec exceed one message", size)
	}
	ct := openflow13.NewNXActionConnTrack().ZoneImm(a.Zone)
	if a.Commit {
		ct.Commit()
	}
	if a.Table != nil {
		ct.Table(*a.Table)
	}
	// AddAction adds up lengths at once, so the inner actions must be finished.
	return ct.AddAction(exec...), nil
}

// marshalActions is a list of actions as it stands in a packet-out.
func marshalActions(actions []flow.Action) ([]byte, error) {
	built, size, err := encodeActions(actions)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, size)
	for _, a := range built {
		b, err := a.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("encode action: %w", err)
		}
		out = append(out, b...)
	}
	return out, nil
}

// setXID writes the transaction id into an encoded message.
func setXID(msg []byte, xid uint32) { binary.BigEndian.PutUint32(msg[4:], xid) }
