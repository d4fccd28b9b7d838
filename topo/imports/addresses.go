package imports

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// What a lab's network can be (topo): its prefix length, and the one that
// topo takes when no host states an address.
const (
	minBits     = 8
	maxBits     = 29
	defaultBits = 24
)

var defaultNetwork = netip.MustParsePrefix("10.10.0.0/24")

// stated is what the lab file says of a host.
type stated struct {
	ipv4 netip.Prefix     // invalid: chosen by topo
	mac  net.HardwareAddr // nil: chosen by topo
}

// addresses chooses the lab's one network, and gives each host what of its
// addresses fits in. vip is the virtual address, invalid when the source
// knows none.
func (f *fabric) addresses() (hosts map[*device]stated, vip netip.Addr, err error) {
	hosts = map[*device]stated{}
	wanted := map[*device]address{}
	count := 0
	for _, dev := range f.devices {
		if dev.sw {
			f.switchAddresses(dev)
			continue
		}
		count++
		if a, ok := f.wanted(dev); ok {
			wanted[dev] = a
		}
	}
	network, err := f.network(wanted, count)
	if err != nil {
		return nil, vip, err
	}
	owner := map[netip.Addr]string{}
	for _, dev := range f.devices {
		if dev.sw {
			continue
		}
		var s stated
		if a, ok := wanted[dev]; ok {
			ip := a.Addr()
			switch {
			case !network.Contains(ip):
				f.notef(a.at, "%s of %s is not carried over: the hosts of a lab are in one network, here %s; a free address is taken", a.Prefix, dev.given, network)
			case ip == network.Addr() || ip == broadcast(network):
				f.notef(a.at, "%s of %s is the network's own or broadcast address in %s; a free address is taken", ip, dev.given, network)
			case owner[ip] != "":
				f.notef(a.at, "%s of %s is also that of %s; a free address is taken", ip, dev.given, owner[ip])
			default:
				owner[ip] = dev.given
				s.ipv4 = netip.PrefixFrom(ip, network.Bits())
			}
		}
		hosts[dev] = s
	}
	if len(wanted) == 0 && network != defaultNetwork { // one must say how large it is
		for _, dev := range f.devices {
			if !dev.sw {
				hosts[dev] = stated{ipv4: netip.PrefixFrom(network.Addr().Next(), network.Bits())}
				break
			}
		}
	}
	f.macs(hosts)
	return hosts, f.vip(network, owner), nil
}

// switchAddresses tells that switches have none in a lab.
func (f *fabric) switchAddresses(dev *device) {
	for _, i := range dev.ifaces {
		for _, a := range i.addrs {
			f.notef(a.at, "%s of %s is not carried over: switches of a lab have no address", a.Prefix, dev.given)
		}
		if i.mac != nil {
			f.notef(i.macAt, "the MAC address of %s is not carried over: switches of a lab have none", dev.given)
		}
	}
}

// kept is the interface that a host has in the lab, nil when the source says
// nothing of it.
func kept(dev *device) *iface {
	var best *iface
	for _, i := range dev.ifaces {
		switch {
		case i.inNet && len(i.addrs) > 0:
			return i
		case best == nil && (i.inNet || len(i.addrs) > 0), best != nil && i.inNet && !best.inNet:
			best = i
		}
	}
	return best
}

// wanted returns the address that a host has in the source.
func (f *fabric) wanted(dev *device) (address, bool) {
	i := kept(dev)
	if i == nil {
		return address{}, false
	}
	var got address
	for _, a := range i.addrs {
		ip := a.Addr()
		switch {
		case !ip.IsGlobalUnicast() && !ip.IsLinkLocalUnicast():
			f.notef(a.at, "%s is no address for a host; a free address is taken", a.Prefix)
		case got.IsValid():
			f.notef(a.at, "%s has one address in a lab, %s; %s is left out", dev.given, got.Addr(), a.Prefix)
		default:
			got = a
		}
	}
	return got, got.IsValid()
}

// network is the one that most hosts are in, the first of several; wide
// enough for all hosts, the automatic ones and the addresses of the mesh.
func (f *fabric) network(wanted map[*device]address, hosts int) (netip.Prefix, error) {
	votes := map[netip.Prefix]int{}
	best, where := netip.Prefix{}, at{f.file, 0}
	for _, dev := range f.devices {
		if a, ok := wanted[dev]; ok {
			votes[a.Masked()]++
		}
	}
	for _, dev := range f.devices {
		if a, ok := wanted[dev]; ok && votes[a.Masked()] > votes[best] {
			best, where = a.Masked(), a.at
		}
	}
	if !best.IsValid() {
		best = defaultNetwork
	}
	const others = 2 + 2 + 2 // network and broadcast, client and Consul server, the mesh's two
	bits := min(best.Bits(), maxBits)
	for bits > minBits && 1<<(32-bits) < hosts+others {
		bits--
	}
	if bits < minBits {
		bits = minBits
	}
	wide := netip.PrefixFrom(best.Addr(), bits).Masked()
	if wide.Bits() != best.Bits() && best != defaultNetwork {
		f.notef(where, "the lab's network is %s instead of %s: it needs room for %s and the mesh", wide, best, plural(hosts, "host"))
	}
	return wide, nil
}

func (f *fabric) macs(hosts map[*device]stated) {
	owner := map[string]string{}
	for _, dev := range f.devices {
		i := kept(dev)
		if dev.sw || i == nil {
			continue
		}
		mac := i.mac
		switch {
		case mac == nil:
			continue
		case mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00":
			f.notef(i.macAt, "%s is no MAC address of one interface, and is left out", mac)
			continue
		case owner[mac.String()] != "":
			f.notef(i.macAt, "%s of %s is also that of %s, and is left out", mac, dev.given, owner[mac.String()])
			continue
		}
		owner[mac.String()] = dev.given
		s := hosts[dev]
		s.mac = mac
		hosts[dev] = s
	}
}

// vip is the one address without a host that hosts were told a MAC address
// of: a mesh in the switches needs such an address, and meshlab's answers ARP
// for it.
func (f *fabric) vip(network netip.Prefix, owner map[netip.Addr]string) netip.Addr {
	var vip netip.Addr
	for _, p := range f.virtual {
		switch {
		case owner[p.addr] != "":
			f.notef(p.at, "the ARP entry for %s is left out: %s answers for itself", p.addr, owner[p.addr])
		case vip.IsValid() && vip != p.addr:
			f.notef(p.at, "the ARP entry for %s is left out: a lab has one virtual address, here %s", p.addr, vip)
		case !network.Contains(p.addr) || p.addr == network.Addr() || p.addr == broadcast(network):
			f.notef(p.at, "the ARP entry for %s is left out: it is outside the lab's network %s", p.addr, network)
		default:
			if !vip.IsValid() {
				f.notef(p.at, "%s is no host's: it is the virtual address of the mesh (vip), and the switches answer ARP for it; no host needs an entry", p.addr)
			}
			vip = p.addr
		}
	}
	return vip
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|^uint32(0)>>p.Bits())
	return netip.AddrFrom4(b)
}
