package flow

import (
	"errors"
	"fmt"
)

const (
	// LastTable is the last table that flows can live in: Open vSwitch keeps
	// table 254 to itself.
	LastTable = 0xfd
	// TableAll stands for every table in a request (OpenFlow 1.3.5, section
	// 7.3.4.1, OFPTT_ALL).
	TableAll = 0xff
)

// Check tells all that a switch would refuse in the flow, or worse accept
// and read differently: a test of a header whose protocol is not tested,
// values outside their masks, ranges outside their fields, moves of unequal
// width, writes to what cannot be written. The error joins every fault found.
func Check(f Flow) error {
	var errs []error
	if f.Table > LastTable {
		errs = append(errs, fmt.Errorf("table %d is reserved: use 0 to %d", f.Table, LastTable))
	}
	if f.Meter > MaxMeterID {
		errs = append(errs, fmt.Errorf("meter %#x is above the last meter id %#x", f.Meter, MaxMeterID))
	}
	layers := f.Match.layers()
	errs = append(errs, checkMatch(f.Match, layers)...)
	errs = append(errs, checkActions(f.Actions, scope{known: true, layers: layers})...)
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("check flow %q: %w", f.String(), errors.Join(errs...))
}

func checkMatch(m Match, l layers) []error {
	var errs []error
	var seen [numFields]bool
	for _, fm := range m {
		if !fm.Field.valid() {
			errs = append(errs, fmt.Errorf("test of unknown field %d", fm.Field))
			continue
		}
		name := fm.Field
		if seen[fm.Field] {
			errs = append(errs, fmt.Errorf("%s is tested twice: join the masks", name))
		}
		seen[fm.Field] = true
		switch {
		case fm.Field == CTLabel:
			errs = append(errs, errors.New("ct_label cannot be tested: its 128 bits do not fit a FieldMatch"))
		case fm.Mask == 0:
			errs = append(errs, fmt.Errorf("%s has an empty mask: leave the test out", name))
		case fm.Mask&^fm.Field.FullMask() != 0:
			errs = append(errs, fmt.Errorf("%s has mask %#x, wider than its %d bits", name, fm.Mask, fm.Field.Bits()))
		case fm.Mask != fm.Field.FullMask() && !fm.Field.maskable():
			errs = append(errs, fmt.Errorf("%s takes no mask: test the whole field", name))
		case fm.Field == CTState && fm.Mask>>8 != 0:
			errs = append(errs, fmt.Errorf("ct_state has mask %#x, but only 8 bits have a meaning: use Masked", fm.Mask))
		}
		if fm.Value&^fm.Mask != 0 {
			errs = append(errs, fmt.Errorf("%s has value %#x outside its mask %#x", name, fm.Value, fm.Mask))
		}
		if err := prerequisite(fm.Field, l); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// layers is what is known of a packet's protocols; 0 is no protocol.
type layers struct{ ethType, ipProto uint64 }

func (m Match) layers() layers {
	ethType, _ := m.exact(EthType)
	ipProto, _ := m.exact(IPProto)
	return layers{ethType, ipProto}
}

// prerequisite tells what is not known before f exists in a packet
// (OpenFlow 1.3.5, section 7.2.3.6; ovs-fields(7)).
func prerequisite(f Field, l layers) error {
	var need layers
	switch f {
	case IPProto, IPv4Src, IPv4Dst:
		need.ethType = EthTypeIPv4
	case TCPSrc, TCPDst, TCPFlags:
		need = layers{EthTypeIPv4, IPProtoTCP}
	case UDPSrc, UDPDst:
		need = layers{EthTypeIPv4, IPProtoUDP}
	case ARPOp, ARPSPA, ARPTPA, ARPSHA, ARPTHA:
		need.ethType = EthTypeARP
	default:
		return nil
	}
	if l.ethType != need.ethType {
		return fmt.Errorf("%s needs a test of %s for %#x", f, EthType, need.ethType)
	}
	if need.ipProto != 0 && l.ipProto != need.ipProto {
		return fmt.Errorf("%s needs a test of %s for %d", f, IPProto, need.ipProto)
	}
	return nil
}

// scope is where an action stands.
type scope struct {
	known  bool   // whether its flow is known: not in a group
	layers layers // that the flow tests
	exec   bool   // within ct(exec(...))
}

func checkActions(actions []Action, s scope) []error {
	var errs []error
	for i, a := range actions {
		for _, err := range checkAction(a, s) {
			errs = append(errs, fmt.Errorf("action %d: %w", i+1, err))
		}
	}
	return errs
}

func checkAction(a Action, s scope) []error {
	switch a := a.(type) {
	case Output:
		if a.Port == 0 || a.Port == PortAny || a.Port == PortTable || a.Port > 0xffffff00 && a.Port < PortInPort {
			return []error{fmt.Errorf("output to port %s, which no flow can use", portString(a.Port))}
		}
	case OutputReg:
		return checkRange(a.From, s)
	case InPort, Controller:
	case SetField:
		if !a.Field.valid() {
			return []error{fmt.Errorf("set_field of unknown field %d", a.Field)}
		}
		if a.Field == CTLabel {
			return []error{errors.New("set_field of ct_label: load its parts instead, its 128 bits do not fit")}
		}
		if a.Field == InputPort {
			return []error{errors.New("set_field of in_port is forbidden (OpenFlow 1.3.5, section 7.2.5): load it instead")}
		}
		errs := checkDst(a.Field.All(), s)
		if a.Value&^a.Field.FullMask() != 0 {
			errs = append(errs, fmt.Errorf("set_field of %s to %#x, wider than its %d bits", a.Field, a.Value, a.Field.Bits()))
		}
		return errs
	case Load:
		errs := checkDst(a.Dst, s)
		switch {
		case len(errs) > 0:
		case a.Dst.Bits > 64:
			errs = append(errs, fmt.Errorf("load into %s: at most 64 bits at a time", a.Dst))
		case a.Dst.Bits < 64 && a.Value>>a.Dst.Bits != 0:
			errs = append(errs, fmt.Errorf("load of %#x into %s, which has %d bits", a.Value, a.Dst, a.Dst.Bits))
		}
		return errs
	case Move:
		errs := append(checkRange(a.Src, s), checkDst(a.Dst, s)...)
		if a.Src.Bits != a.Dst.Bits {
			errs = append(errs, fmt.Errorf("move of %d bits into %d bits: both ends must be equally wide", a.Src.Bits, a.Dst.Bits))
		}
		return errs
	case Resubmit:
		if a.Table > LastTable {
			return []error{fmt.Errorf("resubmit to table %d, which is reserved: use 0 to %d", a.Table, LastTable)}
		}
	case UseGroup:
		if a.ID > MaxGroupID {
			return []error{fmt.Errorf("group %#x is above the last group id %#x", a.ID, MaxGroupID)}
		}
	case CT:
		return checkCT(a, s)
	case Learn:
		return checkLearn(a, s)
	default:
		return []error{fmt.Errorf("unknown action %T", a)}
	}
	return nil
}

func checkCT(a CT, s scope) []error {
	var errs []error
	if s.known && s.layers.ethType != EthTypeIPv4 {
		errs = append(errs, fmt.Errorf("ct needs a test of %s for %#x", EthType, EthTypeIPv4))
	}
	if a.Table != nil && *a.Table > LastTable {
		errs = append(errs, fmt.Errorf("ct with table %d, which is reserved: use 0 to %d", *a.Table, LastTable))
	}
	if len(a.Exec) > 0 && !a.Commit {
		errs = append(errs, errors.New("ct with exec but without commit stores nothing"))
	}
	inner := s
	inner.exec = true
	for _, e := range a.Exec {
		switch e.(type) {
		case Load, Move, SetField:
			errs = append(errs, checkAction(e, inner)...)
		default:
			errs = append(errs, fmt.Errorf("ct(exec(%s)): only ct_mark and ct_label can be written there, nothing else be done", joinActions([]Action{e})))
		}
	}
	return errs
}

func checkRange(r Range, s scope) []error {
	if !r.Field.valid() {
		return []error{fmt.Errorf("range of unknown field %d", r.Field)}
	}
	if r.Bits == 0 || int(r.Start)+int(r.Bits) > int(r.Field.Bits()) {
		return []error{fmt.Errorf("range of %d bits from bit %d is not inside %s, which has %d", r.Bits, r.Start, r.Field, r.Field.Bits())}
	}
	if !s.known {
		return nil
	}
	if err := prerequisite(r.Field, s.layers); err != nil {
		return []error{err}
	}
	return nil
}

func checkDst(r Range, s scope) []error {
	errs := checkRange(r, s)
	if len(errs) > 0 {
		return errs
	}
	tracked := r.Field == CTMark || r.Field == CTLabel
	switch {
	case tracked && !s.exec:
		return []error{fmt.Errorf("write to %s: only ct(commit,exec(...)) can", r.Field)}
	case !tracked && s.exec:
		return []error{fmt.Errorf("write to %s in ct(exec(...)): only ct_mark and ct_label can be written there", r.Field)}
	}
	switch r.Field {
	case EthType, IPProto, TCPFlags, CTState, CTZone:
		return []error{fmt.Errorf("write to %s, which is read-only", r.Field)}
	}
	return nil
}

func (f Field) valid() bool { return f > FieldInvalid && f < numFields }

// maskable tells whether a switch tests parts of the field (ovs-fields(7)).
func (f Field) maskable() bool {
	switch f {
	case InputPort, EthType, IPProto, ARPOp, CTZone:
		return false
	default:
		return true
	}
}
