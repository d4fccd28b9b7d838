package imports

import (
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// variableName is a name of the shell's environment (POSIX.1-2017, section
// 8.1).
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// harmless commands prepare something that a lab needs not, or nothing.
var harmless = []string{"sleep", "echo", "printf", "true", ":", "wait", "set", "cd", "hostname", "ulimit", "date", "ethtool", "depmod", "modprobe", "ping", "clear", "chmod", "mkdir"}

// command understands one command of a startup script, or says that it does
// not.
func (s *script) command(c command) {
	program := path.Base(c.words[0])
	switch {
	case slices.Contains(harmless, program):
	case program == "ip":
		s.ip(c)
	case program == "ifconfig":
		s.ifconfig(c)
	case program == "arp":
		s.arp(c)
	case program == "route":
		s.notef(c.at, "routes are not carried over: the hosts of a lab are one network")
	case program == "brctl":
		s.brctl(c)
	case program == "ovs-vsctl":
		s.vsctl(c)
	case program == "ovs-ofctl":
		s.notef(c.at, "flows are not carried over, as the controller of the mesh writes them: %s", c)
	case program == "ovsdb-server", program == "ovs-vswitchd", program == "ovs-ctl", program == "ovsdb-tool":
		s.dev.sw = true
	case program == "consul":
		s.consul(c)
	case program == "service", program == "systemctl", strings.HasPrefix(c.words[0], "/etc/init.d/"):
		s.daemon(c)
	default:
		s.program(c)
	}
}

// abbreviates tells whether ip takes a word for another one: it takes any
// beginning of it (matches in iproute2's lib/utils.c).
func abbreviates(word, whole string) bool {
	return word != "" && strings.HasPrefix(whole, word)
}

// ip understands "ip address add" and "ip link set" in their many spellings.
func (s *script) ip(c command) {
	w := c.words[1:]
	for len(w) > 0 && strings.HasPrefix(w[0], "-") {
		if w[0] == "-f" || w[0] == "-family" || w[0] == "-n" || w[0] == "-netns" {
			w = w[min(2, len(w)):]
			continue
		}
		w = w[1:]
	}
	verb := func(names ...string) bool {
		return len(w) > 1 && slices.ContainsFunc(names, func(n string) bool { return abbreviates(w[1], n) })
	}
	switch {
	case len(w) == 0:
	case abbreviates(w[0], "address") || w[0] == "addr":
		if verb("add", "change", "replace", "append") {
			s.ipAddress(c, w[2:])
		} else if len(w) > 1 && !verb("show", "list") {
			s.notef(c.at, "not carried over: %s", c)
		}
	case abbreviates(w[0], "link"):
		switch {
		case verb("set"):
			s.ipLinkSet(c, w[2:])
		case verb("add"):
			s.ipLinkAdd(c, w[2:])
		case len(w) > 1 && !verb("show", "list"):
			s.notef(c.at, "not carried over: %s", c)
		}
	case abbreviates(w[0], "route"), abbreviates(w[0], "rule"):
		s.notef(c.at, "routes are not carried over: the hosts of a lab are one network")
	default:
		s.notef(c.at, "not carried over: %s", c)
	}
}

func (s *script) ipAddress(c command, w []string) {
	dev, addr := "", ""
	for i := 0; i < len(w); i++ {
		switch w[i] {
		case "dev":
			i++
			if i < len(w) {
				dev = w[i]
			}
		case "brd", "broadcast", "label", "scope", "peer", "metric", "valid_lft", "preferred_lft":
			i++
		case "local":
		default:
			if addr == "" {
				addr = w[i]
			}
		}
	}
	s.address(c, dev, addr)
}

// address gives an interface an address with its prefix length.
func (s *script) address(c command, dev, addr string) {
	p, err := netip.ParsePrefix(addr)
	if err != nil {
		a, aerr := netip.ParseAddr(addr)
		if aerr != nil || c.opaque {
			s.notef(c.at, "no address can be read here: %s", c)
			return
		}
		p = netip.PrefixFrom(a, a.BitLen()) // as ip does
	}
	switch {
	case dev == "":
		s.notef(c.at, "no interface is named here: %s", c)
	case p.Addr().Is6():
		s.notef(c.at, "%s of %s is not carried over: labs have IPv4", p, s.dev.given)
	case dev == "lo":
		s.notef(c.at, "%s of the loopback of %s is not carried over: a host has one address", p, s.dev.given)
	default:
		i := s.dev.iface(dev, c.at)
		i.addrs = append(i.addrs, address{c.at, p})
	}
}

func (s *script) ipLinkSet(c command, w []string) {
	if len(w) > 0 && w[0] == "dev" {
		w = w[1:]
	}
	if len(w) == 0 {
		s.notef(c.at, "no interface is named here: %s", c)
		return
	}
	name := w[0]
	for i := 1; i < len(w); i++ {
		arg := ""
		if i+1 < len(w) {
			arg = w[i+1]
		}
		switch word := w[i]; {
		case word == "up", word == "arp", word == "multicast", word == "on", word == "off":
		case word == "down":
			s.notef(c.at, "not carried over: every link of a lab is up")
		case word == "address":
			s.mac(c, name, arg)
			i++
		case word == "mtu":
			s.mtu(c, name, arg)
			i++
		case word == "master":
			s.bridgePort(arg, name)
			i++
		case word == "txqueuelen":
			i++
		default:
			s.notef(c.at, "not carried over: %s", c)
			return
		}
	}
}

func (s *script) ipLinkAdd(c command, w []string) {
	name, kind := "", ""
	for i := 0; i < len(w); i++ {
		switch {
		case (w[i] == "name" || w[i] == "dev") && i+1 < len(w):
			i++
			name = w[i]
		case w[i] == "type" && i+1 < len(w):
			i++
			kind = w[i]
		case name == "":
			name = w[i]
		}
	}
	if kind != "bridge" {
		s.notef(c.at, "not carried over: %s", c)
		return
	}
	s.bridge(c.at, name, "Linux bridge")
}

func (s *script) mac(c command, name, text string) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 {
		s.notef(c.at, "%s is no MAC address", quote(text))
		return
	}
	i := s.dev.iface(name, c.at)
	i.mac, i.macAt = hw, c.at
}

func (s *script) mtu(c command, name, text string) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		s.notef(c.at, "%s is no MTU", quote(text))
		return
	}
	s.dev.iface(name, c.at).mtu = int(n)
}

// ifconfig understands ifconfig(8): address, netmask, hw ether, mtu, up.
func (s *script) ifconfig(c command) {
	w := c.words[1:]
	if len(w) < 2 {
		return // it shows something
	}
	name, addr, mask := w[0], "", ""
	for i := 1; i < len(w); i++ {
		arg := ""
		if i+1 < len(w) {
			arg = w[i+1]
		}
		switch w[i] {
		case "up", "arp", "-arp", "promisc", "multicast":
		case "down":
			s.notef(c.at, "not carried over: every link of a lab is up")
		case "netmask":
			mask = arg
			i++
		case "broadcast", "metric", "txqueuelen", "pointopoint":
			i++
		case "mtu":
			s.mtu(c, name, arg)
			i++
		case "hw":
			if arg == "ether" && i+2 < len(w) {
				s.mac(c, name, w[i+2])
			}
			i += 2
		case "ether":
			s.mac(c, name, arg)
			i++
		case "add", "inet6":
			s.notef(c.at, "not carried over: %s", c)
			return
		case "inet":
		default:
			if addr != "" {
				s.notef(c.at, "not carried over: %s", c)
				return
			}
			addr = w[i]
		}
	}
	if addr == "" {
		return
	}
	if a, err := netip.ParseAddr(addr); err == nil && a.Is4() {
		addr = netip.PrefixFrom(a, maskBits(a, mask)).String()
	}
	s.address(c, name, addr)
}

// maskBits is the prefix length of a netmask, and without one that of the
// address's class (RFC 791, section 3.2), as ifconfig takes it.
func maskBits(a netip.Addr, mask string) int {
	if m := net.ParseIP(mask).To4(); m != nil {
		if ones, bits := net.IPMask(m).Size(); bits == 32 {
			return ones
		}
	}
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	}
	return 24
}

// arp notes the entries that a host is given by hand.
func (s *script) arp(c command) {
	i := slices.Index(c.words, "-s")
	if i < 0 || i+2 >= len(c.words) {
		return // it shows something, or removes it
	}
	a, err := netip.ParseAddr(c.words[i+1])
	if err != nil || !a.Is4() {
		s.notef(c.at, "not carried over: %s", c)
		return
	}
	s.virtual = append(s.virtual, pinned{c.at, a})
}

// consul finds the host of the Consul server. Agents run on every host of a
// lab that needs one, and its services are registered by themselves.
func (s *script) consul(c command) {
	if len(c.words) < 2 || c.words[1] != "agent" {
		if len(c.words) > 1 && c.words[1] != "services" {
			s.notef(c.at, "not carried over: %s", c)
		}
		return
	}
	for _, w := range c.words[2:] {
		if w = strings.TrimPrefix(w, "-"); w == "-dev" || w == "dev" || w == "server" || w == "-server" || w == "server=true" {
			s.dev.server = true
		}
	}
}
