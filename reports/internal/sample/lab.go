package sample

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

//go:embed lab.yaml
var labFile string

func labName(p scenarios.Pods) string {
	if p == scenarios.SingleNode {
		return "hashicups-single-node"
	}
	return "hashicups"
}

// labs are the reference application's, of both kinds.
func (g *generator) labs() []scenarios.LabInfo {
	var all []scenarios.LabInfo
	pods := g.pods
	if g.config.duets {
		pods = []scenarios.Pods{scenarios.SingleNode, scenarios.MultipleNodes}
	}
	for _, p := range pods {
		file := strings.Replace(labFile, "hashicups", labName(p), 1)
		if p == scenarios.SingleNode {
			file = strings.NewReplacer("node: h2", "node: h1", "node: h3", "node: h1", "node: db1", "node: h1").Replace(file)
		}
		lab, err := topo.Parse("lab.yaml", []byte(file), topo.Options{})
		if err != nil {
			panic(fmt.Sprintf("parse the lab: %v", err))
		}
		info := scenarios.LabInfo{Name: lab.Name, Pods: p, File: file, SVG: string(topo.SVG(lab))}
		for i, mesh := range g.meshes {
			for j, l := range lab.Links {
				n := uint64(1_400_000 / (j + 2) * (i + 3))
				info.Links = append(info.Links, scenarios.LinkTraffic{
					Mesh: mesh, Seconds: 75,
					A: l.A.Node + ":" + l.A.Interface, B: l.B.Node + ":" + l.B.Interface,
					AToB: scenarios.Counter{Packets: n, Bytes: n * 310}, BToA: scenarios.Counter{Packets: n * 9 / 10, Bytes: n * 740},
				})
			}
			if mesh == ovs {
				info.Traffic = traffic()
			}
		}
		all = append(all, info)
	}
	return all
}

// traffic is that of the reference application, with a service of two
// instances, one that nobody calls, and somebody who may not.
func traffic() *scenarios.Traffic {
	return &scenarios.Traffic{
		Mesh: ovs, Seconds: 40,
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

// waterfalls are those of a coffee list: client, public-api on h1, product-api
// on h2, product-db on db1, and back.
func (g *generator) waterfalls() []scenarios.Waterfall {
	var all []scenarios.Waterfall
	for _, mesh := range g.meshes {
		w := way{mesh: mesh}
		w.add(scenarios.SpanClient, "client", "client", 0, 0.045)
		w.call(0)
		slices.SortStableFunc(w.spans, func(a, b scenarios.Span) int { return cmp.Compare(a.Start, b.Start) })
		all = append(all, scenarios.Waterfall{
			Request: "api", Lab: "hashicups", Pods: scenarios.MultipleNodes, Mesh: mesh, Requests: 496, Lost: 4,
			Plain: round(w.at * 0.96), Tapped: round(w.at * 1.02), Spans: w.spans,
		})
	}
	return all
}

// way is that of one request, at a time in milliseconds.
type way struct {
	mesh  string
	at    float64
	spans []scenarios.Span
}

func (w *way) add(kind scenarios.SpanKind, where, what string, depth int, ms float64) {
	w.spans = append(w.spans, scenarios.Span{Kind: kind, Where: where, What: what, Depth: depth, Start: round(w.at), Duration: round(ms), P95: round(ms * 1.8)})
	w.at += ms
}

// call adds the call of a service, and of all that it calls.
func (w *way) call(depth int) {
	calls := []struct{ caller, from, to, service, switches string }{
		{"client", "client", "h1", "public-api", "s3, s1"}, {"public-api", "h1", "h2", "product-api", "s1"}, {"product-api", "h2", "db1", "product-db", "s1, s3, s2"},
	}
	if depth == len(calls) {
		return
	}
	c := calls[depth]
	hop := 0.03 * float64(1+strings.Count(c.switches, ","))
	if w.mesh == ovs {
		hop *= 1.12
	}
	proxy := func(where, of, what string) {
		if w.mesh == connect {
			w.add(scenarios.SpanProxy, where, "sidecar of "+of+", "+what, depth, 0.085)
		}
	}
	proxy(c.from, c.caller, "request")
	w.add(scenarios.SpanSwitch, c.switches, "request to "+c.service, depth, hop)
	proxy(c.to, c.service, "request")
	service, start := len(w.spans), w.at
	w.add(scenarios.SpanService, c.to, c.service, depth, 0.1)
	called := w.at
	w.call(depth + 1)
	within := w.at - called
	w.at += 0.06
	w.spans[service].Duration, w.spans[service].Within, w.spans[service].P95 = round(w.at-start), round(within), round((w.at-start)*1.6)
	proxy(c.to, c.service, "answer")
	w.add(scenarios.SpanSwitch, c.switches, "answer of "+c.service, depth, hop)
	proxy(c.from, c.caller, "answer")
}

func environment() scenarios.Environment {
	return scenarios.Environment{
		Meshlab: "v0.4.0", Go: "go1.26.0 linux/amd64", OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "Linux 6.18.0",
		CPU: "Example CPU @ 2.60GHz", Cores: 2, MemoryBytes: 24 << 30, Virtualization: "virtual machine (Example)",
		OpenVSwitch: "3.1.0", Datapath: "netdev", Consul: "1.22.5", Proxy: "Consul built-in proxy", Postgres: "15.10",
		CongestionControl: "cubic", SwitchBufferBytes: 8 << 20, Root: true, Fingerprint: "9f3c1a70b2de",
	}
}

func meshes() []scenarios.MeshInfo {
	return []scenarios.MeshInfo{
		{Name: direct, DataPath: "host, switches, host", Gives: "Nothing but packets: the floor."},
		{Name: ovs, DataPath: "host, switches that translate the virtual address, host", Gives: "Discovery and failover in the switches, without proxies."},
		{Name: connect, DataPath: "host, sidecar, switches, sidecar, host", MTLS: true, L7: true, Gives: "Discovery, identity and encryption in sidecars."},
	}
}
