package consul

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

func ptr[T any](v T) *T { return &v }

func TestInbound(t *testing.T) {
	for _, c := range []struct {
		name       string
		entry      api.ServiceConfigEntry
		conns, new uint32
		notes      []string
	}{
		{"nothing", api.ServiceConfigEntry{Protocol: "http", Meta: map[string]string{"owner": "me"}}, 0, 0, nil},
		{"both", api.ServiceConfigEntry{MaxInboundConnections: 7, Meta: map[string]string{RateKey: "50"}}, 7, 50, nil},
		{"rate of none", api.ServiceConfigEntry{Meta: map[string]string{RateKey: "0"}}, 0, 0, []string{`is "0"`}},
		{"rate below none", api.ServiceConfigEntry{Meta: map[string]string{RateKey: "-1"}}, 0, 0, []string{`is "-1"`}},
		{"rate in words", api.ServiceConfigEntry{Meta: map[string]string{RateKey: "ten"}}, 0, 0, []string{`is "ten"`}},
		{"rate too large", api.ServiceConfigEntry{Meta: map[string]string{RateKey: "4294967296"}}, 0, 0, []string{"4294967296"}},
		{"requests", api.ServiceConfigEntry{LocalConnectTimeoutMs: 1, LocalRequestTimeoutMs: 1, MaxRequestHeadersKB: ptr(uint32(1)),
			RateLimits: &api.RateLimits{}, Destination: &api.DestinationConfig{}, EnvoyExtensions: []api.EnvoyExtension{{Name: "lua"}}}, 0, 0,
			[]string{"local_connect_timeout_ms", "local_request_timeout_ms", "max_request_headers_kb", "rate_limits", "destinations", "lua"}},
		{"upstreams", api.ServiceConfigEntry{UpstreamConfig: &api.UpstreamConfiguration{
			Defaults: &api.UpstreamConfig{EnvoyClusterJSON: "{}", ConnectTimeoutMs: 1, Limits: &api.UpstreamLimits{MaxPendingRequests: ptr(1), MaxConcurrentRequests: ptr(1), MaxConnections: ptr(0)}},
			Overrides: []*api.UpstreamConfig{{Name: "db", Peer: "p"}, {Name: "api", PassiveHealthCheck: &api.PassiveHealthCheck{
				EnforcingConsecutive5xx: ptr(uint32(50)), Consecutive5xx: ptr(uint32(5)), ConsecutiveGatewayFailure: ptr(uint32(5))}}},
		}}, 0, 0, []string{"upstream defaults: Envoy", "connect_timeout_ms", "max_pending", "max_concurrent", "max_connections 0", "upstream db",
			"upstream api: enforcing", "upstream api: consecutive_5xx", "upstream api: gateway"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n notes
			noteDefaults(&c.entry, &n)
			if conns, rate := inboundOf(&c.entry); conns != c.conns || rate != c.new {
				t.Errorf("%d connections, %d new per second; want %d, %d", conns, rate, c.conns, c.new)
			}
			wantNotes(t, n, c.notes...)
		})
	}
}

func TestInboundLimitFollowsHealth(t *testing.T) {
	rec := record{inbound: 10, instances: []mesh.Instance{{Healthy: true}, {}, {Healthy: true}}}
	if got := rec.inboundLimit(); got != 20 {
		t.Errorf("limit %d, want 20 for two healthy instances", got)
	}
	rec.inbound = 1 << 31
	if got := rec.inboundLimit(); got != 1<<32-1 {
		t.Errorf("limit %d, want the largest there is", got)
	}
}

func TestOutbound(t *testing.T) {
	call := func(host byte, source string) mesh.Upstream {
		return mesh.Upstream{Client: netip.AddrFrom4([4]byte{10, 0, 0, host}), Source: source, Destination: "db", BindPort: 1}
	}
	conns := func(n int) *api.UpstreamConfig {
		return &api.UpstreamConfig{Name: "db", Limits: &api.UpstreamLimits{MaxConnections: &n}}
	}
	health := func(p api.PassiveHealthCheck) *api.UpstreamConfig {
		return &api.UpstreamConfig{Name: "db", PassiveHealthCheck: &p}
	}
	with := func(defaults *api.UpstreamConfig, overrides ...*api.UpstreamConfig) *api.ServiceConfigEntry {
		return &api.ServiceConfigEntry{UpstreamConfig: &api.UpstreamConfiguration{Defaults: defaults, Overrides: overrides}}
	}
	other := conns(1)
	other.Name = "api"
	peer := conns(1)
	peer.Peer = "p"
	for _, c := range []struct {
		name     string
		calls    []mesh.Upstream
		defaults map[string]api.ConfigEntry
		want     outbound
		notes    []string
	}{
		{"nothing stated", []mesh.Upstream{call(1, "a")}, map[string]api.ConfigEntry{"a": &api.ServiceConfigEntry{}}, outbound{}, nil},
		{"one caller", []mesh.Upstream{call(1, "a")}, map[string]api.ConfigEntry{"a": with(nil, conns(5))}, outbound{connections: 5}, nil},
		{"by default", []mesh.Upstream{call(1, "a")}, map[string]api.ConfigEntry{"a": with(conns(5), other, peer)}, outbound{connections: 5}, nil},
		{"override wins", []mesh.Upstream{call(1, "a")}, map[string]api.ConfigEntry{"a": with(conns(5), conns(2))}, outbound{connections: 2}, nil},
		{"a caller at two bind ports is one", []mesh.Upstream{call(1, "a"), {Client: call(1, "a").Client, Source: "a", Destination: "db", BindPort: 2}},
			map[string]api.ConfigEntry{"a": with(nil, conns(5))}, outbound{connections: 5}, nil},
		{"sum", []mesh.Upstream{call(1, "a"), call(2, "a"), call(1, "b")}, map[string]api.ConfigEntry{"a": with(nil, conns(5)), "b": with(nil, conns(1))},
			outbound{connections: 11}, []string{"sum over all 3"}},
		{"one without a limit", []mesh.Upstream{call(1, "a"), call(2, "b")}, map[string]api.ConfigEntry{"a": with(nil, conns(5))}, outbound{}, []string{"is not kept"}},
		{"ejection", []mesh.Upstream{call(1, "a")}, map[string]api.ConfigEntry{"a": with(nil, health(api.PassiveHealthCheck{
			Interval: time.Second, MaxFailures: 3, MaxEjectionPercent: ptr(uint32(50)), BaseEjectionTime: ptr(time.Minute)}))},
			outbound{ejection: mesh.Ejection{Failures: 3, Interval: time.Second, BaseTime: time.Minute, MaxPercent: 50}}, nil},
		{"ejection of Envoy's defaults", []mesh.Upstream{call(1, "a")}, map[string]api.ConfigEntry{"a": with(nil, health(api.PassiveHealthCheck{MaxEjectionPercent: ptr(uint32(0))}))},
			outbound{ejection: mesh.Ejection{Failures: 5, MaxPercent: 1}}, nil},
		{"two of one mind", []mesh.Upstream{call(1, "a"), call(1, "b")}, map[string]api.ConfigEntry{
			"a": with(nil, health(api.PassiveHealthCheck{MaxFailures: 3})), "b": with(nil, health(api.PassiveHealthCheck{MaxFailures: 3}))},
			outbound{ejection: mesh.Ejection{Failures: 3}}, nil},
		{"the laxer of two", []mesh.Upstream{call(1, "a"), call(1, "b"), call(1, "c")}, map[string]api.ConfigEntry{
			"a": with(nil, health(api.PassiveHealthCheck{MaxFailures: 3})),
			"b": with(nil, health(api.PassiveHealthCheck{MaxFailures: 9})),
			"c": with(nil, health(api.PassiveHealthCheck{MaxFailures: 9, MaxEjectionPercent: ptr(uint32(100))}))},
			outbound{ejection: mesh.Ejection{Failures: 9}}, []string{"differ"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, notes := outboundOf(c.calls, c.defaults)
			if got["db"] != c.want {
				t.Errorf("%+v, want %+v", got["db"], c.want)
			}
			wantNotes(t, notes, c.notes...)
		})
	}
}
