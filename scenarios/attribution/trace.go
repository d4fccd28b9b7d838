package attribution

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// hop is an exchange on one leg, as both ends saw it: the request leaves the
// caller's host and reaches the server's, the answer leaves and reaches.
type hop struct {
	leg
	sent, arrived, left, answered int64
}

// step is a span of one request.
type step struct {
	scenarios.Span
	course     string // tells it from all others of the request, alike in all requests
	start, end int64  // nanoseconds
	within     int64  // of that, spent in calls
}

// trace is a request that was put together.
type trace struct{ steps []step }

func (t trace) course() string {
	names := make([]string, len(t.steps))
	for i, s := range t.steps {
		names[i] = s.course
	}
	return strings.Join(names, "\n")
}

// seen is what the packets of a capture come to: connections, and what was
// exchanged over them.
type seen struct {
	*model
	exchanges []exchange         // as their callers' hosts saw them, by the time they were sent
	broken    []exchange         // of which bytes are missing
	far       map[end][]flow     // connections as their servers' hosts saw them, but for loopback
	segments  map[flow][]segment // of these, by time
}

// sort reads a capture. What is no packet of it is left out.
func (m *model) sort(c Capture) *seen {
	packets := make([]Packet, 0, len(c.Packets))
	for _, p := range c.Packets {
		if p.Port >= 0 && p.Port < len(c.Ports) && p.At >= 0 && p.Payload > 0 && p.Payload <= maxPayload {
			packets = append(packets, p)
		}
	}
	slices.SortStableFunc(packets, func(a, b Packet) int { return cmp.Compare(a.At, b.At) })
	s := &seen{model: m, far: map[end][]flow{}, segments: m.flows(packets, c.Ports)}
	for f, segments := range s.segments {
		if f.caller {
			for _, e := range exchanges(f, segments) {
				if e.whole {
					s.exchanges = append(s.exchanges, e)
				} else {
					s.broken = append(s.broken, e)
				}
			}
		} else {
			at := end{f.host, f.server, f.client.Port()}
			s.far[at] = append(s.far[at], f)
		}
	}
	slices.SortFunc(s.exchanges, func(a, b exchange) int {
		return cmp.Or(cmp.Compare(a.sent, b.sent), a.client.Compare(b.client), a.server.Compare(b.server), cmp.Compare(a.number, b.number))
	})
	return s
}

// root is a request of the client, as its own host saw it.
type root struct {
	exchange
	before int64 // when the answer before it on the same connection was there; -1: that was not seen
	alone  bool  // no other request of the client was under way
}

// roots finds the client's requests, by the times at which they were sent, and
// how many behind the first skip of their connection have bytes missing.
func (s *seen) roots(skip int) (all []root, broken int) {
	legs := s.firstLegs(s.Lab.Client.Node, s.up)
	for _, e := range s.broken {
		if e.begins(legs) && e.number >= skip {
			broken++
		}
	}
	last := map[flow]exchange{}
	latest := -1 // the one that ends last so far
	for _, e := range s.exchanges {
		if !e.begins(legs) {
			continue
		}
		r := root{exchange: e, before: -1, alone: true}
		if p, ok := last[e.flow]; ok && p.request.to == e.request.from {
			r.before = p.answered
		}
		last[e.flow] = e
		if latest >= 0 && e.sent < all[latest].answered {
			r.alone, all[latest].alone = false, false
		}
		if latest >= 0 && r.before >= 0 && r.before < all[latest].answered { // since the last answer
			r.alone = false
		}
		all = append(all, r)
		if latest < 0 || e.answered > all[latest].answered {
			latest = len(all) - 1
		}
	}
	return all, broken
}

// begins tells whether the flow is at the caller's end of one of the legs.
func (f flow) begins(legs []leg) bool {
	return f.caller && slices.ContainsFunc(legs, func(l leg) bool {
		return f.host == l.from && f.local == l.local && f.server == l.near
	})
}

// trace puts one request together.
func (s *seen) trace(r root) (trace, error) {
	switch {
	case !r.alone:
		return trace{}, errOverlap
	case r.before < 0:
		return trace{}, errFirst
	}
	w := &window{seen: s, taken: map[int]bool{}}
	client := s.Lab.Client.Node
	w.add(step{Span: scenarios.Span{Kind: scenarios.SpanClient, Where: client, What: "client"}, course: "client", start: r.before, end: r.sent})
	h, err := w.hop(s.firstLegs(client, s.up), r.sent, r.answered)
	if err == nil {
		err = w.call(h, caller{name: "client", course: "client"}, s.up.Service, s.up.Service)
	}
	if err != nil {
		return trace{}, err
	}
	for _, s := range w.steps {
		if s.end < s.start {
			return trace{}, errOrder
		}
	}
	return trace{w.steps}, nil
}

// window is the time of one request.
type window struct {
	*seen
	taken map[int]bool // exchanges that have their place
	steps []step
}

func (w *window) add(s step) { w.steps = append(w.steps, s) }

// hops finds the exchanges that one of the legs carried between two times,
// and takes them. That one is taken already is an error: it would belong to
// two callers.
func (w *window) hops(legs []leg, from, to int64) (all []hop, err error) {
	for _, e := range w.broken {
		if e.begins(legs) && e.sent <= to && e.answered >= from {
			return nil, errHoles
		}
	}
	at := sort.Search(len(w.exchanges), func(i int) bool { return w.exchanges[i].sent >= from })
	for i := at; i < len(w.exchanges) && w.exchanges[i].sent <= to; i++ {
		e := w.exchanges[i]
		switch {
		case !e.begins(legs):
			continue
		case e.answered > to:
			continue
		case w.taken[i]:
			return nil, errSeveral
		}
		w.taken[i] = true
		h, err := w.follow(e, legs)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// hop is hops where there must be one.
func (w *window) hop(legs []leg, from, to int64) (hop, error) {
	all, err := w.hops(legs, from, to)
	switch {
	case err != nil:
		return hop{}, err
	case len(all) == 0:
		return hop{}, errMissing
	case len(all) > 1:
		return hop{}, errSeveral
	}
	return all[0], nil
}

// follow finds the server's end of an exchange.
func (w *window) follow(e exchange, legs []leg) (found hop, err error) {
	err = errUnseen
	for _, l := range legs {
		if !e.begins([]leg{l}) {
			continue
		}
		h := hop{leg: l, sent: e.sent, arrived: e.sent, left: e.answered, answered: e.answered}
		if !l.local {
			var ok bool
			if h.arrived, h.left, ok = w.farEnd(e, l); !ok {
				continue
			}
		}
		if err == nil {
			return hop{}, errSeveral
		}
		found, err = h, nil
	}
	return found, err
}

// farEnd looks for the bytes of an exchange where the server is. A switch that
// rewrites addresses leaves the client's port and the sequence numbers alone;
// of a connection from a host to itself it changes the client's address.
func (w *window) farEnd(e exchange, l leg) (arrived, left int64, ok bool) {
	for _, f := range w.far[end{l.to, l.far, e.client.Port()}] {
		if f.client.Addr() != e.client.Addr() && !(l.from == l.to && f.client.Addr() == w.Lab.Mesh.Hairpin) {
			continue
		}
		segments := during(w.segments[f], e.sent, e.answered)
		at, came := first(segments, e.request, false)
		done, went := complete(segments, e.answer, true)
		if came && went {
			return at, done, true
		}
	}
	return 0, 0, false
}

// during returns the segments of a time.
func during(all []segment, from, to int64) []segment {
	i := sort.Search(len(all), func(i int) bool { return all[i].at >= from })
	j := sort.Search(len(all), func(i int) bool { return all[i].at > to })
	return all[i:max(i, j)]
}

// caller is who makes a call.
type caller struct {
	name   string
	course string
	depth  int
}

// call adds the spans of a call that begins with a hop, and of all calls
// within it.
func (w *window) call(h hop, by caller, service, name string) error {
	chain := []hop{h}
	if w.Sidecars != nil {
		for range 2 {
			prev := chain[len(chain)-1]
			legs := w.sidecarLegs(h.from, service)
			if prev.instance != nil {
				legs = []leg{w.lastLeg(prev.instance)}
			}
			next, err := w.hop(legs, prev.arrived, prev.left)
			if err != nil {
				return err
			}
			chain = append(chain, next)
		}
	}
	course := by.course + "/" + name
	span := func(kind scenarios.SpanKind, where, what string, start, end int64) step {
		return step{
			Span:   scenarios.Span{Kind: kind, Where: where, What: what, Depth: by.depth},
			course: course + ": " + what, start: start, end: end,
		}
	}
	// There, and back: the times are in the order of the hops and against it.
	var back []step
	for i, c := range chain {
		sidecar := "sidecar of " + service
		if i == 1 {
			sidecar = "sidecar of " + by.name
		}
		if i > 0 {
			w.add(span(scenarios.SpanProxy, c.from, sidecar+", request", chain[i-1].arrived, c.sent))
			back = append(back, span(scenarios.SpanProxy, c.from, sidecar+", answer", c.answered, chain[i-1].left))
		}
		if !c.local {
			w.add(span(scenarios.SpanSwitch, w.switches(c.from, c.to), "request to "+name, c.sent, c.arrived))
			back = append(back, span(scenarios.SpanSwitch, w.switches(c.to, c.from), "answer of "+name, c.left, c.answered))
		}
	}
	end := chain[len(chain)-1]
	at := len(w.steps)
	w.add(span(scenarios.SpanService, end.instance.Node, name, end.arrived, end.left))
	slices.Reverse(back)
	w.steps = append(w.steps, back...)
	within, err := w.calls(end.instance, caller{service, course, by.depth + 1}, end.arrived, end.left)
	w.steps[at].within = within
	return err
}

// calls adds the calls of an instance between two times, and returns how much
// of that they took.
func (w *window) calls(svc *topo.Service, by caller, from, to int64) (within int64, err error) {
	type found struct {
		hop
		service string
	}
	var all []found
	for _, up := range svc.Upstreams {
		hops, err := w.hops(w.firstLegs(svc.Node, up), from, to)
		if err != nil {
			return 0, err
		}
		for _, h := range hops {
			all = append(all, found{h, up.Service})
		}
	}
	count, number := map[string]int{}, map[string]int{}
	for _, f := range all {
		count[f.service]++
	}
	for _, f := range all {
		number[f.service]++
		name := f.service
		if count[f.service] > 1 {
			name = fmt.Sprintf("%s (%d)", f.service, number[f.service])
		}
		if err := w.call(f.hop, by, f.service, name); err != nil {
			return 0, err
		}
	}
	// Calls may overlap: time is counted once.
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.hop.sent, b.hop.sent) })
	until := from
	for _, f := range all {
		if f.hop.answered > until {
			within += f.hop.answered - max(until, f.hop.sent)
			until = f.hop.answered
		}
	}
	return within, nil
}
