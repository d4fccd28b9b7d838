package metrics

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"meshlab.dev/meshlab/controller/pipeline"
)

// clock is a time that a test sets.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time          { return c.now }
func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

// story drives an accumulator over one switch, s1, with one flow, 7.
type story struct {
	*Accumulator
	*clock
	counter pipeline.Counter
	highest uint64
	fell    bool // the total has gone backwards at some time
}

func newStory() *story {
	c := newClock()
	s := &story{Accumulator: New(c.Now), clock: c, counter: pipeline.Counter{Kind: pipeline.CountSent, Source: "web", Destination: "api"}}
	s.learn()
	return s
}

func (s *story) learn() { s.Learn("s1", map[uint64]pipeline.Counter{7: s.counter}) }

// poll reads the switch: the flow with n packets of 100 bytes, and one that
// was never learned.
func (s *story) poll(n uint64) {
	s.Begin("s1").End([]Stat{{7, n, 100 * n}, {99, 1e6, 1e9}})
	s.look()
}

// miss reads a switch that does not list the flow.
func (s *story) miss() { s.Begin("s1").End([]Stat{{99, 1e6, 1e9}}) }

func (s *story) removed(n uint64) {
	s.Removed("s1", Stat{7, n, 100 * n})
	s.look()
}

func (s *story) look() {
	s.fell = s.fell || s.total() < s.highest
	s.highest = s.total()
}

func (s *story) total() uint64 { return s.datapaths["s1"].series[s.counter].now.packets }

func TestAccumulator(t *testing.T) {
	for name, tc := range map[string]struct {
		tell func(s *story)
		want uint64
	}{
		"a flow that counts":                       {func(s *story) { s.poll(3); s.poll(5) }, 5},
		"flows from before a restart of ours":      {func(s *story) { s.poll(1000) }, 1000},
		"never polled":                             {func(s *story) { s.removed(9) }, 9},
		"event before the poll that misses it":     {func(s *story) { s.poll(3); s.removed(9); s.miss() }, 9},
		"event after the poll that misses it":      {func(s *story) { s.poll(3); s.miss(); s.removed(9) }, 9},
		"missing from one poll only":               {func(s *story) { s.poll(3); s.miss(); s.poll(5) }, 5},
		"added again, event first":                 {func(s *story) { s.poll(3); s.removed(9); s.poll(2) }, 11},
		"added again, event last":                  {func(s *story) { s.poll(3); s.poll(2); s.removed(9); s.poll(4) }, 13},
		"added again, more than before":            {func(s *story) { s.poll(3); s.poll(20); s.removed(9); s.poll(21) }, 30},
		"added again, as many as the event":        {func(s *story) { s.poll(3); s.poll(5); s.removed(9); s.poll(6) }, 15},
		"added again, missed in between":           {func(s *story) { s.poll(3); s.miss(); s.poll(2); s.removed(9) }, 11},
		"a life between two polls":                 {func(s *story) { s.poll(3); s.removed(4); s.removed(6); s.poll(1) }, 11},
		"two lives over, events late":              {func(s *story) { s.poll(9); s.poll(5); s.poll(1); s.removed(10); s.removed(6) }, 17},
		"two lives over, events in the other way":  {func(s *story) { s.poll(9); s.poll(5); s.poll(1); s.removed(6); s.removed(10) }, 17},
		"left the program, event later":            {func(s *story) { s.poll(3); s.advance(patience / 2); s.miss(); s.removed(9) }, 9},
		"event that nobody waits for any more":     {func(s *story) { s.poll(3); s.advance(2 * patience); s.miss(); s.removed(9) }, 3},
		"forgotten and learned again":              {func(s *story) { s.poll(3); s.advance(2 * patience); s.miss(); s.learn(); s.poll(2) }, 5},
		"switch restarted":                         {func(s *story) { s.poll(3); s.Reset("s1"); s.poll(2); s.poll(4) }, 7},
		"switch restarted, counts more":            {func(s *story) { s.poll(3); s.Reset("s1"); s.poll(4) }, 7},
		"restarted while a late event was due":     {func(s *story) { s.poll(3); s.poll(1); s.Reset("s1"); s.removed(2) }, 6},
		"connected again":                          {func(s *story) { s.poll(3); s.Resume("s1"); s.poll(5) }, 5},
		"connected again, later missing once":      {func(s *story) { s.poll(3); s.Resume("s1"); s.poll(5); s.miss(); s.poll(6) }, 6},
		"gone while not connected":                 {func(s *story) { s.poll(3); s.Resume("s1"); s.miss(); s.poll(4) }, 7},
		"added again while not connected":          {func(s *story) { s.poll(3); s.Resume("s1"); s.poll(1); s.removed(4) }, 7},
		"its event was lost, the next one was not": {func(s *story) { s.poll(3); s.poll(1); s.Resume("s1"); s.poll(2); s.removed(4) }, 7},
		"late event, and nothing waits a day": {func(s *story) {
			s.poll(3)
			s.poll(1)
			s.advance(patience / 2)
			s.poll(1)
			s.advance(patience * 2 / 3)
			s.poll(1)
			s.removed(4) // of the present life: the event of the first is lost
		}, 7},
		"a poll that was under way when the event came": {func(s *story) {
			s.poll(3)
			p := s.Begin("s1")
			s.removed(9)
			p.End([]Stat{{7, 8, 800}})
			s.miss()
		}, 9},
		"a poll that was overtaken": {func(s *story) {
			p := s.Begin("s1")
			s.poll(9)
			p.End([]Stat{{7, 8, 800}})
			s.poll(10)
		}, 10},
		"a poll of the connection before": {func(s *story) {
			p := s.Begin("s1")
			s.Reset("s1")
			p.End([]Stat{{7, 8, 800}})
			s.poll(2)
		}, 2},
		"listed twice in one poll": {func(s *story) {
			s.Begin("s1").End([]Stat{{7, 3, 300}, {7, 1, 100}})
			s.Begin("s1").End([]Stat{{7, 3, 300}, {7, 1, 100}})
		}, 3},
		"shown to the controller": {func(s *story) { s.poll(3); s.Add("s1", s.counter, 2); s.poll(4) }, 6},
		"another switch":          {func(s *story) { s.poll(3); s.Removed("s2", Stat{7, 9, 900}); s.Begin("s2").End([]Stat{{7, 8, 800}}) }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory()
			tc.tell(s)
			if got := s.total(); got != tc.want {
				t.Errorf("%d packets in total, want %d", got, tc.want)
			}
			if s.fell {
				t.Error("the total went backwards on the way")
			}
		})
	}
}

func TestBytesFollowPackets(t *testing.T) {
	s := newStory()
	s.poll(3)
	s.poll(1) // a new life
	s.removed(5)
	if got := s.datapaths["s1"].series[s.counter].now; got != (amount{6, 600}) {
		t.Errorf("got %+v", got)
	}
}

func TestFlowsOfOneCounterAddUp(t *testing.T) {
	s := newStory()
	s.Learn("s1", map[uint64]pipeline.Counter{8: s.counter})
	s.Begin("s1").End([]Stat{{7, 3, 300}, {8, 4, 400}})
	s.removed(5)
	s.Begin("s1").End([]Stat{{8, 6, 600}})
	if s.total() != 11 {
		t.Errorf("%d packets, want 5 of the one that has gone and 6 of the other", s.total())
	}
}

func TestNewLabelCountsFromThenOn(t *testing.T) {
	s := newStory()
	s.poll(3)
	old := s.total
	renamed := pipeline.Counter{Kind: pipeline.CountSent, Source: "web-2", Destination: "api"}
	s.Learn("s1", map[uint64]pipeline.Counter{7: renamed})
	s.poll(5)
	if old() != 3 || s.datapaths["s1"].series[renamed].now.packets != 2 {
		t.Errorf("old label %d, new one %+v", old(), s.datapaths["s1"].series[renamed].now)
	}
}

// What no longer exists does not fill the memory for ever.
func TestForgets(t *testing.T) {
	s := newStory()
	s.poll(3)
	for range 3 * retention / patience {
		s.advance(patience)
		s.poll(3)
	}
	if s.total() != 3 {
		t.Fatal("the total of a flow that is there but idle went")
	}
	s.Add("s1", pipeline.Counter{Kind: pipeline.CountResets, Instance: "h1/api"}, 1)
	s.advance(patience + time.Second)
	s.miss()
	if d := s.datapaths["s1"]; len(d.flows) != 0 || len(d.series) != 2 {
		t.Fatalf("after a minute: %d flows and %d totals, want none and both", len(d.flows), len(d.series))
	}
	s.advance(retention)
	s.miss()
	if d := s.datapaths["s1"]; len(d.series) != 1 || d.series[s.counter] == nil {
		t.Fatalf("%v after the flow went: totals %v, want that of the flow and not that of the reset", retention, d.series)
	}
	s.advance(time.Second)
	s.miss()
	if d := s.datapaths["s1"]; len(d.series) != 0 {
		t.Errorf("%d totals are left", len(d.series))
	}
}

// modelSwitch is a switch as the accumulator may meet it: flows live and die,
// the events of their deaths are under way for a while, and so are the answers
// to polls.
type modelSwitch struct {
	flows   map[uint64]amount // alive
	truth   map[uint64]amount // of all lives, by cookie
	events  []Stat            // sent, in order, not delivered yet
	pending []modelPoll
}

// modelPoll is a question that is under way.
type modelPoll struct {
	poll     Poll
	answered bool
	stats    []Stat
}

const modelCookies = 4

func (m *modelSwitch) answer(skip uint64) []Stat {
	var out []Stat
	for c, n := range m.flows {
		if c != skip {
			out = append(out, Stat{c, n.packets, n.bytes})
		}
	}
	return out
}

// TestAccumulatorAgainstModel plays a switch whose events and answers come
// late. The totals never fall, never exceed what the switch really counted,
// and are exact once everything has arrived.
func TestAccumulatorAgainstModel(t *testing.T) { rapid.Check(t, checkModel) }

func FuzzAccumulatorAgainstModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkModel)) }

func checkModel(t *rapid.T) {
	c := newClock()
	a := New(c.Now)
	m := &modelSwitch{flows: map[uint64]amount{}, truth: map[uint64]amount{}}
	counter := func(cookie uint64) pipeline.Counter {
		return pipeline.Counter{Kind: pipeline.CountSent, Source: fmt.Sprint(cookie)}
	}
	total := func(cookie uint64) amount {
		if s := a.datapath("s1").series[counter(cookie)]; s != nil {
			return s.now
		}
		return amount{}
	}
	cookie := rapid.Uint64Range(0, modelCookies-1)
	shown := map[uint64]amount{}
	deliver := func() {
		a.Removed("s1", m.events[0])
		m.events = m.events[1:]
	}
	// forgive takes what the totals say for the truth, after a loss that
	// nobody can make good.
	forgive := func() {
		for k := range uint64(modelCookies) {
			m.truth[k] = total(k)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"add": func(t *rapid.T) {
			k := cookie.Draw(t, "cookie")
			if _, ok := m.flows[k]; ok {
				t.Skip("it is there")
			}
			a.Learn("s1", map[uint64]pipeline.Counter{k: counter(k)})
			m.flows[k] = amount{}
		},
		"traffic": func(t *rapid.T) {
			k := cookie.Draw(t, "cookie")
			n, ok := m.flows[k]
			if !ok {
				t.Skip("no flow")
			}
			more := amount{rapid.Uint64Range(1, 20).Draw(t, "packets"), rapid.Uint64Range(1, 2000).Draw(t, "bytes")}
			m.flows[k] = amount{n.packets + more.packets, n.bytes + more.bytes}
			m.truth[k] = amount{m.truth[k].packets + more.packets, m.truth[k].bytes + more.bytes}
		},
		"delete": func(t *rapid.T) {
			k := cookie.Draw(t, "cookie")
			n, ok := m.flows[k]
			if !ok {
				t.Skip("no flow")
			}
			delete(m.flows, k)
			m.events = append(m.events, Stat{k, n.packets, n.bytes})
		},
		"deliver an event": func(t *rapid.T) {
			if len(m.events) == 0 {
				t.Skip("none")
			}
			deliver()
		},
		"ask": func(*rapid.T) { m.pending = append(m.pending, modelPoll{poll: a.Begin("s1")}) },
		"answer": func(t *rapid.T) { // the switch answers any question, and may miss a flow
			if len(m.pending) == 0 {
				t.Skip("none")
			}
			i := rapid.IntRange(0, len(m.pending)-1).Draw(t, "poll")
			if m.pending[i].answered {
				t.Skip("answered")
			}
			m.pending[i].answered = true
			m.pending[i].stats = m.answer(rapid.Uint64Range(0, 4*modelCookies).Draw(t, "missed"))
		},
		"take an answer": func(t *rapid.T) {
			if len(m.pending) == 0 {
				t.Skip("none")
			}
			i := rapid.IntRange(0, len(m.pending)-1).Draw(t, "poll")
			if !m.pending[i].answered {
				t.Skip("not answered")
			}
			m.pending[i].poll.End(m.pending[i].stats)
			m.pending = append(m.pending[:i:i], m.pending[i+1:]...)
		},
		"poll": func(*rapid.T) {
			p := a.Begin("s1")
			p.End(m.answer(modelCookies))
		},
		"restart of the switch": func(*rapid.T) {
			m.flows, m.events = map[uint64]amount{}, nil
			for i := range m.pending {
				m.pending[i].stats = nil // whatever of an answer comes later is of the old connection
			}
			a.Reset("s1")
			forgive()
		},
		"cut of the connection": func(t *rapid.T) {
			m.events = nil
			if k := cookie.Draw(t, "goes meanwhile"); rapid.Bool().Draw(t, "something goes") {
				delete(m.flows, k)
			}
			a.Resume("s1")
			p := a.Begin("s1")
			p.End(m.answer(modelCookies))
			for k := range uint64(modelCookies) {
				if got, truth := total(k), m.truth[k]; !truth.covers(got) {
					t.Fatalf("cookie %d after a cut: total %+v, but the switch counted %+v", k, got, truth)
				}
			}
			forgive()
		},
		"": func(t *rapid.T) {
			for k := range uint64(modelCookies) {
				got, truth := total(k), m.truth[k]
				if !got.covers(shown[k]) {
					t.Fatalf("cookie %d: the total fell from %+v to %+v", k, shown[k], got)
				}
				if !truth.covers(got) {
					t.Fatalf("cookie %d: total %+v, but the switch counted %+v", k, got, truth)
				}
				shown[k] = got
			}
		},
	})
	for len(m.events) > 0 {
		deliver()
	}
	a.Begin("s1").End(m.answer(modelCookies))
	for k := range uint64(modelCookies) {
		if got, truth := total(k), m.truth[k]; got != truth {
			t.Fatalf("cookie %d, when all has arrived: total %+v, the switch counted %+v", k, got, truth)
		}
	}
}

func BenchmarkPoll(b *testing.B) {
	c := newClock()
	a := New(c.Now)
	const flows = 60_000
	counters, stats := map[uint64]pipeline.Counter{}, make([]Stat, flows)
	for i := range uint64(flows) {
		counters[i] = pipeline.Counter{Kind: pipeline.CountSent, Source: "client", Destination: fmt.Sprintf("service-%d", i)}
		stats[i].Cookie = i
	}
	a.Learn("s1", counters)
	for b.Loop() {
		for i := range stats {
			stats[i].Packets++
		}
		c.advance(time.Second)
		a.Begin("s1").End(stats)
	}
}
