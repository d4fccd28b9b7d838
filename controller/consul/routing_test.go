package consul

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func TestRoutingNotes(t *testing.T) {
	headers := &api.HTTPHeaderModifiers{Set: map[string]string{"a": "b"}}
	path := &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{PathPrefix: "/admin", Methods: []string{"GET", "PUT"},
		Header: []api.ServiceRouteHTTPMatchHeader{{Name: "x-debug", Present: true}}, QueryParam: []api.ServiceRouteHTTPMatchQueryParam{{Name: "q"}}}}
	for _, c := range []struct {
		name  string
		entry api.ConfigEntry
		notes []string
	}{
		{"resolver of subsets", &api.ServiceResolverConfigEntry{DefaultSubset: "v1", Subsets: map[string]api.ServiceResolverSubset{"v1": {OnlyPassing: true}},
			LoadBalancer: &api.LoadBalancer{Policy: "maglev", HashPolicies: []api.HashPolicy{{SourceIP: true, Terminal: true}}}}, nil},
		{"resolver with all the rest", &api.ServiceResolverConfigEntry{Name: "web", ConnectTimeout: time.Second, RequestTimeout: time.Second,
			PrioritizeByLocality: &api.ServiceResolverPrioritizeByLocality{Mode: "failover"}, Redirect: &api.ServiceResolverRedirect{SamenessGroup: "g"},
			Failover:     map[string]api.ServiceResolverFailover{"*": {SamenessGroup: "g2", Policy: &api.ServiceResolverFailoverPolicy{Mode: "order-by-locality"}}},
			LoadBalancer: &api.LoadBalancer{Policy: "least_request"}},
			[]string{"service-resolver web: connect_timeout", "request_timeout", "prioritize_by_locality", "group g is", "group g2", "order-by-locality", "least_request"}},
		{"resolver that hashes a header", &api.ServiceResolverConfigEntry{LoadBalancer: &api.LoadBalancer{Policy: "ring_hash",
			HashPolicies: []api.HashPolicy{{Field: "header", FieldValue: "x-user"}, {SourceIP: true}}}}, []string{"header x-user"}},
		{"splitter", &api.ServiceSplitterConfigEntry{Name: "web", Splits: []api.ServiceSplit{{Weight: 99}, {Weight: 1, RequestHeaders: headers, ResponseHeaders: headers}}},
			[]string{"service-splitter web: request_headers of split 2", "response_headers of split 2"}},
		{"router by path", &api.ServiceRouterConfigEntry{Name: "web", Routes: []api.ServiceRoute{{Match: path, Destination: &api.ServiceRouteDestination{Service: "admin", ServiceSubset: "v2"}}, {Match: path}}},
			[]string{"service-router web: route 1 (path prefix /admin, header x-debug, query parameter q, methods GET PUT) to admin subset v2", "route 2"}},
		{"router that catches all", &api.ServiceRouterConfigEntry{Name: "web", Routes: []api.ServiceRoute{{Destination: &api.ServiceRouteDestination{
			PrefixRewrite: "/x", RequestTimeout: 1, IdleTimeout: 1, NumRetries: 1, RequestHeaders: headers, ResponseHeaders: headers}}, {Match: path}}},
			[]string{"prefix_rewrite", "request_timeout", "idle_timeout", "retries", "request_headers", "response_headers"}},
		{"router that catches all, and no more", &api.ServiceRouterConfigEntry{Routes: []api.ServiceRoute{{Destination: &api.ServiceRouteDestination{Service: "db"}}}}, nil},
		{"proxy-defaults", &api.ProxyConfigEntry{Config: map[string]any{"protocol": "http"}}, nil},
		{"proxy-defaults with all the rest", &api.ProxyConfigEntry{EnvoyExtensions: []api.EnvoyExtension{{Name: "lua"}},
			PrioritizeByLocality: &api.ServiceResolverPrioritizeByLocality{Mode: "failover"}, FailoverPolicy: &api.ServiceResolverFailoverPolicy{Mode: "order-by-locality"}},
			[]string{"lua", "prioritize", "order-by-locality"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantNotes(t, notesOf(c.entry), c.notes...)
		})
	}
}

// FuzzEntries reads an entry of any kind as the API client does, and looks
// at all of it.
func FuzzEntries(f *testing.F) {
	for _, seed := range []string{
		`{"Kind":"service-resolver","Name":"web","ConnectTimeout":"7s","Subsets":{"v1":{"Filter":"Service.Meta.version == v1"}},"Failover":{"*":{"Targets":[{"Peer":"p"}]}},"LoadBalancer":{"Policy":"maglev","HashPolicies":[{"SourceIP":true}]}}`,
		`{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":99.5,"RequestHeaders":{"Set":{"a":"b"}}}]}`,
		`{"Kind":"service-router","Name":"web","Routes":[{"Match":{"HTTP":{"PathPrefix":"/a"}}},{"Destination":{"NumRetries":3}},null]}`,
		`{"Kind":"service-intentions","Name":"web","Sources":[null,{"Name":"*","Action":"deny","Precedence":8,"Permissions":[null]}],"JWT":{}}`,
		`{"Kind":"service-defaults","Name":"web","MaxInboundConnections":-1,"UpstreamConfig":{"Overrides":[null,{"Name":"db","PassiveHealthCheck":{"Interval":-5}}]},"Meta":{"meshlab-connections-per-second":"7"}}`,
		`{"Kind":"proxy-defaults","Name":"global","Config":{"protocol":"http"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := api.DecodeConfigEntryFromJSON(text)
		if err != nil {
			return
		}
		r := newRegistry(nil, silent{})
		r.setEntries(e.GetKind(), []api.ConfigEntry{e}, true)
		r.snapshot()
		r.setEntries(e.GetKind(), nil, false)
		if snap, _ := r.snapshot(); len(snap.Services)+len(snap.Intentions)+len(snap.Warnings) > 0 {
			t.Errorf("%s leaves %+v behind", text, snap)
		}
	})
}
