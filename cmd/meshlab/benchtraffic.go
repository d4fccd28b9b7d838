package main

import (
	"context"
	"fmt"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
)

// trafficTotals is what counts a lab's traffic.
type trafficTotals interface {
	Traffic(ctx context.Context) (metrics.Traffic, error)
}

const (
	// countLag is how long Open vSwitch may take to add what the datapath has
	// counted to its flows: it does so twice a second
	// (other_config:max-revalidator, ovs-vswitchd.conf.db(5)), or somewhat
	// later on a busy machine.
	countLag = 1500 * time.Millisecond
	// countLimit bounds the wait for a reading; the controller reads every
	// few seconds.
	countLimit = 15 * time.Second
	countEvery = 100 * time.Millisecond
)

// settledTraffic returns a reading of all switches that has in it what passed
// before it was asked for. It waits for that, countLimit at most.
func settledTraffic(ctx context.Context, source trafficTotals) (metrics.Traffic, error) {
	since := time.Now().Add(countLag)
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		t, err := source.Traffic(ctx)
		if err != nil {
			return t, fmt.Errorf("read counters of the switches: %w", err)
		}
		late := ""
		for _, d := range t.Datapaths {
			if d.Read.Before(since) {
				late = d.Name
			}
		}
		if late == "" && len(t.Datapaths) > 0 {
			return t, nil
		}
		select {
		case <-ctx.Done():
			return t, fmt.Errorf("read counters of the switches: none of %s for %v: %w", dash(late), countLimit, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// trafficBetween is what two readings differ by. Edges of services that the
// mesh knows are in it even if nothing was sent.
func trafficBetween(before, after metrics.Traffic, m orchestrate.Mesh, seconds float64) *scenarios.Traffic {
	out := &scenarios.Traffic{Mesh: string(m), Seconds: seconds, Edges: []scenarios.TrafficEdge{}, Instances: []scenarios.TrafficInstance{}}
	type pair struct{ first, second string }
	edges, instances := map[pair]metrics.Edge{}, map[pair]metrics.Instance{}
	for _, e := range before.Edges {
		edges[pair{e.Source, e.Destination}] = e
	}
	for _, i := range before.Instances {
		instances[pair{i.Service, i.ID}] = i
	}
	for _, e := range after.Edges {
		was := edges[pair{e.Source, e.Destination}]
		edge := scenarios.TrafficEdge{
			Source: anyName(e.Source), Destination: anyName(e.Destination),
			Attempts: since(was.Attempts, e.Attempts), Packets: since(was.Packets, e.Packets),
			Bytes: since(was.Bytes, e.Bytes), Denied: since(was.Denied, e.Denied),
		}
		named := e.Source != "" && e.Source != mesh.Wildcard && e.Destination != mesh.Wildcard
		if named || edge.Packets+edge.Denied > 0 {
			out.Edges = append(out.Edges, edge)
		}
	}
	for _, i := range after.Instances {
		was := instances[pair{i.Service, i.ID}]
		out.Instances = append(out.Instances, scenarios.TrafficInstance{
			Service: i.Service, ID: i.ID,
			Connections: since(was.Connections, i.Connections), Packets: since(was.Packets, i.Packets),
			Bytes: since(was.Bytes, i.Bytes), Resets: since(was.Resets, i.Resets), Unanswered: since(was.Repeated, i.Repeated),
		})
	}
	return out
}

func anyName(service string) string {
	if service == mesh.Wildcard {
		return scenarios.AnyService
	}
	return service
}

// since is how much a total has grown. One that has shrunk is that of a
// controller that began anew in between: what it counted is all there is.
func since(before, now metrics.Figure) uint64 {
	if now.Total < before.Total {
		return now.Total
	}
	return now.Total - before.Total
}
