package flow

import (
	"errors"
	"fmt"
	"strings"
)

// defaultPriority is the one that ovs-ofctl leaves out of a learn action
// (ovs openflow-common.h, OFP_DEFAULT_PRIORITY).
const defaultPriority = 32768

// String is learn(table=48,idle_timeout=30,...), each test as
// NXM_OF_IP_SRC[], NXM_OF_IP_SRC[]=NXM_OF_IP_DST[] or nw_proto=6.
func (a Learn) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "learn(table=%d", a.Table)
	if a.IdleTimeout != 0 {
		fmt.Fprintf(&b, ",idle_timeout=%d", a.IdleTimeout)
	}
	if a.FinIdle != 0 {
		fmt.Fprintf(&b, ",fin_idle_timeout=%d", a.FinIdle)
	}
	if a.Priority != defaultPriority {
		fmt.Fprintf(&b, ",priority=%d", a.Priority)
	}
	if a.Notify {
		b.WriteString(",send_flow_rem")
	}
	fmt.Fprintf(&b, ",cookie=%#x", CookieLearned)
	for _, lm := range a.Match {
		b.WriteByte(',')
		b.WriteString(lm.String())
	}
	b.WriteByte(')')
	return b.String()
}

// String is the test as it stands in a learn action.
func (lm LearnMatch) String() string {
	switch {
	case lm.Src == lm.Dst:
		return lm.Dst.String()
	case lm.Src != (Range{}):
		return lm.Dst.String() + "=" + lm.Src.String()
	case lm.Dst != lm.Dst.Field.All():
		return lm.Dst.String() + "=" + hexString(lm.Value)
	}
	// Neither the names nor the values are quite those of a match.
	switch f := lm.Dst.Field; f {
	case InputPort:
		return "in_port_oxm=" + valueString(f, lm.Value)
	case EthType:
		return "eth_type=" + hexString(lm.Value)
	case IPProto:
		return f.String() + "=" + valueString(f, lm.Value)
	case CTZone:
		return f.String() + "=" + hexString(lm.Value)
	case TCPFlags:
		return f.String() + "=" + flagString(lm.Value, f.FullMask(), tcpFlagNames())
	default:
		return setFieldName(f) + "=" + valueString(f, lm.Value)
	}
}

// checkLearn tells what is wrong with the action, and with the flow that it
// would make. A learned test needs its prerequisites among the tests before
// it, with a value: what the packet holds does not count for the switch.
func checkLearn(a Learn, s scope) []error {
	var errs []error
	if a.Table > LastTable {
		errs = append(errs, fmt.Errorf("learn into table %d, which is reserved: use 0 to %d", a.Table, LastTable))
	}
	if a.IdleTimeout == 0 {
		errs = append(errs, errors.New("learn without an idle timeout: its flows would never go"))
	}
	var learned Match
	for i, lm := range a.Match {
		if err := checkLearnMatch(lm, scope{known: true, layers: learned.layers()}, s); err != nil {
			errs = append(errs, fmt.Errorf("learn: test %d: %w", i+1, err))
			continue
		}
		for _, before := range a.Match[:i] {
			if overlap(before.Dst, lm.Dst) {
				errs = append(errs, fmt.Errorf("learn: test %d: %s is tested already", i+1, lm.Dst))
			}
		}
		if lm.Src == (Range{}) && lm.Dst == lm.Dst.Field.All() {
			learned = append(learned, lm.Dst.Field.Is(lm.Value))
		}
	}
	if proto := learned.layers().ipProto; a.FinIdle != 0 && proto != IPProtoTCP {
		errs = append(errs, fmt.Errorf("learn with a timeout after FIN needs a test of %s for %d", IPProto, IPProtoTCP))
	}
	return errs
}

func checkLearnMatch(lm LearnMatch, learned, s scope) error {
	if errs := checkRange(lm.Dst, learned); len(errs) > 0 {
		return errs[0]
	}
	name := lm.Dst.Field
	switch {
	case name == CTState:
		return errors.New("ct_state cannot be learned: only 8 of its bits have a meaning")
	case lm.Dst != name.All() && !name.maskable():
		return fmt.Errorf("%s takes no mask: test the whole field", name)
	}
	if lm.Src == (Range{}) {
		switch {
		case lm.Dst.Bits > 64:
			return fmt.Errorf("value for %s: at most 64 bits at a time", lm.Dst)
		case lm.Dst.Bits < 64 && lm.Value>>lm.Dst.Bits != 0:
			return fmt.Errorf("value %#x for %s, which has %d bits", lm.Value, lm.Dst, lm.Dst.Bits)
		}
		return nil
	}
	if errs := checkRange(lm.Src, s); len(errs) > 0 {
		return errs[0]
	}
	if lm.Src.Bits != lm.Dst.Bits {
		return fmt.Errorf("%d bits of %s for the %d bits of %s: both must be equally wide", lm.Src.Bits, lm.Src, lm.Dst.Bits, lm.Dst)
	}
	return nil
}

// overlap tells whether two ranges inside their fields share a bit.
func overlap(a, b Range) bool {
	return a.Field == b.Field && a.Start < b.Start+b.Bits && b.Start < a.Start+a.Bits
}
