package sample

import (
	_ "embed"
	"fmt"
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
	for _, p := range g.pods {
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
		w := scenarios.Waterfall{Request: "api", Lab: "hashicups", Pods: scenarios.MultipleNodes, Mesh: mesh, Requests: 496, Lost: 4}
		at := 0.0
		add := func(kind scenarios.SpanKind, where, what string, depth int, ms float64) {
			w.Spans = append(w.Spans, scenarios.Span{Kind: kind, Where: where, What: what, Depth: depth, Start: round(at), Duration: ms, P95: round(ms * 1.8)})
			at += ms
		}
		hop := 0.03
		if mesh == ovs {
			hop = 0.034
		}
		proxy := func(where, what string, depth int) {
			if mesh == connect {
				add(scenarios.SpanProxy, where, what, depth, 0.085)
			}
		}
		calls := []struct{ from, to, service, way string }{
			{"client", "h1", "public-api", "s3, s1"}, {"h1", "h2", "product-api", "s1"}, {"h2", "db1", "product-db", "s1, s3, s2"},
		}
		add(scenarios.SpanClient, "client", "sends", 0, 0.045)
		for depth, c := range calls {
			proxy(c.from, "sidecar of the caller", depth)
			add(scenarios.SpanSwitch, c.way, "request to "+c.service, depth, hop*float64(1+strings.Count(c.way, ",")))
			proxy(c.to, "sidecar of "+c.service, depth)
			add(scenarios.SpanService, c.to, c.service, depth+1, 0.11+0.06*float64(depth))
		}
		for depth := len(calls) - 1; depth >= 0; depth-- {
			c := calls[depth]
			proxy(c.to, "sidecar of "+c.service, depth)
			add(scenarios.SpanSwitch, c.way, "answer of "+c.service, depth, hop*float64(1+strings.Count(c.way, ",")))
			proxy(c.from, "sidecar of the caller", depth)
			if depth > 0 {
				add(scenarios.SpanService, c.from, calls[depth-1].service, depth, 0.05)
			}
		}
		add(scenarios.SpanClient, "client", "receives", 0, 0.03)
		w.Plain, w.Tapped = round(at*0.96), round(at*1.02)
		all = append(all, w)
	}
	return all
}

func environment() scenarios.Environment {
	return scenarios.Environment{
		Meshlab: "v0.4.0", Go: "go1.26.0 linux/amd64", OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "Linux 6.18.0",
		CPU: "Example CPU @ 2.60GHz", Cores: 2, MemoryBytes: 24 << 30, Virtualization: "virtual machine (Example)",
		OpenVSwitch: "3.1.0", Datapath: "netdev", Consul: "1.22.5", Proxy: "Consul built-in proxy", Postgres: "15.10",
		CongestionControl: "cubic", SwitchBufferBytes: 8 << 20, Root: true, Fingerprint: "9f3c1a70b2de4415",
	}
}

func meshes() []scenarios.MeshInfo {
	return []scenarios.MeshInfo{
		{Name: direct, DataPath: "host, switches, host", Gives: "Nothing but packets: the floor."},
		{Name: ovs, DataPath: "host, switches that translate the virtual address, host", Gives: "Discovery and failover in the switches, without proxies."},
		{Name: connect, DataPath: "host, sidecar, switches, sidecar, host", MTLS: true, L7: true, Gives: "Discovery, identity and encryption in sidecars."},
	}
}
