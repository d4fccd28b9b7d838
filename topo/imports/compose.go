package imports

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"meshlab.dev/meshlab/topo"
)

// maxReplicas bounds the instances of one service.
const maxReplicas = 16

// compose reads a compose file. compose-go knows what its many short and long
// forms mean, and the tree of the file knows the lines. compose-go writes
// warnings to logrus' standard logger.
func (d *draft) compose() error {
	root, err := d.yaml()
	if err != nil {
		return err
	}
	if root.get("services") == nil {
		return d.errorf(at{d.file, 0}, "there are no services in it")
	}
	c := &compose{draft: d, services: root.get("services")}
	if n := len(c.services.keys); n > maxRuns {
		return d.errorf(at{d.file, c.services.line}, "%d services; at most %d can be carried over", n, maxRuns)
	}
	project, err := c.load(root)
	if err != nil {
		return err
	}
	if d.name == "" {
		d.name = root.get("name").word()
	}
	for _, k := range root.keys {
		switch {
		case k.name == "services", k.name == "name", k.name == "version", k.name == "include", strings.HasPrefix(k.name, "x-"):
		case k.name == "networks":
			if len(k.value.keys) > 1 {
				d.notef(at{d.file, k.line}, "the networks %s are one: all hosts are at one switch", names(k.value))
			}
		default:
			d.notef(at{d.file, k.line}, "%s is not carried over: a lab has nothing like it", k.name)
		}
	}
	lan := &segment{at: at{d.file, root.lineOf("services")}, name: "s1"}
	sw := &device{at: lan.at, given: "s1", sw: true}
	for _, k := range c.services.keys { // in the order of the file
		if s, ok := project.Services[k.name]; ok {
			c.service(k, s, project)
		}
	}
	if len(d.devices) == 0 {
		return d.errorf(lan.at, "there is no service in it")
	}
	for slices.ContainsFunc(d.devices, func(dev *device) bool { return dev.given == sw.given }) {
		sw.given += "-switch"
	}
	for _, dev := range d.devices {
		d.segments = append(d.segments, &segment{at: dev.at, name: dev.given, ends: []end{{dev.at, dev, "eth0"}, {dev.at, sw, dev.given}}})
	}
	d.devices = append(d.devices, sw)
	return nil
}

func names(t *tree) string {
	var out []string
	for _, k := range t.keys {
		out = append(out, k.name)
	}
	return strings.Join(out, ", ")
}

type compose struct {
	*draft
	services *tree
	ports    map[string]int // of a service in the compose file
}

// composeHandled are the keys of services that are carried over, or have no
// meaning outside of containers.
var composeHandled = []string{
	"image", "build", "container_name", "command", "entrypoint", "environment", "ports", "expose", "depends_on", "links",
	"networks", "mac_address", "scale", "deploy", "extends", "restart", "hostname", "platform", "pull_policy", "tty", "stdin_open",
	"init", "cpus", "mem_limit", "labels", "logging", "stop_grace_period", "stop_signal", "profiles", "user", "working_dir",
}

func (c *compose) service(k key, s types.ServiceConfig, project *types.Project) {
	where := at{c.file, k.line}
	for _, o := range k.value.keys {
		if !slices.Contains(composeHandled, o.name) && !strings.HasPrefix(o.name, "x-") {
			why := "a lab has nothing like it"
			if o.name == "healthcheck" {
				why = "a connection each second is the check; write healthcheck: for another"
			}
			c.notef(at{c.file, o.line}, "%s of %s is not carried over: %s", o.name, k.name, why)
		}
	}
	img := knownImage(s.Image)
	n := c.replicas(k, s)
	silent := false // nothing says that it serves or calls anything
	r := run{at: at{c.file, k.value.lineOf("image")}, name: k.name, postgres: img.postgres, publish: -1}
	c.listen(&r, k, s, img)
	c.calls(&r, k, s, project)
	c.container(&r, k, s, img)
	if !img.consul && len(img.builtins) == 0 {
		if silent = r.port == 0 && len(r.calls) == 0 && !c.called(k.name, project); silent {
			c.notef(r.at, "%s is a host without a service: it names no port, and calls nothing", k.name)
		}
	}
	for i := range n {
		dev := &device{at: where, given: k.name, server: img.consul}
		if n > 1 {
			dev.given += "-" + strconv.Itoa(i+1)
		}
		c.devices = append(c.devices, dev)
		if i == 0 {
			c.address(dev, k, s, project)
		}
		if !silent {
			c.run(dev, r, img, s)
		}
		r.publish = -1 // the first instance is published
	}
	if len(img.builtins) > 0 {
		c.notef(r.at, "the image %s of %s is known by its name: %s", quote(s.Image), k.name, became(c.runs[len(c.runs)-len(img.builtins):]))
	}
}

// called tells whether another service depends on one.
func (c *compose) called(name string, project *types.Project) bool {
	for _, s := range project.Services {
		if _, ok := s.DependsOn[name]; ok {
			return true
		}
		if slices.ContainsFunc(s.Links, func(l string) bool { return l == name || strings.HasPrefix(l, name+":") }) {
			return true
		}
	}
	return false
}

func whatRuns(s types.ServiceConfig) string {
	if s.Image == "" {
		return "an image that is built"
	}
	return "the image " + s.Image
}

// run adds what a container of a service runs.
func (c *compose) run(dev *device, r run, img image, s types.ServiceConfig) {
	r.dev = dev
	switch {
	case img.consul:
	case len(img.builtins) > 0:
		for _, b := range img.builtins {
			one := r
			one.builtin, one.env = b, nil
			if img.host {
				one.name = ""
			}
			if len(img.builtins) > 1 {
				one.port, one.publish = parts[b].port, publishedFor(s, parts[b].port)
			} else if p := bindAddress(s); p != 0 {
				one.port = p
			}
			c.runs = append(c.runs, &one)
		}
	case s.Build == nil && topo.IsReference(s.Image):
		r.image = s.Image
		c.runs = append(c.runs, &r)
	default:
		r.standIn = whatRuns(s)
		r.hint = append(slices.Clone([]string(s.Entrypoint)), s.Command...)
		c.runs = append(c.runs, &r)
	}
}

// publishedFor is the port at which a port of a container is published, 0 any
// free one, -1 none.
func publishedFor(s types.ServiceConfig, target int) int {
	for _, p := range s.Ports {
		if int(p.Target) == target {
			return port(p.Published)
		}
	}
	return -1
}

func bindAddress(s types.ServiceConfig) int {
	v := s.Environment["BIND_ADDRESS"]
	if v == nil {
		return 0
	}
	return portOf(nil, []variable{{"BIND_ADDRESS", *v}})
}

func (c *compose) replicas(k key, s types.ServiceConfig) int {
	n := 1
	if s.Scale != nil {
		n = *s.Scale
	}
	if s.Deploy != nil && s.Deploy.Replicas != nil {
		n = *s.Deploy.Replicas
	}
	if n < 1 || n > maxReplicas {
		m := min(max(n, 1), maxReplicas)
		c.notef(at{c.file, k.line}, "%s has %s instead of %d", k.name, plural(m, "instance"), n)
		n = m
	}
	return n
}

// listen finds the port of a service, and where it is published.
func (c *compose) listen(r *run, k key, s types.ServiceConfig, img image) {
	where := at{c.file, k.value.lineOf("ports")}
	for _, p := range s.Ports {
		switch {
		case p.Protocol != "" && p.Protocol != "tcp":
			c.notef(where, "port %d/%s of %s is not carried over: the mesh carries TCP", p.Target, p.Protocol, k.name)
		case p.Target < 1 || p.Target > 65535:
			c.notef(where, "port %d of %s is not carried over: it is none", p.Target, k.name)
		case r.port == 0:
			r.port = int(p.Target)
			if p.Published != "" {
				r.publish = port(p.Published) // 0 of a range: any free one
			} else {
				r.publish = 0
			}
		case r.port != int(p.Target) && len(img.builtins) < 2:
			c.notef(where, "port %d of %s is not carried over: a service has one", p.Target, k.name)
		}
	}
	for _, e := range s.Expose {
		if p := port(strings.TrimSuffix(e, "/tcp")); r.port == 0 && p != 0 {
			r.port = p
		}
	}
	if r.port == 0 {
		r.port = bindAddress(s)
	}
	if r.port == 0 {
		r.port = c.portElsewhere(k.name)
	}
	if r.port == 0 && len(img.builtins) == 0 {
		r.port = img.port
	}
}

// calledAt finds host:port of other services in values, as in
// http://web:8080/.
var calledAt = regexp.MustCompile(`(?:^|[^A-Za-z0-9_.-])([A-Za-z0-9][A-Za-z0-9_-]*):([0-9]{1,5})(?:[^0-9]|$)`)

// portElsewhere finds the port at which the variables of other services call
// this one.
func (c *compose) portElsewhere(name string) int {
	if c.ports == nil {
		c.ports = map[string]int{}
		for _, k := range c.services.keys {
			for _, v := range envWords(k.value.get("environment")) {
				for _, m := range calledAt.FindAllStringSubmatch(v, -1) {
					if c.ports[m[1]] == 0 {
						c.ports[m[1]] = port(m[2])
					}
				}
			}
		}
	}
	return c.ports[name]
}

func envWords(t *tree) []string {
	out := t.words()
	if t != nil {
		for _, k := range t.keys {
			out = append(out, k.value.word())
		}
	}
	return out
}

// calls finds the services that one calls: those that it depends on, those
// that it has links to, and those that its variables name with a port.
func (c *compose) calls(r *run, k key, s types.ServiceConfig, project *types.Project) {
	add := func(name string) {
		if _, ok := project.Services[name]; ok && name != k.name && !slices.Contains(r.calls, name) {
			r.calls = append(r.calls, name)
		}
	}
	for _, name := range sorted(s.DependsOn) {
		add(name)
	}
	for _, l := range s.Links {
		name, _, _ := strings.Cut(l, ":")
		add(name)
	}
	for _, name := range sorted(s.Environment) {
		v := s.Environment[name]
		if v == nil || !variableName.MatchString(name) {
			continue
		}
		for _, m := range calledAt.FindAllStringSubmatch(*v, -1) {
			if _, ok := project.Services[m[1]]; ok && m[1] != k.name {
				add(m[1])
				r.refs = append(r.refs, ref{m[1] + ":" + m[2], m[1]})
			}
		}
		r.setenv(name, literal(*v))
	}
}

// address takes the fixed addresses of a container.
func (c *compose) address(dev *device, k key, s types.ServiceConfig, project *types.Project) {
	where := at{c.file, k.value.lineOf("networks")}
	i := dev.iface("eth0", where)
	mac := s.MacAddress
	for _, name := range sorted(s.Networks) {
		n := s.Networks[name]
		if n == nil {
			continue
		}
		mac = orElse(mac, n.MacAddress)
		if n.Ipv6Address != "" {
			c.notef(where, "%s of %s is not carried over: labs have IPv4", n.Ipv6Address, k.name)
		}
		if n.Ipv4Address == "" {
			continue
		}
		a, err := netip.ParseAddr(n.Ipv4Address)
		if err != nil || !a.Is4() {
			c.notef(where, "%s is no IPv4 address", quote(n.Ipv4Address))
			continue
		}
		i.addrs = append(i.addrs, address{where, netip.PrefixFrom(a, subnetBits(project.Networks[name], a))})
	}
	if mac != "" {
		where := at{c.file, k.value.lineOf("mac_address")}
		hw, err := net.ParseMAC(mac)
		if err != nil || len(hw) != 6 {
			c.notef(where, "%s is no MAC address", quote(mac))
			return
		}
		i.mac, i.macAt = hw, where
	}
}

// subnetBits is the prefix length of the network's subnet that an address is
// in, 24 when the file states none.
func subnetBits(n types.NetworkConfig, a netip.Addr) int {
	for _, pool := range n.Ipam.Config {
		if pool != nil {
			if p, err := netip.ParsePrefix(pool.Subnet); err == nil && p.Contains(a) {
				return p.Bits()
			}
		}
	}
	return defaultBits
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
