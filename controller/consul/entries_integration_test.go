//go:build integration

package consul_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/consul"
	"meshlab.dev/meshlab/controller/mesh"
)

func (a *agent) write(entries ...api.ConfigEntry) {
	a.t.Helper()
	for _, e := range entries {
		if ok, _, err := a.ConfigEntries().Set(e, nil); err != nil || !ok {
			a.t.Fatalf("write %s %s: %v, %v", e.GetKind(), e.GetName(), ok, err)
		}
	}
}

func (a *agent) remove(kind, name string) {
	a.t.Helper()
	if _, err := a.ConfigEntries().Delete(kind, name, nil); err != nil {
		a.t.Fatal(err)
	}
}

// version registers an instance with a version in tags and meta.
func (a *agent) version(service, version string, port int) {
	a.t.Helper()
	err := a.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: service, ID: service + "-" + version, Port: port,
		Tags: []string{version}, Meta: map[string]string{"version": version}})
	if err != nil {
		a.t.Fatal(err)
	}
}

// http makes http the protocol of all services, as routes and splits need.
func (a *agent) http() {
	a.t.Helper()
	a.write(&api.ProxyConfigEntry{Kind: api.ProxyDefaults, Name: api.ProxyConfigGlobal, Config: map[string]any{"protocol": "http"}})
}

func subsetsOfWeb(defaultSubset string) *api.ServiceResolverConfigEntry {
	return &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "web", DefaultSubset: defaultSubset, Subsets: map[string]api.ServiceResolverSubset{
		"v1": {Filter: "Service.Meta.version == v1"}, "v2": {Filter: `"v2" in Service.Tags`, OnlyPassing: true}}}
}

func service(s mesh.Snapshot, name string) *mesh.Service {
	for _, x := range s.Services {
		if x.Name == name {
			return x
		}
	}
	return &mesh.Service{}
}

func legs(name string, want ...mesh.Leg) func(mesh.Snapshot) bool {
	return func(s mesh.Snapshot) bool { return reflect.DeepEqual(service(s, name).Legs, want) }
}

func leg(weight uint32, targets ...string) mesh.Leg {
	l := mesh.Leg{Weight: weight}
	for _, t := range targets {
		service, subset, _ := strings.Cut(t, ".")
		l.Targets = append(l.Targets, mesh.Target{Service: service, Subset: subset})
	}
	return l
}

func warned(s mesh.Snapshot, parts ...string) bool {
	for _, part := range parts {
		if !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, part) }) {
			return false
		}
	}
	return true
}

// No snapshot on the way may send a connection to nobody: that is checked
// for all of them.
func TestRolloutInConsul(t *testing.T) {
	a := newAgent(t)
	a.http()
	a.version("web", "v1", 8001)
	a.version("web", "v2", 8002)
	f := follow(t, a.Client)
	f.until("web", func(s mesh.Snapshot) bool { return len(instances(s, "web")) == 2 })
	a.write(subsetsOfWeb("v1"))
	got := f.until("the default subset", legs("web", leg(10000, "web.v1")))
	for _, i := range instances(got, "web") {
		if want := i.ID[len(i.ID)-2:]; !slices.Equal(i.Subsets, []string{want}) {
			t.Errorf("%s is in %v, want %s", i.ID, i.Subsets, want)
		}
	}
	for _, percent := range []float32{1, 10, 50, 99.5} {
		a.write(&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "web", Splits: []api.ServiceSplit{
			{Weight: 100 - percent, ServiceSubset: "v1"}, {Weight: percent, ServiceSubset: "v2"}}})
		share := uint32(percent * 100)
		f.until("a split", legs("web", leg(10000-share, "web.v1"), leg(share, "web.v2")))
	}
	a.write(&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "shop", Splits: []api.ServiceSplit{
		{Weight: 50, Service: "web", RequestHeaders: &api.HTTPHeaderModifiers{Set: map[string]string{"a": "b"}}}, {Weight: 50, Service: "old-shop"}}})
	got = f.until("a split over a split", legs("shop", leg(25, "web.v1"), leg(4975, "web.v2"), leg(5000, "old-shop")))
	if !warned(got, "service-splitter shop: request_headers") {
		t.Errorf("warnings %q, want one of headers", got.Warnings)
	}
	a.remove(api.ServiceSplitter, "shop")
	a.remove(api.ServiceSplitter, "web")
	f.until("the default subset again", legs("web", leg(10000, "web.v1")))
	a.remove(api.ServiceResolver, "web")
	f.until("nothing to be left of it all", func(s mesh.Snapshot) bool {
		return legs("web")(s) && len(s.Services) == 1 && instances(s, "web")[0].Subsets == nil && len(s.Warnings) == 0
	})

	f.mu.Lock()
	defer f.mu.Unlock()
	for i, s := range f.all {
		for _, l := range service(s, "web").Legs {
			for _, target := range l.Targets {
				fits := func(i mesh.Instance) bool { return slices.Contains(i.Subsets, target.Subset) }
				if target.Subset != "" && !slices.ContainsFunc(instances(s, "web"), fits) {
					t.Errorf("snapshot %d sends connections to an empty subset: %+v", i, service(s, "web"))
				}
			}
		}
	}
}

func TestResolverInConsul(t *testing.T) {
	a := newAgent(t)
	a.version("web", "v1", 8001)
	a.version("backup", "v1", 8002)
	f := follow(t, a.Client)
	f.until("both", func(s mesh.Snapshot) bool { return len(s.Services) == 2 })

	a.write(&api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "alias", Redirect: &api.ServiceResolverRedirect{Service: "web"}})
	f.until("a redirect of a name that nobody registers", legs("alias", leg(10000, "web")))
	a.write(&api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "alias", Redirect: &api.ServiceResolverRedirect{Service: "web", Datacenter: "dc2"}})
	if got := f.until("a redirect to a datacenter", legs("alias", leg(10000))); !warned(got, "another datacenter") {
		t.Errorf("warnings %q", got.Warnings)
	}

	web := subsetsOfWeb("v2")
	web.ConnectTimeout, web.RequestTimeout = 7*time.Second, time.Second
	web.Failover = map[string]api.ServiceResolverFailover{"*": {Targets: []api.ServiceResolverFailoverTarget{
		{ServiceSubset: "v1"}, {Datacenter: "dc2"}, {Service: "backup"}}}}
	web.LoadBalancer = &api.LoadBalancer{Policy: "maglev", HashPolicies: []api.HashPolicy{{SourceIP: true}}}
	a.write(web)
	f.until("failover", func(s mesh.Snapshot) bool {
		return legs("web", leg(10000, "web.v2", "web.v1", "backup"))(s) && service(s, "web").Affinity &&
			warned(s, "connect_timeout", "request_timeout", "failover passes it by")
	})
	web = subsetsOfWeb("")
	web.Failover = map[string]api.ServiceResolverFailover{"*": {Service: "backup"}}
	web.LoadBalancer = &api.LoadBalancer{Policy: "least_request"}
	a.write(web)
	f.until("another failover", func(s mesh.Snapshot) bool {
		return legs("web", leg(10000, "web", "backup"))(s) && !service(s, "web").Affinity && warned(s, "least_request") && !warned(s, "timeout")
	})
}

func TestRouterInConsul(t *testing.T) {
	a := newAgent(t)
	a.http()
	a.version("web", "v1", 8001)
	f := follow(t, a.Client)
	match := func(m api.ServiceRouteHTTPMatch) *api.ServiceRouteMatch { return &api.ServiceRouteMatch{HTTP: &m} }
	router := &api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: "web", Routes: []api.ServiceRoute{
		{Match: match(api.ServiceRouteHTTPMatch{PathPrefix: "/admin"}), Destination: &api.ServiceRouteDestination{Service: "admin", NumRetries: 3}}}}
	a.write(router)
	got := f.until("routes by path", func(s mesh.Snapshot) bool {
		return warned(s, "service-router web: route 1 (path prefix /admin) to admin")
	})
	if len(got.Warnings) != 1 || service(got, "web").Legs != nil || service(got, "admin").Name != "" {
		t.Errorf("warnings %q, services %+v; want those of own instances", got.Warnings, got.Services)
	}
	router.Routes = append(router.Routes, api.ServiceRoute{Match: match(api.ServiceRouteHTTPMatch{PathPrefix: "/"}),
		Destination: &api.ServiceRouteDestination{Service: "new-web", NumRetries: 3, RequestTimeout: time.Second, PrefixRewrite: "/x"}})
	a.write(router)
	f.until("a route for all", func(s mesh.Snapshot) bool {
		return legs("web", leg(10000, "new-web"))(s) && len(s.Warnings) == 4 && warned(s, "route 1", "retries", "request_timeout", "prefix_rewrite")
	})
}

func TestIntentionsInConsul(t *testing.T) {
	a := newAgent(t)
	a.http()
	f := follow(t, a.Client)
	sources := func(destination string, s ...*api.SourceIntention) *api.ServiceIntentionsConfigEntry {
		return &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: destination, Sources: s}
	}
	a.write(
		sources("*", &api.SourceIntention{Name: "*", Action: "deny"}, &api.SourceIntention{Name: "ops", Action: "allow"}),
		sources("api", &api.SourceIntention{Name: "*", Action: "deny"}, &api.SourceIntention{Name: "web", Action: "allow"},
			&api.SourceIntention{Name: "shop", Permissions: []*api.IntentionPermission{{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}}}},
			&api.SourceIntention{Name: "far", Peer: "other", Action: "allow"}),
	)
	want := []mesh.Intention{
		{Source: "shop", Destination: "api", Precedence: 9},
		{Source: "web", Destination: "api", Allow: true, Precedence: 9},
		{Source: "*", Destination: "api", Precedence: 8},
		{Source: "ops", Destination: "*", Allow: true, Precedence: 6},
		{Source: "*", Destination: "*", Precedence: 5},
	}
	got := f.until("all intentions", func(s mesh.Snapshot) bool { return slices.Equal(s.Intentions, want) })
	if got.DefaultDeny || len(got.Warnings) != 2 || !warned(got, "source shop has permissions", "source far is of another peer") {
		t.Errorf("default deny %v, warnings %q", got.DefaultDeny, got.Warnings)
	}
	a.remove(api.ServiceIntentions, "api")
	f.until("two of them", func(s mesh.Snapshot) bool { return slices.Equal(s.Intentions, want[3:]) && len(s.Warnings) == 0 })
	a.remove(api.ServiceIntentions, "*")
	f.until("none", func(s mesh.Snapshot) bool { return len(s.Intentions) == 0 })
}

func TestDefaultPolicyInConsul(t *testing.T) {
	acls := `acl = { enabled = true, default_policy = "deny", tokens = { initial_management = "` + rootToken + `", agent = "` + rootToken + `" } }`
	yes := true
	for _, c := range []struct {
		name, hcl, token string
		override         *bool
		deny             bool
		warning          string
	}{
		{"nothing", "", "", nil, false, ""},
		{"overridden", "", "", &yes, true, ""},
		{"deny", `default_intention_policy = "deny"`, "", nil, true, ""},
		{"ACLs that deny", acls, rootToken, nil, true, ""},
		{"ACLs that deny, intentions that do not", acls + ` default_intention_policy = "allow"`, rootToken, nil, false, ""},
		{"no right to read the agent's configuration", acls + ` default_intention_policy = "allow"`, "a service's", nil, true, "agent:read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"-dev"}
			if c.hcl != "" {
				args = append(args, "-hcl", c.hcl)
			}
			a := newAgent(t, args...)
			client := a.as(c.token)
			if c.token != "" && c.token != rootToken {
				client = a.allowed(`service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`)
			}
			f := followWith(t, consul.Config{Client: client, DefaultDeny: c.override})
			got := f.until("the default", func(s mesh.Snapshot) bool { return s.DefaultDeny == c.deny })
			if c.warning == "" && len(got.Warnings) > 0 || !warned(got, c.warning) && c.warning != "" {
				t.Errorf("warnings %q, want %q", got.Warnings, c.warning)
			}
			if first := f.all[0]; first.DefaultDeny != c.deny {
				t.Errorf("the first snapshot has default deny %v, want %v", first.DefaultDeny, c.deny)
			}
		})
	}
}

// allowed returns a client whose token has the rules given.
func (a *agent) allowed(rules string) *api.Client {
	a.t.Helper()
	policy, _, err := a.ACL().PolicyCreate(&api.ACLPolicy{Name: "some", Rules: rules}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	token, _, err := a.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.as(token.SecretID)
}

// A token may hide intentions; what is not seen must not allow.
func TestHiddenIntentionsInConsul(t *testing.T) {
	acls := `acl = { enabled = true, default_policy = "deny", tokens = { initial_management = "` + rootToken + `", agent = "` + rootToken + `" } } default_intention_policy = "allow"`
	a := newAgent(t, "-dev", "-hcl", acls)
	a.version("web", "v1", 8001)
	a.version("db", "v1", 8002)
	a.write(&api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "db", Sources: []*api.SourceIntention{{Name: "*", Action: "deny"}}})
	f := follow(t, a.allowed(`service "web" { policy = "read" } node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }`))
	got := f.until("web", func(s mesh.Snapshot) bool { return len(instances(s, "web")) == 1 })
	if !got.DefaultDeny || len(got.Services) != 1 || !warned(got, "does not see all intentions", "does not see all services") {
		t.Errorf("%+v", got)
	}
}

func TestLimitsInConsul(t *testing.T) {
	a := newAgent(t)
	a.version("db", "v1", 8001)
	a.version("db", "v2", 8002)
	a.register("web", 80, api.Upstream{DestinationName: "db", LocalBindPort: 9000})
	number, percent, base := 5, uint32(50), time.Minute
	a.write(
		&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "db", MaxInboundConnections: 2, Meta: map[string]string{consul.RateKey: "100"}},
		&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "web", LocalRequestTimeoutMs: 3, UpstreamConfig: &api.UpstreamConfiguration{
			Defaults: &api.UpstreamConfig{Limits: &api.UpstreamLimits{MaxConnections: &number, MaxPendingRequests: &number}},
			Overrides: []*api.UpstreamConfig{{Name: "db", PassiveHealthCheck: &api.PassiveHealthCheck{
				Interval: 5 * time.Second, MaxFailures: 3, MaxEjectionPercent: &percent, BaseEjectionTime: &base}}}}},
	)
	f := follow(t, a.Client)
	want := mesh.Limits{Connections: 4, ConnectionsPerSec: 100,
		Ejection: mesh.Ejection{Failures: 3, Interval: 5 * time.Second, BaseTime: time.Minute, MaxPercent: 50}}
	f.until("all limits", func(s mesh.Snapshot) bool {
		return service(s, "db").Limits == want && len(s.Warnings) == 2 && warned(s, "max_pending_requests", "local_request_timeout_ms")
	})
	a.version("db", "v3", 8003)
	want.Connections = 5 // three instances take six, the caller opens five
	f.until("the caller's limit", func(s mesh.Snapshot) bool { return service(s, "db").Limits == want })
}

// records hands on what is logged.
type records struct {
	slog.Handler
	heard chan string
}

func (r records) Enabled(context.Context, slog.Level) bool { return true }

func (r records) Handle(_ context.Context, rec slog.Record) error {
	select {
	case r.heard <- rec.Message:
	default:
	}
	return nil
}

// TestConsulGone kills a Consul and starts it again with its data: nothing
// that was known is ever missing, least of all what forbids.
func TestConsulGone(t *testing.T) {
	a := newAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+filepath.Join(t.TempDir(), "data"),
		"-hcl", "performance { raft_multiplier = 1 } connect { enabled = true }")
	a.http()
	a.version("web", "v1", 8001)
	a.version("web", "v2", 8002)
	a.write(subsetsOfWeb("v1"), &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "web", Sources: []*api.SourceIntention{{Name: "*", Action: "deny"}}})
	heard := make(chan string, 100)
	f := followWith(t, consul.Config{Client: a.Client, Logger: slog.New(records{slog.DiscardHandler, heard})})
	whole := func(s mesh.Snapshot) bool {
		return legs("web", leg(10000, "web.v1"))(s) && len(s.Intentions) == 1 && len(instances(s, "web")) == 2
	}
	f.until("all of it", whole)
	hear := func(text string) {
		t.Helper()
		deadline := time.After(patience)
		for {
			select {
			case said := <-heard:
				if strings.Contains(said, text) {
					return
				}
			case <-deadline:
				t.Fatalf("waited %v for %q in the log", patience, text)
			}
		}
	}
	for range 3 {
		a.stop()
		hear("query failed")
		a.start()
		hear("answers again")
	}
	a.write(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "web", MaxInboundConnections: 7})
	f.until("news", func(s mesh.Snapshot) bool { return service(s, "web").Limits.Connections > 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, s := range f.all {
		if !whole(s) {
			t.Errorf("snapshot %d of %d lacks something: %s", i, len(f.all), asJSON(s))
		}
	}
}

// TestTimeOfConsul tells how long Consul takes from a write to the answer of
// a blocking query, and how much later the snapshot is there.
func TestTimeOfConsul(t *testing.T) {
	a := newAgent(t)
	a.register("api", 8080)
	f := followWith(t, consul.Config{Client: a.Client, Spacing: time.Nanosecond, Debounce: time.Nanosecond})
	<-f.news
	_, meta, err := a.Health().Service("api", "", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan time.Time)
	go func() {
		defer close(answered)
		for range 100 {
			_, m, err := a.Health().Service("api", "", false, &api.QueryOptions{WaitIndex: meta.LastIndex})
			if err != nil {
				t.Error(err)
				return
			}
			meta = m
			answered <- time.Now()
		}
	}()
	var consulTook, ours []time.Duration
	for i := range 100 {
		start := time.Now()
		a.ttl("api", []string{api.HealthCritical, api.HealthPassing}[i%2])
		at, ok := <-answered
		if !ok {
			t.FailNow()
		}
		f.until("the change", healthy("api", i%2 == 1))
		consulTook = append(consulTook, at.Sub(start))
		ours = append(ours, max(time.Since(at), 0))
	}
	slices.Sort(consulTook)
	slices.Sort(ours)
	t.Logf("from the write to another client's answer: p50 %v, p99 %v; from there to the snapshot: p50 %v, p99 %v",
		consulTook[50], consulTook[98], ours[50], ours[98])
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
