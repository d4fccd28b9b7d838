package imports

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
)

// yaml reads the file as a YAML tree, with errors in the user's terms.
func (d *draft) yaml() (*tree, error) {
	src, err := d.read(d.file, maxSource)
	if err != nil {
		return nil, err
	}
	root, err := readTree(src)
	var te *treeError
	if errors.As(err, &te) {
		return nil, d.errorf(at{d.file, te.line}, "%s", te.message)
	}
	return root, err
}

// containerlab reads a topology file (containerlab.dev/manual/topo-def-file).
func (d *draft) containerlab() error {
	root, err := d.yaml()
	if err != nil {
		return err
	}
	c := &clab{draft: d, topology: root.get("topology"), nodes: map[string]*device{}}
	if c.topology == nil || c.topology.kind != mappingKind {
		return d.errorf(at{d.file, root.lineOf("topology")}, "there is no topology in it")
	}
	d.name = root.get("name").word()
	for _, k := range root.keys {
		switch k.name {
		case "name", "topology", "prefix", "debug":
		default:
			c.notef(at{d.file, k.line}, "%s is not carried over: a lab has nothing like it", k.name)
		}
	}
	nodes := c.topology.get("nodes")
	if nodes == nil || len(nodes.keys) == 0 {
		return d.errorf(at{d.file, c.topology.lineOf("nodes")}, "the topology has no nodes")
	}
	if n := len(nodes.keys); n > maxNodes {
		return d.errorf(at{d.file, nodes.line}, "%d nodes; a lab may have at most %d", n, maxNodes)
	}
	for _, k := range nodes.keys {
		c.node(k)
	}
	for i, l := range c.list("links") {
		if i > maxLinks {
			return d.errorf(at{d.file, l.line}, "more than %d links", maxLinks)
		}
		if err := c.link(l, i); err != nil {
			return err
		}
	}
	return nil
}

type clab struct {
	*draft
	topology *tree
	nodes    map[string]*device
}

func (c *clab) list(name string) []*tree {
	if t := c.topology.get(name); t != nil {
		return t.list
	}
	return nil
}

// setting returns a setting of a node: its own, that of its group, of its
// kind, or the default.
func (c *clab) setting(node *tree, kind, name string) *tree {
	if v := node.get(name); v != nil {
		return v
	}
	if g := node.get("group").word(); g != "" {
		if v := c.topology.get("groups").get(g).get(name); v != nil {
			return v
		}
	}
	if v := c.topology.get("kinds").get(kind).get(name); kind != "" && v != nil {
		return v
	}
	return c.topology.get("defaults").get(name)
}

// clabHandled are the settings of nodes that are carried over or have no
// meaning outside of containers.
var clabHandled = []string{
	"kind", "image", "group", "cmd", "exec", "env", "ports", "entrypoint",
	"labels", "mgmt-ipv4", "mgmt_ipv4", "mgmt-ipv6", "mgmt_ipv6", "position", "cpu", "memory", "image-pull-policy", "user",
}

func (c *clab) node(k key) {
	where := at{c.file, k.line}
	dev := &device{at: where, given: k.name}
	c.nodes[k.name] = dev
	c.devices = append(c.devices, dev)
	kind := c.setting(k.value, "", "kind").word()
	switch kind {
	case "ovs-bridge":
		dev.sw = true
	case "bridge":
		dev.sw = true
		c.notef(where, "the Linux bridge %s becomes an Open vSwitch switch", k.name)
	case "linux", "host":
	case "":
		c.notef(where, "%s has no kind: it is taken for linux", k.name)
	default:
		dev.sw = true
		c.notef(where, "%s is of the kind %s: a switch stands in its place, without its configuration", k.name, quote(kind))
	}
	for _, s := range k.value.keys {
		if !slices.Contains(clabHandled, s.name) {
			c.notef(at{c.file, s.line}, "%s of %s is not carried over: a lab has nothing like it", s.name, k.name)
		}
	}
	if env := c.setting(k.value, kind, "env"); env != nil {
		for _, v := range env.keys {
			dev.setenv(v.name, v.value.word())
		}
	}
	if exec := c.setting(k.value, kind, "exec"); exec != nil {
		for _, e := range exec.list {
			c.script(dev, at{c.file, e.line}, e.text)
		}
	}
	if !dev.sw {
		c.program(k, dev, kind)
	}
}

// program adds what the image of a node runs: a builtin, or a stand-in when
// something says that it listens.
func (c *clab) program(k key, dev *device, kind string) {
	ref := c.setting(k.value, kind, "image").word()
	where := at{c.file, k.value.lineOf("image")}
	img := knownImage(ref)
	dev.server = dev.server || img.consul
	var ports []published
	for _, p := range c.setting(k.value, kind, "ports").words() {
		if q, ok := parsePublished(p); ok {
			ports = append(ports, q)
		} else {
			c.notef(where, "port %s of %s is not carried over", quote(p), k.name)
		}
	}
	runs := c.fromImage(dev, where, ref)
	switch {
	case len(runs) == 1 && len(ports) > 0:
		runs[0].port, runs[0].publish = ports[0].port, ports[0].published
		c.furtherPorts(where, k.name, ports[1:])
		return
	case len(runs) > 0 || img.consul:
		for _, p := range ports {
			c.notef(where, "port %d of %s is not carried over", p.port, k.name)
		}
		return
	}
	words := strings.Fields(c.setting(k.value, kind, "entrypoint").word() + " " + c.setting(k.value, kind, "cmd").word())
	port := portOf(words, dev.env)
	if len(ports) > 0 {
		port = ports[0].port
		c.furtherPorts(where, k.name, ports[1:])
	}
	port = orPort(port, img.port)
	switch {
	case port == 0 && len(words) > 0:
		c.notef(where, "the command of %s is not carried over, as it names no port: add a service with this command and a port, if it is one: %s", k.name, strings.Join(words, " "))
		return
	case port == 0 && ref != "":
		c.notef(where, "what the image %s of %s runs is not carried over, as it names no port: add a service with a command and a port, if it is one", quote(ref), k.name)
		return
	case port == 0:
		return // it runs nothing
	}
	r := &run{at: where, dev: dev, name: k.name, port: port, standIn: "the image " + ref, hint: words, env: dev.env, postgres: img.postgres, publish: -1}
	if len(ports) > 0 {
		r.publish = ports[0].published
	}
	c.runs = append(c.runs, r)
}

// furtherPorts tells of the ports of a node behind that of its service.
func (c *clab) furtherPorts(where at, node string, ports []published) {
	for _, p := range ports {
		c.notef(where, "port %d of %s is not carried over: a service has one", p.port, node)
	}
}

// published is a port that a container publishes.
type published struct{ port, published int }

// parsePublished reads [[address:]published:]port[/tcp].
func parsePublished(s string) (published, bool) {
	s, proto, has := strings.Cut(s, "/")
	if has && proto != "tcp" {
		return published{}, false
	}
	parts := strings.Split(s, ":")
	p := published{port(parts[len(parts)-1]), -1}
	if len(parts) > 1 {
		p.published = port(parts[len(parts)-2])
	}
	return p, p.port != 0
}

// link reads a link of a topology, in the short form (two endpoints
// node:interface) or the long one (a type, and endpoints as mappings).
func (c *clab) link(l *tree, i int) error {
	where := at{c.file, l.line}
	kind := l.get("type").word()
	if kind != "" && kind != "veth" {
		c.notef(where, "a link of the type %s is not carried over: a lab has no way out", quote(kind))
		return nil
	}
	s := &segment{at: where, name: "link-" + strconv.Itoa(i+1)}
	if m := l.get("mtu").word(); m != "" {
		n, err := strconv.ParseUint(m, 10, 16)
		if err != nil {
			c.notef(where, "the MTU %s is not carried over", quote(m))
		}
		s.mtu = int(n)
	}
	ends := l.get("endpoints")
	if ends == nil || len(ends.list) != 2 {
		return c.errorf(where, "a link has two endpoints")
	}
	for _, e := range ends.list {
		name, dev, mac := e.get("node").word(), e.get("interface").word(), e.get("mac").word()
		if e.kind == scalarKind {
			name, dev, _ = strings.Cut(e.text, ":")
		}
		if slices.Contains([]string{"host", "mgmt-net", "macvlan", "vxlan", "vxlan-stitch", "dummy"}, name) {
			c.notef(where, "the link to %s is not carried over: a lab has no way out", quote(name))
			return nil
		}
		node := c.nodes[name]
		switch {
		case node == nil:
			return c.errorf(where, "a link to %s, which is no node", quote(name))
		case dev == "":
			return c.errorf(where, "the endpoint %s names no interface", quote(e.text))
		}
		if mac != "" {
			hw, err := net.ParseMAC(mac)
			if err != nil || len(hw) != 6 {
				return c.errorf(where, "%s is no MAC address", quote(mac))
			}
			f := node.iface(dev, where)
			f.mac, f.macAt = hw, where
		}
		for _, o := range c.segments {
			for _, e := range o.ends {
				if e.dev == node && e.iface == dev {
					return c.errorf(where, "%s:%s is an end of the link in line %d, too", name, dev, o.line)
				}
			}
		}
		s.ends = append(s.ends, end{at: where, dev: node, iface: dev})
	}
	c.segments = append(c.segments, s)
	return nil
}
