package consul

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

func entry(node, addr string, s api.AgentService, status string) *api.ServiceEntry {
	return &api.ServiceEntry{Node: &api.Node{Node: node, Address: addr}, Service: &s, Checks: api.HealthChecks{{Status: status}}}
}

func sidecar(of string, upstreams ...api.Upstream) api.AgentService {
	return api.AgentService{Kind: api.ServiceKindConnectProxy, Service: of + "-sidecar-proxy", ID: of + "-sidecar-proxy", Port: 21000,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: of, Upstreams: upstreams}}
}

func TestSnapshot(t *testing.T) {
	heavy := api.AgentService{Service: "api", ID: "api-1", Port: 80, Address: "10.0.0.9", Weights: api.AgentWeights{Passing: 7}}
	got, warnings := snapshot([][]*api.ServiceEntry{
		{entry("h2", "10.0.0.2", api.AgentService{Service: "api", ID: "api-1", Port: 80}, api.HealthWarning), entry("h1", "10.0.0.1", heavy, api.HealthPassing)},
		{entry("h1", "10.0.0.1", api.AgentService{Service: "client", ID: "client"}, api.HealthPassing)},
		{entry("h1", "10.0.0.1", sidecar("client", api.Upstream{DestinationName: "api", LocalBindPort: 9000},
			api.Upstream{DestinationName: "q", DestinationType: api.UpstreamDestTypePreparedQuery, LocalBindPort: 9001},
			api.Upstream{DestinationName: "api"}), api.HealthCritical)},
		{entry("h3", "fd00::1", api.AgentService{Service: "v6", ID: "v6", Port: 80}, api.HealthPassing)},
	})
	ip := netip.MustParseAddr
	want := mesh.Snapshot{
		Services: []mesh.Service{
			{Name: "api", Instances: []mesh.Instance{
				{ID: "h1/api-1", Node: "h1", Addr: netip.AddrPortFrom(ip("10.0.0.9"), 80), Healthy: true, Weight: 7},
				{ID: "h2/api-1", Node: "h2", Addr: netip.AddrPortFrom(ip("10.0.0.2"), 80), Weight: 1},
			}},
			{Name: "client"}, {Name: "v6"},
		},
		Upstreams: []mesh.Upstream{{Client: ip("10.0.0.1"), Source: "client", Destination: "api", BindPort: 9000}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("snapshot\n%+v\nwant\n%+v", got, want)
	}
	for _, part := range []string{"prepared_query", "local_bind_port 0", "fd00::1"} {
		if all := strings.Join(warnings, "\n"); len(warnings) != 3 || !strings.Contains(all, part) {
			t.Errorf("warnings %q, want three, one of them with %q", warnings, part)
		}
	}
}

func TestNextIndex(t *testing.T) {
	for _, c := range []struct{ asked, got, want uint64 }{{0, 0, 1}, {0, 7, 7}, {7, 9, 9}, {9, 7, 0}, {9, 0, 0}, {9, 9, 9}} {
		if got := nextIndex(c.asked, c.got); got != c.want {
			t.Errorf("asked for %d, answered %d: next %d, want %d", c.asked, c.got, got, c.want)
		}
	}
}
