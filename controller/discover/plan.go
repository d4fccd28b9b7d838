package discover

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"meshlab.dev/meshlab/controller/pipeline"
)

// The external_ids and node metadata that say who is where. MAC addresses and
// interface ids are as Open vSwitch's integration guide and OVN write them
// (ovs-vswitchd.conf.db(5), Interface, "attached-mac" and "iface-id"), or
// OVN-Kubernetes, with an underscore.
const (
	idManaged = "meshlab"      // on a bridge: true
	idNode    = "meshlab-node" // on a host's interface: its name in the catalog
	idIP      = "meshlab-ip"   // on a host's interface: its address
	idPeer    = "meshlab-peer" // on a trunk's interface: bridge of this machine, or other machine
	idIface   = "iface-id"

	// On a port that ovs-cni made (k8snetworkplumbingwg/ovs-cni, pkg/ovsdb,
	// createPortOperation): of which pod, and which interface of it.
	idPodUID       = "contPodUid"
	idPodInterface = "contIface"
)

// tunnels are the types of interfaces that lead to another machine
// (ovs-vswitchd.conf.db(5), Interface, "type").
var tunnels = [...]string{"vxlan", "geneve", "gre", "stt", "lisp", "gtpu", "bareudp", "srv6", "erspan", "ip6erspan", "ip6gre"}

// planner turns what the sources say into a network.
type planner struct {
	cfg     Config
	partial bool
	nodes   map[string]Node
	pods    map[attached]Node
	bridges []bridge // those to manage, by name
	managed map[string]bool

	hosts    []pipeline.Host
	taken    map[any]string    // name, address or MAC address of a host -> where it is
	attached map[string]end    // host -> where it is, of this machine
	behind   map[string]string // host -> the other machine that it is at
	graph    graph
	warnings []string
}

// end is a port of a bridge, as flows number it.
type end struct {
	bridge string
	port   uint32
}

// plan makes the network of one state. It leaves out, with a warning, what
// cannot be used; the rest is always valid. Equal states give equal networks.
func plan(cfg Config, s state, partial bool) Network {
	p := &planner{
		cfg: cfg, partial: partial, nodes: map[string]Node{}, pods: map[attached]Node{}, managed: map[string]bool{}, taken: map[any]string{},
		attached: map[string]end{}, behind: map[string]string{}, graph: newGraph(cfg.Node),
	}
	for _, n := range s.nodes {
		p.nodes[n.Name] = n
		if n.Pod.UID != "" {
			p.pods[attached{n.Pod.UID, n.Pod.Name}] = n
		}
	}
	p.graph.split = cfg.Split
	p.choose(s.bridges)
	p.links(s.bridges)
	for _, b := range p.bridges {
		for _, port := range b.ports {
			p.port(b, port)
		}
	}
	p.graph.pair(p.warn)
	p.remote(s.nodes)
	return p.network()
}

func (p *planner) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// choose picks the bridges to manage.
func (p *planner) choose(all []bridge) {
	for _, b := range all {
		if slices.Contains(p.cfg.Bridges, b.name) || len(p.cfg.Bridges) == 0 && b.ids[idManaged] == "true" {
			p.bridges = append(p.bridges, b)
			p.managed[b.name] = true
		}
	}
	for _, name := range p.cfg.Bridges {
		if !p.managed[name] {
			p.warn("bridge %s is not in the database of Open vSwitch; it is used once it is there", name)
		}
	}
	if len(p.bridges) == 0 && len(p.cfg.Bridges) == 0 {
		p.warn("no bridge has external_ids:%s=true, and the configuration lists none", idManaged)
	}
}

// links tells the graph of all bridges and patch ports, managed or not.
func (p *planner) links(all []bridge) {
	for _, b := range all {
		for _, port := range b.ports {
			p.graph.owner[port.name] = end{b.name, port.ofport}
		}
		if p.managed[b.name] {
			p.graph.addBridge(b.name)
		}
	}
}

// port sorts a port of a managed bridge into hosts and trunks.
func (p *planner) port(b bridge, port port) {
	where := fmt.Sprintf("port %s of bridge %s", port.name, b.name)
	mac := cmp.Or(port.ids["attached-mac"], port.ids["attached_mac"])
	peer := port.ids[idPeer]
	switch {
	case port.name == b.name:
		if mac != "" || peer != "" {
			p.warn("%s is the bridge's own; the machine itself cannot be a host or a trunk of it: join it by a port of its own", where)
		}
	case port.bond:
		p.warn("%s is a bond, which is not supported: use a single interface", where)
	case port.ofport == 0:
		if port.err != "" {
			p.warn("%s is not open: %s", where, port.err)
		} // else it is just being added
	case mac != "":
		p.host(b, port, where, mac)
	case port.pod.uid != "":
		p.pod(b, port, where)
	case port.kind == "patch":
		p.patch(b, port, where)
	case slices.Contains(tunnels[:], port.kind):
		if machine := p.machine(port, where); machine != "" {
			p.graph.addTunnel(machine, end{b.name, port.ofport}, port.name)
		}
	case p.managed[peer]:
		p.graph.addVeth(b.name, peer, port)
	case peer != "":
		p.graph.addTunnel(peer, end{b.name, port.ofport}, port.name)
	default:
		p.warn("%s is neither a host (external_ids:attached-mac) nor a trunk (external_ids:%s): frames from it are dropped", where, idPeer)
	}
}

// host adds the host at a port.
func (p *planner) host(b bridge, port port, where, mac string) {
	name := cmp.Or(port.ids[idNode], port.ids[idIface], port.name)
	hw, err := pipeline.ParseMAC(mac)
	if err != nil {
		p.warn("%s: attached-mac: %v", where, err)
		return
	}
	addr, source, ok := p.address(port, name)
	switch {
	case source == "" && p.partial:
		return // the catalog has yet to answer
	case source == "":
		p.warn("%s: host %s has no address: set external_ids:%s, or let its iface-id or %s name a node of the catalog", where, name, idIP, idNode)
		return
	case !ok:
		p.warn("%s: host %s: %s is no IPv4 address", where, name, source)
		return
	}
	if p.add(pipeline.Host{Name: name, Addr: addr, MAC: hw}, where) {
		p.attached[name] = end{b.name, port.ofport}
	}
}

// pod adds the pod at a port that ovs-cni made.
func (p *planner) pod(b bridge, port port, where string) {
	n, known := p.pods[port.pod]
	if !known {
		if !p.partial {
			p.warn("%s is that of interface %s of the pod with UID %s, which is not in the mesh's network: frames from it are dropped", where, port.pod.iface, port.pod.uid)
		}
		return
	}
	hw, err := pipeline.ParseMAC(n.Meta[MetaMAC])
	if err != nil {
		p.warn("%s: pod %s: %v", where, n.Name, err)
		return
	}
	if len(n.Addrs) == 0 {
		p.warn("%s: pod %s has no IPv4 address", where, n.Name)
		return
	}
	if p.add(pipeline.Host{Name: n.Name, Addr: n.Addrs[0], MAC: hw}, where) {
		p.attached[n.Name] = end{b.name, port.ofport}
	}
}

// address finds the address of the host at a port. source is what it stands
// in, empty when there is none.
func (p *planner) address(port port, name string) (addr netip.Addr, source string, ok bool) {
	for _, key := range []string{idIP, "ip_addresses", "ip_address"} {
		text := port.ids[key]
		if text == "" {
			continue
		}
		for one := range strings.SplitSeq(text, ",") {
			one, _, _ = strings.Cut(strings.TrimSpace(one), "/") // OVN-Kubernetes writes the prefix length too
			if a, err := netip.ParseAddr(one); err == nil && a.Unmap().Is4() {
				return a.Unmap(), key, true
			}
		}
		return netip.Addr{}, fmt.Sprintf("external_ids:%s=%q", key, text), false
	}
	if n, known := p.nodes[name]; known {
		if len(n.Addrs) > 0 {
			return n.Addrs[0], "the catalog", true
		}
		return netip.Addr{}, fmt.Sprintf("the address of node %s", name), false
	}
	return netip.Addr{}, "", false
}

// add takes a host into the fabric, unless it contradicts what is there.
func (p *planner) add(h pipeline.Host, where string) bool {
	if h.MAC[0]&1 != 0 || h.MAC == (pipeline.MAC{}) {
		p.warn("%s: host %s: %v is no address of one host", where, h.Name, h.MAC)
		return false
	}
	alone := p.cfg.Fabric
	alone.Hosts = []pipeline.Host{h}
	if err := alone.Validate(); err != nil {
		p.warn("%s: %v", where, err)
		return false
	}
	for _, own := range []any{h.Name, h.Addr, h.MAC} {
		if other, ok := p.taken[own]; ok {
			p.warn("%s: host %s: %v is that of %s, which is used", where, h.Name, own, other)
			return false
		}
	}
	for _, own := range []any{h.Name, h.Addr, h.MAC} {
		p.taken[own] = where
	}
	p.hosts = append(p.hosts, h)
	return true
}

// patch joins two bridges of this machine.
func (p *planner) patch(b bridge, port port, where string) {
	name := port.options["peer"]
	other, ok := p.graph.owner[name]
	switch {
	case !ok:
		p.warn("%s: its peer %q is not there", where, name)
	case other.port == 0: // it is just being added
	case other.bridge == b.name:
		p.warn("%s and its peer are of one bridge; frames from it are dropped", where)
	case !p.managed[other.bridge]:
		p.warn("%s leads to bridge %s, which is not managed; frames from it are dropped", where, other.bridge)
	default:
		p.graph.addLink(end{b.name, port.ofport}, other)
	}
}

// machine tells which machine is behind a tunnel, "" when nobody knows.
func (p *planner) machine(port port, where string) string {
	if peer := port.ids[idPeer]; peer != "" {
		return peer
	}
	text := port.options["remote_ip"]
	addr, err := netip.ParseAddr(text)
	if err != nil {
		p.warn("%s: remote_ip is %q; a tunnel needs a fixed one, or external_ids:%s", where, text, idPeer)
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(p.nodes)) {
		n := p.nodes[name]
		if n.Meta[MetaMAC] == "" && slices.Contains(n.Addrs, addr.Unmap()) {
			return cmp.Or(n.Meta[MetaAt], n.Name)
		}
	}
	if !p.partial {
		p.warn("%s: no node of the catalog has address %v; set external_ids:%s to the name of the machine there", where, addr, idPeer)
	}
	return ""
}

// remote adds the hosts of other machines, which the catalog alone knows.
func (p *planner) remote(nodes []Node) {
	found, cut := map[string]bool{}, map[string][]string{} // machine -> its hosts, while no tunnel leads there
	for _, n := range nodes {
		at := n.Meta[MetaAt]
		if n.Meta[MetaMAC] == "" || at == "" || at == p.cfg.Node {
			continue
		}
		where := "node " + n.Name
		found[at] = true
		mac, err := pipeline.ParseMAC(n.Meta[MetaMAC])
		switch {
		case err != nil:
			p.warn("%s: %s: %v", where, MetaMAC, err)
		case len(n.Addrs) == 0:
			p.warn("%s: its address is no IPv4 address", where)
		case !p.graph.reaches(at):
			cut[at] = append(cut[at], n.Name)
		default:
			if _, here := p.attached[n.Name]; here {
				p.warn("%s is said to be at %s, but it is attached here", where, at)
			} else if p.add(pipeline.Host{Name: n.Name, Addr: n.Addrs[0], MAC: mac}, where) {
				p.behind[n.Name] = at
			}
		}
	}
	for machine, hosts := range cut {
		slices.Sort(hosts)
		if len(hosts) == 1 {
			p.warn("node %s is at %s, and no tunnel leads there", hosts[0], machine)
		} else {
			p.warn("node %s and %d others are at %s, and no tunnel leads there", hosts[0], len(hosts)-1, machine)
		}
	}
	for _, machine := range p.graph.peers() {
		if !found[machine] && !p.partial && !p.cfg.Sparse {
			p.warn("no node of the catalog is at %s, where a tunnel leads: give its hosts the metadata %s and %s", machine, MetaAt, MetaMAC)
		}
	}
}

// network puts the parts together.
func (p *planner) network() Network {
	n := Network{Fabric: p.cfg.Fabric, Partial: p.partial}
	slices.SortFunc(p.hosts, func(a, b pipeline.Host) int { return cmp.Compare(a.Name, b.Name) })
	n.Fabric.Hosts = p.hosts
	flood := p.graph.flood(p.warn)
	for _, b := range p.bridges {
		d := pipeline.Datapath{
			Name: b.name, DPID: b.dpid, Access: map[string]uint32{}, ToHost: map[string]uint32{},
			Trunks: p.graph.trunks(b.name), Flood: flood[b.name], Split: p.cfg.Split,
		}
		ways := p.graph.ways(b.name)
		for _, h := range p.hosts {
			at, here := p.attached[h.Name]
			switch {
			case here && at.bridge == b.name:
				d.Access[h.Name] = at.port
				d.Flood = append(d.Flood, at.port)
			case here:
				if port, ok := ways.bridge[at.bridge]; ok {
					d.ToHost[h.Name] = port
				}
			default:
				if port, ok := ways.machine[p.behind[h.Name]]; ok {
					d.ToHost[h.Name] = port
				}
			}
		}
		slices.Sort(d.Flood)
		n.Datapaths = append(n.Datapaths, d)
		n.Types = append(n.Types, cmp.Or(b.kind, "system"))
	}
	slices.Sort(n.Types)
	n.Types = slices.Compact(n.Types)
	slices.Sort(p.warnings)
	n.Warnings = slices.Compact(p.warnings)
	return n
}
