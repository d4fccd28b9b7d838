package openflow

import (
	"encoding/binary"
	"fmt"

	"github.com/contiv/libOpenflow/openflow13"

	"meshlab.dev/meshlab/controller/flow"
)

// Flows and groups come by the hundred thousand, so their messages are
// written here: the builders of libOpenflow take 61 allocations a flow. Tests
// hold these encoders against the builders, byte for byte. What is rare
// (meters, learn, the deletion of groups) the builders encode. They write into
// the objects they marshal, so every call makes its own.

// Commands (OpenFlow 1.3.5, sections 7.3.4.1, 7.3.4.2 and 7.3.4.4).
const (
	groupAdd    uint16 = openflow13.OFPGC_ADD
	groupModify uint16 = openflow13.OFPGC_MODIFY
	groupDelete uint16 = openflow13.OFPGC_DELETE
	meterAdd    uint16 = openflow13.OFPMC_ADD
	meterModify uint16 = openflow13.OFPMC_MODIFY
	meterDelete uint16 = openflow13.OFPMC_DELETE
)

// room is what is left of a message inside a bundle-add message.
const room = maxLen - headerLen - 16

// startMessage appends a header whose length endMessage fills in; start is
// len(b) before.
func startMessage(b []byte, kind msgType, xid uint32) []byte {
	b = append(b, version, byte(kind), 0, 0)
	return binary.BigEndian.AppendUint32(b, xid)
}

func endMessage(b []byte, start int) { setLength(b[start:], len(b)-start) }

// setLength writes the length of an entry that has it behind its type, as
// messages, instructions, actions and matches do.
func setLength(entry []byte, length int) { binary.BigEndian.PutUint16(entry[2:], uint16(length)) }

// pad appends zeroes up to a multiple of 8 bytes since start.
func pad(b []byte, start int) []byte {
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// appendFlowMod appends the part of ofp_flow_mod before the match (section 7.3.4.1).
func appendFlowMod(b []byte, xid uint32, f flow.Flow, command uint8, cookieMask uint64) []byte {
	b = startMessage(b, typeFlowMod, xid)
	b = binary.BigEndian.AppendUint64(b, f.Cookie)
	b = binary.BigEndian.AppendUint64(b, cookieMask)
	b = append(b, f.Table, command, 0, 0, 0, 0) // no timeouts
	b = binary.BigEndian.AppendUint16(b, f.Priority)
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint32(b, anyPort)
	b = binary.BigEndian.AppendUint32(b, anyGroup)
	var flags uint16
	if f.Notify {
		flags = openflow13.FF_SEND_FLOW_REM
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	return append(b, 0, 0)
}

// appendFlow appends an add of f as a whole message.
func appendFlow(b []byte, xid uint32, f flow.Flow) ([]byte, error) {
	if err := flow.Check(f); err != nil {
		return b, err
	}
	start := len(b)
	b = appendFlowMod(b, xid, f, openflow13.FC_ADD, 0)
	b, err := appendMatch(b, f.Match)
	if err != nil {
		return b, fmt.Errorf("encode flow %q: %w", f, err)
	}
	if f.Meter != 0 {
		b = append(b, 0, openflow13.InstrType_METER, 0, 8)
		b = binary.BigEndian.AppendUint32(b, f.Meter)
	}
	if len(f.Actions) > 0 {
		apply := len(b)
		b = append(b, 0, openflow13.InstrType_APPLY_ACTIONS, 0, 0, 0, 0, 0, 0)
		if b, err = appendActions(b, f.Actions); err != nil {
			return b, fmt.Errorf("encode flow %q: %w", f, err)
		}
		setLength(b[apply:], len(b)-apply)
	}
	if size := len(b) - start; size > room {
		return b, fmt.Errorf("encode flow of table %d: its %d bytes exceed one message: spread its actions over tables", f.Table, size)
	}
	endMessage(b, start)
	return b, nil
}

// appendDelete appends a removal of all flows with exactly this cookie, in
// every table.
func appendDelete(b []byte, xid uint32, cookie uint64) []byte {
	start := len(b)
	b = appendFlowMod(b, xid, flow.Flow{Table: flow.TableAll, Cookie: cookie}, openflow13.FC_DELETE, ^uint64(0))
	b = append(b, emptyMatch...)
	endMessage(b, start)
	return b
}

// appendGroup appends an add or a modification of g as a whole message.
func appendGroup(b []byte, xid uint32, g flow.Group, command uint16) ([]byte, error) {
	if err := flow.CheckGroup(g); err != nil {
		return b, err
	}
	start := len(b)
	b = startMessage(b, typeGroupMod, xid)
	b = binary.BigEndian.AppendUint16(b, command)
	b = append(b, byte(g.Type), 0)
	b = binary.BigEndian.AppendUint32(b, g.ID)
	for i, bucket := range g.Buckets {
		at := len(b)
		b = append(b, 0, 0) // the length
		var weight uint16
		if g.Type == flow.GroupSelect {
			weight = bucket.Weight
		}
		b = binary.BigEndian.AppendUint16(b, weight)
		b = binary.BigEndian.AppendUint32(b, anyPort)
		b = binary.BigEndian.AppendUint32(b, anyGroup)
		b = append(b, 0, 0, 0, 0)
		var err error
		if b, err = appendActions(b, bucket.Actions); err != nil {
			return b, fmt.Errorf("encode bucket %d of group %d: %w", i+1, g.ID, err)
		}
		if len(b)-start > room {
			return b, fmt.Errorf("encode group %d: its %d buckets exceed one message of 64 KiB: use fewer, or shorter actions", g.ID, len(g.Buckets))
		}
		binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at))
	}
	endMessage(b, start)
	return b, nil
}

// appendGroupDelete appends a removal of a group, and with it of all flows
// that use it.
func appendGroupDelete(b []byte, xid uint32, id uint32) ([]byte, error) {
	m := openflow13.NewGroupMod()
	m.Xid, m.Command, m.GroupId = xid, groupDelete, id
	msg, err := m.MarshalBinary()
	return append(b, msg...), err
}

// appendMeter appends an add or a modification of m, which passes flow.CheckMeter.
func appendMeter(b []byte, xid uint32, m flow.Meter, command uint16) ([]byte, error) {
	mod := openflow13.NewMeterMod()
	mod.Xid, mod.Command, mod.MeterId = xid, command, m.ID
	mod.Flags = openflow13.OFPMF13_PKTPS | openflow13.OFPMF13_BURST
	band := &openflow13.MeterBandDrop{MeterBandHeader: *openflow13.NewMeterBandHeader()}
	band.Type, band.Rate, band.BurstSize = openflow13.OFPMBT13_DROP, m.Rate, m.Burst
	mod.AddMeterBand(band)
	msg, err := mod.MarshalBinary()
	return append(b, msg...), err
}

// appendMeterDelete appends a removal of a meter, and with it of all flows
// that use it. Deleting one that is not there is no error (section 7.3.4.4).
func appendMeterDelete(b []byte, xid uint32, id uint32) ([]byte, error) {
	mod := openflow13.NewMeterMod()
	mod.Xid, mod.Command, mod.MeterId = xid, meterDelete, id
	msg, err := mod.MarshalBinary()
	return append(b, msg...), err
}
