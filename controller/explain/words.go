package explain

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
)

// changes tells in words what a flow, step n of a hop, does.
func (t *tracer) changes(h emulator.Hop, n int) ([]string, error) {
	s := h.Result.Path[n]
	d := &doing{t: t, hop: h, n: n, before: s.Packet, now: maps.Clone(s.Packet)}
	if s.Flow.Meter != 0 {
		d.say("passes meter %d", s.Flow.Meter)
	}
	if err := d.all(s.Flow.Actions); err != nil {
		return nil, err
	}
	d.headers()
	return d.words, nil
}

// doing follows the actions of one flow.
type doing struct {
	t      *tracer
	hop    emulator.Hop
	n      int
	before emulator.Packet // headers that have been told of
	now    emulator.Packet
	words  []string
}

func (d *doing) say(format string, args ...any) {
	d.words = append(d.words, fmt.Sprintf(format, args...))
}

func (d *doing) all(actions []flow.Action) error {
	for _, a := range actions {
		switch a := a.(type) {
		case flow.CT:
			d.connection(a)
		case flow.UseGroup:
			if err := d.group(a); err != nil {
				return err
			}
		case flow.Controller:
			d.headers()
			d.say("goes to the controller")
		case flow.Learn:
			d.say("table %d counts this connection from now on", a.Table)
		case flow.Output:
			d.out(a.Port)
		case flow.OutputReg:
			port, err := d.now.Value(a.From)
			if err != nil {
				return err
			}
			if port == uint64(flow.PortInPort&0xffff) {
				port = uint64(flow.PortInPort)
			}
			d.out(uint32(port))
		case flow.InPort:
			d.out(flow.PortInPort)
		default:
			if err := d.now.Apply(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// headers tells how the headers have changed since it was last called.
func (d *doing) headers() {
	was, is := d.before, d.now
	d.before = maps.Clone(d.now)
	if is[flow.EthType] == flow.EthTypeIPv4 {
		if was.Src() != is.Src() {
			d.say("source becomes %s", d.t.endpoint(is.Src(), was.Src()))
		}
		if was.Dst() != is.Dst() {
			d.say("destination becomes %s", d.t.endpoint(is.Dst(), was.Dst()))
		}
	}
	if is[flow.EthType] == flow.EthTypeARP && was[flow.ARPOp] != is[flow.ARPOp] {
		d.say("becomes the answer: %v is at %s", arpSender(is), d.t.mac(is[flow.ARPSHA]))
		return
	}
	if was[flow.EthSrc] != is[flow.EthSrc] {
		d.say("source MAC becomes %s", d.t.mac(is[flow.EthSrc]))
	}
	if was[flow.EthDst] != is[flow.EthDst] {
		d.say("destination MAC becomes %s", d.t.mac(is[flow.EthDst]))
	}
}

// connection tells of a pass through connection tracking.
func (d *doing) connection(a flow.CT) {
	if a.Commit {
		d.headers()
		d.say("the connection is stored in zone %d", a.Zone)
		return
	}
	if a.Table == nil {
		d.say("shown to connection tracking, zone %d, as %v > %v", a.Zone, d.now.Src(), d.now.Dst())
		return
	}
	d.headers()
	for _, next := range d.hop.Result.Path[d.n+1:] {
		if next.Flow.Table == *a.Table {
			d.say("connection tracking, zone %d: %s", a.Zone, stateWords(next.Packet[flow.CTState]))
			return
		}
	}
}

func stateWords(state uint64) string {
	switch {
	case state&flow.CTInvalid != 0:
		return "not the packet of a connection"
	case state&flow.CTReply != 0:
		return "an answer in a stored connection"
	case state&flow.CTEstablished != 0:
		return "a stored connection"
	default:
		return "new"
	}
}

func (d *doing) group(a flow.UseGroup) error {
	c := d.hop.Result.Path[d.n].Choice
	if c == nil || c.Group != a.ID {
		return nil
	}
	for _, g := range d.t.Programs[d.hop.At.Switch].Groups {
		if g.ID != a.ID || c.Bucket >= len(g.Buckets) {
			continue
		}
		l := d.t.label(d.hop.At.Switch, g.Buckets[c.Bucket].Actions)
		d.say("slot %d of %d: %s", c.Slot, c.Slots, l.name())
		saved := d.now // what a bucket changes is not seen behind the group
		d.now = maps.Clone(saved)
		err := d.all(g.Buckets[c.Bucket].Actions)
		d.headers()
		d.before, d.now = maps.Clone(saved), saved
		return err
	}
	return nil
}

func (d *doing) out(port uint32) {
	d.headers()
	in := d.hop.At.Port
	switch {
	case port == flow.PortInPort:
		d.say("back out of port %d to %s", in, d.t.behindPort(d.hop.At.Switch, in))
	case port != in:
		d.say("out of port %d to %s", port, d.t.behindPort(d.hop.At.Switch, port))
	}
}

func (t *tracer) behindPort(name string, port uint32) string {
	if to := t.behind[emulator.Port{Switch: name, Port: port}]; to != "" {
		return to
	}
	return "somewhere that is not known here"
}

// endpoint is an address and port, and whose it is.
func (t *tracer) endpoint(is, was netip.AddrPort) string {
	text := is.String()
	if is.Port() == 0 {
		text = is.Addr().String()
	}
	if is.Addr() == was.Addr() {
		return text
	}
	if name := t.addrName(is.Addr()); name != "" {
		text += " (" + name + ")"
	}
	return text
}

// reserved is 240.0.0.0/4, in which the canonical tuples lie (package
// pipeline).
func reserved() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{240}), 4) }

func (t *tracer) addrName(a netip.Addr) string {
	switch {
	case t.Fabric.Mesh && a == t.Fabric.VIP:
		return "the virtual address"
	case t.Fabric.Mesh && a == t.Fabric.Hairpin:
		return "the hairpin address"
	case reserved().Contains(a):
		return "the service, for connection tracking"
	}
	h, _ := t.host(a.String())
	return h.Name
}

// identityPrefix begins the MAC addresses that name the calling service
// (package pipeline, "Who may call whom").
const identityPrefix = 0x0a4d4

func (t *tracer) mac(v uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	text := net.HardwareAddr(b[2:]).String()
	switch {
	case t.Fabric.Mesh && v == macValue(t.Fabric.VIPMAC):
		return text + " (the mesh)"
	case v>>28 == identityPrefix:
		return text + " (the calling service)"
	}
	for _, h := range t.Fabric.Hosts {
		if macValue(h.MAC) == v {
			return text + " (" + h.Name + ")"
		}
	}
	return text
}

func arpSender(p emulator.Packet) netip.Addr { return addrOf(p[flow.ARPSPA]) }

func addrOf(v uint64) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func actionsOf(f flow.Flow) string {
	_, actions, _ := strings.Cut(f.String(), "actions=")
	return actions
}
