package topo

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
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
		if slices.Contains(reservedNodes, name) {
			b.addf(n.Key.place, "no node may be called %s: that is the name of a device that is there already", quote(name))
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
