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

// root is a request of the client, as its own host saw it.
type root struct {
	exchange
	number int   // on its connection, from 0
	before int64 // when the answer before it on the same connection was there; 0: there was none
	alone  bool  // no other request of the client was under way
}

// roots finds the client's requests, by the times at which they were sent.
func (m *model) roots(packets []Packet, ports []Port) []root {
	legs := m.first(m.Lab.Client.Node, m.up)
	var all []root
	for f, segments := range m.flows(packets, ports) {
		if !f.begins(legs) {
			continue
		}
		var before int64
		for i, e := range exchanges(f, segments) {
			all = append(all, root{exchange: e, number: i, before: before, alone: true})
			before = e.answered
		}
	}
	slices.SortFunc(all, func(a, b root) int {
		return cmp.Or(cmp.Compare(a.sent, b.sent), cmp.Compare(a.client.Port(), b.client.Port()))
	})
	latest := -1 // the one that ends last so far
	for i := range all {
		if latest >= 0 && all[i].sent < all[latest].answered {
			all[i].alone, all[latest].alone = false, false
		}
		if latest < 0 || all[i].answered > all[latest].answered {
			latest = i
		}
	}
	return all
}

// begins says whether the flow is at the caller's end of one of the legs.
func (f flow) begins(legs []leg) bool {
	return f.caller && slices.ContainsFunc(legs, func(l leg) bool {
		return f.host == l.from && f.local == l.local && f.server == l.near
	})
}

// trace puts one request together, from the packets of its time.
func (m *model) trace(r root, packets []Packet, ports []Port) (trace, error) {
	switch {
	case !r.alone:
		return trace{}, errOverlap
	case r.before == 0:
		return trace{}, errFirst
	}
	from := sort.Search(len(packets), func(i int) bool { return packets[i].At >= r.sent })
	to := sort.Search(len(packets), func(i int) bool { return packets[i].At > r.answered })
	w := &window{model: m, flows: m.flows(packets[from:to], ports), taken: map[int]bool{}}
	w.cut()
	client := m.Lab.Client.Node
	w.add(step{Span: scenarios.Span{Kind: scenarios.SpanClient, Where: client, What: "client"}, course: "client", start: r.before, end: r.sent})
	hops, err := w.hops(m.first(client, m.up), r.sent, r.answered)
	if err == nil && len(hops) != 1 {
		err = errSeveral
		if len(hops) == 0 {
			err = errUnseen
		}
	}
	if err == nil {
		err = w.call(hops[0], caller{name: "client", course: "client"}, m.up.Service, m.up.Service)
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
	*model
	flows     map[flow][]segment
	exchanges []exchange   // of the callers' sides, by the time they were sent
	taken     map[int]bool // those that have their place
	steps     []step
}

func (w *window) cut() {
	for f, segments := range w.flows {
		if f.caller {
			w.exchanges = append(w.exchanges, exchanges(f, segments)...)
		}
	}
	slices.SortFunc(w.exchanges, func(a, b exchange) int {
		return cmp.Or(cmp.Compare(a.sent, b.sent), a.client.Compare(b.client), a.server.Compare(b.server))
	})
}

func (w *window) add(s step) { w.steps = append(w.steps, s) }

// hops finds the exchanges that one of the legs carried between two times,
// and takes them. That one is taken already is an error: it would belong to
// two callers.
func (w *window) hops(legs []leg, from, to int64) (all []hop, err error) {
	for i, e := range w.exchanges {
		if e.sent < from || e.answered > to || !e.begins(legs) {
			continue
		}
		if w.taken[i] {
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
	for f, segments := range w.flows {
		if f.caller || f.local || f.host != l.to || f.server != l.far || f.client.Port() != e.client.Port() ||
			f.client.Addr() != e.client.Addr() && !(l.from == l.to && f.client.Addr() == w.Lab.Mesh.Hairpin) {
			continue
		}
		at, came := first(segments, e.request, false)
		done, went := complete(segments, e.answer, true)
		if came && went {
			return at, done, true
		}
	}
	return 0, 0, false
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
			legs := w.between(h.from, service)
			if prev.instance != nil {
				legs = []leg{w.last(prev.instance)}
			}
			next, err := w.hops(legs, prev.arrived, prev.left)
			switch {
			case err != nil:
				return err
			case len(next) == 0:
				return errMissing
			case len(next) > 1:
				return errSeveral
			}
			chain = append(chain, next[0])
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
		hops, err := w.hops(w.first(svc.Node, up), from, to)
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
