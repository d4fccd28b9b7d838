// Package metrics makes of flow counters what people watch a mesh by: totals
// that outlive the flows, rates, and a page for Prometheus. What the flows
// are and how they are read, it does not know: it is told.
package metrics

import (
	"slices"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/pipeline"
)

const (
	// patience is how long the event of a flow that has gone is waited for,
	// and how long a flow that no poll lists is remembered.
	patience = time.Minute
	// retention is how long a total without flows that does not grow is kept:
	// long enough for every scrape and for a restart of what it counts.
	retention = time.Hour
)

// Accumulator adds up the counters of flows. Its totals never go backwards,
// whatever becomes of the flows: they are deleted and added again, their last
// counters arrive before or after the poll that misses them, or a poll misses
// one that is there. Methods may be called from several goroutines.
//
// Two things it relies on. A switch begins every flow at zero: Open vSwitch
// 3.1 lets a flow that replaces another (same table, priority and match)
// inherit the counters, and sends no event for the old one; so the old one
// must be deleted first, in the same bundle if need be. And events of one
// connection are told before Reset or Resume announces the next.
type Accumulator struct {
	now func() time.Time

	mu        sync.Mutex
	datapaths map[string]*datapath
}

// Stat is what a switch has counted with one flow since it installed it.
type Stat struct {
	Cookie  uint64
	Packets uint64
	Bytes   uint64
}

// New makes an empty accumulator. now is the clock.
func New(now func() time.Time) *Accumulator {
	return &Accumulator{now: now, datapaths: map[string]*datapath{}}
}

// datapath is what is known of the flows of one switch.
type datapath struct {
	flows  map[uint64]*flowState
	series map[pipeline.Counter]*series

	clock  uint64    // grows with each event and poll, to tell their order
	ended  uint64    // clock of the last poll that counted, or of the last connection
	lost   bool      // what the next poll misses has gone without an event
	read   time.Time // of the last poll that counted
	before time.Time // of the one before it
}

// series is one total.
type series struct {
	now     amount
	mark    amount // what it was before the last poll
	flows   int    // that count into it
	changed time.Time
}

// amount is a number of packets and of bytes in them.
type amount struct{ packets, bytes uint64 }

// covers tells whether a counter that read b can read a later.
func (a amount) covers(b amount) bool { return a.packets >= b.packets && a.bytes >= b.bytes }

func (s *series) add(a, less amount, now time.Time) {
	s.now.packets += a.packets - less.packets
	s.now.bytes += a.bytes - less.bytes
	if a != less {
		s.changed = now
	}
}

// flowState follows one cookie through the lives of its flow: it is added,
// counts from zero, and goes. At any time the total holds, of each life, the
// last value told.
type flowState struct {
	series  *series
	last    amount // of the present life; zero: none, or nothing counted yet
	ended   []life // lives that are over and whose event has not come
	removed uint64 // clock of the last event
	listed  uint64 // clock of the last poll that has it
	seen    time.Time
}

// life is the time of a flow from its installation to its removal.
type life struct {
	last amount
	over time.Time
}

// datapath gives the state of a switch. The caller holds mu.
func (a *Accumulator) datapath(name string) *datapath {
	d := a.datapaths[name]
	if d == nil {
		d = &datapath{flows: map[uint64]*flowState{}, series: map[pipeline.Counter]*series{}}
		a.datapaths[name] = d
	}
	return d
}

func (d *datapath) total(c pipeline.Counter, now time.Time) *series {
	s := d.series[c]
	if s == nil {
		s = &series{changed: now}
		d.series[c] = s
	}
	return s
}

// Learn tells what the flows with these cookies count. It must know a flow
// before the switch gets it: all of the program when a connection begins,
// then what each change adds. What leaves the program needs no telling.
func (a *Accumulator) Learn(datapath string, counters map[uint64]pipeline.Counter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, now := a.datapath(datapath), a.now()
	for cookie, c := range counters {
		s := d.total(c, now)
		f := d.flows[cookie]
		if f == nil {
			f = &flowState{}
			d.flows[cookie] = f
		}
		if f.series != s {
			if f.series != nil {
				f.series.flows--
			}
			f.series = s
			s.flows++
		}
		f.seen = now
	}
}

// Poll is one reading of all flows of a switch.
type Poll struct {
	a        *Accumulator
	datapath string
	began    uint64
}

// Begin is called before the switch is asked for its flows.
func (a *Accumulator) Begin(datapath string) Poll {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.datapath(datapath)
	d.clock++
	return Poll{a: a, datapath: datapath, began: d.clock}
}

// End takes the answer. Cookies that were never learned are passed over. It
// counts nothing when another poll of the switch, or a new connection, ended
// since Begin: nobody knows then which of the two values is the later one.
// A poll whose question failed is dropped without End.
func (p Poll) End(stats []Stat) {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	d, now := p.a.datapath(p.datapath), p.a.now()
	if d.ended > p.began {
		return
	}
	d.clock++
	d.ended = d.clock
	d.before, d.read = d.read, now
	for _, s := range d.series {
		s.mark = s.now
	}
	for _, st := range stats {
		f := d.flows[st.Cookie]
		if f == nil || f.listed == d.clock {
			continue
		}
		f.listed, f.seen = d.clock, now
		if f.removed < p.began { // else: this may be what was read before it went
			f.sample(amount{st.Packets, st.Bytes}, d.lost, now)
		}
	}
	for cookie, f := range d.flows {
		if d.lost && f.listed != d.clock {
			f.last = amount{}
		}
		f.ended = slices.DeleteFunc(f.ended, func(l life) bool { return now.Sub(l.over) > patience })
		if now.Sub(f.seen) > patience {
			f.series.flows--
			f.series.changed = now
			delete(d.flows, cookie)
		}
	}
	d.lost = false
	for c, s := range d.series {
		if s.flows == 0 && now.Sub(s.changed) > retention {
			delete(d.series, c)
		}
	}
}

// sample takes a value of the present life. One that is below the last is of
// a new life; whether the event of the old one has been lost, the caller knows.
func (f *flowState) sample(v amount, lost bool, now time.Time) {
	if !v.covers(f.last) {
		if !lost {
			f.ended = append(f.ended, life{f.last, now})
		}
		f.last = amount{}
	}
	f.series.add(v, f.last, now)
	f.last = v
}

// Removed takes the last counters of a flow that has gone. Cookies that were
// never learned, or not seen for a minute, are passed over.
func (a *Accumulator) Removed(datapath string, last Stat) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, now := a.datapath(datapath), a.now()
	f := d.flows[last.Cookie]
	if f == nil {
		return
	}
	d.clock++
	f.removed = d.clock
	v := amount{last.Packets, last.Bytes}
	// Which life is over is not told. The choice cannot count anything twice:
	// each life's last value is taken off once, and if that was of another life
	// than the event, the next value of that one counts as a whole.
	of := amount{} // a life that no poll has seen
	if i := slices.IndexFunc(f.ended, func(l life) bool { return v.covers(l.last) }); i >= 0 {
		of = f.ended[i].last
		f.ended = slices.Delete(f.ended, i, i+1)
	} else if v.covers(f.last) {
		of, f.last = f.last, amount{}
	}
	f.series.add(v, of, now)
}

// Reset says that a connection has begun to a switch that has lost its flows:
// all of them count from zero again.
func (a *Accumulator) Reset(datapath string) { a.connect(datapath, true) }

// Resume says that a connection has begun to a switch that still has its
// flows. Events of those that went before it are lost.
func (a *Accumulator) Resume(datapath string) { a.connect(datapath, false) }

func (a *Accumulator) connect(datapath string, empty bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.datapath(datapath)
	d.clock++
	d.ended, d.lost = d.clock, true
	for _, f := range d.flows {
		f.ended = nil
		if empty {
			f.last = amount{}
		}
	}
}

// Add counts n packets that the switch showed to the controller.
func (a *Accumulator) Add(datapath string, c pipeline.Counter, n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	a.datapath(datapath).total(c, now).add(amount{packets: n}, amount{}, now)
}
