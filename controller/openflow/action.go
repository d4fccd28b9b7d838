package openflow

import (
	"encoding/binary"
	"fmt"

	"github.com/contiv/libOpenflow/openflow13"

	"meshlab.dev/meshlab/controller/flow"
)

// appendActions appends a list of actions (OpenFlow 1.3.5, section 7.2.5).
// The length that an action tells wraps when it exceeds 16 bits: the callers
// refuse what does not fit into a message anyway.
func appendActions(b []byte, actions []flow.Action) ([]byte, error) {
	for _, a := range actions {
		var err error
		switch a := a.(type) {
		case flow.CT:
			b, err = appendCT(b, a)
		case flow.Learn:
			b, err = appendLearn(b, a)
		default:
			b, err = appendAction(b, a)
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

func appendAction(b []byte, a flow.Action) ([]byte, error) {
	switch a := a.(type) {
	case flow.Output:
		return appendOutput(b, a.Port, 0), nil
	case flow.InPort:
		return appendOutput(b, flow.PortInPort, 0), nil
	case flow.Controller:
		return appendOutput(b, flow.PortController, a.MaxLen), nil
	case flow.OutputReg:
		b = appendNicira(b, openflow13.NXAST_OUTPUT_REG, 24)
		b = binary.BigEndian.AppendUint16(b, ofsNbits(a.From))
		b, err := appendHeader(b, a.From.Field)
		return append(b, 0xff, 0xff, 0, 0, 0, 0, 0, 0), err // whole packets, pad
	case flow.SetField:
		start := len(b)
		b = append(b, 0, openflow13.ActionType_SetField, 0, 0)
		b, err := appendField(b, a.Field.Is(a.Value))
		b = pad(b, start)
		setLength(b[start:], len(b)-start)
		return b, err
	case flow.Load:
		b = appendNicira(b, openflow13.NXAST_REG_LOAD, 24)
		b = binary.BigEndian.AppendUint16(b, ofsNbits(a.Dst))
		b, err := appendHeader(b, a.Dst.Field)
		return binary.BigEndian.AppendUint64(b, a.Value), err
	case flow.Move:
		b = appendNicira(b, openflow13.NXAST_REG_MOVE, 24)
		b = binary.BigEndian.AppendUint16(b, a.Src.Bits)
		b = binary.BigEndian.AppendUint16(b, a.Src.Start)
		b = binary.BigEndian.AppendUint16(b, a.Dst.Start)
		b, err := appendHeader(b, a.Src.Field)
		if err != nil {
			return b, err
		}
		return appendHeader(b, a.Dst.Field)
	case flow.Resubmit:
		b = appendNicira(b, openflow13.NXAST_RESUBMIT_TABLE, 16)
		return append(b, 0xff, 0xf8, a.Table, 0, 0, 0), nil // OFPP_IN_PORT in 16 bits: the port stays
	case flow.UseGroup:
		b = append(b, 0, openflow13.ActionType_Group, 0, 8)
		return binary.BigEndian.AppendUint32(b, a.ID), nil
	default:
		return b, fmt.Errorf("action %T has no encoding here: add it to appendAction", a)
	}
}

func appendOutput(b []byte, port uint32, maxLen uint16) []byte {
	b = append(b, 0, openflow13.ActionType_Output, 0, 16)
	b = binary.BigEndian.AppendUint32(b, port)
	b = binary.BigEndian.AppendUint16(b, maxLen)
	return append(b, 0, 0, 0, 0, 0, 0)
}

// appendNicira appends the header of an extension (ovs nicira-ext.h).
func appendNicira(b []byte, subtype, length uint16) []byte {
	b = append(b, 0xff, 0xff)
	b = binary.BigEndian.AppendUint16(b, length)
	b = binary.BigEndian.AppendUint32(b, experimenterNicira)
	return binary.BigEndian.AppendUint16(b, subtype)
}

// appendCT is apart from appendAction, and takes no ct within ct.
func appendCT(b []byte, a flow.CT) ([]byte, error) {
	start := len(b)
	b = appendNicira(b, openflow13.NXAST_CT, 0)
	var flags uint16
	if a.Commit {
		flags = openflow13.NX_CT_F_COMMIT
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, 0, 0, 0, 0) // no field holds the zone
	b = binary.BigEndian.AppendUint16(b, a.Zone)
	table := uint8(openflow13.NX_CT_RECIRC_NONE)
	if a.Table != nil {
		table = *a.Table
	}
	b = append(b, table, 0, 0, 0, 0, 0) // pad, no helper
	for _, e := range a.Exec {
		var err error
		if b, err = appendAction(b, e); err != nil {
			return b, fmt.Errorf("encode ct: %w", err)
		}
	}
	setLength(b[start:], len(b)-start)
	return b, nil
}

// appendLearn is libOpenflow's, as such flows are few.
func appendLearn(b []byte, a flow.Learn) ([]byte, error) {
	learn := openflow13.NewNXActionLearn()
	learn.IdleTimeout, learn.FinIdleTimeout = a.IdleTimeout, a.FinIdle
	learn.Priority, learn.Cookie, learn.TableID = a.Priority, flow.CookieLearned, a.Table
	if a.Notify {
		learn.Flags = openflow13.NX_LEARN_F_SEND_FLOW_REM
	}
	for _, lm := range a.Match {
		dst, err := header(lm.Dst.Field)
		if err != nil {
			return b, fmt.Errorf("encode learn: %w", err)
		}
		spec := &openflow13.NXLearnSpec{DstField: &openflow13.NXLearnSpecField{Field: dst, Ofs: lm.Dst.Start}}
		if lm.Src == (flow.Range{}) {
			if lm.Dst.Bits > 64 {
				return b, fmt.Errorf("encode learn: value of %d bits", lm.Dst.Bits)
			}
			words := uint8((lm.Dst.Bits + 15) / 16)
			spec.Header = openflow13.NewLearnHeaderMatchFromValue(lm.Dst.Bits)
			spec.SrcValue = appendValue(nil, lm.Value, words*2)
		} else {
			src, err := header(lm.Src.Field)
			if err != nil {
				return b, fmt.Errorf("encode learn: %w", err)
			}
			spec.Header = openflow13.NewLearnHeaderMatchFromField(lm.Dst.Bits)
			spec.SrcField = &openflow13.NXLearnSpecField{Field: src, Ofs: lm.Src.Start}
		}
		learn.LearnSpecs = append(learn.LearnSpecs, spec)
	}
	action, err := learn.MarshalBinary()
	return append(b, action...), err
}
