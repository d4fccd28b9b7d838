package openflow

import (
	"fmt"

	"github.com/contiv/libOpenflow/openflow13"

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

// oxms says how each field is written. TCP flags have a number of the Nicira
// class because OpenFlow 1.3 has none.
var oxms = [...]oxm{
	flow.InputPort: {classBasic, 0, 4},
	flow.EthDst:    {classBasic, 3, 6},
	flow.EthSrc:    {classBasic, 4, 6},
	flow.EthType:   {classBasic, 5, 2},
	flow.IPProto:   {classBasic, 10, 1},
	flow.IPv4Src:   {classBasic, 11, 4},
	flow.IPv4Dst:   {classBasic, 12, 4},
	flow.TCPSrc:    {classBasic, 13, 2},
	flow.TCPDst:    {classBasic, 14, 2},
	flow.UDPSrc:    {classBasic, 15, 2},
	flow.UDPDst:    {classBasic, 16, 2},
	flow.ARPOp:     {classBasic, 21, 2},
	flow.ARPSPA:    {classBasic, 22, 4},
	flow.ARPTPA:    {classBasic, 23, 4},
	flow.ARPSHA:    {classBasic, 24, 6},
	flow.ARPTHA:    {classBasic, 25, 6},
	flow.Reg0:      {classNXM1, 0, 4},
	flow.Reg1:      {classNXM1, 1, 4},
	flow.Reg2:      {classNXM1, 2, 4},
	flow.Reg3:      {classNXM1, 3, 4},
	flow.Reg4:      {classNXM1, 4, 4},
	flow.Reg5:      {classNXM1, 5, 4},
	flow.Reg6:      {classNXM1, 6, 4},
	flow.Reg7:      {classNXM1, 7, 4},
	flow.TCPFlags:  {classNXM1, 34, 2},
	flow.CTState:   {classNXM1, 105, 4},
	flow.CTZone:    {classNXM1, 106, 2},
	flow.CTMark:    {classNXM1, 107, 4},
	flow.CTLabel:   {classNXM1, 108, 16},
}

func oxmOf(f flow.Field) (oxm, error) {
	if int(f) >= len(oxms) || oxms[f].size == 0 {
		return oxm{}, fmt.Errorf("field %s has no number on the wire: add it to oxms", f)
	}
	return oxms[f], nil
}

// fieldOf is the field that an OXM header names, flow.FieldInvalid when it is
// masked or of no such field.
func fieldOf(header uint32) flow.Field {
	o := oxm{class: uint16(header >> 16), field: uint8(header >> 9 & 0x7f), size: uint8(header)}
	if header>>8&1 == 0 && o.size != 0 {
		for f, known := range oxms {
			if known == o {
				return flow.Field(f)
			}
		}
	}
	return flow.FieldInvalid
}

// header is the field as the builders name it: without value and mask.
func header(f flow.Field) (*openflow13.MatchField, error) {
	o, err := oxmOf(f)
	if err != nil {
		return nil, err
	}
	return &openflow13.MatchField{Class: o.class, Field: o.field, Length: o.size}, nil
}

// appendHeader appends the field as move and load name it: without value and mask.
func appendHeader(b []byte, f flow.Field) ([]byte, error) {
	o, err := oxmOf(f)
	return append(b, byte(o.class>>8), byte(o.class), o.field<<1, o.size), err
}

// appendField appends the field with a value, and a mask unless it is full
// (OpenFlow 1.3.5, section 7.2.3.2).
func appendField(b []byte, fm flow.FieldMatch) ([]byte, error) {
	o, err := oxmOf(fm.Field)
	if err != nil {
		return b, err
	}
	if fm.Mask == fm.Field.FullMask() {
		b = append(b, byte(o.class>>8), byte(o.class), o.field<<1, o.size)
		return appendValue(b, fm.Value, o.size), nil
	}
	b = append(b, byte(o.class>>8), byte(o.class), o.field<<1|1, o.size*2)
	return appendValue(appendValue(b, fm.Value, o.size), fm.Mask, o.size), nil
}

// appendValue appends the low size bytes of v, the highest first.
func appendValue(b []byte, v uint64, size uint8) []byte {
	for i := int(size) - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

// emptyMatch is an OXM match of every packet, padded (section 7.2.3).
const emptyMatch = "\x00\x01\x00\x04\x00\x00\x00\x00"

// appendMatch appends an OXM match in the order that prerequisites demand.
func appendMatch(b []byte, m flow.Match) ([]byte, error) {
	var buf [16]flow.FieldMatch
	start := len(b)
	b = append(b, emptyMatch[:4]...)
	for _, fm := range m.AppendCanonical(buf[:0]) {
		var err error
		if b, err = appendField(b, fm); err != nil {
			return b, err
		}
	}
	setLength(b[start:], len(b)-start)
	return pad(b, start), nil
}

// ofsNbits packs the place and width of a range as the Nicira actions want
// it: first bit in the upper 10 bits, width less one in the lower 6
// (ovs nicira-ext.h). libOpenflow's own helper loses a range of bit 0 alone.
func ofsNbits(r flow.Range) uint16 { return r.Start<<6 | (r.Bits-1)&0x3f }
