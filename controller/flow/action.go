package flow

import (
	"fmt"
	"strings"
)

// String is the range as NXM_NX_REG0[], NXM_NX_REG0[5] or NXM_NX_REG0[0..15]
// (ovs-actions(7), "field[start..end]").
func (r Range) String() string {
	switch {
	case r.Start == 0 && r.Bits == r.Field.Bits():
		return r.Field.NXM() + "[]"
	case r.Bits == 1:
		return fmt.Sprintf("%s[%d]", r.Field.NXM(), r.Start)
	default:
		return fmt.Sprintf("%s[%d..%d]", r.Field.NXM(), r.Start, int(r.Start)+int(r.Bits)-1)
	}
}

func actionsString(actions []Action) string {
	if len(actions) == 0 {
		return "drop"
	}
	return joinActions(actions)
}

func joinActions(actions []Action) string {
	parts := make([]string, len(actions))
	for i, a := range actions {
		if a == nil {
			parts[i] = "<nil>" // Check refuses it; printing must survive it
			continue
		}
		parts[i] = a.String()
	}
	return strings.Join(parts, ",")
}

// setFieldName is the name that ovs-ofctl prints behind set_field, which is
// not always the one it prints in a match.
func setFieldName(f Field) string {
	switch f {
	case EthSrc:
		return "eth_src"
	case EthDst:
		return "eth_dst"
	case EthType:
		return "eth_type"
	case IPProto:
		return "ip_proto"
	case IPv4Src:
		return "ip_src"
	case IPv4Dst:
		return "ip_dst"
	default:
		return f.String()
	}
}

// String is output:2, or the name of a reserved port.
func (a Output) String() string {
	switch name := portString(a.Port); {
	case a.Port == PortController:
		return "CONTROLLER:0"
	case a.Port >= PortInPort:
		return name
	default:
		return "output:" + name
	}
}

// String is output:NXM_NX_REG0[].
func (a OutputReg) String() string { return "output:" + a.From.String() }

// String is IN_PORT.
func (a InPort) String() string { return "IN_PORT" }

// String is CONTROLLER:65535.
func (a Controller) String() string { return fmt.Sprintf("CONTROLLER:%d", a.MaxLen) }

// String is set_field:10.0.0.1->ip_dst.
func (a SetField) String() string {
	return "set_field:" + valueString(a.Field, a.Value) + "->" + setFieldName(a.Field)
}

// String is load:0x1->NXM_NX_REG0[].
func (a Load) String() string {
	return "load:" + hexString(a.Value) + "->" + a.Dst.String()
}

// String is move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[].
func (a Move) String() string { return fmt.Sprintf("move:%s->%s", a.Src, a.Dst) }

// String is resubmit(,50).
func (a Resubmit) String() string { return fmt.Sprintf("resubmit(,%d)", a.Table) }

// String is group:7.
func (a UseGroup) String() string { return fmt.Sprintf("group:%d", a.ID) }

// String is ct(commit,table=31,zone=1,exec(...)).
func (a CT) String() string {
	var parts []string
	if a.Commit {
		parts = append(parts, "commit")
	}
	if a.Table != nil {
		parts = append(parts, fmt.Sprintf("table=%d", *a.Table))
	}
	if a.Zone != 0 {
		parts = append(parts, fmt.Sprintf("zone=%d", a.Zone))
	}
	if len(a.Exec) > 0 {
		parts = append(parts, "exec("+joinActions(a.Exec)+")")
	}
	return "ct(" + strings.Join(parts, ",") + ")"
}
