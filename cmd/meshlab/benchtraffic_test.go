package main

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
)

// reader is switches whose counters are read every 2 s, but for a broken one.
type reader struct {
	err    error
	broken string
	begin  time.Time
}

func (r reader) Traffic(context.Context) (metrics.Traffic, error) {
	const every = 2 * time.Second
	last := r.begin.Add(time.Since(r.begin).Truncate(every))
	t := metrics.Traffic{Datapaths: []metrics.DatapathTraffic{{Name: "s1", Read: last}, {Name: "s2", Read: last}}}
	if r.broken != "" {
		t.Datapaths[0] = metrics.DatapathTraffic{Name: r.broken, Read: r.begin}
	}
	return t, r.err
}

func TestSettledTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := time.Now()
		got, err := settledTraffic(t.Context(), reader{begin: asked})
		if err != nil || got.Datapaths[1].Read.Sub(asked) < countLag {
			t.Errorf("%v: counters of %v after the question", err, got.Datapaths[1].Read.Sub(asked))
		}
		if _, err := settledTraffic(t.Context(), reader{begin: asked, err: errors.New("away")}); err == nil || !strings.Contains(err.Error(), "away") {
			t.Errorf("no answer: %v", err)
		}
		asked = time.Now()
		if _, err := settledTraffic(t.Context(), reader{begin: asked, broken: "s9"}); err == nil || !strings.Contains(err.Error(), "s9") || time.Since(asked) != countLimit {
			t.Errorf("a switch that is not read: %v after %v", err, time.Since(asked))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := settledTraffic(ctx, reader{begin: time.Now()}); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	})
}

func TestTrafficBetween(t *testing.T) {
	total := func(n uint64) metrics.Figure { return metrics.Figure{Total: n, PerSecond: 99} }
	before := metrics.Traffic{
		Edges: []metrics.Edge{
			{Source: "web", Destination: "api", Attempts: total(2), Packets: total(10), Bytes: total(100), Denied: total(1)},
			{Source: mesh.Wildcard, Destination: "old", Denied: total(7)},
		},
		Instances: []metrics.Instance{{Service: "api", ID: "h1/api", Connections: total(5), Bytes: total(50)}},
	}
	after := metrics.Traffic{
		Edges: []metrics.Edge{
			{Source: "web", Destination: "api", Attempts: total(6), Packets: total(30), Bytes: total(900), Denied: total(4)},
			{Source: "web", Destination: "idle"},
			{Source: mesh.Wildcard, Destination: "old", Denied: total(7)}, // nothing since
			{Source: "", Destination: "api", Denied: total(3)},
			{Source: mesh.Wildcard, Destination: mesh.Wildcard, Denied: total(2)},
		},
		Instances: []metrics.Instance{
			{Service: "api", ID: "h1/api", Connections: total(4), Packets: total(8), Bytes: total(60), Resets: total(1), Repeated: total(2)}, // counted anew
			{Service: "api", ID: "h2/api", Connections: total(3)},
		},
	}
	want := &scenarios.Traffic{
		Mesh: "ovs", Seconds: 2.5,
		Edges: []scenarios.TrafficEdge{
			{Source: "web", Destination: "api", Attempts: 4, Packets: 20, Bytes: 800, Denied: 3},
			{Source: "web", Destination: "idle"},
			{Source: "", Destination: "api", Denied: 3},
			{Source: scenarios.AnyService, Destination: scenarios.AnyService, Denied: 2},
		},
		Instances: []scenarios.TrafficInstance{
			{Service: "api", ID: "h1/api", Connections: 4, Packets: 8, Bytes: 10, Resets: 1, Unanswered: 2},
			{Service: "api", ID: "h2/api", Connections: 3},
		},
	}
	if got := trafficBetween(before, after, orchestrate.OVS, 2.5); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}
