package imports

import (
	"regexp"
	"slices"
	"strconv"
)

// maxOFPort is the highest number that a port of a switch has in a lab file.
const maxOFPort = 0xfeff

// deviceName is what topo allows for the interface of a host.
var deviceName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$`)

// fabric is how the nodes of the lab are joined.
type fabric struct {
	*draft
	used  map[string]bool // names of nodes
	links []labLink
	pairs map[[2]*device]bool // switches that have a link
	next  map[*device][]*device
}

type labLink struct {
	a, b string // host:interface or switch:port
	mtu  int    // 0: topo's default
}

// fabric joins the devices. Hosts keep one interface; what is no link between
// a switch and something becomes a switch of its own; and all becomes one
// network.
func (d *draft) fabric() (*fabric, error) {
	f := &fabric{draft: d, used: map[string]bool{}, pairs: map[[2]*device]bool{}, next: map[*device][]*device{}}
	for _, dev := range d.devices {
		f.used[dev.name] = true
	}
	for _, s := range d.segments {
		for _, e := range s.ends {
			e.dev.iface(e.iface, e.at).inNet = true
		}
	}
	keep := map[*device]string{}
	for _, dev := range d.devices {
		if !dev.sw {
			keep[dev] = d.keep(dev)
		}
	}
	for _, s := range d.segments {
		f.segment(s, keep)
	}
	f.lonely()
	f.connect()
	if len(d.devices) > maxNodes {
		return nil, d.errorf(at{d.file, 0}, "%d nodes; a lab may have at most %d", len(d.devices), maxNodes)
	}
	if len(f.links) > maxLinks {
		return nil, d.errorf(at{d.file, 0}, "%d links; a lab may have at most %d", len(f.links), maxLinks)
	}
	return f, nil
}

// keep chooses the one interface that a host has in the lab: the first that
// is in a network and has an IPv4 address, else the first in a network.
func (d *draft) keep(dev *device) string {
	var best *iface
	in := 0
	for _, i := range dev.ifaces {
		if !i.inNet {
			continue
		}
		in++
		if best == nil || len(best.addrs) == 0 && len(i.addrs) > 0 {
			best = i
		}
	}
	if best == nil {
		return ""
	}
	for _, i := range dev.ifaces {
		if i != best && i.inNet {
			with := ""
			if len(i.addrs) > 0 {
				with = " with " + i.addrs[0].String()
			}
			d.notef(i.at, "%s keeps %s alone: a host of a lab has one interface; %s%s is left out", dev.given, best.name, i.name, with)
		}
	}
	return best.name
}

// segment makes links of a broadcast domain.
func (f *fabric) segment(s *segment, keep map[*device]string) {
	var ends []end
	switches := 0
	for _, e := range s.ends {
		switch {
		case !e.dev.sw && (keep[e.dev] != e.iface || e.dev.joined):
			continue // told by keep
		case slices.ContainsFunc(ends, func(o end) bool { return o.dev == e.dev }):
			f.notef(e.at, "%s is in %s twice; its %s is left out", e.dev.given, s.name, e.iface)
			continue
		case e.dev.sw:
			if f.port(e.dev, e.iface) == 0 {
				f.notef(e.at, "%s of %s is in no bridge, and is left out", e.iface, e.dev.given)
				continue
			}
			switches++
		}
		ends = append(ends, e)
	}
	switch {
	case len(ends) == 0:
	case len(ends) == 1:
		if e := ends[0]; e.dev.sw {
			f.notef(e.at, "nothing else is at %s: %s of %s has no link", s.name, e.iface, e.dev.given)
		}
	case len(ends) == 2 && switches > 0:
		f.link(s, ends[0], ends[1])
	default:
		sw := f.extra(s.name, s.at)
		why := "a link has two ends"
		if len(ends) == 2 {
			why = "a link has a switch at one end"
		}
		f.notef(s.at, "%s joins %d nodes, and %s: the switch %s stands for it", s.name, len(ends), why, sw.name)
		for _, e := range ends {
			f.link(s, e, end{at: e.at, dev: sw, iface: e.dev.name})
		}
	}
}

// extra adds a switch.
func (f *fabric) extra(name string, where at) *device {
	want := orElse(clean(name, "_-", maxNodeName), "s")
	if f.used[want] || reserved(&device{sw: true}, want) || want[0] >= '0' && want[0] <= '9' {
		want = clean("sw-"+want, "_-", maxNodeName)
	}
	sw := &device{at: where, given: name, name: unique(want, maxNodeName, f.used), sw: true}
	f.devices = append(f.devices, sw)
	return sw
}

// link joins two ends, at least one of them at a switch.
func (f *fabric) link(s *segment, a, b end) {
	if a.dev.sw && b.dev.sw {
		pair := [2]*device{a.dev, b.dev}
		if f.pairs[pair] || f.pairs[[2]*device{b.dev, a.dev}] {
			f.notef(s.at, "%s and %s are joined already; a second link between two switches is left out", a.dev.given, b.dev.given)
			return
		}
		f.pairs[pair] = true
	}
	mtu := s.mtu
	for _, e := range []end{a, b} {
		if m := e.dev.mtuOf(e.iface); m != 0 && mtu == 0 {
			mtu = m
		}
		e.dev.joined = true
	}
	if mtu != 0 && (mtu < 576 || mtu > 9000) {
		f.notef(s.at, "an MTU of %d is not carried over: a link has 576 to 9000 bytes", mtu)
		mtu = 0
	}
	f.links = append(f.links, labLink{f.endpoint(a), f.endpoint(b), mtu})
	f.next[a.dev] = append(f.next[a.dev], b.dev)
	f.next[b.dev] = append(f.next[b.dev], a.dev)
}

func (d *device) mtuOf(name string) int {
	for _, i := range d.ifaces {
		if i.name == name {
			return i.mtu
		}
	}
	return 0
}

// endpoint is an end as a lab file names it.
func (f *fabric) endpoint(e end) string {
	if e.dev.sw {
		return e.dev.name + ":" + strconv.Itoa(f.port(e.dev, e.iface))
	}
	if !deviceName.MatchString(e.iface) || e.iface == "lo" {
		f.notef(e.at, "the interface %s of %s is called eth0 in the lab", quote(e.iface), e.dev.given)
		return e.dev.name + ":eth0"
	}
	return e.dev.name + ":" + e.iface
}

// port returns the OpenFlow port of a switch's interface: what the interface
// asks for, else by the order in which the ports were added, as Open vSwitch
// numbers them. 0: the switch has ports, and this is none of them.
func (f *fabric) port(dev *device, name string) int {
	dev.number()
	if dev.portOf[name] == 0 && len(dev.ports) == 0 {
		dev.newPort(name)
	}
	return dev.portOf[name]
}

// number gives the ports that were added to the bridges their numbers, once.
func (d *device) number() {
	if d.portOf != nil {
		return
	}
	d.portOf, d.taken = map[string]int{}, map[int]bool{}
	for _, p := range d.ports {
		if n := d.requests[p]; n >= 1 && n <= maxOFPort && !d.taken[n] {
			d.portOf[p], d.taken[n] = n, true
		}
	}
	for _, p := range d.ports {
		if d.portOf[p] == 0 {
			d.newPort(p)
		}
	}
}

// newPort gives an interface the lowest free port. There always is one: a lab
// has fewer links than a switch has ports.
func (d *device) newPort(name string) {
	d.number()
	n := 1
	for d.taken[n] {
		n++
	}
	d.portOf[name], d.taken[n] = n, true
}

// lonely joins hosts that have no link to the first switch, which is made
// when there is none.
func (f *fabric) lonely() {
	for _, dev := range slices.Clone(f.devices) {
		if dev.sw || dev.joined {
			continue
		}
		sw := f.first(dev.at)
		name := "eth0"
		if i := slices.IndexFunc(dev.ifaces, func(i *iface) bool { return i.inNet }); i >= 0 {
			name = dev.ifaces[i].name
		}
		f.notef(dev.at, "%s has no link to anything: it is joined to %s", dev.given, sw.name)
		f.join(end{at: dev.at, dev: dev, iface: name}, sw)
	}
	f.first(at{f.file, 0})
}

// first returns the first switch, a new one when there is none.
func (f *fabric) first(where at) *device {
	for _, dev := range f.devices {
		if dev.sw {
			return dev
		}
	}
	return f.extra("s1", where)
}

// join links an end to a new port of a switch.
func (f *fabric) join(e end, sw *device) {
	name := "to " + e.dev.name
	sw.newPort(name)
	f.link(&segment{at: e.at}, e, end{at: e.at, dev: sw, iface: name})
}

// connect makes one network of all: the first switch of each further part is
// joined to the first of all.
func (f *fabric) connect() {
	root := f.first(at{f.file, 0})
	seen := map[*device]bool{}
	visit := func(from *device) {
		seen[from] = true
		for queue := []*device{from}; len(queue) > 0; queue = queue[1:] {
			for _, n := range f.next[queue[0]] {
				if !seen[n] {
					seen[n] = true
					queue = append(queue, n)
				}
			}
		}
	}
	visit(root)
	for _, dev := range f.devices {
		if !dev.sw || seen[dev] {
			continue
		}
		f.notef(dev.at, "no link leads from %s to %s: one is added, as the hosts of a lab are one network", root.name, dev.name)
		name := "to " + root.name
		dev.newPort(name)
		f.join(end{at: dev.at, dev: dev, iface: name}, root)
		visit(dev)
	}
}
