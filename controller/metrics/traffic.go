package metrics

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"meshlab.dev/meshlab/controller/pipeline"
)

// Traffic is what the mesh carries: totals, and rates between the last two
// readings of each switch. It is plain JSON.
type Traffic struct {
	Datapaths []DatapathTraffic `json:"datapaths"` // sorted by name
	Edges     []Edge            `json:"edges"`     // sorted by source, then destination
	Instances []Instance        `json:"instances"` // sorted by service, then id
}

// DatapathTraffic is what concerns a switch as a whole.
type DatapathTraffic struct {
	Name            string    `json:"name"`
	Read            time.Time `json:"read"`             // of the counters; zero: never
	IntervalSeconds float64   `json:"interval_seconds"` // that the rates are over; 0: there are none, and all rates are 0
	Spoofed         Figure    `json:"spoofed"`          // packets
	Refused         Figure    `json:"refused"`          // packets
	DNS             Figure    `json:"dns"`              // questions
}

// Edge is what a service sends to another.
type Edge struct {
	Source      string `json:"source"`      // mesh.Wildcard: any; empty: the switch cannot tell
	Destination string `json:"destination"` // mesh.Wildcard: any
	Attempts    Figure `json:"attempts"`    // SYNs, those sent again too
	Packets     Figure `json:"packets"`     // of the client
	Bytes       Figure `json:"bytes"`       // in them, with their headers
	Denied      Figure `json:"denied"`      // packets
}

// Instance is what an instance gets and answers.
type Instance struct {
	Service     string  `json:"service"`
	ID          string  `json:"id"`
	Connections Figure  `json:"connections"` // new ones that it was chosen for
	Share       float64 `json:"share"`       // of the new connections of its service, by rate; 0 when there are none
	Packets     Figure  `json:"packets"`     // to its clients
	Bytes       Figure  `json:"bytes"`       // in them, with their headers
	Resets      Figure  `json:"resets"`      // that it sent
	Repeated    Figure  `json:"repeated"`    // SYNs sent again because it did not answer
}

// Figure is a total and how fast it grew between the last two readings.
type Figure struct {
	Total     uint64  `json:"total"`
	PerSecond float64 `json:"per_second"`
}

// stale is the age from which the last rate says nothing of the present.
const stale = 10 * time.Second

// Traffic gives the totals of now. The figures of all switches add up: each
// packet is counted with one kind at one switch.
func (a *Accumulator) Traffic() Traffic {
	all, reads := a.totals()
	out := Traffic{Datapaths: make([]DatapathTraffic, len(reads))}
	for i, r := range reads {
		out.Datapaths[i] = DatapathTraffic{Name: r.datapath, Read: r.last}
		if !r.before.IsZero() && a.now().Sub(r.last) < stale {
			out.Datapaths[i].IntervalSeconds = r.last.Sub(r.before).Seconds()
		}
	}
	type pair struct{ first, second string }
	edges, instances := map[pair]*Edge{}, map[pair]*Instance{}
	edge := func(c pipeline.Counter) *Edge {
		key := pair{c.Source, c.Destination}
		e := edges[key]
		if e == nil {
			e = &Edge{Source: c.Source, Destination: c.Destination}
			edges[key] = e
		}
		return e
	}
	instance := func(c pipeline.Counter) *Instance {
		key := pair{c.Destination, c.Instance}
		i := instances[key]
		if i == nil {
			i = &Instance{Service: c.Destination, ID: c.Instance}
			instances[key] = i
		}
		return i
	}
	for _, t := range all {
		dp := &out.Datapaths[t.read]
		packets := figure(t.now.packets, t.mark.packets, dp.IntervalSeconds)
		bytes := figure(t.now.bytes, t.mark.bytes, dp.IntervalSeconds)
		switch c := t.counter; c.Kind {
		case pipeline.CountSent, pipeline.CountOpened:
			e := edge(c)
			e.Packets.add(packets)
			e.Bytes.add(bytes)
			if c.Kind == pipeline.CountOpened {
				e.Attempts.add(packets)
			}
		case pipeline.CountDenied:
			if packets.Total > 0 { // what is forbidden and not tried is no edge
				edge(c).Denied.add(packets)
			}
		case pipeline.CountChosen:
			instance(c).Connections.add(packets)
		case pipeline.CountReceived:
			i := instance(c)
			i.Packets.add(packets)
			i.Bytes.add(bytes)
		case pipeline.CountResets:
			if c.Instance != "" { // else: the flow's own count of all
				instance(c).Resets.add(packets)
			}
		case pipeline.CountRepeated:
			if c.Instance != "" {
				instance(c).Repeated.add(packets)
			}
		case pipeline.CountSpoofed:
			dp.Spoofed.add(packets)
		case pipeline.CountRefused:
			dp.Refused.add(packets)
		case pipeline.CountDNS:
			dp.DNS.add(packets)
		}
	}
	perService := map[string]float64{}
	for _, i := range instances {
		perService[i.Service] += i.Connections.PerSecond
	}
	for _, i := range instances {
		if all := perService[i.Service]; all > 0 {
			i.Share = i.Connections.PerSecond / all
		}
		out.Instances = append(out.Instances, *i)
	}
	for _, e := range edges {
		out.Edges = append(out.Edges, *e)
	}
	slices.SortFunc(out.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
	})
	slices.SortFunc(out.Instances, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// figure is a total and its rate since it was mark, seconds ago; 0 seconds:
// there is no rate.
func figure(now, mark uint64, seconds float64) Figure {
	f := Figure{Total: now}
	if seconds > 0 {
		f.PerSecond = float64(now-mark) / seconds
	}
	return f
}

func (f *Figure) add(g Figure) {
	f.Total += g.Total
	f.PerSecond += g.PerSecond
}

// total is one row of what the accumulator holds.
type total struct {
	read    int // index of its switch
	counter pipeline.Counter
	now     amount
	mark    amount // before the last reading
}

// reading tells when the counters of a switch were read; zero: never.
type reading struct {
	datapath     string
	last, before time.Time
}

// totals lists all there is, in no order, and the switches by name.
func (a *Accumulator) totals() ([]total, []reading) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, d := range a.datapaths {
		n += len(d.series)
	}
	all, reads := make([]total, 0, n), make([]reading, 0, len(a.datapaths))
	for _, name := range slices.Sorted(maps.Keys(a.datapaths)) {
		d := a.datapaths[name]
		for c, s := range d.series {
			all = append(all, total{len(reads), c, s.now, s.mark})
		}
		reads = append(reads, reading{name, d.read, d.before})
	}
	return all, reads
}
