//go:build integration

package pipeline_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/bridge"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
)

// The benchmarks compare the mesh with plain switching in one run, in turn,
// as a shared machine drifts by more than the two differ:
//
//	go test -tags integration -run '^$' -bench 'KeepAlive|Churn' ./controller/pipeline
//
// They need root, Open vSwitch and the Debian package wrk. Metrics are
// medians over the rounds; "ratio" is of the mesh to plain switching in the
// same round.

// The ways to the server. Its ports differ, as else connections of both ways
// would meet in TIME_WAIT at the server (see the package comment).
const (
	direct = "http://" + h3 + ":81/"
	meshed = "http://" + vip + ":9000/"
)

// Size of the benchmarks.
const (
	keepAliveRounds  = 20      // of a second each way
	churnConnections = 310_000 // through the mesh
	churnClients     = 8       // at a time
	churnBurst       = 3       // seconds each way, in turn
)

// benchLab has a server with 1 KiB answers on h3, which h1 reaches at h3
// itself and, through the mesh, at the virtual address. The mesh is a whole
// one: a controller that reads its counters keeps the switches, it denies what
// no intention allows, and answers DNS.
func benchLab(b *testing.B) *realLab {
	b.Helper()
	l := newRealLab(b)
	snap := snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000), calls(h2, "jobs", "api", 9000)}, inst("a", h3+":80"))
	snap.DefaultDeny = true
	snap.Intentions = []mesh.Intention{intention("web", "api", true), intention("jobs", "api", false)}
	l.control(snap)
	for _, port := range []uint16{80, 81} {
		l.serveHTTP("h3", port, 1<<10)
	}
	l.wrk(direct, 8, 1) // warm-up
	l.wrk(meshed, 8, 1)
	return l
}

// control has a controller keep the switches until the benchmark ends.
func (l *realLab) control(snap mesh.Snapshot) {
	l.t.Helper()
	l.fabric.DNS = true
	cfg := controller.Config{
		Fabric: l.fabric, Connect: bridge.Connector(bridge.Config{}), Segments: bridge.Segments{}, Metrics: metrics.New(time.Now),
		Watch: func(ctx context.Context, emit func(mesh.Snapshot)) error {
			emit(snap)
			<-ctx.Done()
			return ctx.Err()
		},
	}
	for _, dp := range l.dps {
		cfg.Datapaths = append(cfg.Datapaths, controller.Datapath{Datapath: dp, Address: l.ovs.MgmtSocket(dp.Name)})
	}
	c, err := controller.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }() // ends with ctx
	l.t.Cleanup(func() { cancel(); <-done })
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !c.Health().OK {
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Fatalf("the switches do not follow: %+v", c.Health())
		}
	}
}

// pairs are rounds of plain switching and the mesh.
type pairs struct{ plain, mesh []load }

// round runs both ways, each first in every other round.
func (p *pairs) round(l *realLab, connections, seconds int, args ...string) {
	l.t.Helper()
	var d, m load
	if len(p.plain)%2 == 0 {
		d = l.wrk(direct, connections, seconds, args...)
	}
	m = l.wrk(meshed, connections, seconds, args...)
	if len(p.plain)%2 == 1 {
		d = l.wrk(direct, connections, seconds, args...)
	}
	p.plain, p.mesh = append(p.plain, d), append(p.mesh, m)
}

func p50us(l load) float64     { return float64(l.p50.Microseconds()) }
func rate(l load) float64      { return l.rate }
func switchCPU(l load) float64 { return float64(l.switchCPU.Nanoseconds()) / 1e3 / l.requests }

func median(loads []load, of func(load) float64) float64 {
	var all []float64
	for _, x := range loads {
		all = append(all, of(x))
	}
	return middle(all)
}

func (p *pairs) ratio(of func(load) float64) float64 {
	var all []float64
	for i := range p.plain {
		all = append(all, of(p.mesh[i])/of(p.plain[i]))
	}
	return middle(all)
}

func middle(all []float64) float64 {
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// machineLoad is the load average of the last minute: figures of a busy
// machine are to be doubted.
func machineLoad(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		b.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// BenchmarkKeepAlive sends requests over connections that stay open.
func BenchmarkKeepAlive(b *testing.B) {
	l := benchLab(b)
	for _, connections := range []int{1, 8, 64} {
		b.Run(strconv.Itoa(connections), func(b *testing.B) {
			var p pairs
			for b.Loop() {
				for range keepAliveRounds {
					p.round(l, connections, 1)
				}
			}
			b.ReportMetric(median(p.plain, p50us), "direct-p50-us")
			b.ReportMetric(p.ratio(p50us), "p50-ratio")
			b.ReportMetric(p.ratio(rate), "rate-ratio")
			b.ReportMetric(median(p.plain, switchCPU), "direct-switch-cpu-us/req")
			b.ReportMetric(p.ratio(switchCPU), "switch-cpu-ratio")
			b.ReportMetric(machineLoad(b), "load")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkChurn makes a connection per request. kept is the rate in the last
// quarter of the rounds over that in the first, each as a ratio to plain
// switching: tracking must not wear out.
func BenchmarkChurn(b *testing.B) {
	l := benchLab(b)
	var p pairs
	var made float64
	for b.Loop() {
		for made = 0; made < churnConnections; made += p.mesh[len(p.mesh)-1].requests {
			p.round(l, churnClients, churnBurst, "-H", "Connection: close")
		}
	}
	n := max(1, len(p.mesh)/4)
	first := pairs{p.plain[:n], p.mesh[:n]}
	last := pairs{p.plain[len(p.plain)-n:], p.mesh[len(p.mesh)-n:]}
	b.ReportMetric(median(p.plain, rate), "direct/s")
	b.ReportMetric(median(p.mesh, rate), "mesh/s")
	b.ReportMetric(p.ratio(rate), "rate-ratio")
	b.ReportMetric(median(first.mesh, rate), "first/s")
	b.ReportMetric(median(last.mesh, rate), "last/s")
	b.ReportMetric(last.ratio(rate)/first.ratio(rate), "kept")
	b.ReportMetric(made, "connections")
	b.ReportMetric(machineLoad(b), "load")
	b.ReportMetric(0, "ns/op")
}
