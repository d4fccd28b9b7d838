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
	Source      string `json:"source"`      // mesh.Wildcard: any
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
	a.mu.Lock()
	defer a.mu.Unlock()
	type pair struct{ first, second string }
	edges, instances := map[pair]*Edge{}, map[pair]*Instance{}
	var out Traffic
	for name, d := range a.datapaths {
		dp := DatapathTraffic{Name: name, Read: d.read}
		if !d.before.IsZero() && a.now().Sub(d.read) < stale {
			dp.IntervalSeconds = d.read.Sub(d.before).Seconds()
		}
		for c, s := range d.series {
			packets := figure(s.now.packets, s.mark.packets, dp.IntervalSeconds)
			bytes := figure(s.now.bytes, s.mark.bytes, dp.IntervalSeconds)
			edge := entry(edges, pair{c.Source, c.Destination}, Edge{Source: c.Source, Destination: c.Destination})
			inst := entry(instances, pair{c.Destination, c.Instance}, Instance{Service: c.Destination, ID: c.Instance})
			switch c.Kind {
			case pipeline.CountSent, pipeline.CountOpened:
				e := edge()
				e.Packets.add(packets)
				e.Bytes.add(bytes)
				if c.Kind == pipeline.CountOpened {
					e.Attempts.add(packets)
				}
			case pipeline.CountDenied:
				edge().Denied.add(packets)
			case pipeline.CountChosen:
				inst().Connections.add(packets)
			case pipeline.CountReceived:
				inst().Packets.add(packets)
				inst().Bytes.add(bytes)
			case pipeline.CountResets:
				inst().Resets.add(packets)
			case pipeline.CountRepeated:
				inst().Repeated.add(packets)
			case pipeline.CountSpoofed:
				dp.Spoofed.add(packets)
			case pipeline.CountRefused:
				dp.Refused.add(packets)
			case pipeline.CountDNS:
				dp.DNS.add(packets)
			}
		}
		out.Datapaths = append(out.Datapaths, dp)
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
	slices.SortFunc(out.Datapaths, func(a, b DatapathTraffic) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
	})
	slices.SortFunc(out.Instances, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// entry gives the value at a key, and makes it when it is first asked for.
func entry[K comparable, V any](m map[K]*V, key K, fresh V) func() *V {
	return func() *V {
		if m[key] == nil {
			m[key] = &fresh
		}
		return m[key]
	}
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
	datapath string
	counter  pipeline.Counter
	amount   amount
}

// totals lists all there is, in no order, and when each switch was last read.
func (a *Accumulator) totals() ([]total, map[string]time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []total
	read := map[string]time.Time{}
	for name, d := range a.datapaths {
		read[name] = d.read
		all = slices.Grow(all, len(d.series))
		for c := range maps.Keys(d.series) {
			all = append(all, total{name, c, d.series[c].now})
		}
	}
	return all, read
}
