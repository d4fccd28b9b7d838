package topo

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// defaultNetwork is the lab's network when the file states no address at all.
var defaultNetwork = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 10, 0, 0}), 24)

// addresses gives every host an address, and the mesh its two: the stated
// ones, then the highest free addresses for the mesh and the lowest for the
// hosts.
func (b *builder) addresses(f *fileLab) {
	owner := map[netip.Addr]string{}
	stated := b.statedHosts(f)
	b.network = b.findNetwork(f, stated)

	claim := func(at place, a netip.Addr, who string) {
		switch {
		case !b.network.Contains(a):
			b.addf(at, "address %s of %s is outside the lab's network %s", a, who, b.network)
		case a == first(b.network):
			b.addf(at, "address %s of %s is the address of the network %s itself", a, who, b.network)
		case a == last(b.network):
			b.addf(at, "address %s of %s is the broadcast address of %s", a, who, b.network)
		case owner[a] != "":
			b.addf(at, "address %s of %s is also that of %s", a, who, owner[a])
		default:
			owner[a] = who
		}
	}
	for i, n := range f.Nodes {
		if p := stated[i]; p.IsValid() {
			b.lab.Nodes[i].IPv4 = p
			if b.network.Contains(p.Addr()) && p.Bits() != b.network.Bits() {
				b.addf(n.Value.IPv4.place, "%s has the prefix length %d; the lab's network is %s", p, p.Bits(), b.network)
			}
			claim(n.Value.IPv4.place, p.Addr(), "node "+quote(n.Key.val))
		}
	}
	b.lab.Mesh.VIP = b.meshAddress(f.Mesh.VIP, "the mesh (vip)", claim)
	b.lab.Mesh.Hairpin = b.meshAddress(f.Mesh.Hairpin, "the mesh (hairpin)", claim)

	down, low := last(b.network), first(b.network)
	for _, a := range []*netip.Addr{&b.lab.Mesh.VIP, &b.lab.Mesh.Hairpin} {
		for !a.IsValid() && down != low {
			if down = down.Prev(); owner[down] == "" && down != low {
				*a, owner[down] = down, "the mesh"
			}
		}
	}
	up, high := low, last(b.network)
	full := !b.lab.Mesh.VIP.IsValid() || !b.lab.Mesh.Hairpin.IsValid()
	for i := range b.lab.Nodes {
		n := &b.lab.Nodes[i]
		if n.Kind != KindHost || n.IPv4.IsValid() {
			continue
		}
		for up != high {
			if up = up.Next(); owner[up] == "" && up != high {
				n.IPv4, owner[up] = netip.PrefixFrom(up, b.network.Bits()), "node "+n.Name
				break
			}
		}
		full = full || !n.IPv4.IsValid()
	}
	if full {
		b.addf(b.networkPlace(f), "the lab's network %s has no free address left; use a shorter prefix", b.network)
	}
}

// statedHosts reads the addresses that hosts state, by index in lab.Nodes.
func (b *builder) statedHosts(f *fileLab) map[int]netip.Prefix {
	stated := map[int]netip.Prefix{}
	for i, n := range f.Nodes {
		ip := n.Value.IPv4
		if !ip.set || b.lab.Nodes[i].Kind != KindHost {
			continue
		}
		p, err := netip.ParsePrefix(ip.val)
		switch {
		case err != nil || !p.Addr().Is4():
			b.addf(ip.place, "ipv4 %s must be an address with a prefix length, as in 192.168.1.11/24", quote(ip.val))
		case p.Bits() < 8 || p.Bits() > 29:
			b.addf(ip.place, "ipv4 %s: the prefix length must be 8 to 29", quote(ip.val))
		case !p.Addr().IsGlobalUnicast() && !p.Addr().IsLinkLocalUnicast():
			b.addf(ip.place, "ipv4 %s is no address for a host", quote(ip.val))
		default:
			stated[i] = p
		}
	}
	return stated
}

// findNetwork returns the network of the first address that the file states.
func (b *builder) findNetwork(f *fileLab, stated map[int]netip.Prefix) netip.Prefix {
	for i := range f.Nodes {
		if p, ok := stated[i]; ok {
			return p.Masked()
		}
	}
	for _, t := range []text{f.Mesh.VIP, f.Mesh.Hairpin} {
		if a, err := netip.ParseAddr(t.val); err == nil && a.Is4() && a.IsGlobalUnicast() {
			return netip.PrefixFrom(a, defaultNetwork.Bits()).Masked()
		}
	}
	return defaultNetwork
}

// networkPlace is where the network's size is stated.
func (b *builder) networkPlace(f *fileLab) place {
	for _, n := range f.Nodes {
		if n.Value.IPv4.set {
			return n.Value.IPv4.place
		}
	}
	return f.Name.place
}

// meshAddress reads a stated address of the mesh; the zero value is none.
func (b *builder) meshAddress(t text, who string, claim func(place, netip.Addr, string)) netip.Addr {
	if !t.set {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(t.val)
	if err != nil || !a.Is4() {
		b.addf(t.place, "%s of %s must be an IPv4 address, as in 192.168.1.250", quote(t.val), who)
		return netip.Addr{}
	}
	claim(t.place, a, who)
	return a
}

// macs gives every host and the mesh a MAC address.
func (b *builder) macs(f *fileLab) {
	owner := map[string]string{}
	for i, n := range f.Nodes {
		t := n.Value.MAC
		if !t.set || b.lab.Nodes[i].Kind != KindHost {
			continue
		}
		mac, err := net.ParseMAC(t.val)
		switch {
		case err != nil || len(mac) != 6:
			b.addf(t.place, "mac %s must be 6 bytes, as in 02:00:00:00:00:01", quote(t.val))
			continue
		case mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00":
			b.addf(t.place, "mac %s is no address of a single interface: the kernel refuses it", quote(t.val))
			continue
		case namesServices(mac):
			b.addf(t.place, "mac %s is among those by which switches tell which service calls; take one that does not begin with 0a:4d:4", mac)
			continue
		case owner[mac.String()] != "":
			b.addf(t.place, "mac %s of %s is also that of %s", mac, quote(n.Key.val), owner[mac.String()])
			continue
		}
		b.lab.Nodes[i].MAC, owner[mac.String()] = mac, quote(n.Key.val)
	}
	for i := range b.lab.Nodes {
		if n := &b.lab.Nodes[i]; n.Kind == KindHost && n.MAC == nil && n.IPv4.IsValid() {
			n.MAC = freeMAC(n.IPv4.Addr(), owner)
		}
	}
	if b.lab.Mesh.VIP.IsValid() {
		b.lab.Mesh.VIPMAC = freeMAC(b.lab.Mesh.VIP, owner)
	}
}

// freeMAC makes a locally administered address of one interface (IEEE 802,
// section 8.4) from an IPv4 address: two bytes that count up while the result
// is taken, then the four of the address. There are 1024 of them for each
// address, more than a lab has nodes.
func freeMAC(a netip.Addr, owner map[string]string) net.HardwareAddr {
	ip := a.As4()
	for i := 0; ; i++ {
		mac := net.HardwareAddr{byte(0x02 + i>>8<<2), byte(i), ip[0], ip[1], ip[2], ip[3]}
		if owner[mac.String()] == "" {
			owner[mac.String()] = a.String()
			return mac
		}
	}
}

func first(p netip.Prefix) netip.Addr { return p.Masked().Addr() }

func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	host := ^uint32(0) >> p.Bits()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|host)
	return netip.AddrFrom4(b)
}
