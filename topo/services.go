package topo

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	defaultInterval = time.Second
	maxInterval     = time.Hour
)

func (b *builder) serviceSection(f *fileLab) {
	names := map[string]bool{}
	for _, s := range f.Services {
		names[serviceOf(s)] = true
	}
	b.services = slices.Sorted(maps.Keys(names))
	published := map[int64]string{}
	for _, s := range f.Services {
		b.lab.Services = append(b.lab.Services, b.service(s))
		if p := s.Value.Publish; p.set && p.val != 0 {
			if other := published[p.val]; other != "" {
				b.addf(p.place, "port %d is also published for %s", p.val, quote(other))
			}
			published[p.val] = s.Key.val
		}
	}
	// Ports of listeners are all claimed before the first bind port is, so
	// that a clash is reported at the bind port.
	for i, s := range f.Services {
		svc := &b.lab.Services[i]
		svc.Upstreams = b.upstreams(s.Value.Upstreams, svc.Node, "service "+quote(svc.Name), svc.Service)
		b.templates(s.Value, svc)
	}
}

// serviceOf is the service that an instance belongs to.
func serviceOf(s pair[fileService]) string {
	if s.Value.Service.set {
		return s.Value.Service.val
	}
	return s.Key.val
}

// service reads one instance; its upstreams and templates follow later.
func (b *builder) service(s pair[fileService]) Service {
	v, name := s.Value, s.Key.val
	svc := Service{Name: name, Line: s.Key.line, Service: serviceOf(s), Node: v.Node.val, Environment: map[string]string{}}
	if !dnsLabel.MatchString(name) {
		b.addf(s.Key.place, "the service's name %s must be a DNS label: 1 to 63 of a-z, 0-9 and -, no - at an end", quote(name))
	}
	b.checkName(s.Key.place, name)
	if v.Service.set && v.Service.val != name {
		b.checkName(v.Service.place, v.Service.val)
	}
	if v.Service.set && !dnsLabel.MatchString(v.Service.val) {
		b.addf(v.Service.place, "service %s must be a DNS label: 1 to 63 of a-z, 0-9 and -, no - at an end", quote(v.Service.val))
	}
	if v.Node.set && !b.host(v.Node.place, "service "+quote(name), v.Node.val) {
		svc.Node = ""
	}
	if v.Port.set {
		svc.Port = b.port(v.Port, "port", 1)
		b.claimPort(v.Port.place, svc.Node, svc.Port, "service "+quote(name))
	}
	b.program(s, &svc)
	svc.Limits = b.limits(v.Limits)
	svc.Meta = b.meta(v.Meta, name)
	svc.Healthcheck = b.healthcheck(v.Healthcheck)
	if v.Publish.set {
		p := b.port(v.Publish, "publish", 0)
		svc.Publish = &p
	}
	return svc
}

// program reads what runs: builtin, image or command.
func (b *builder) program(s pair[fileService], svc *Service) {
	v := s.Value
	has := v.Stated.keys
	switch {
	case has["builtin"] && has["command"]:
		b.addf(s.Key.place, "service %s has both builtin and command; keep one", quote(svc.Name))
	case has["builtin"] && has["image"]:
		b.addf(s.Key.place, "service %s has both builtin and image; keep one", quote(svc.Name))
	case !has["builtin"] && !has["image"] && !has["command"]:
		if has != nil { // else it is no mapping, which is reported
			b.addf(s.Key.place, "service %s needs builtin, image or command", quote(svc.Name))
		}
	case v.Command != nil && len(v.Command) == 0:
		b.addf(s.Key.place, "the command of service %s is empty", quote(svc.Name))
	case v.Builtin.set:
		svc.Builtin = v.Builtin.val
		if b.opt.Builtins != nil && !slices.Contains(b.opt.Builtins, svc.Builtin) {
			b.unknown(v.Builtin.place, "builtin", svc.Builtin, b.opt.Builtins)
		}
	}
	if v.Image.set {
		svc.Image = b.image(v.Image)
	}
	for i, w := range v.Command {
		svc.Command = append(svc.Command, string(w.val))
		if i == 0 && w.set && strings.TrimSpace(string(w.val)) == "" {
			b.addf(w.place, "the command of service %s begins with an empty word", quote(svc.Name))
		}
	}
}

// port reads a TCP port that is at least low.
func (b *builder) port(n number, what string, low int64) uint16 {
	if n.val < low || n.val > 65535 {
		b.addf(n.place, "%s %d must be %d to 65535", what, n.val, low)
		return 0
	}
	return uint16(n.val)
}

// claimPort notes that somebody takes a port of a node. Bind ports are taken
// too: under consul-connect a process on the node listens there.
func (b *builder) claimPort(at place, node string, port uint16, who string) {
	if node == "" || port == 0 {
		return
	}
	if b.ports[node] == nil {
		b.ports[node] = map[uint16]claim{}
	}
	if c, taken := b.ports[node][port]; taken {
		b.addf(at, "port %d of node %s is also that of %s, in line %d", port, quote(node), c.who, c.line)
		return
	}
	b.ports[node][port] = claim{who, at.line}
}

// upstreams reads the upstreams of a caller; self is its own service, "" for
// the client.
func (b *builder) upstreams(m mapping[number], node, who, self string) []Upstream {
	var out []Upstream
	for _, u := range m {
		name := u.Key.val
		switch {
		case name == self:
			b.addf(u.Key.place, "%s has itself as an upstream", who)
			continue
		case !slices.Contains(b.services, name):
			b.unknown(u.Key.place, "service", name, b.services)
			continue
		case !u.Value.set:
			continue
		}
		port := b.port(u.Value, "bind port", 1)
		b.claimPort(u.Value.place, node, port, "upstream "+quote(name)+" of "+who)
		out = append(out, Upstream{Service: name, BindPort: port})
	}
	slices.SortFunc(out, func(a, b Upstream) int { return cmp.Compare(a.BindPort, b.BindPort) })
	return out
}

func (b *builder) healthcheck(h fileHealthcheck) Healthcheck {
	none := h.TCP.set && !h.TCP.val && !h.HTTP.set
	out := Healthcheck{TCP: !h.HTTP.set && !none, HTTP: h.HTTP.val, None: none, Interval: defaultInterval}
	switch {
	case h.TCP.set && h.TCP.val && h.HTTP.set:
		b.addf(h.TCP.place, "the healthcheck has both tcp and http; keep one")
	case none && h.Interval.set:
		b.addf(h.Interval.place, "the healthcheck has an interval, and neither tcp nor http")
	}
	if h.HTTP.set {
		b.checkPath(h.HTTP, "http")
	}
	if h.Interval.set {
		d, err := time.ParseDuration(h.Interval.val)
		if err != nil || d <= 0 || d > maxInterval {
			b.addf(h.Interval.place, "interval %s must be a duration above 0 and up to 1h, as in 500ms or 1s", quote(h.Interval.val))
		} else {
			out.Interval = d
		}
	}
	return out
}

// What Consul takes as metadata of a service (metaMaxKeyPairs,
// metaValueMaxLength and metaKeyReservedPrefix in its agent/structs/structs.go).
const (
	maxMeta       = 64
	maxMetaValue  = 512 // bytes
	ownMetaPrefix = "consul-"
)

func (b *builder) meta(m mapping[word], service string) map[string]string {
	if len(m) > maxMeta {
		b.addf(m[maxMeta].Key.place, "service %s has %d keys of meta; at most %d are allowed", quote(service), len(m), maxMeta)
	}
	var out map[string]string
	for _, e := range m {
		key, value := e.Key.val, string(e.Value.val)
		switch {
		case !metaName.MatchString(key):
			b.addf(e.Key.place, "key %s of meta must be 1 to 128 of A-Z, a-z, 0-9, _ and -", quote(key))
		case strings.HasPrefix(key, ownMetaPrefix):
			b.addf(e.Key.place, "key %s of meta begins with %s, which Consul keeps for itself", quote(key), ownMetaPrefix)
		}
		if len(value) > maxMetaValue {
			b.addf(e.Value.place, "the value has %d bytes; at most %d are allowed in meta", len(value), maxMetaValue)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	return out
}

// templates checks the environment and command of a service, the names of
// upstreams in them included, by expanding them for nothing.
func (b *builder) templates(v fileService, svc *Service) {
	known := make([]string, len(svc.Upstreams))
	for i, u := range svc.Upstreams {
		known[i] = u.Service
	}
	check := func(w word) {
		if !w.set {
			return
		}
		if strings.ContainsRune(string(w.val), 0) {
			b.addf(w.place, "a zero byte cannot be handed to a program")
			return
		}
		_, err := Expand(string(w.val), Funcs{Upstream: func(name string) (string, error) {
			// A declared upstream with a fault of its own is not reported
			// twice.
			declared := slices.ContainsFunc(v.Upstreams, func(u pair[number]) bool { return u.Key.val == name })
			if !declared {
				b.unknown(w.place, "upstream", name, known)
			}
			return "", nil
		}})
		if err != nil {
			b.addf(w.place, "%v", err)
		}
	}
	for _, e := range v.Environment {
		if !variableName.MatchString(e.Key.val) {
			b.addf(e.Key.place, "%s is no name of an environment variable", quote(e.Key.val))
		}
		check(e.Value)
		svc.Environment[e.Key.val] = string(e.Value.val)
	}
	for _, w := range v.Command {
		check(w)
	}
}
