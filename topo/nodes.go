package topo

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// maxOFPort is the highest number of a port that is not reserved: OVS keeps
// the 16-bit range of OpenFlow 1.0, whose reserved ports begin at 0xff00
// (OFPP_MAX, OpenFlow 1.0.1, section 5.2.1).
const maxOFPort = 0xfeff

var sixteenHex = regexp.MustCompile(`^[0-9a-fA-F]{16}$`)

func (b *builder) nodes(f *fileLab) {
	switches, unclear := 0, false
	for _, n := range f.Nodes {
		name := n.Key.val
		if !nodeName.MatchString(name) {
			b.addf(n.Key.place, "the node's name %s must be 1 to 14 of a-z, 0-9, _ and -, and begin with a letter or digit", quote(name))
		}
		node := Node{Name: name, Kind: Kind(n.Value.Kind.val)}
		switch node.Kind {
		case KindHost:
			b.hosts = append(b.hosts, name)
			if n.Value.DPID.set {
				b.addf(n.Value.DPID.place, "host %s has a dpid; only switches have one", quote(name))
			}
		case KindSwitch:
			switches++
			if n.Value.IPv4.set {
				b.addf(n.Value.IPv4.place, "switch %s has an ipv4 address; only hosts have one", quote(name))
			}
			if n.Value.MAC.set {
				b.addf(n.Value.MAC.place, "switch %s has a mac; only hosts have one", quote(name))
			}
		default:
			unclear = true
			if n.Value.Kind.set {
				b.unknown(n.Value.Kind.place, "kind", n.Value.Kind.val, []string{string(KindHost), string(KindSwitch)})
			}
		}
		b.node[name] = len(b.lab.Nodes)
		b.nodePlace[name] = n.Key.place
		b.names = append(b.names, name)
		b.lab.Nodes = append(b.lab.Nodes, node)
	}
	if switches == 0 && !unclear && len(f.Nodes) > 0 {
		b.addf(f.Nodes[0].Key.place, "the lab has no switch; add a node with kind: switch")
	}
	b.dpids(f)
}

// dpids gives every switch its datapath id: the stated one, else the lowest
// number that no switch states.
func (b *builder) dpids(f *fileLab) {
	owner := map[uint64]string{}
	for i, n := range f.Nodes {
		d := n.Value.DPID
		if b.lab.Nodes[i].Kind != KindSwitch || !d.set {
			continue
		}
		v, err := parseDPID(string(d.val))
		switch {
		case err != nil:
			b.addf(d.place, "dpid %s must be 16 hexadecimal digits or a decimal integer above 0", quote(string(d.val)))
			continue
		case owner[v] != "":
			b.addf(d.place, "dpid %016x is also that of %s", v, quote(owner[v]))
		default:
			owner[v] = n.Key.val
		}
		b.lab.Nodes[i].DPID = v
	}
	next := uint64(1)
	for i := range b.lab.Nodes {
		if n := &b.lab.Nodes[i]; n.Kind == KindSwitch && n.DPID == 0 {
			for owner[next] != "" {
				next++
			}
			n.DPID, owner[next] = next, n.Name
		}
	}
}

// parseDPID reads 16 hexadecimal digits, or else a decimal integer. Zero is
// refused: Open vSwitch takes it for "none".
func parseDPID(s string) (uint64, error) {
	base := 10
	if sixteenHex.MatchString(s) {
		base = 16
	}
	v, err := strconv.ParseUint(s, base, 64)
	if err == nil && v == 0 {
		err = fmt.Errorf("zero")
	}
	return v, err
}

// links reads the links and checks that each end is free and each host has
// one. Automatic hosts get their links later.
func (b *builder) links(f *fileLab) {
	b.linksGood = true
	taken := map[Endpoint]int{}   // line of the link that has it
	joined := map[[2]string]int{} // pairs of switches
	hostLink := map[string]int{}  // line of the host's link
	for _, l := range f.Links {
		before := len(b.list)
		link := Link{MTU: defaultMTU}
		if m := l.MTU; m.set {
			link.MTU = int(m.val)
			if m.val < 576 || m.val > 9000 { // 576: RFC 791, section 3.2
				b.addf(m.place, "mtu %d must be 576 to 9000 bytes", m.val)
			}
		}
		if len(l.Endpoints) != 2 {
			if l.Endpoints != nil { // else it is reported as missing, or as no list
				b.addf(l.Stated.place, "a link has 2 endpoints; this one has %d", len(l.Endpoints))
			}
			b.linksGood = false
			continue
		}
		ends := [2]Endpoint{}
		for i, e := range l.Endpoints {
			end, ok := b.endpoint(e)
			if !ok {
				continue
			}
			ends[i] = end
			line, twice := taken[end]
			switch {
			case twice:
				b.addf(e.place, "%s is also an end of the link in line %d", quote(e.val), line)
			case end.Port == 0 && hostLink[end.Node] != 0:
				b.addf(e.place, "host %s has a link already, in line %d; a host has one", quote(end.Node), hostLink[end.Node])
			}
			taken[end] = e.line
			if end.Port == 0 {
				hostLink[end.Node] = e.line
			}
		}
		link.A, link.B = ends[0], ends[1]
		whole := link.A.Node != "" && link.B.Node != ""
		if whole && len(b.list) == before {
			b.linkPair(l, link, joined)
		}
		if !whole || len(b.list) != before {
			b.linksGood = false
			continue
		}
		b.lab.Links = append(b.lab.Links, link)
	}
	for _, name := range b.hosts {
		if hostLink[name] == 0 && !(name == autoServer && !f.Mesh.Server.set) && !(name == autoClient && f.Client != nil && !f.Client.Node.set) && b.linksGood {
			b.addf(b.nodePlace[name], "host %s has no link; join it to a switch", quote(name))
		}
	}
}

// linkPair checks what two good ends are to each other.
func (b *builder) linkPair(l fileLink, link Link, joined map[[2]string]int) {
	at := l.Endpoints[1].place
	switch {
	case link.A.Node == link.B.Node:
		b.addf(at, "the link joins %s to itself", quote(link.A.Node))
	case link.A.Port == 0 && link.B.Port == 0:
		b.addf(at, "the link joins two hosts, %s and %s; put a switch between them", quote(link.A.Node), quote(link.B.Node))
	case link.A.Port != 0 && link.B.Port != 0:
		pair := [2]string{min(link.A.Node, link.B.Node), max(link.A.Node, link.B.Node)}
		if line := joined[pair]; line != 0 {
			b.addf(at, "switches %s and %s are joined already, in line %d", quote(pair[0]), quote(pair[1]), line)
			return
		}
		joined[pair] = at.line
	}
}

// endpoint reads node:interface.
func (b *builder) endpoint(e text) (Endpoint, bool) {
	if !e.set {
		return Endpoint{}, false
	}
	name, device, ok := strings.Cut(e.val, ":")
	if !ok {
		b.addf(e.place, "endpoint %s must be host:interface or switch:port", quote(e.val))
		return Endpoint{}, false
	}
	i, known := b.node[name]
	if !known {
		b.unknown(e.place, "node", name, b.names)
		return Endpoint{}, false
	}
	end := Endpoint{Node: name, Interface: device}
	switch b.lab.Nodes[i].Kind {
	case KindSwitch:
		port, err := strconv.ParseUint(device, 10, 32)
		if err != nil || port < 1 || port > maxOFPort || strconv.FormatUint(port, 10) != device {
			b.addf(e.place, "endpoint %s: the port of a switch must be a decimal number from 1 to %d", quote(e.val), maxOFPort)
			return Endpoint{}, false
		}
		end.Port = uint32(port)
	case KindHost:
		if !deviceName.MatchString(device) {
			b.addf(e.place, "endpoint %s: the interface must be a device name: at most 15 letters, digits, _, . and -", quote(e.val))
			return Endpoint{}, false
		}
		if device == "lo" {
			b.addf(e.place, "endpoint %s: lo is the host's loopback; use another name, such as eth0", quote(e.val))
			return Endpoint{}, false
		}
	default: // of a kind that is no kind, which is reported
		b.linksGood = false
		return Endpoint{}, false
	}
	return end, true
}
