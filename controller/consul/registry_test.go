package consul

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// silent asks nobody.
type silent struct{}

func (silent) follow(topic) {}
func (silent) drop(topic)   {}

// asked notes what is asked.
type asked map[topic]int

func (a asked) follow(t topic) { a[t]++ }
func (a asked) drop(t topic)   { delete(a, t) }

// filled is a registry that knows of services, each with one instance of two
// tags, and has answers to all questions.
func filled(asks follower, names ...string) *registry {
	r := newRegistry(nil, asks)
	r.answer(topic{kind: kindPolicy}, func(r *registry) { r.setPolicy(false) })
	for _, kind := range entryKinds() {
		r.answer(topic{kind: kind}, func(r *registry) { r.setEntries(kind, nil, true) })
	}
	slices.Sort(names)
	r.answer(topic{kind: kindCatalog}, func(r *registry) { r.setNames(names) })
	for _, name := range names {
		r.answer(topic{kindHealth, name}, func(r *registry) { r.setHealth(name, instances(name, api.HealthPassing)) })
	}
	return r
}

func instances(name, status string) []*api.ServiceEntry {
	return []*api.ServiceEntry{entry("h1", "10.0.0.1", api.AgentService{Service: name, ID: name, Port: 80, Tags: []string{"v1"}}, status)}
}

func find(s mesh.Snapshot, name string) *mesh.Service {
	for _, x := range s.Services {
		if x.Name == name {
			return x
		}
	}
	return nil
}

func subsetEntry(name string, index uint64, filters map[string]string) *api.ServiceResolverConfigEntry {
	e := resolver(filters)
	e.Name, e.ModifyIndex = name, index
	return e
}

func chainTo(name string, targets ...*chainTarget) *chain {
	c := &chain{ServiceName: name, Datacenter: "dc1", StartNode: "s", Targets: map[string]*chainTarget{},
		Nodes: map[string]*chainNode{"s": {Type: api.DiscoveryGraphNodeTypeSplitter}}}
	for i, t := range targets {
		id := fmt.Sprint(i)
		t.Datacenter = "dc1"
		c.Targets[id], c.Nodes[id] = t, leadsTo(id)
		c.Nodes["s"].Splits = append(c.Nodes["s"].Splits, chainSplit{100 / float64(len(targets)), id})
	}
	return c
}

func TestOnlyWhatChangesIsNew(t *testing.T) {
	r := filled(silent{}, "a", "b", "c")
	r.setEntries(api.ServiceIntentions, []api.ConfigEntry{&api.ServiceIntentionsConfigEntry{Name: "b", Sources: []*api.SourceIntention{{Name: "a", Action: "deny"}}}}, true)
	r.setHealth("c", []*api.ServiceEntry{entry("h1", "10.0.0.1", sidecar("c", api.Upstream{DestinationName: "a", LocalBindPort: 1}), "")})
	before, changed := r.snapshot()
	if !changed || len(before.Services) != 2 || len(before.Upstreams) != 1 || len(before.Intentions) != 1 {
		t.Fatalf("changed %v, %+v", changed, before)
	}
	r.setHealth("a", instances("a", api.HealthPassing))
	if _, changed := r.snapshot(); changed {
		t.Error("the same answer makes another snapshot")
	}
	r.setHealth("b", instances("b", api.HealthCritical))
	after, changed := r.snapshot()
	if !changed || after.Services[0] != before.Services[0] || after.Services[1] == before.Services[1] {
		t.Errorf("changed %v; a must stay, b be new", changed)
	}
	if !before.Services[1].Instances[0].Healthy {
		t.Error("the earlier snapshot has changed")
	}
	if &after.Upstreams[0] != &before.Upstreams[0] || &after.Intentions[0] != &before.Intentions[0] {
		t.Error("upstreams and intentions are new, and the same")
	}
	r.setNames([]string{"b", "d"})
	r.answer(topic{kindHealth, "d"}, func(r *registry) { r.setHealth("d", instances("d", api.HealthPassing)) })
	last, _ := r.snapshot()
	if len(last.Services) != 2 || last.Services[0] != after.Services[1] || last.Services[1].Name != "d" || len(last.Upstreams) != 0 {
		t.Errorf("after a and c have gone and d has come: %+v", last)
	}
	if len(after.Services) != 2 || after.Services[0].Name != "a" || len(after.Upstreams) != 1 {
		t.Error("the earlier snapshot has changed")
	}
}

// Two sidecars may register one upstream; it goes with the second of them.
func TestUpstreamTwice(t *testing.T) {
	r := filled(silent{}, "p", "q")
	call := func() []*api.ServiceEntry {
		return []*api.ServiceEntry{entry("h1", "10.0.0.1", sidecar("c", api.Upstream{DestinationName: "a", LocalBindPort: 1}), "")}
	}
	r.setHealth("p", call())
	r.setHealth("q", call())
	for i, want := range []int{1, 1, 0} {
		if snap, _ := r.snapshot(); len(snap.Upstreams) != want {
			t.Errorf("step %d: upstreams %v, want %d", i, snap.Upstreams, want)
		}
		r.setHealth([]string{"p", "q", "q"}[i], nil)
	}
}

func TestSubsetsOfInstances(t *testing.T) {
	asks := asked{}
	r := filled(asks, "web")
	first, _ := r.snapshot()
	health := topic{kindHealth, "web"}
	r.setEntries(api.ServiceResolver, []api.ConfigEntry{subsetEntry("web", 5, map[string]string{"v1": `"v1" in Service.Tags`})}, false)
	if asks[topic{kindChain, "web"}] != 1 || !r.awaited[health] {
		t.Fatalf("asked %v, awaited %v: want the chain, and the health again since what filters look at was not kept", asks, r.awaited)
	}
	if r.coherent() {
		t.Error("coherent without the instances' subsets and the chain")
	}
	r.answer(health, func(r *registry) { r.setHealth("web", instances("web", api.HealthPassing)) })
	r.answer(topic{kindChain, "web"}, func(r *registry) { r.setChain("web", chainTo("web", &chainTarget{Service: "web"})) })
	if !r.coherent() {
		t.Error("not coherent with all answers")
	}
	snap, _ := r.snapshot()
	if got := find(snap, "web"); !slices.Equal(got.Instances[0].Subsets, []string{"v1"}) || got.Legs != nil || first.Services[0].Instances[0].Subsets != nil {
		t.Errorf("web is %+v, was %+v", got, first.Services[0])
	}
	r.setEntries(api.ServiceResolver, []api.ConfigEntry{subsetEntry("web", 6, map[string]string{"v2": `"v2" in Service.Tags`})}, false)
	if snap, _ := r.snapshot(); find(snap, "web").Instances[0].Subsets != nil || len(r.awaited) > 0 {
		t.Errorf("after another filter web is %+v; awaited %v", find(snap, "web"), r.awaited)
	}
	r.setEntries(api.ServiceResolver, []api.ConfigEntry{subsetEntry("web", 6, nil)}, false)
	if len(r.services["web"].subsets) != 1 {
		t.Error("an entry whose index stands was read again")
	}
	r.setEntries(api.ServiceResolver, []api.ConfigEntry{subsetEntry("web", 6, nil)}, true)
	if len(r.services["web"].subsets) != 0 || r.services["web"].entries != nil {
		t.Error("an entry of another Consul, with the same index, was not read")
	}
	r.setEntries(api.ServiceResolver, nil, false)
	if asks[topic{kindChain, "web"}] != 0 {
		t.Error("the chain is still asked for")
	}
}

func TestServicesOfConfigurationAlone(t *testing.T) {
	r := filled(silent{}, "web")
	r.setEntries(api.ServiceDefaults, []api.ConfigEntry{&api.ServiceConfigEntry{Name: "virtual", Protocol: "http"}}, true)
	r.setEntries(api.ServiceSplitter, []api.ConfigEntry{&api.ServiceSplitterConfigEntry{Name: "virtual"}}, true)
	r.setChain("virtual", chainTo("virtual", &chainTarget{Service: "web"}, &chainTarget{Service: "later"}))
	snap, _ := r.snapshot()
	var names []string
	for _, s := range snap.Services {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"later", "virtual", "web"}) {
		t.Fatalf("services %v, want those of the catalog, of an entry, and of a leg", names)
	}
	want := []mesh.Leg{{Weight: 5000, Targets: []mesh.Target{{Service: "web"}}}, {Weight: 5000, Targets: []mesh.Target{{Service: "later"}}}}
	if got := find(snap, "virtual").Legs; !reflect.DeepEqual(got, want) {
		t.Errorf("legs %+v, want %+v", got, want)
	}
	r.setChain("virtual", chainTo("virtual", &chainTarget{Service: "web"}))
	if snap, _ := r.snapshot(); find(snap, "later") != nil {
		t.Error("later is still a service")
	}
	r.setEntries(api.ServiceSplitter, nil, false)
	if snap, _ := r.snapshot(); len(snap.Services) != 1 || len(r.services) != 2 {
		t.Errorf("services %v, %d records; want web, and the defaults of virtual", snap.Services, len(r.services))
	}
	r.setEntries(api.ServiceDefaults, nil, false)
	r.setNames(nil)
	if snap, _ := r.snapshot(); len(snap.Services) != 0 || len(r.services) != 0 {
		t.Errorf("%+v and %d records are left", snap, len(r.services))
	}
}

// A chain that names a subset which the entries do not show yet must not
// reach the switches: nothing would be in it.
func TestCoherence(t *testing.T) {
	r := filled(silent{}, "web")
	r.setEntries(api.ServiceSplitter, []api.ConfigEntry{&api.ServiceSplitterConfigEntry{Name: "web"}}, true)
	chainTopic := topic{kindChain, "web"}
	if r.coherent() {
		t.Error("coherent without the chain of web")
	}
	r.answer(chainTopic, func(r *registry) {
		r.setChain("web", chainTo("web", &chainTarget{Service: "web", ServiceSubset: "v1"}))
	})
	if r.coherent() {
		t.Error("coherent without subset v1")
	}
	r.setEntries(api.ServiceResolver, []api.ConfigEntry{subsetEntry("web", 1, map[string]string{"v1": ""})}, true)
	r.answer(topic{kindHealth, "web"}, func(r *registry) { r.setHealth("web", instances("web", api.HealthPassing)) })
	if !r.coherent() {
		t.Error("not coherent with subset v1")
	}
}

func TestChainThatCannotBeRead(t *testing.T) {
	r := filled(silent{}, "web")
	r.setEntries(api.ServiceSplitter, []api.ConfigEntry{&api.ServiceSplitterConfigEntry{Name: "web"}}, true)
	chainTopic := topic{kindChain, "web"}
	r.answer(chainTopic, func(r *registry) { r.refused(chainTopic, errors.New("no such protocol")) })
	snap, _ := r.snapshot()
	if got := find(snap, "web").Legs; len(got) != 1 || got[0].Targets != nil {
		t.Errorf("legs %+v, want one that leads nowhere", got)
	}
	wantNotes(t, snap.Warnings, "no such protocol")
	r.answer(chainTopic, func(r *registry) { r.setChain("web", chainTo("web", &chainTarget{Service: "web"})) })
	r.answer(chainTopic, func(r *registry) { r.refused(chainTopic, errors.New("no such protocol")) })
	if snap, _ = r.snapshot(); find(snap, "web").Legs != nil || len(snap.Warnings) > 0 {
		t.Errorf("legs %+v, warnings %q; want those of the chain that was read", find(snap, "web").Legs, snap.Warnings)
	}
}

func TestDefaultPolicy(t *testing.T) {
	intentions := topic{kind: api.ServiceIntentions}
	policy := topic{kind: kindPolicy}
	yes, no := true, false
	for _, c := range []struct {
		name     string
		override *bool
		do       func(*registry)
		deny     bool
		notes    []string
	}{
		{"allow", nil, func(r *registry) { r.setPolicy(false) }, false, nil},
		{"deny", nil, func(r *registry) { r.setPolicy(true) }, true, nil},
		{"allow, overridden", &yes, func(r *registry) { r.setPolicy(false) }, true, nil},
		{"deny, overridden", &no, func(r *registry) { r.setPolicy(true) }, false, nil},
		{"not known", nil, func(r *registry) { r.refused(policy, errors.New("403")) }, true, []string{"agent:read"}},
		{"not known any more", nil, func(r *registry) {
			r.answer(policy, func(r *registry) { r.setPolicy(false) })
			r.refused(policy, errors.New("403"))
		}, false, nil},
		{"intentions hidden", nil, func(r *registry) { r.hide(intentions, true) }, true, []string{"all intentions"}},
		{"intentions shown again", nil, func(r *registry) { r.hide(intentions, true); r.snapshot(); r.hide(intentions, false) }, false, nil},
		{"other things hidden", nil, func(r *registry) {
			r.hide(topic{kind: kindCatalog}, true)
			r.hide(topic{kindHealth, "web"}, true)
			r.hide(topic{kind: api.ServiceResolver}, true)
		}, false, []string{"all services", "service web: the token does not see all instances", "all service-resolver entries"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(c.override, silent{})
			c.do(r)
			snap, _ := r.snapshot()
			if snap.DefaultDeny != c.deny {
				t.Errorf("deny %v, want %v", snap.DefaultDeny, c.deny)
			}
			wantNotes(t, snap.Warnings, c.notes...)
		})
	}
}

func TestLimitsOfServices(t *testing.T) {
	r := filled(silent{}, "db", "web-sidecar-proxy")
	r.setHealth("web-sidecar-proxy", []*api.ServiceEntry{entry("h1", "10.0.0.1", sidecar("web", api.Upstream{DestinationName: "db", LocalBindPort: 1}), "")})
	db := &api.ServiceConfigEntry{Name: "db", MaxInboundConnections: 9, Meta: map[string]string{RateKey: "3"}}
	web := &api.ServiceConfigEntry{Name: "web", UpstreamConfig: &api.UpstreamConfiguration{Defaults: &api.UpstreamConfig{
		Limits: &api.UpstreamLimits{MaxConnections: ptr(4)}, PassiveHealthCheck: &api.PassiveHealthCheck{MaxFailures: 2}}}}
	for _, c := range []struct {
		name    string
		entries []api.ConfigEntry
		want    mesh.Limits
	}{
		{"none", nil, mesh.Limits{}},
		{"its own", []api.ConfigEntry{db}, mesh.Limits{Connections: 9, ConnectionsPerSec: 3}},
		{"those of its caller too", []api.ConfigEntry{db, web}, mesh.Limits{Connections: 4, ConnectionsPerSec: 3, Ejection: mesh.Ejection{Failures: 2}}},
		{"those of its caller", []api.ConfigEntry{web}, mesh.Limits{Connections: 4, Ejection: mesh.Ejection{Failures: 2}}},
		{"none again", nil, mesh.Limits{}},
	} {
		r.setEntries(api.ServiceDefaults, c.entries, false)
		if snap, _ := r.snapshot(); find(snap, "db").Limits != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, find(snap, "db").Limits, c.want)
		}
	}
	r.setEntries(api.ServiceDefaults, []api.ConfigEntry{db}, false)
	r.setEntries(api.ServiceResolver, []api.ConfigEntry{subsetEntry("front", 1, nil)}, false)
	r.setChain("front", chainTo("front", &chainTarget{Service: "db"}))
	snap, _ := r.snapshot()
	wantNotes(t, snap.Warnings, "come by the name front")
}
