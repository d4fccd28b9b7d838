package explain

import (
	"fmt"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/pipeline"
)

// tracer explains in one network.
type tracer struct {
	Network
	net    *emulator.Network
	behind map[emulator.Port]string // host or switch behind a port
}

// TraceOf answers a question. An error that is a *QuestionError says what is
// wrong with the question; any other, that the programs contradict themselves.
func TraceOf(n Network, q Question) (Trace, error) {
	r, err := n.resolve(q)
	if err != nil {
		return Trace{}, err
	}
	t := tracer{Network: n, behind: map[emulator.Port]string{}}
	if err := t.build(); err != nil {
		return Trace{}, fmt.Errorf("trace %s to %s: %w", q.From, q.To, err)
	}
	sent, err := t.net.Send(r.host.Name, r.packet)
	if err != nil {
		return Trace{}, fmt.Errorf("trace %s to %s: %w", q.From, q.To, err)
	}
	out := Trace{From: t.client(r), To: t.server(r), Packet: r.packet.String()}
	if out.There, err = t.way(sent); err != nil {
		return Trace{}, err
	}
	out.There.Verdict = t.verdict(r, sent)
	out.Shares = t.shares(sent)
	answer, from, ok := t.answer(r, sent)
	if ok {
		out.Answer = answer.String()
		back, err := t.net.Send(from, answer)
		if err != nil {
			return Trace{}, fmt.Errorf("trace the answer of %s: %w", from, err)
		}
		way, err := t.way(back)
		if err != nil {
			return Trace{}, err
		}
		way.Verdict = t.backVerdict(r, answer, back)
		out.Back = &way
	}
	out.Notes = t.notes(r, sent)
	return out, nil
}

// build puts the programs into switches in memory and joins these.
func (t *tracer) build() error {
	switches := map[string]*emulator.Switch{}
	for _, dp := range t.Datapaths {
		p := t.Programs[dp.Name]
		s, err := emulator.NewSwitch(p.Flows, p.Groups)
		if err != nil {
			return fmt.Errorf("switch %s: %w", dp.Name, err)
		}
		switches[dp.Name] = s
	}
	t.net = emulator.NewNetwork(switches)
	for _, dp := range t.Datapaths {
		for host, port := range dp.Access {
			at := emulator.Port{Switch: dp.Name, Port: port}
			t.net.Attach(host, at)
			t.behind[at] = host
		}
	}
	for _, dp := range t.Datapaths {
		for port, peer := range dp.Trunks {
			if switches[peer.Datapath] == nil {
				continue // a tunnel, or a switch of another controller
			}
			here, there := emulator.Port{Switch: dp.Name, Port: port}, emulator.Port{Switch: peer.Datapath, Port: peer.Port}
			t.net.Wire(here, there)
			t.behind[here], t.behind[there] = peer.Datapath, dp.Name
		}
	}
	return nil
}

func (t *tracer) client(r resolved) Party {
	p := Party{Host: r.host.Name, Service: r.service, Address: r.host.Addr.String()}
	if p.Service == "" {
		if u, ok := t.callOf(r); ok {
			p.Service = u.Source
		}
	}
	if r.to.Port() != 0 {
		p.Address = r.packet.Src().String()
	}
	return p
}

func (t *tracer) server(r resolved) Party {
	p := Party{Address: r.to.Addr().String()}
	if r.to.Port() != 0 {
		p.Address = r.to.String()
	}
	if h, ok := t.host(r.to.Addr().String()); ok {
		p.Host = h.Name
	}
	if u, ok := t.callOf(r); ok {
		p.Service = u.Destination
	}
	return p
}

// answer is what the host that got the packet sends back, if exactly one got
// it and would answer.
func (t *tracer) answer(r resolved, sent emulator.Sent) (p emulator.Packet, from string, ok bool) {
	if len(sent.Delivered) != 1 || r.packet[flow.TCPFlags]&emulator.RST != 0 {
		return nil, "", false
	}
	d := sent.Delivered[0]
	if d.Packet[flow.EthType] != flow.EthTypeIPv4 {
		return nil, "", false
	}
	h, _ := t.host(d.Host)
	mac, known := t.macOf(d.Packet.Src().Addr())
	if !known {
		return nil, "", false
	}
	p = emulator.Packet{
		flow.EthSrc: macValue(h.MAC), flow.EthDst: macValue(mac), flow.EthType: flow.EthTypeIPv4,
		flow.IPProto: d.Packet[flow.IPProto], flow.IPv4Src: d.Packet[flow.IPv4Dst], flow.IPv4Dst: d.Packet[flow.IPv4Src],
	}
	switch d.Packet[flow.IPProto] {
	case flow.IPProtoTCP:
		p[flow.TCPSrc], p[flow.TCPDst], p[flow.TCPFlags] = d.Packet[flow.TCPDst], d.Packet[flow.TCPSrc], emulator.ACK
		if d.Packet[flow.TCPFlags]&emulator.SYN != 0 {
			p[flow.TCPFlags] |= emulator.SYN
		}
	case flow.IPProtoUDP:
		p[flow.UDPSrc], p[flow.UDPDst] = d.Packet[flow.UDPDst], d.Packet[flow.UDPSrc]
	}
	return p, d.Host, true
}

// way puts the switches that a packet met into words.
func (t *tracer) way(sent emulator.Sent) (Way, error) {
	var w Way
	for i, h := range sent.Hops {
		hop := Hop{
			Switch: h.At.Switch, InPort: h.At.Port, From: t.behind[h.At],
			Packet: h.Packet.String(), OVS: ovsQuestion(sent.Hops[i:]),
		}
		for n, s := range h.Result.Path {
			step := Step{Table: s.Flow.Table, Name: pipeline.TableName(s.Flow.Table), Miss: s.Miss}
			if !s.Miss {
				changes, err := t.changes(h, n)
				if err != nil {
					return w, fmt.Errorf("explain table %d of %s: %w", s.Flow.Table, h.At.Switch, err)
				}
				step.Reason, step.Changes = s.Flow.Reason, changes
				step.Cookie, step.Priority = fmt.Sprintf("%#x", s.Flow.Cookie), s.Flow.Priority
				step.Match, step.Actions = s.Flow.Match.String(), actionsOf(s.Flow)
				step.Group = s.Choice != nil
			}
			hop.Steps = append(hop.Steps, step)
		}
		for _, o := range h.Result.Outputs {
			hop.Out = append(hop.Out, Exit{Port: o.Port, To: t.behind[emulator.Port{Switch: h.At.Switch, Port: o.Port}]})
		}
		w.Hops = append(w.Hops, hop)
	}
	return w, nil
}

// notes say what a trace cannot know.
func (t *tracer) notes(r resolved, sent emulator.Sent) []string {
	var notes []string
	if r.packet[flow.IPProto] == flow.IPProtoTCP {
		notes = append(notes, "This is the way of a new connection. Which connections are open already, only the switches know: those stay at the instance they have.")
	}
	seen := map[string]bool{}
	note := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if !seen[text] {
			notes = append(notes, text)
		}
		seen[text] = true
	}
	for _, h := range sent.Hops {
		program := t.Programs[h.At.Switch]
		for _, id := range h.Result.Meters {
			for _, m := range program.Meters {
				if m.ID == id {
					note("%s lets %d packets per second pass here (%s); above that it drops them.", h.At.Switch, m.Rate, m.Reason)
				}
			}
		}
		for _, s := range h.Result.Path {
			for _, a := range s.Flow.Actions {
				if ct, ok := a.(flow.CT); ok && ct.Commit && program.Zones[ct.Zone] > 0 {
					note("%s keeps at most %d connections of this service at a time; how many there are is not known here.", h.At.Switch, program.Zones[ct.Zone])
				}
			}
			if s.Choice != nil {
				note("The choice among instances is that of the userspace datapath of Open vSwitch 3.1; another datapath has the same shares, and another hash.")
			}
		}
	}
	return notes
}
