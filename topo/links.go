package topo

import (
	"slices"
	"strconv"
	"strings"
)

// links reads the links and checks that each end is free and each host has
// one. Automatic hosts get their links later.
func (b *builder) links(f *fileLab) {
	b.linksGood, b.mtu = true, defaultMTU
	if slices.ContainsFunc(f.Links, func(l fileLink) bool { return l.Tunnel.set }) {
		b.mtu = tunnelMTU
	}
	taken := map[Endpoint]int{}   // line of the link that has it
	joined := map[[2]string]int{} // pairs of switches
	hostLink := map[string]int{}  // line of the host's link
	for _, l := range f.Links {
		before := len(b.list)
		link := Link{MTU: b.linkMTU(l), Tunnel: b.tunnel(l.Tunnel), Character: b.character(l)}
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
			b.checkTunnel(l.Tunnel.place, link)
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

// linkMTU reads the MTU of a link. Every packet of a host may have to pass a
// tunnel, and hosts cannot know: neither a bridge nor VXLAN cuts packets up
// (RFC 7348, section 4.3). So all links fit a tunnel when there is one.
func (b *builder) linkMTU(l fileLink) int {
	m := l.MTU
	switch {
	case !m.set:
		return b.mtu
	case m.val < 576 || m.val > 9000: // 576: RFC 791, section 3.2
		b.addf(m.place, "mtu %d must be 576 to 9000 bytes", m.val)
	case b.mtu == tunnelMTU && m.val > tunnelMTU:
		b.addf(m.place, "mtu %d must be at most %d in a lab with a tunnel: VXLAN takes %d bytes of the %d of the underlay, and packets of hosts must fit",
			m.val, tunnelMTU, VXLANOverhead, defaultMTU)
	}
	return int(m.val)
}

func (b *builder) tunnel(t text) Tunnel {
	if t.set && t.val != string(TunnelVXLAN) {
		b.unknown(t.place, "tunnel", t.val, []string{string(TunnelVXLAN)})
	}
	return Tunnel(t.val)
}

// checkTunnel checks that a link with a tunnel can have one.
func (b *builder) checkTunnel(at place, link Link) {
	switch {
	case link.Tunnel == TunnelNone:
	case link.A.Port == 0 || link.B.Port == 0:
		host := link.A.Node
		if link.A.Port != 0 {
			host = link.B.Node
		}
		b.addf(at, "a tunnel joins two switches; %s is a host", quote(host))
	case b.lab.Switches == SwitchesShared:
		b.addf(at, "a tunnel joins switches that are machines of their own; write \"switches: isolated\" at the top of the lab, or leave tunnel out")
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
