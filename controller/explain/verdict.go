package explain

import (
	"fmt"
	"net/netip"
	"strings"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// callOf is the upstream that a question is about, if it is about one.
func (t *tracer) callOf(r resolved) (mesh.Upstream, bool) {
	if !t.Fabric.Mesh || r.to.Addr() != t.Fabric.VIP || r.packet[flow.IPProto] != flow.IPProtoTCP {
		return mesh.Upstream{}, false
	}
	return t.call(r.host.Addr, r.to.Port())
}

func (t *tracer) verdict(r resolved, sent emulator.Sent) Verdict {
	for _, p := range sent.ToController {
		why := trimmed(decision(sent, p).Reason)
		switch p.Flow.Table {
		case pipeline.TableRefuse:
			return Verdict{Refused, fmt.Sprintf("refused: %s; %s gets a reset", why, r.host.Name)}
		case pipeline.TableDeny:
			if strings.HasPrefix(why, "intention ") {
				why = "by the " + why
			} else {
				why = "as " + why
			}
			return Verdict{Denied, fmt.Sprintf("denied %s; both ends get a reset", why)}
		case pipeline.TableDNS:
			return Verdict{Controller, "a question to the mesh's DNS, which the controller answers"}
		}
	}
	var names []string
	for _, d := range sent.Delivered {
		if d.Packet[flow.EthType] == flow.EthTypeARP && d.Packet[flow.ARPOp] == 2 && r.packet[flow.ARPOp] == 1 {
			return Verdict{Answered, fmt.Sprintf("answered by %s: %v is at %s", sent.Hops[len(sent.Hops)-1].At.Switch, arpSender(d.Packet), t.mac(d.Packet[flow.ARPSHA]))}
		}
		names = append(names, d.Host)
	}
	switch {
	case len(names) == 1 && len(sent.Lost) == 0:
		return Verdict{Reaches, "reaches " + t.reached(r, sent.Delivered[0])}
	case len(names) > 0:
		return Verdict{Reaches, "reaches " + strings.Join(names, ", ")}
	case len(sent.Lost) > 0:
		return Verdict{Leaves, fmt.Sprintf("leaves %s by port %d, and what is behind that is not known here", sent.Lost[0].At.Switch, sent.Lost[0].At.Port)}
	case len(sent.ToController) > 0:
		return Verdict{Controller, "goes to the controller alone: " + sent.ToController[0].Flow.Reason}
	default:
		return Verdict{Dropped, "dropped: " + droppedBy(sent)}
	}
}

// decision is the flow that sent a packet to the table from which it was
// punted.
func decision(sent emulator.Sent, p emulator.Punt) flow.Flow {
	for _, h := range sent.Hops {
		if h.At.Switch != p.Switch {
			continue
		}
		last := p.Flow
		for _, s := range h.Result.Path {
			if s.Flow.Table == p.Flow.Table {
				return last
			}
			if !s.Miss {
				last = s.Flow
			}
		}
	}
	return p.Flow
}

// trimmed is a reason without what it says of the consequence.
func trimmed(reason string) string {
	for _, end := range []string{": refuse the connection", ": deny"} {
		reason = strings.TrimSuffix(reason, end)
	}
	return reason
}

func droppedBy(sent emulator.Sent) string {
	if len(sent.Hops) == 0 {
		return "it met no switch"
	}
	h := sent.Hops[len(sent.Hops)-1]
	for n := len(h.Result.Path) - 1; n >= 0; n-- {
		s := h.Result.Path[n]
		name := fmt.Sprintf("%d %s", s.Flow.Table, pipeline.TableName(s.Flow.Table))
		switch {
		case s.Miss && n == len(h.Result.Path)-1:
			return fmt.Sprintf("nothing in table %s of %s matches it", name, h.At.Switch)
		case !s.Miss && len(s.Flow.Actions) == 0:
			return fmt.Sprintf("%s, in table %s of %s", s.Flow.Reason, name, h.At.Switch)
		}
	}
	last := h.Result.Path[len(h.Result.Path)-1]
	return fmt.Sprintf("it would have to leave %s by the port it came in by (%s)", h.At.Switch, last.Flow.Reason)
}

// reached describes the host, and the service there, that got the packet.
func (t *tracer) reached(r resolved, d emulator.Delivery) string {
	if d.Packet[flow.EthType] != flow.EthTypeIPv4 {
		return d.Host
	}
	to := d.Packet.Dst()
	where := to.String()
	if to.Port() == 0 {
		where = to.Addr().String()
	}
	who := d.Host
	services := t.servicesAt(to)
	if len(services) > 0 {
		who = strings.Join(services, ", ") + " at " + d.Host
	}
	if d.Host == r.host.Name {
		who += " itself"
	}
	text := fmt.Sprintf("%s (%s)", who, where)
	u, isCall := t.callOf(r)
	switch {
	case isCall:
		text += fmt.Sprintf(", from %s's call of %s at %v", u.Source, u.Destination, r.to)
	case len(services) > 0:
		text += ", beside the mesh"
	case to.Port() != 0:
		text += ", where no service is registered"
	}
	if seen := d.Packet.Src(); seen != r.packet.Src() {
		text += fmt.Sprintf("; it sees %v as the client", seen)
	}
	return text
}

func (t *tracer) backVerdict(r resolved, answer emulator.Packet, sent emulator.Sent) Verdict {
	if len(sent.Delivered) != 1 {
		v := t.verdict(resolved{host: r.host, to: answer.Dst(), packet: answer}, sent)
		return v
	}
	d := sent.Delivered[0]
	from := t.place(d.Packet.Src(), r)
	switch {
	case d.Host != r.host.Name:
		return Verdict{Reaches, fmt.Sprintf("the answer reaches %s, not %s", d.Host, r.host.Name)}
	case d.Packet.Src() != r.packet.Dst():
		return Verdict{Reaches, fmt.Sprintf("the answer comes back to %s from %s, which is not what it asked: it is not taken for an answer", d.Host, from)}
	default:
		return Verdict{Reaches, fmt.Sprintf("the answer comes back to %s from %s", d.Host, from)}
	}
}

func (t *tracer) place(at netip.AddrPort, r resolved) string {
	if r.to.Port() == 0 {
		return at.Addr().String()
	}
	return at.String()
}
