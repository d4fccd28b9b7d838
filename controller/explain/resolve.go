package explain

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// QuestionError is a question that cannot be asked of this network; it lists
// the choices there are.
type QuestionError struct{ text string }

func (e *QuestionError) Error() string { return e.text }

func bad(format string, args ...any) error {
	return &QuestionError{fmt.Sprintf(format, args...)}
}

// resolved is a question with everything looked up.
type resolved struct {
	host    pipeline.Host // that sends
	service string        // that calls; empty: not known
	to      netip.AddrPort
	packet  emulator.Packet
}

func (n Network) resolve(q Question) (resolved, error) {
	var r resolved
	protocol := strings.ToLower(q.Protocol)
	if protocol == "" {
		protocol = "tcp"
	}
	if !slices.Contains([]string{"tcp", "udp", "icmp", "arp"}, protocol) {
		return r, bad("protocol %q is not known: it is tcp, udp, icmp or arp", q.Protocol)
	}
	hosts, service, err := n.sources(q.From)
	if err != nil {
		return r, err
	}
	targets := map[string]netip.AddrPort{} // by host that sends
	var first error
	var able []pipeline.Host
	for _, h := range hosts {
		to, err := n.target(h, service, q.To, protocol)
		if err != nil {
			first = firstError(first, err)
			continue
		}
		targets[h.Name] = to
		able = append(able, h)
	}
	switch {
	case len(able) == 0:
		return r, first
	case len(able) > 1:
		var choices []string
		for _, h := range able {
			choices = append(choices, service+"@"+h.Name)
		}
		return r, bad("%s runs on several hosts: say which, %s", service, strings.Join(choices, ", "))
	}
	r.host, r.service, r.to = able[0], service, targets[able[0].Name]
	r.packet, err = n.packet(r.host, r.to, protocol, q)
	return r, err
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// sources are the hosts that "host", "address", "service" or "service@host"
// may mean, and the service if one is named.
func (n Network) sources(from string) ([]pipeline.Host, string, error) {
	if service, host, ok := strings.Cut(from, "@"); ok {
		at := n.hostsOf(service)
		if len(at) == 0 {
			return nil, "", bad("no service %q: there are %s", service, list(n.serviceNames()))
		}
		for _, h := range at {
			if h.Name == host {
				return []pipeline.Host{h}, service, nil
			}
		}
		return nil, "", bad("service %s is not on %s: it is on %s", service, host, list(hostNames(at)))
	}
	h, isHost := n.host(from)
	at := n.hostsOf(from)
	switch {
	case isHost && len(at) > 0 && !(len(at) == 1 && at[0].Name == h.Name):
		choices := []string{h.Addr.String() + " (the host)"}
		for _, o := range at {
			choices = append(choices, from+"@"+o.Name)
		}
		return nil, "", bad("%s is a host and a service: say which, %s", from, strings.Join(choices, ", "))
	case isHost:
		return []pipeline.Host{h}, "", nil
	case len(at) > 0:
		return at, from, nil
	default:
		return nil, "", bad("no host or service %q: there are the hosts %s and the services %s", from, list(hostNames(n.Fabric.Hosts)), list(n.serviceNames()))
	}
}

// target is what a host sends to when it means to.
func (n Network) target(from pipeline.Host, service, to, protocol string) (netip.AddrPort, error) {
	ports := protocol == "tcp" || protocol == "udp"
	name, portText, hasPort := to, "", false
	_, noAddress := netip.ParseAddr(to) // an IPv6 address has colons of its own
	if at := strings.LastIndexByte(to, ':'); at >= 0 && noAddress != nil {
		name, portText, hasPort = to[:at], to[at+1:], true
	}
	var port uint64
	if hasPort {
		var err error
		if port, err = strconv.ParseUint(portText, 10, 16); err != nil || port == 0 {
			return netip.AddrPort{}, bad("%q ends in no port: write %s:80", to, name)
		}
		if !ports {
			return netip.AddrPort{}, bad("%s has no ports: write %s", protocol, name)
		}
	}
	addr, err := netip.ParseAddr(name)
	_, isService := n.service(name)
	isService = isService || slices.Contains(n.destinations(), name)
	host, isHost := n.host(name)
	called := ports && slices.ContainsFunc(n.Snapshot.Upstreams, func(u mesh.Upstream) bool { return u.Client == from.Addr && u.Destination == name })
	switch {
	case err == nil:
	case isHost && called:
		return netip.AddrPort{}, bad("%s is a host and a service: write %s:PORT for the host, or %v and the bind port", name, host.Addr, n.Fabric.VIP)
	case isHost:
		addr = host.Addr
	case isService:
		return n.upstream(from, service, name, uint16(port), protocol)
	default:
		return netip.AddrPort{}, bad("no host or service %q: there are the hosts %s and the services %s", name, list(hostNames(n.Fabric.Hosts)), list(n.serviceNames()))
	}
	if !addr.Is4() {
		return netip.AddrPort{}, bad("%v is not an IPv4 address, and the switches carry no other", addr)
	}
	if ports && !hasPort {
		return netip.AddrPort{}, bad("say which port: write %s:PORT%s", name, n.portsAt(from, addr))
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

// upstream is where a host reaches a service that it calls.
func (n Network) upstream(from pipeline.Host, service, destination string, port uint16, protocol string) (netip.AddrPort, error) {
	if protocol != "tcp" {
		return netip.AddrPort{}, bad("services are called over tcp: for %s, write an address or a host", protocol)
	}
	who := from.Name
	if service != "" {
		who = service + " on " + from.Name
	}
	binds := map[uint16]bool{}
	var calls []string
	for _, u := range n.Snapshot.Upstreams {
		if u.Client != from.Addr || service != "" && u.Source != service {
			continue
		}
		calls = append(calls, fmt.Sprintf("%s at %v:%d", u.Destination, n.Fabric.VIP, u.BindPort))
		if u.Destination == destination && (port == 0 || u.BindPort == port) {
			binds[u.BindPort] = true
		}
	}
	switch len(binds) {
	case 1:
		for b := range binds {
			port = b
		}
		return netip.AddrPortFrom(n.Fabric.VIP, port), nil
	case 0:
		return netip.AddrPort{}, bad("%s does not call %s: it calls %s", who, destination, list(calls))
	}
	var choices []string
	for b := range binds {
		choices = append(choices, fmt.Sprintf("%s:%d", destination, b))
	}
	slices.Sort(choices)
	return netip.AddrPort{}, bad("%s calls %s at several bind ports: say which, %s", who, destination, strings.Join(choices, ", "))
}

// portsAt helps with a port that is missing.
func (n Network) portsAt(from pipeline.Host, addr netip.Addr) string {
	var known []string
	if n.Fabric.Mesh && addr == n.Fabric.VIP {
		for _, u := range n.Snapshot.Upstreams {
			if u.Client == from.Addr {
				known = append(known, fmt.Sprintf("%d (%s)", u.BindPort, u.Destination))
			}
		}
	}
	for _, s := range n.Snapshot.Services {
		for _, i := range s.Instances {
			if i.Addr.Addr() == addr {
				known = append(known, fmt.Sprintf("%d (%s)", i.Addr.Port(), s.Name))
			}
		}
	}
	if len(known) == 0 {
		return ""
	}
	return "; there are " + strings.Join(known, ", ")
}

// packet is what the host sends.
func (n Network) packet(from pipeline.Host, to netip.AddrPort, protocol string, q Question) (emulator.Packet, error) {
	p := emulator.Packet{flow.EthSrc: macValue(from.MAC)}
	if protocol == "arp" {
		p[flow.EthDst], p[flow.EthType], p[flow.ARPOp] = 0xffffffffffff, flow.EthTypeARP, 1
		p[flow.ARPSHA], p[flow.ARPTHA] = p[flow.EthSrc], 0
		p[flow.ARPSPA], p[flow.ARPTPA] = emulator.IP(from.Addr), emulator.IP(to.Addr())
		return p, nil
	}
	mac, ok := n.macOf(to.Addr())
	switch {
	case to.Addr() == from.Addr:
		return nil, bad("%s reaches its own address without any switch", from.Name)
	case !ok:
		return nil, bad("no host has the address %v: %s asks for it by ARP, gets no answer, and sends nothing (the protocol arp traces that question)", to.Addr(), from.Name)
	}
	p[flow.EthDst], p[flow.EthType] = macValue(mac), flow.EthTypeIPv4
	p[flow.IPv4Src], p[flow.IPv4Dst] = emulator.IP(from.Addr), emulator.IP(to.Addr())
	source := q.SourcePort
	if source == 0 {
		source = DefaultSourcePort
	}
	switch protocol {
	case "icmp":
		p[flow.IPProto] = flow.IPProtoICMP
	case "udp":
		p[flow.IPProto] = flow.IPProtoUDP
		p[flow.UDPSrc], p[flow.UDPDst] = uint64(source), uint64(to.Port())
	default:
		flags, err := parseFlags(q.Flags)
		if err != nil {
			return nil, err
		}
		p[flow.IPProto], p[flow.TCPFlags] = flow.IPProtoTCP, flags
		p[flow.TCPSrc], p[flow.TCPDst] = uint64(source), uint64(to.Port())
	}
	return p, nil
}

func parseFlags(text string) (uint64, error) {
	if text == "" {
		return emulator.SYN, nil
	}
	var flags uint64
	for _, f := range strings.Split(strings.ToLower(text), ",") {
		switch f {
		case "syn":
			flags |= emulator.SYN
		case "ack":
			flags |= emulator.ACK
		case "fin":
			flags |= emulator.FIN
		case "rst":
			flags |= emulator.RST
		default:
			return 0, bad("TCP flag %q is not known: write syn, ack, fin and rst, joined by commas", f)
		}
	}
	return flags, nil
}

func macValue(m pipeline.MAC) uint64 {
	return binary.BigEndian.Uint64(append([]byte{0, 0}, m[:]...))
}
