package main

import (
	"context"

	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
)

// counting reads the counters of labs that are up, and returns a function
// that reads them again and puts the difference into the document: what the
// services sent each other, where the mesh's switches count that, and what
// each link carried. A counter that cannot be read is told and left out: the
// latencies are worth keeping without it.
func (r *measurement) counting(ctx context.Context, up []raised) func(context.Context) {
	type reading struct {
		services metrics.Traffic
		links    []supervisor.LinkCounters
		err      error
	}
	read := func(ctx context.Context, t raised) (now reading) {
		if t.mesh == orchestrate.OVS { // the one mesh whose switches count
			now.services, now.err = settledTraffic(ctx, t.ctl)
		}
		if now.err == nil {
			now.links, now.err = t.ctl.Links(ctx)
		}
		return now
	}
	before := make([]reading, len(up))
	for i, t := range up {
		before[i] = read(ctx, t)
	}
	return func(ctx context.Context) {
		for i, t := range up {
			after := reading{err: before[i].err}
			if after.err == nil {
				after = read(ctx, t)
			}
			if after.err != nil {
				r.p.line("  %s under %s: the results hold no traffic: %v", t.lab.Name, t.mesh, after.err)
				continue
			}
			info := r.info(t.lab)
			if t.mesh == orchestrate.OVS && info.Traffic == nil {
				info.Traffic = trafficBetween(before[i].services, after.services, t.mesh, *t.seconds)
			}
			info.Links = append(info.Links, linksBetween(before[i].links, after.links, t.mesh, *t.seconds)...)
		}
	}
}

// linksBetween is what two readings of a lab's links differ by.
func linksBetween(before, after []supervisor.LinkCounters, m orchestrate.Mesh, seconds float64) []scenarios.LinkTraffic {
	was := map[[2]string]supervisor.LinkCounters{}
	for _, l := range before {
		was[[2]string{l.A, l.B}] = l
	}
	minus := func(now, was scenarios.Counter) scenarios.Counter {
		return scenarios.Counter{Packets: now.Packets - min(was.Packets, now.Packets), Bytes: now.Bytes - min(was.Bytes, now.Bytes)}
	}
	var out []scenarios.LinkTraffic
	for _, l := range after {
		w := was[[2]string{l.A, l.B}]
		out = append(out, scenarios.LinkTraffic{Mesh: string(m), A: l.A, B: l.B, Seconds: seconds,
			AToB: minus(l.AToB, w.AToB), BToA: minus(l.BToA, w.BToA)})
	}
	return out
}
