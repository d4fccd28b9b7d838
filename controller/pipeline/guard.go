package pipeline

import (
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
)

// intentions are sorted for questions about one destination.
type intentions struct {
	exact       map[string][]mesh.Intention // by destination
	toAny       []mesh.Intention            // from a named service to every one
	anyToAny    *mesh.Intention
	defaultDeny bool
}

func indexIntentions(all []mesh.Intention, defaultDeny bool) intentions {
	x := intentions{exact: map[string][]mesh.Intention{}, defaultDeny: defaultDeny}
	seen := map[[2]string]bool{}
	for _, i := range all { // highest precedence first
		key := [2]string{i.Source, i.Destination}
		if seen[key] {
			continue
		}
		seen[key] = true
		switch {
		case i.Destination != mesh.Wildcard:
			x.exact[i.Destination] = append(x.exact[i.Destination], i)
		case i.Source != mesh.Wildcard:
			x.toAny = append(x.toAny, i)
		default:
			x.anyToAny = &i
		}
	}
	return x
}

// open tells whether every service may call the destination, so that there is
// nothing to check.
func (x intentions) open(destination string) bool {
	fromAny := false // an intention for every source decides all that follows
	for _, i := range x.exact[destination] {
		if !i.Allow {
			return false
		}
		fromAny = fromAny || i.Source == mesh.Wildcard
	}
	if fromAny {
		return true
	}
	for _, i := range x.toAny {
		if !i.Allow {
			return false
		}
	}
	if x.anyToAny != nil {
		return x.anyToAny.Allow
	}
	return !x.defaultDeny
}

// The priorities of table 82 are in the order of Consul's precedence
// (developer.hashicorp.com/consul/docs/secure-mesh/intention, "Precedence and
// match order"): exact, any source, any destination, any, default.
const (
	priorityExact    = 90
	priorityFromAny  = 80
	priorityToAny    = 60
	priorityAnyToAny = 50
	priorityNone     = 40
)

// guard writes tables 80 and 82 for the local instances of a service that not
// everybody may call.
func (c *Compiler) guard(s *sheet, name string) {
	number := uint64(c.names.of(name))
	for _, i := range c.usable(c.services[name], func(string, ...any) {}) {
		if _, ok := c.byAddr[i.Addr.Addr()]; !ok {
			continue
		}
		s.add(TableGuard, priorityMain, tcp(flow.IPv4Dst.Is(addrValue(i.Addr.Addr())), flow.TCPDst.Is(uint64(i.Addr.Port()))),
			do(load(regService, number), next(TableIntention)), "to %s (%s) of %s: who calls?", i.ID, i.Addr, name)
	}
	for _, i := range c.rules.exact[name] {
		c.rule(s, i, regService.Is(number))
	}
}

// policy writes the flows of table 82 that hold for every destination, and
// the end of 80.
func (c *Compiler) policy(s *sheet) {
	s.add(TableGuard, priorityMiss, nil, do(out()), "not to a service that somebody may not call")
	// Of a fragment that does not begin with a whole header, Open vSwitch reads
	// no ports (ovs-fields(7), "ip_frag"), and the receiver joins them: so
	// would a connection get in unseen (RFC 1858, section 3). Nothing but a
	// fragment has port 0, and TCP avoids fragments (RFC 9293, section
	// 3.7.2).
	s.add(TableGuard, priorityMain, tcp(flow.TCPDst.Is(0)), nil, "a fragment: nobody can tell whom it calls")
	s.add(TableIntention, priorityFirst, tcp(flow.TCPFlags.Masked(tcpRST, tcpRST)), do(out()), "a reset harms nobody, and frees the instance")
	for _, i := range c.rules.toAny {
		c.rule(s, i)
	}
	if i := c.rules.anyToAny; i != nil {
		c.rule(s, *i)
	}
	if c.rules.defaultDeny {
		s.count(Counter{Kind: CountDenied, Source: mesh.Wildcard, Destination: mesh.Wildcard}, TableIntention, priorityNone,
			tcp(anyIdentity()), do(next(TableDeny)), "no intention says otherwise: deny")
	} else {
		s.add(TableIntention, priorityNone, tcp(anyIdentity()), do(out()), "no intention says otherwise: allow")
	}
	s.count(Counter{Kind: CountDenied, Destination: mesh.Wildcard}, TableIntention, priorityMiss, tcp(), do(next(TableDeny)),
		"sent beside the mesh, to a service that not everybody may call: deny")
}

// anyIdentity matches what has come through the mesh.
func anyIdentity() flow.FieldMatch { return flow.EthSrc.Masked(identityPrefix, identityMask) }

func (c *Compiler) rule(s *sheet, i mesh.Intention, destination ...flow.FieldMatch) {
	priority := uint16(priorityAnyToAny)
	switch {
	case i.Source != mesh.Wildcard && i.Destination != mesh.Wildcard:
		priority = priorityExact
	case i.Destination != mesh.Wildcard:
		priority = priorityFromAny
	case i.Source != mesh.Wildcard:
		priority = priorityToAny
	}
	source := anyIdentity()
	if i.Source != mesh.Wildcard {
		source = flow.EthSrc.Is(c.identityOf(i.Source))
	}
	match := append(tcp(source), destination...)
	if i.Allow {
		s.add(TableIntention, priority, match, do(out()), "intention %s -> %s: allow", i.Source, i.Destination)
		return
	}
	s.count(Counter{Kind: CountDenied, Source: i.Source, Destination: i.Destination}, TableIntention, priority, match,
		do(next(TableDeny)), "intention %s -> %s: deny", i.Source, i.Destination)
}
