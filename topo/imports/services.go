package imports

import (
	"fmt"
	"slices"
	"strconv"

	"meshlab.dev/meshlab/topo"
)

// run is a program of the source that becomes a service.
type run struct {
	at
	dev  *device
	name string // of the service in the source; "": that of the builtin

	builtin  string   // "": command, or a stand-in
	command  []string // with templates where it has them
	standIn  string   // what the builtin echo stands for; "": it does not
	image    string   // that a container runs, with command in the place of its own
	limits   limits   // of that container
	postgres bool     // a Postgres, which may be that of HashiCups

	port    int        // 0: not stated
	env     []variable // for command and image, and in the comment of a stand-in
	refs    []ref      // what stands in env for services
	hint    []string   // words of the command that a stand-in had
	calls   []string   // names of services in the source
	publish int        // -1: not published; 0: any free port
}

// ref is host:port in the variables of a program, for a service of the source.
type ref struct{ text, given string }

// limits bound a container; 0: nothing does.
type limits struct {
	cpus   float64
	memory int64 // bytes
}

// service is an instance of a service in the lab.
type service struct {
	*run
	instance  string
	service   string
	port      int
	env       []variable
	was       []variable // what a stand-in's program had
	upstreams []upstream
	lost      bool // left out
}

type upstream struct {
	service string
	port    int
}

// mesh is the part of a lab that is about services.
type mesh struct {
	*draft
	services []*service
	ports    map[*device]map[int]bool
	bind     map[string]int // port at which callers find a service
	client   []upstream
	requests []request
}

type request struct {
	name, to string
	keys     []string // lines of YAML in flow form, behind "to"
}

// mesh makes services of the runs, with their upstreams.
func (d *draft) mesh() (*mesh, error) {
	if len(d.runs) > maxRuns {
		return nil, d.errorf(at{d.file, 0}, "%d programs; at most %d can become services", len(d.runs), maxRuns)
	}
	m := &mesh{draft: d, ports: map[*device]map[int]bool{}, bind: map[string]int{}}
	for _, r := range d.runs {
		m.services = append(m.services, &service{run: r})
	}
	m.databases()
	m.complete()
	m.name()
	m.listen()
	m.upstreams()
	m.clientAndRequests()
	return m, nil
}

func (m *mesh) alive(builtin string) []*service {
	var out []*service
	for _, s := range m.services {
		if !s.lost && s.builtin == builtin {
			out = append(out, s)
		}
	}
	return out
}

// databases makes a Postgres that product-api needs the builtin one, which
// has the coffees in it, and tells for which programs echo stands in.
func (m *mesh) databases() {
	wanted := len(m.alive(productAPI)) > 0 && len(m.alive(productDB)) == 0
	for _, s := range m.services {
		if s.postgres && wanted {
			m.notef(s.at, "Postgres on %s becomes the builtin %s, with the nine coffees in it: tables of its own are not carried over", s.dev.given, productDB)
			s.builtin, s.image, s.limits, s.command, s.standIn, wanted = productDB, "", limits{}, nil, "", false
		}
	}
	told := map[string]bool{}
	for _, s := range m.services {
		if s.image != "" && !told[""] {
			told[""] = true
			m.notef(s.at, "images run in containers: the lab needs `meshlab up --runtime docker`")
		}
		if s.standIn != "" && !told[s.given()] {
			told[s.given()] = true // instances are told once
			m.notef(s.at, "%s: the builtin echo stands in for %s; write a command of your own", s.given(), s.standIn)
		}
	}
}

// complete leaves out builtins that call something which is not there: they
// would not start.
func (m *mesh) complete() {
	for again := true; again; {
		again = false
		for _, s := range m.services {
			if s.lost {
				continue
			}
			for _, n := range parts[s.builtin].needs {
				if len(m.alive(n.builtin)) == 0 {
					m.notef(s.at, "%s on %s is left out: it calls %s, which nothing here runs", parts[s.builtin].service, s.dev.given, parts[n.builtin].service)
					s.lost, again = true, true
					break
				}
			}
		}
	}
	m.services = slices.DeleteFunc(m.services, func(s *service) bool { return s.lost })
}

// given is the name of a service in the source.
func (s *service) given() string {
	if s.name == "" && s.builtin != "" {
		return parts[s.builtin].service
	}
	return s.name
}

// name gives services and instances their names. Runs of one name are
// instances of one service.
func (m *mesh) name() {
	label, used := map[string]string{}, map[string]bool{}
	for name := range topo.ReservedServices {
		used[name] = true
	}
	number := map[string]int{}
	for _, s := range m.services {
		g := s.given()
		if label[g] == "" {
			label[g] = unique(serviceName(g), maxServiceName, used)
			if label[g] != g {
				m.notef(s.at, "the service %s is called %s: a name is a DNS label, and none that a lab has itself", quote(g), label[g])
			}
		}
		s.service = label[g]
		number[s.service]++
	}
	next := map[string]int{}
	for _, s := range m.services {
		s.instance = s.service
		if number[s.service] > 1 {
			next[s.service]++
			s.instance = unique(s.service[:min(len(s.service), maxServiceName-5)]+"-"+strconv.Itoa(next[s.service]), maxServiceName, used)
		}
	}
}

// listen gives each service its port.
func (m *mesh) listen() {
	published := map[int]bool{}
	for _, s := range m.services {
		s.port = s.run.port
		if s.port == 0 {
			s.port = parts[s.builtin].port
		}
		if s.port == 0 {
			s.port = 8080
			if s.image != "" {
				m.notef(s.at, "%s names no port: write the one at which it listens in the place of %d", s.given(), s.port)
			}
		}
		if m.ports[s.dev] == nil {
			m.ports[s.dev] = map[int]bool{}
		}
		if m.ports[s.dev][s.port] {
			if len(s.command) > 0 || s.image != "" {
				m.notef(s.at, "%s is left out: port %d of %s is taken already", s.given(), s.port, s.dev.given)
				s.lost = true
				continue
			}
			was := s.port
			s.port = m.free(s.dev, s.port)
			m.notef(s.at, "%s listens at port %d: %d of %s is taken already", s.given(), s.port, was, s.dev.given)
		}
		m.ports[s.dev][s.port] = true
		if s.publish > 0 {
			if published[s.publish] {
				m.notef(s.at, "port %d is published once; %s is not", s.publish, s.given())
				s.publish = -1
			}
			published[s.publish] = true
		}
	}
	m.services = slices.DeleteFunc(m.services, func(s *service) bool { return s.lost })
}

// free returns the first free port of a host from one on.
func (m *mesh) free(dev *device, from int) int {
	for p := from; ; p++ {
		if p > 65535 {
			p = 1024
		}
		if !m.ports[dev][p] {
			return p
		}
	}
}

// upstreams finds out who calls whom.
func (m *mesh) upstreams() {
	named := map[string][]*service{} // by name in the source, and of its device
	for _, s := range m.services {
		named[s.given()] = append(named[s.given()], s)
		if s.dev.given != s.given() {
			named[s.dev.given] = append(named[s.dev.given], s)
		}
	}
	for _, s := range m.services {
		var listen string
		switch {
		case s.builtin != "", s.standIn != "":
			listen = ":{{ port }}"
		}
		if listen != "" {
			s.env = append(s.env, variable{"BIND_ADDRESS", listen})
		}
		for _, n := range parts[s.builtin].needs {
			to := m.choose(s, n.builtin, named)
			m.call(s, to)
			s.env = append(s.env, variable{n.variable, fmt.Sprintf(n.value, template(to.service))})
		}
		if s.builtin != "" {
			continue // what else compose starts before is not called
		}
		var first *service
		for _, c := range s.calls {
			for _, to := range named[c] {
				if to.service == s.service {
					continue
				}
				m.call(s, to)
				if first == nil && (to.standIn != "" || to.builtin != "" && to.builtin != productDB) {
					first = to
				}
			}
		}
		own := s.resolve(named)
		if s.standIn != "" {
			s.was = own
			s.env = append(s.env, variable{"NAME", s.service})
			if first != nil {
				s.env = append(s.env, variable{"UPSTREAM_URI", "http://" + template(first.service)})
			}
		} else {
			s.env = append(s.env, own...)
		}
	}
}

// template is an upstream in a value of the environment.
func template(service string) string { return `{{ upstream "` + service + `" }}` }

// choose returns the service of a builtin that a caller means: one that it
// names, else the first.
func (m *mesh) choose(s *service, builtin string, named map[string][]*service) *service {
	for _, c := range s.calls {
		for _, to := range named[c] {
			if to.builtin == builtin {
				return to
			}
		}
	}
	return m.alive(builtin)[0] // complete has seen to it
}

// call adds an upstream, once.
func (m *mesh) call(s *service, to *service) {
	if s.service == to.service || slices.ContainsFunc(s.upstreams, func(u upstream) bool { return u.service == to.service }) {
		return
	}
	s.upstreams = append(s.upstreams, upstream{to.service, m.bindPort(s.dev, to)})
}

// bindPort takes a port of a host at which a service can be called: the same
// for all callers where that is free.
func (m *mesh) bindPort(dev *device, to *service) int {
	if m.bind[to.service] == 0 {
		p := parts[to.builtin].bindPort
		if p == 0 {
			p = 9001 + len(m.bind)
		}
		m.bind[to.service] = p
	}
	if m.ports[dev] == nil {
		m.ports[dev] = map[int]bool{}
	}
	p := m.free(dev, m.bind[to.service])
	m.ports[dev][p] = true
	return p
}

// getCoffees is the query of the reference application's page.
const getCoffees = `'{"query": "query GetCoffees { coffees { id name teaser description price image ingredients { id name quantity unit } } }"}'`

// clientAndRequests lets the client call the services that nobody else calls,
// and HashiCups' API, with a request where one is known.
func (m *mesh) clientAndRequests() {
	called := map[string]bool{}
	for _, s := range m.services {
		for _, u := range s.upstreams {
			called[u.service] = true
		}
	}
	all := true // each is called: in a ring
	for _, s := range m.services {
		all = all && called[s.service]
	}
	var host *device
	for _, dev := range m.devices {
		if dev.name == "client" && !dev.sw {
			host = dev
		}
	}
	if host == nil {
		host = &device{given: "client"} // topo's
	}
	done, used := map[string]bool{}, map[string]bool{}
	for _, s := range m.services {
		if done[s.service] || called[s.service] && !all && s.builtin != publicAPI && s.builtin != frontend {
			continue
		}
		done[s.service] = true
		m.client = append(m.client, upstream{s.service, m.bindPort(host, s)})
		if r, ok := requestTo(s); ok {
			r.name = unique(r.name, maxServiceName, used)
			m.requests = append(m.requests, r)
		}
	}
}

// requestTo is a request that a service answers, if one is known.
func requestTo(s *service) (request, bool) {
	r := request{name: s.service, to: s.service}
	switch {
	case s.builtin == frontend:
		r.keys = []string{`path: /`, `expect: { status: 200, contains: ["HashiCups"] }`}
	case s.builtin == publicAPI:
		r.name = "api"
		r.keys = []string{
			`method: POST`, `path: /api`, `headers: { Content-Type: application/json }`, `body: ` + getCoffees,
			`expect: { status: 200, contains: ["HCP Aeropress", "Waypointiato"] } # the first coffee and the last`,
		}
	case s.builtin == productAPI:
		r.keys = []string{`path: /coffees`, `expect: { status: 200, contains: ["HCP Aeropress", "Waypointiato"] }`}
	case s.builtin == payments:
		r.keys = []string{`path: /actuator/health`, `expect: { status: 200 }`}
	case s.standIn != "":
		r.keys = []string{`path: /`, `expect: { status: 200, contains: [` + doubleQuoted(s.service) + `] }`}
	default:
		return r, false
	}
	return r, true
}
