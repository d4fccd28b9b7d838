package flow

import "encoding/binary"

// The canonical form of a flow or group is a run of bytes that depends on its
// content alone: two that are valid (Check) have the same bytes exactly when
// they print the same text. It is what Seal and Hash hash; it is never stored
// or sent, and may change from one version of the program to the next, which
// then installs its flows anew. Every list starts with its length, every action
// with a tag, and all else has a fixed size, so no two lists run into one.

// Tags of actions. They are of use within this file only.
const (
	tagNil = iota
	tagOutput
	tagOutputReg
	tagSetField
	tagLoad
	tagMove
	tagResubmit
	tagUseGroup
	tagCT
	tagLearn
)

func appendFlow(b []byte, f Flow) []byte {
	b = append(b, f.Table)
	b = binary.BigEndian.AppendUint16(b, f.Priority)
	b = binary.BigEndian.AppendUint32(b, f.Meter)
	b = appendBool(b, f.Notify)
	b = appendMatch(b, f.Match)
	return appendActions(b, f.Actions)
}

func appendGroup(b []byte, g Group) []byte {
	b = binary.BigEndian.AppendUint32(b, g.ID)
	b = append(b, byte(g.Type))
	b = binary.AppendUvarint(b, uint64(len(g.Buckets)))
	for _, bucket := range g.Buckets {
		if g.Type == GroupSelect { // no other type has weights
			b = binary.BigEndian.AppendUint16(b, bucket.Weight)
		}
		b = appendActions(b, bucket.Actions)
	}
	return b
}

func appendMatch(b []byte, m Match) []byte {
	var buf [matchRoom]FieldMatch
	sorted := m.AppendCanonical(buf[:0])
	b = binary.AppendUvarint(b, uint64(len(sorted)))
	for _, fm := range sorted {
		b = append(b, byte(fm.Field))
		b = binary.BigEndian.AppendUint64(b, fm.Value)
		b = binary.BigEndian.AppendUint64(b, fm.Mask)
	}
	return b
}

func appendActions(b []byte, actions []Action) []byte {
	b = binary.AppendUvarint(b, uint64(len(actions)))
	for _, a := range actions {
		if ct, ok := a.(CT); ok {
			b = appendCT(b, ct)
			continue
		}
		b = appendAction(b, a)
	}
	return b
}

// appendCT is apart from appendAction, and takes no ct within ct, so that
// nothing here calls itself: the compiler then leaves the buffer on the stack.
func appendCT(b []byte, a CT) []byte {
	b = appendBool(append(b, tagCT), a.Commit)
	b = binary.BigEndian.AppendUint16(b, a.Zone)
	b = appendBool(b, a.Table != nil)
	if a.Table != nil {
		b = append(b, *a.Table)
	}
	b = binary.AppendUvarint(b, uint64(len(a.Exec)))
	for _, e := range a.Exec {
		b = appendAction(b, e)
	}
	return b
}

func appendAction(b []byte, a Action) []byte {
	switch a := a.(type) {
	case Output:
		return appendOutput(b, a.Port, 0)
	case InPort:
		return appendOutput(b, PortInPort, 0)
	case Controller:
		return appendOutput(b, PortController, a.MaxLen)
	case OutputReg:
		return appendRange(append(b, tagOutputReg), a.From)
	case SetField:
		return binary.BigEndian.AppendUint64(append(b, tagSetField, byte(a.Field)), a.Value)
	case Load:
		return binary.BigEndian.AppendUint64(appendRange(append(b, tagLoad), a.Dst), a.Value)
	case Move:
		return appendRange(appendRange(append(b, tagMove), a.Src), a.Dst)
	case Resubmit:
		return append(b, tagResubmit, a.Table)
	case UseGroup:
		return binary.BigEndian.AppendUint32(append(b, tagUseGroup), a.ID)
	case Learn:
		b = append(b, tagLearn, a.Table)
		b = binary.BigEndian.AppendUint16(b, a.Priority)
		b = binary.BigEndian.AppendUint16(b, a.IdleTimeout)
		b = binary.BigEndian.AppendUint16(b, a.FinIdle)
		b = appendBool(b, a.Notify)
		b = binary.AppendUvarint(b, uint64(len(a.Match)))
		for _, lm := range a.Match {
			b = appendRange(appendRange(b, lm.Dst), lm.Src)
			if lm.Src == (Range{}) {
				b = binary.BigEndian.AppendUint64(b, lm.Value)
			}
		}
		return b
	default:
		return append(b, tagNil) // Check refuses it
	}
}

// appendOutput serves the three actions that are one on the wire.
func appendOutput(b []byte, port uint32, maxLen uint16) []byte {
	b = binary.BigEndian.AppendUint32(append(b, tagOutput), port)
	return binary.BigEndian.AppendUint16(b, maxLen)
}

func appendRange(b []byte, r Range) []byte {
	b = binary.BigEndian.AppendUint16(append(b, byte(r.Field)), r.Start)
	return binary.BigEndian.AppendUint16(b, r.Bits)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}
