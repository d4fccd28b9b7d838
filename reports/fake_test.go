package reports

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// fakeAttempt draws latencies like those of a closed loop: a log-normal body,
// longer with more connections, and a few stragglers.
func fakeAttempt(t testing.TB, rng *rand.Rand, n, connections int, medianMs float64) scenarios.Attempt {
	t.Helper()
	h := stats.NewHDR()
	ms := make([]float64, n)
	sum := 0.0
	for i := range ms {
		v := medianMs * math.Exp(0.28*rng.NormFloat64())
		if rng.Float64() < 0.02 {
			v *= 1.5 + 4*rng.Float64()
		}
		ms[i] = math.Round(v*1e4) / 1e4
		sum += ms[i]
		if err := h.RecordValue(max(1, int64(math.Round(ms[i]*1000)))); err != nil {
			t.Fatal(err)
		}
	}
	hdr, err := stats.EncodeHDR(h)
	if err != nil {
		t.Fatal(err)
	}
	s := stats.Summarize(ms)
	seconds := sum / 1000 / float64(connections)
	return scenarios.Attempt{
		Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Seconds: seconds, Requests: n,
		Min: s.Min, Avg: s.Avg, P50: s.P50, P90: s.P90, P99: s.P99, Max: s.Max,
		RequestsPerSecond: float64(n) / seconds, HDR: hdr, Fortio: json.RawMessage(`{"Count":0,"Data":null}`),
	}
}

// fail turns n of the attempt's requests into errors of the given kind.
func fail(t testing.TB, a *scenarios.Attempt, n int, kind string) {
	t.Helper()
	a.Requests += n
	a.Errors += n
	if a.ErrorKind == nil {
		a.ErrorKind = make(map[string]int)
	}
	a.ErrorKind[kind] += n
}

const fakeLab = `<svg xmlns="http://www.w3.org/2000/svg" width="420" height="120" font-family="sans-serif" font-size="13">` +
	`<line x1="60" y1="60" x2="360" y2="60" stroke="#444"/><g fill="#fff" stroke="#444"><rect x="10" y="40" width="100" height="40"/>` +
	`<circle cx="210" cy="60" r="24"/><rect x="310" y="40" width="100" height="40"/></g>` +
	`<text x="24" y="65">h1: frontend</text><text x="203" y="65">s1</text><text x="316" y="65">h2: public-api</text></svg>`

// fakeResult is a run of the thesis' matrix as a quiet machine might give it.
func fakeResult(t testing.TB, requests []string, pods []scenarios.Pods, connections []int, count, repeats int) *scenarios.Result {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := &scenarios.Result{
		SchemaVersion: scenarios.SchemaVersion,
		ID:            scenarios.NewID(start, [4]byte{0xde, 0xad, 0xbe, 0xef}),
		Started:       start, Finished: start.Add(14*time.Minute + 3*time.Second),
		Command: []string{"meshlab", "bench", "hashicups", "--mesh", "direct,ovs,consul-connect", "--seed", "7"}, Seed: 7,
		Environment: scenarios.Environment{
			Meshlab: "v0.1.0", Go: "go1.26.0 linux/amd64", OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "Linux 6.18.0",
			CPU: "Example CPU @ 2.60GHz", Cores: 2, MemoryBytes: 24 << 30, Virtualization: "virtual machine (Example)",
			OpenVSwitch: "3.1.0", Datapath: "netdev", Consul: "1.22.5", Proxy: "Consul built-in proxy", Postgres: "15.10",
			CongestionControl: "cubic", Root: true,
		},
		Meshes: []scenarios.MeshInfo{
			{Name: "direct", DataPath: "host, switches, host", Gives: "Nothing but packets: the floor."},
			{Name: "ovs", DataPath: "host, switches that translate the virtual address, host", Gives: "Discovery and failover in the switches, without proxies."},
			{Name: "consul-connect", DataPath: "host, sidecar, switches, sidecar, host", MTLS: true, L7: true, Gives: "Discovery, identity and encryption in sidecars."},
		},
	}
	for _, p := range pods {
		name := "hashicups"
		if p == scenarios.SingleNode {
			name = "hashicups-single-node"
		}
		r.Labs = append(r.Labs, scenarios.LabInfo{Name: name, Pods: p, File: "name: " + name + "\n", SVG: fakeLab})
	}
	if len(r.Labs) > 0 {
		r.Labs[0].Traffic = fakeTraffic()
	}
	for _, n := range connections {
		r.Ceiling = append(r.Ceiling, scenarios.Ceiling{Connections: n, Attempt: fakeAttempt(t, rng, count, n, 0.02+0.016*float64(n))})
	}
	factor := map[string]float64{"direct": 1, "ovs": 1.03, "consul-connect": 2.9}
	for _, p := range pods {
		for _, req := range requests {
			for _, n := range connections {
				base := 0.45 + 0.11*float64(n)
				if thesis.Request(req) == "API" {
					base *= 2.2
				}
				if p == scenarios.MultipleNodes {
					base *= 1.2
				}
				for _, m := range r.Meshes {
					c := scenarios.Cell{Request: req, Pods: p, Connections: n, Mesh: m.Name}
					for a := range repeats {
						median := base * factor[m.Name] * math.Exp(0.06*rng.NormFloat64())
						if m.Name == "consul-connect" && n > 8 {
							median *= 0.8
						}
						if a == 0 {
							median *= 1.6
						}
						c.Attempts = append(c.Attempts, fakeAttempt(t, rng, count, n, median))
					}
					r.Cells = append(r.Cells, c)
				}
			}
		}
	}
	return r
}

// fakeTraffic is that of the reference application, with a service of two
// instances, one that nobody calls, and somebody who may not.
func fakeTraffic() *scenarios.Traffic {
	return &scenarios.Traffic{
		Mesh: "ovs", Seconds: 40,
		Edges: []scenarios.TrafficEdge{
			{Source: "client", Destination: "frontend", Attempts: 618, Packets: 90_000, Bytes: 12_345_678},
			{Source: "client", Destination: "public-api", Attempts: 618, Packets: 95_000, Bytes: 32_345_678},
			{Source: "public-api", Destination: "payments"},
			{Source: "public-api", Destination: "product-api", Attempts: 20_240, Packets: 900_000, Bytes: 1_234_567_890},
			{Source: "product-api", Destination: "product-db", Attempts: 3, Packets: 300_000, Bytes: 98_765_432},
			{Source: "", Destination: "product-db", Denied: 12},
		},
		Instances: []scenarios.TrafficInstance{
			{Service: "frontend", ID: "h1/frontend", Connections: 618, Packets: 90_000, Bytes: 345_678_901},
			{Service: "payments", ID: "h2/payments"},
			{Service: "product-api", ID: "h2/product-api-1", Connections: 10_200, Packets: 450_000, Bytes: 617_283_945, Resets: 2},
			{Service: "product-api", ID: "h3/product-api-2", Connections: 10_040, Packets: 450_000, Bytes: 617_283_945, Unanswered: 1},
			{Service: "product-db", ID: "db1/product-db", Connections: 3, Packets: 300_000, Bytes: 1_098_765_432},
		},
	}
}
