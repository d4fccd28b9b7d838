package explain

import (
	"net/netip"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

const (
	vip, hairpin     = "192.168.1.250", "192.168.1.254"
	h1, h2, h3       = "192.168.1.11", "192.168.1.12", "192.168.1.13"
	mac1, mac2, mac3 = "00:00:00:00:00:01", "00:00:00:00:00:02", "00:00:00:00:00:03"
	vipMAC           = "02:00:c0:a8:01:fa"
)

func mac(t testing.TB, s string) pipeline.MAC {
	t.Helper()
	m, err := pipeline.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type trunks = map[uint32]pipeline.Peer

// compiled is h1 and h2 at s1, h3 at s2, with s3 between: frontend (h1) calls
// public-api (h1) and api (h2 and h3); public-api calls payments (h3), which
// only it may call, and refunds, of which no instance is healthy; web runs on
// h1 and h2 and calls api.
func compiled(t testing.TB, change func(*pipeline.Fabric, *mesh.Snapshot)) Network {
	t.Helper()
	ip := netip.MustParseAddr
	n := Network{
		Fabric: pipeline.Fabric{
			Mesh: true, VIP: ip(vip), Hairpin: ip(hairpin), VIPMAC: mac(t, vipMAC), DNS: true, TraceEvery: 2,
			Hosts: []pipeline.Host{{Name: "h1", Addr: ip(h1), MAC: mac(t, mac1)}, {Name: "h2", Addr: ip(h2), MAC: mac(t, mac2)}, {Name: "h3", Addr: ip(h3), MAC: mac(t, mac3)}},
		},
		Datapaths: []pipeline.Datapath{
			{Name: "s1", DPID: 1, Access: map[string]uint32{"h1": 1, "h2": 2}, ToHost: map[string]uint32{"h3": 3}, Flood: []uint32{1, 2, 3}, Trunks: trunks{3: {Datapath: "s3", Port: 1}}},
			{Name: "s2", DPID: 2, Access: map[string]uint32{"h3": 1}, ToHost: map[string]uint32{"h1": 3, "h2": 3}, Flood: []uint32{1, 3}, Trunks: trunks{3: {Datapath: "s3", Port: 2}}},
			{Name: "s3", DPID: 3, Access: map[string]uint32{}, ToHost: map[string]uint32{"h1": 1, "h2": 1, "h3": 2}, Flood: []uint32{1, 2}, Trunks: trunks{1: {Datapath: "s1", Port: 3}, 2: {Datapath: "s2", Port: 3}}},
		},
		Snapshot: mesh.Snapshot{
			Services: []*mesh.Service{
				service("api", instance("api-1", h2+":8001"), instance("api-2", h3+":8002")),
				service("frontend", instance("frontend-1", h1+":3000")),
				service("payments", instance("payments-1", h3+":8080")),
				service("public-api", instance("public-api-1", h1+":8080")),
				service("refunds", sick(instance("refunds-1", h3+":8090"))),
				service("web", instance("web-1", h1+":80"), instance("web-2", h2+":80")),
			},
			Upstreams: []mesh.Upstream{
				calls(h1, "frontend", "public-api", 9191), calls(h1, "frontend", "api", 9192), calls(h1, "frontend", "payments", 9193),
				calls(h1, "web", "api", 9194),
				calls(h1, "public-api", "payments", 9340), calls(h1, "public-api", "refunds", 9341),
				calls(h2, "web", "api", 9194),
			},
			Intentions: []mesh.Intention{
				{Source: "public-api", Destination: "payments", Allow: true, Precedence: 9},
				{Source: "frontend", Destination: "payments", Allow: false, Precedence: 9},
			},
		},
		Programs: map[string]pipeline.Program{},
	}
	if change != nil {
		change(&n.Fabric, &n.Snapshot)
	}
	for _, dp := range n.Datapaths {
		p, err := pipeline.Compile(n.Fabric, dp, n.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		n.Programs[dp.Name] = p
	}
	return n
}

func service(name string, instances ...mesh.Instance) *mesh.Service {
	return &mesh.Service{Name: name, Instances: instances}
}

func instance(id, addr string) mesh.Instance {
	return mesh.Instance{ID: id, Addr: netip.MustParseAddrPort(addr), Healthy: true, Weight: 1}
}

func sick(i mesh.Instance) mesh.Instance {
	i.Healthy = false
	return i
}

func calls(client, source, destination string, bindPort uint16) mesh.Upstream {
	return mesh.Upstream{Client: netip.MustParseAddr(client), Source: source, Destination: destination, BindPort: bindPort}
}
