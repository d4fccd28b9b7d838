// Package eject takes instances to which no new connection succeeds out of
// the choice for a while: circuit breaking by what a switch sees of TCP. It
// gets signs of failure and counters of packets, and changes snapshots of the
// mesh. How the signs are seen and how a snapshot comes into force are others'
// business.
package eject

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// The defaults of mesh.Ejection, which are those of Consul and Envoy, and the
// longest time out, which is Envoy's (max_ejection_time).
const (
	defaultInterval   = 10 * time.Second
	defaultBaseTime   = 30 * time.Second
	defaultMaxPercent = 10
	longest           = 300 * time.Second // or BaseTime, where that is longer
)

// undecided is how many polls of a run may pass, the first included, while
// connections that were opened of late may still fail.
const undecided = 3

// mostSigns bounds the signs that are remembered, over all instances.
const mostSigns = 1 << 16

// resetSize is the most bytes that a bare TCP reset has on Ethernet, padded
// (IEEE 802.3: 60 without the check sequence). All other packets of a
// connection that succeeds are longer on average.
const resetSize = 60

// Kind is how a connection failed.
type Kind uint8

// The kinds of failure that a switch sees.
const (
	Refused    Kind = iota + 1 // a reset answered the SYN
	Unanswered                 // the SYN came again
)

// Sign is one failure of a new connection.
type Sign struct {
	Service  string // whose instance it is
	Instance string // its id
	Kind     Kind
	Client   netip.AddrPort // an unanswered connection counts once, however often its SYN comes
}

// Counts are the counters of an instance since any moment in the past, the
// same one at each poll. When they go backwards, they began anew.
type Counts struct {
	Opened  uint64 // new connections that got the instance, repeated SYNs excepted
	Packets uint64 // that it sent
	Bytes   uint64 // in these packets, with Ethernet headers
}

// Ejected is an instance that is out.
type Ejected struct {
	Service    string
	Instance   string
	Refused    int // signs that led to it
	Unanswered int
	Since      time.Time
	Until      time.Time // unless the registry or the bound of MaxPercent ends it before
	Times      int       // how often it has been out of late, this time included
}

// Ejector decides who is out. One goroutine may use it at a time. What it
// remembers is bounded by the instances of the snapshot and by 65,536 signs.
type Ejector struct {
	snap  mesh.Snapshot // as last applied
	state map[key]*instance
	signs int // in all runs

	// What Apply returned last, to return the same pointers again.
	made  map[string]replaced // by service
	in    []*mesh.Service
	out   []*mesh.Service
	fresh bool // out fits in and state
}

type key struct{ service, id string }

// instance is what is remembered of one that failed.
type instance struct {
	addr     netip.AddrPort // another address is another instance
	run      []failure      // failures in a row, oldest first
	failures uint64         // since base
	base     Counts         // at the first poll of the run
	polled   Counts         // at the last poll
	polls    int            // of the run
	times    int            // ejections, less those that have been forgiven
	out      bool
	last     Ejected   // when out
	back     time.Time // since when it is in again, or one ejection was forgiven
}

type failure struct {
	at     time.Time
	kind   Kind
	client netip.AddrPort
}

type replaced struct {
	from, to *mesh.Service
	ids      string // ejected ones
}

// New returns an Ejector that knows no service until Apply.
func New() *Ejector {
	return &Ejector{state: map[key]*instance{}, made: map[string]replaced{}}
}

// Failed notes a failure. Nobody is ejected before the next Poll, which knows
// whether other connections succeeded meanwhile. A sign of an instance that
// is unknown, unhealthy, or out already is ignored, and so is a sign that
// exceeds the bound.
func (e *Ejector) Failed(s Sign, at time.Time) {
	service, i := e.find(key{s.Service, s.Instance})
	if i == nil || !i.Healthy || service.Limits.Ejection.Failures == 0 {
		return
	}
	k := key{service.Name, i.ID}
	st := e.state[k]
	if st == nil {
		st = &instance{addr: i.Addr}
		e.state[k] = st
	}
	if st.out || e.signs >= mostSigns {
		return
	}
	if s.Kind == Unanswered && slices.ContainsFunc(st.run, func(f failure) bool { return f.kind == Unanswered && f.client == s.Client }) {
		return
	}
	st.failures++
	// More than Failures of them decide nothing: the oldest makes room.
	if uint64(len(st.run)) >= uint64(service.Limits.Ejection.Failures) {
		st.run = slices.Delete(st.run, 0, 1)
		e.signs--
	}
	st.run = append(st.run, failure{at, s.Kind, s.Client})
	e.signs++
}

// Poll decides. Counts is asked for the instances that failed of late, and is
// not ok when it has no counters of one. It is best called every one to five
// seconds: a SYN comes again after one. Poll returns whether somebody was
// ejected, and Apply has something new to tell.
//
// Switches show each failure, but successes only as counters. So "in a row"
// means here that too few others succeeded meanwhile. A run of failures ends
// when the instance sends more than bare resets and, since the run began, more
// connections were opened up to the last poll than have failed up to now. An
// instance at which half of them succeed is not ejected, and one at which
// none do always is; in between it depends on how they fall on the polls.
func (e *Ejector) Poll(counts func(service, id string) (Counts, bool), now time.Time) bool {
	changed := false
	for _, k := range e.keys() {
		st := e.state[k]
		service, i := e.find(k)
		if st.out || len(st.run) == 0 || i == nil {
			continue
		}
		rule := service.Limits.Ejection
		c, ok := counts(k.service, k.id)
		if ok && st.polls > 0 && (c.Opened < st.polled.Opened || c.Packets < st.polled.Packets || c.Bytes < st.polled.Bytes) {
			st.polls = 0
		}
		if st.polls == 0 {
			st.base, st.polled, st.failures = c, c, 0
			st.polls = 1
			if ok {
				continue // the next poll can compare
			}
		} else if ok {
			alive := c.Bytes-st.base.Bytes > resetSize*(c.Packets-st.base.Packets)
			before, opened := st.polled.Opened-st.base.Opened, c.Opened-st.base.Opened
			st.polled = c
			st.polls++
			if alive && before > st.failures {
				e.endRun(st)
				continue
			}
			if alive && opened > st.failures && st.polls <= undecided {
				continue
			}
		}
		e.expire(st, now.Add(-cmp.Or(rule.Interval, defaultInterval)))
		if uint64(len(st.run)) < uint64(rule.Failures) || rule.Failures == 0 || !e.mayGo(service, i) {
			continue
		}
		e.eject(k, st, rule, now)
		changed = true
	}
	return changed
}

// Watching tells whether Poll has anything to decide: it needs no counters
// while nothing has failed.
func (e *Ejector) Watching() bool { return e.signs > 0 }

// eject takes an instance out.
func (e *Ejector) eject(k key, st *instance, rule mesh.Ejection, now time.Time) {
	base := cmp.Or(rule.BaseTime, defaultBaseTime)
	st.forgive(base, now)
	st.times++
	d := max(longest, base)
	if base <= d/time.Duration(st.times) {
		d = base * time.Duration(st.times)
	}
	st.last = Ejected{Service: k.service, Instance: k.id, Since: now, Until: now.Add(d), Times: st.times}
	for _, f := range st.run {
		if f.kind == Refused {
			st.last.Refused++
		} else {
			st.last.Unanswered++
		}
	}
	e.endRun(st)
	st.out = true
	e.fresh = false
}

// forgive takes back one past ejection for each BaseTime spent in.
func (st *instance) forgive(base time.Duration, now time.Time) {
	for st.times > 0 && !st.out && now.Sub(st.back) >= base {
		st.times--
		st.back = st.back.Add(base)
	}
}

// expire drops the failures of a run up to a time.
func (e *Ejector) expire(st *instance, until time.Time) {
	n := 0
	for n < len(st.run) && !st.run[n].at.After(until) {
		n++
	}
	st.run = slices.Delete(st.run, 0, n)
	e.signs -= n
	if len(st.run) == 0 {
		e.endRun(st)
	}
}

func (e *Ejector) endRun(st *instance) {
	e.signs -= len(st.run)
	st.run, st.polls, st.failures = nil, 0, 0
}

// find looks an instance up in the snapshot; it is nil when there is none. One
// that drains may have the id of its successor: then it is the healthy one.
func (e *Ejector) find(k key) (*mesh.Service, *mesh.Instance) {
	s, ok := slices.BinarySearchFunc(e.snap.Services, k.service, func(s *mesh.Service, name string) int { return cmp.Compare(s.Name, name) })
	if !ok {
		return nil, nil
	}
	service := e.snap.Services[s]
	i, ok := slices.BinarySearchFunc(service.Instances, k.id, func(i mesh.Instance, id string) int { return cmp.Compare(i.ID, id) })
	if !ok {
		return service, nil
	}
	found := &service.Instances[i]
	for ; i < len(service.Instances) && service.Instances[i].ID == k.id; i++ {
		if service.Instances[i].Healthy {
			return service, &service.Instances[i]
		}
	}
	return service, found
}

// keys are those of the state, sorted so that one history has one outcome.
func (e *Ejector) keys() []key {
	all := make([]key, 0, len(e.state))
	for k := range e.state {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.id, b.id))
	})
	return all
}
