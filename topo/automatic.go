package topo

import "strconv"

// automaticHosts adds the hosts of the Consul server and of the client where
// the file states none, and joins them to the first switch. A host of that
// name which the file has takes the role.
func (b *builder) automaticHosts(f *fileLab) {
	server := f.Mesh.Server
	switch {
	case server.set:
		if b.host(server.place, "the Consul server", server.val) {
			b.lab.Mesh.Server = server.val
		}
	default:
		b.lab.Mesh.Server = b.automaticHost(autoServer, "the Consul server")
	}
	if f.Client == nil {
		return
	}
	b.lab.Client = &Client{}
	switch node := f.Client.Node; {
	case node.set:
		if b.host(node.place, "the client", node.val) {
			b.lab.Client.Node = node.val
		}
	default:
		b.lab.Client.Node = b.automaticHost(autoClient, "the client")
	}
}

// automaticHost returns the host's name, "" when there is no place for it.
func (b *builder) automaticHost(name, what string) string {
	if _, stated := b.node[name]; stated {
		if !b.host(b.nodePlace[name], what, name) {
			return ""
		}
	} else {
		b.node[name] = len(b.lab.Nodes)
		b.names, b.hosts = append(b.names, name), append(b.hosts, name)
		b.lab.Nodes = append(b.lab.Nodes, Node{Name: name, Kind: KindHost})
	}
	for _, l := range b.lab.Links {
		if l.A.Node == name || l.B.Node == name {
			return name
		}
	}
	if !b.linksGood {
		return name
	}
	for _, n := range b.lab.Nodes {
		if n.Kind == KindSwitch {
			port := b.freePort(n.Name)
			b.lab.Links = append(b.lab.Links, Link{
				A:   Endpoint{Node: name, Interface: "eth0"},
				B:   Endpoint{Node: n.Name, Interface: strconv.Itoa(int(port)), Port: port},
				MTU: b.mtu,
			})
			break
		}
	}
	return name
}

// freePort returns the lowest OpenFlow port of a switch that no link has.
// There always is one: a lab has fewer links than a switch has ports.
func (b *builder) freePort(node string) uint32 {
	used := map[uint32]bool{}
	for _, l := range b.lab.Links {
		for _, e := range []Endpoint{l.A, l.B} {
			if e.Node == node {
				used[e.Port] = true
			}
		}
	}
	port := uint32(1)
	for used[port] {
		port++
	}
	return port
}

// connected checks that every node can reach every other. Bad links would
// only make its report wrong, so it waits for them to be mended.
func (b *builder) connected() {
	if !b.linksGood || len(b.lab.Nodes) == 0 {
		return
	}
	next := map[string][]string{}
	for _, l := range b.lab.Links {
		next[l.A.Node] = append(next[l.A.Node], l.B.Node)
		next[l.B.Node] = append(next[l.B.Node], l.A.Node)
	}
	start := ""
	for _, n := range b.lab.Nodes {
		if n.Kind == KindSwitch {
			start = n.Name
			break
		}
	}
	if start == "" {
		return
	}
	seen := map[string]bool{start: true}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, n := range next[queue[0]] {
			if !seen[n] {
				seen[n] = true
				queue = append(queue, n)
			}
		}
	}
	for _, n := range b.lab.Nodes {
		if !seen[n.Name] && (n.Kind == KindSwitch || len(next[n.Name]) > 0) {
			b.addf(b.nodePlace[n.Name], "no way leads from %s to %s; join their switches with a link", quote(start), quote(n.Name))
		}
	}
}
