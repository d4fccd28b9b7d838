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
	return &api.ServiceEntry{Node: &api.Node{Node: node, Address: addr, Datacenter: "dc1"}, Service: &s, Checks: api.HealthChecks{{Status: status}}}
}

func sidecar(of string, upstreams ...api.Upstream) api.AgentService {
	return api.AgentService{Kind: api.ServiceKindConnectProxy, Service: of + "-sidecar-proxy", ID: of + "-sidecar-proxy", Port: 21000,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: of, Upstreams: upstreams}}
}

// wantNotes checks that there is one warning for each part, and no other.
func wantNotes(t *testing.T, got []string, parts ...string) {
	t.Helper()
	all := strings.Join(got, "\n")
	if len(got) != len(parts) {
		t.Errorf("%d warnings, want %d:\n%s", len(got), len(parts), all)
	}
	for _, part := range parts {
		if !strings.Contains(all, part) {
			t.Errorf("no warning has %q:\n%s", part, all)
		}
	}
}

func TestTakeInstances(t *testing.T) {
	heavy := api.AgentService{Service: "api", ID: "api-1", Port: 80, Address: "10.0.0.9", Weights: api.AgentWeights{Passing: 7}}
	light := api.AgentService{Service: "api", ID: "api-1", Port: 80}
	maintained := entry("h4", "10.0.0.4", light, api.HealthPassing)
	maintained.Checks = append(maintained.Checks, &api.HealthCheck{CheckID: api.NodeMaint, Status: api.HealthCritical})
	at := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	for _, c := range []struct {
		name    string
		entries []*api.ServiceEntry
		want    []mesh.Instance
		typical bool
		notes   []string
	}{
		{"sorted by ID, with weight and health",
			[]*api.ServiceEntry{entry("h2", "10.0.0.2", light, api.HealthWarning), entry("h1", "10.0.0.1", heavy, api.HealthPassing)},
			[]mesh.Instance{
				{ID: "h1/api-1", Node: "h1", Addr: at("10.0.0.9:80"), Healthy: true, Weight: 7},
				{ID: "h2/api-1", Node: "h2", Addr: at("10.0.0.2:80"), Weight: 1},
			}, true, nil},
		{"in maintenance", []*api.ServiceEntry{maintained}, []mesh.Instance{{ID: "h4/api-1", Node: "h4", Addr: at("10.0.0.4:80"), Weight: 1}}, true, nil},
		{"no port: a client", []*api.ServiceEntry{entry("h1", "10.0.0.1", api.AgentService{Service: "c", ID: "c"}, api.HealthPassing)}, nil, true, nil},
		{"IPv6", []*api.ServiceEntry{entry("h3", "fd00::1", light, api.HealthPassing)}, nil, true, []string{"fd00::1"}},
		{"port too large", []*api.ServiceEntry{entry("h3", "10.0.0.1", api.AgentService{Port: 65536}, api.HealthPassing)}, nil, true, []string{"65536"}},
		{"a proxy is no instance", []*api.ServiceEntry{entry("h1", "10.0.0.1", sidecar("api"), api.HealthPassing)}, nil, false, nil},
		{"nothing", nil, nil, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var rec record
			var n notes
			rec.take(c.entries, &n)
			if !reflect.DeepEqual(rec.instances, c.want) || rec.typical != c.typical {
				t.Errorf("instances %+v, typical %v\nwant %+v, %v", rec.instances, rec.typical, c.want, c.typical)
			}
			wantNotes(t, n, c.notes...)
		})
	}
}

func TestTakeUpstreams(t *testing.T) {
	from := func(u api.Upstream) []*api.ServiceEntry {
		if u.DestinationName == "" {
			u.DestinationName = "api"
		}
		return []*api.ServiceEntry{entry("h1", "10.0.0.1", sidecar("client", u), api.HealthCritical)}
	}
	want := []mesh.Upstream{{Client: netip.MustParseAddr("10.0.0.1"), Source: "client", Destination: "api", BindPort: 9000}}
	six := from(api.Upstream{LocalBindPort: 9000})
	six[0].Node.Address = "fd00::1"
	for _, c := range []struct {
		name    string
		entries []*api.ServiceEntry
		want    []mesh.Upstream
		notes   []string
	}{
		{"a service", from(api.Upstream{LocalBindPort: 9000}), want, nil},
		{"of this datacenter by name", from(api.Upstream{LocalBindPort: 9000, Datacenter: "dc1", DestinationNamespace: "default"}), want, nil},
		{"limits in the registration", from(api.Upstream{LocalBindPort: 9000, Config: map[string]any{
			"limits": map[string]any{"max_connections": 9}, "passive_health_check": map[string]any{"interval": "5s"}}}), want,
			[]string{"has limits", "has passive_health_check"}},
		{"limits that the agent put there", from(api.Upstream{LocalBindPort: 9000, Config: map[string]any{
			"limits": map[string]any{"MaxConnections": 9}, "passive_health_check": nil}}), want, nil},
		{"prepared query", from(api.Upstream{DestinationType: api.UpstreamDestTypePreparedQuery, LocalBindPort: 9000}), nil, []string{"prepared_query"}},
		{"other datacenter", from(api.Upstream{LocalBindPort: 9000, Datacenter: "dc2"}), nil, []string{"left out"}},
		{"peer", from(api.Upstream{LocalBindPort: 9000, DestinationPeer: "p"}), nil, []string{"left out"}},
		{"no port", from(api.Upstream{}), nil, []string{"local_bind_port 0"}},
		{"node with IPv6", six, nil, []string{"fd00::1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var rec record
			var n notes
			if got := rec.take(c.entries, &n); !reflect.DeepEqual(got, c.want) {
				t.Errorf("upstreams %+v, want %+v", got, c.want)
			}
			wantNotes(t, n, c.notes...)
		})
	}
}

func TestReplaceSorted(t *testing.T) {
	for _, c := range []struct{ all, old, now, want []int }{
		{nil, nil, []int{1, 2}, []int{1, 2}},
		{[]int{1, 2, 2, 5}, []int{2}, []int{3, 9}, []int{1, 2, 3, 5, 9}},
		{[]int{1, 2}, []int{1, 2}, nil, []int{}},
		{[]int{4}, nil, []int{1}, []int{1, 4}},
	} {
		got := replaceSorted(c.all, c.old, c.now, func(a, b int) int { return a - b })
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v without %v and with %v: %v, want %v", c.all, c.old, c.now, got, c.want)
		}
	}
}
