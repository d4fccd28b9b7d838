package openflow

import (
	"encoding/binary"
	"fmt"

	"github.com/contiv/libOpenflow/openflow13"
	"github.com/contiv/libOpenflow/util"

	"meshlab.dev/meshlab/controller/flow"
)

// oxm is a field's class, number and size in bytes on the wire.
type oxm struct {
	class uint16
	field uint8
	size  uint8
}

// Classes of match fields (OpenFlow 1.3.5, section 7.2.3.3; ovs-fields(7)).
const (
	classBasic uint16 = 0x8000
	classNXM1  uint16 = 0x0001
)

// oxmOf says how a field is written. TCP flags have a number of the Nicira
// class because OpenFlow 1.3 has none.
func oxmOf(f flow.Field) (oxm, error) {
	if f >= flow.Reg0 && f <= flow.Reg7 {
		return oxm{classNXM1, uint8(f - flow.Reg0), 4}, nil
	}
	switch f {
	case flow.InputPort:
		return oxm{classBasic, 0, 4}, nil
	case flow.EthDst:
		return oxm{classBasic, 3, 6}, nil
	case flow.EthSrc:
		return oxm{classBasic, 4, 6}, nil
	case flow.EthType:
		return oxm{classBasic, 5, 2}, nil
	case flow.IPProto:
		return oxm{classBasic, 10, 1}, nil
	case flow.IPv4Src:
		return oxm{classBasic, 11, 4}, nil
	case flow.IPv4Dst:
		return oxm{classBasic, 12, 4}, nil
	case flow.TCPSrc:
		return oxm{classBasic, 13, 2}, nil
	case flow.TCPDst:
		return oxm{classBasic, 14, 2}, nil
	case flow.UDPSrc:
		return oxm{classBasic, 15, 2}, nil
	case flow.UDPDst:
		return oxm{classBasic, 16, 2}, nil
	case flow.ARPOp:
		return oxm{classBasic, 21, 2}, nil
	case flow.ARPSPA:
		return oxm{classBasic, 22, 4}, nil
	case flow.ARPTPA:
		return oxm{classBasic, 23, 4}, nil
	case flow.ARPSHA:
		return oxm{classBasic, 24, 6}, nil
	case flow.ARPTHA:
		return oxm{classBasic, 25, 6}, nil
	case flow.TCPFlags:
		return oxm{classNXM1, 34, 2}, nil
	case flow.CTState:
		return oxm{classNXM1, 105, 4}, nil
	case flow.CTZone:
		return oxm{classNXM1, 106, 2}, nil
	case flow.CTMark:
		return oxm{classNXM1, 107, 4}, nil
	case flow.CTLabel:
		return oxm{classNXM1, 108, 16}, nil
	default:
		return oxm{}, fmt.Errorf("field %s has no number on the wire: add it to oxmOf", f)
	}
}

// header is the field as move and load name it: without value and mask.
func header(f flow.Field) (*openflow13.MatchField, error) {
	o, err := oxmOf(f)
	if err != nil {
		return nil, err
	}
	return &openflow13.MatchField{Class: o.class, Field: o.field, Length: o.size}, nil
}

// matchField is the field with a value, and a mask unless it is full.
func matchField(fm flow.FieldMatch) (*openflow13.MatchField, error) {
	o, err := oxmOf(fm.Field)
	if err != nil {
		return nil, err
	}
	m := &openflow13.MatchField{Class: o.class, Field: o.field, Length: o.size, Value: bigEndian(fm.Value, o.size)}
	if fm.Mask != fm.Field.FullMask() {
		m.HasMask = true
		m.Length *= 2
		m.Mask = bigEndian(fm.Mask, o.size)
	}
	return m, nil
}

// bigEndian is the low size bytes of v.
func bigEndian(v uint64, size uint8) util.Message {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	return util.NewBuffer(b[8-min(size, 8):])
}

// ofsNbits packs the place and width of a range as the Nicira actions want
// it: first bit in the upper 10 bits, width less one in the lower 6
// (ovs nicira-ext.h). libOpenflow's own helper loses a range of bit 0 alone.
func ofsNbits(r flow.Range) uint16 { return r.Start<<6 | (r.Bits-1)&0x3f }
