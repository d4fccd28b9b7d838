package pipeline

import (
	"fmt"

	"meshlab.dev/meshlab/controller/flow"
)

// unitKey names a unit: the part of the program that one object makes.
type unitKey struct {
	kind unitKind
	name string  // of the service, or of the host
	call callKey // unitCall
	port uint16  // unitBind
}

type unitKind uint8

const (
	unitBase      unitKind = iota // what the place of the switch makes
	unitHost                      // the way to a host
	unitPolicy                    // what holds between all services
	unitCall                      // one upstream of a local host
	unitBind                      // one bind port
	unitBalance                   // the choice of an instance of a service
	unitInstances                 // the instances of a service
	unitGuard                     // who may call the local instances of a service
)

// unit is what is kept of the flows of an object.
type unit struct {
	cookies  []uint64
	group    uint32 // 0: none
	contents uint64 // of the group
	meters   []flow.Meter
}

// sheet is what is written of a unit. What nobody wants is not made.
type sheet struct {
	explain  bool // the reasons of flows and groups
	buckets  bool // of the group
	flows    []flow.Flow
	group    *flow.Group // nil: none
	contents uint64      // a hash of what the buckets are made of
	meters   []flow.Meter
	counters map[uint64]Counter
	zone     uint16
	limit    uint32
	warnings []string
}

// unitOf is what is kept of a sheet.
func unitOf(s *sheet) *unit {
	u := &unit{meters: s.meters, cookies: make([]uint64, len(s.flows))}
	for i, f := range s.flows {
		u.cookies[i] = f.Cookie
	}
	if s.group != nil {
		u.group, u.contents = s.group.ID, s.contents
	}
	return u
}

func (s *sheet) add(table uint8, priority uint16, match flow.Match, actions []flow.Action, reason string, args ...any) {
	s.put(flow.Flow{Table: table, Priority: priority, Match: match, Actions: actions}, reason, args...)
}

// count is add of a flow whose packets are counted, until its very end.
func (s *sheet) count(c Counter, table uint8, priority uint16, match flow.Match, actions []flow.Action, reason string, args ...any) {
	s.countFlow(c, flow.Flow{Table: table, Priority: priority, Match: match, Actions: actions}, reason, args...)
}

func (s *sheet) countFlow(c Counter, f flow.Flow, reason string, args ...any) {
	f.Notify = true
	cookie := s.put(f, reason, args...)
	if s.counters == nil {
		s.counters = map[uint64]Counter{}
	}
	s.counters[cookie] = c
}

func (s *sheet) put(f flow.Flow, reason string, args ...any) uint64 {
	if s.explain {
		f.Reason = fmt.Sprintf(reason, args...)
	}
	f = f.Seal()
	s.flows = append(s.flows, f)
	return f.Cookie
}

func (s *sheet) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// write makes the flows of a unit from the present state. It changes nothing.
func (c *Compiler) write(key unitKey, s *sheet) *sheet {
	switch key.kind {
	case unitBase:
		c.base(s)
	case unitHost:
		c.host(s, key.name)
	case unitPolicy:
		c.policy(s)
	case unitCall:
		c.call(s, c.calls[key.call])
	case unitBind:
		c.bind(s, key.port)
	case unitBalance:
		c.balance(s, key.name)
	case unitInstances:
		c.instances(s, key.name)
	case unitGuard:
		c.guard(s, key.name)
	}
	return s
}
