package consul

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

func to(service string) *chainTarget { return &chainTarget{Service: service, Datacenter: "dc1"} }

func leadsTo(target string, failover ...string) *chainNode {
	n := &chainNode{Type: api.DiscoveryGraphNodeTypeResolver, Resolver: &chainResolver{Target: target}}
	if failover != nil {
		n.Resolver.Failover = &struct{ Targets []string }{failover}
	}
	return n
}

func TestFlatten(t *testing.T) {
	targets := map[string]*chainTarget{
		"web": to("web"), "db": to("db"), "v1": {Service: "web", ServiceSubset: "v1", Datacenter: "dc1"}, "v2": {Service: "web", ServiceSubset: "v2", Datacenter: "dc1"},
		"far": {Service: "web", Datacenter: "dc2"}, "peer": {Service: "web", Peer: "p"},
		"ns": {Service: "web", Datacenter: "dc1", Namespace: "other"},
	}
	sticky := leadsTo("web")
	sticky.LoadBalancer = &api.LoadBalancer{Policy: "maglev", HashPolicies: []api.HashPolicy{{SourceIP: true}}}
	cookie := leadsTo("web")
	cookie.LoadBalancer = &api.LoadBalancer{Policy: "ring_hash", HashPolicies: []api.HashPolicy{{Field: "cookie"}}}
	split := func(weights ...float64) *chainNode {
		n := &chainNode{Type: api.DiscoveryGraphNodeTypeSplitter}
		for i, w := range weights {
			n.Splits = append(n.Splits, chainSplit{w, []string{"v1", "v2", "db"}[i]})
		}
		return n
	}
	route := func(http *api.ServiceRouteHTTPMatch, next string) chainRoute {
		return chainRoute{&api.ServiceRoute{Match: &api.ServiceRouteMatch{HTTP: http}}, next}
	}
	v1, v2, db := mesh.Target{Service: "web", Subset: "v1"}, mesh.Target{Service: "web", Subset: "v2"}, mesh.Target{Service: "db"}
	leg := func(weight uint32, targets ...mesh.Target) mesh.Leg {
		return mesh.Leg{Weight: weight, Targets: targets}
	}
	for _, c := range []struct {
		name     string
		start    *chainNode
		want     []mesh.Leg
		affinity bool
		notes    []string
	}{
		{"own instances", leadsTo("web"), nil, false, nil},
		{"source hash", sticky, nil, true, nil},
		{"cookie hash", cookie, nil, false, nil},
		{"default subset", leadsTo("v1"), []mesh.Leg{leg(fullWeight, v1)}, false, nil},
		{"redirect", leadsTo("db"), []mesh.Leg{leg(fullWeight, db)}, false, nil},
		{"failover in order", leadsTo("v1", "v2", "db", "v2"), []mesh.Leg{leg(fullWeight, v1, v2, db)}, false, nil},
		{"failover elsewhere", leadsTo("v1", "far", "peer", "db"), []mesh.Leg{leg(fullWeight, v1, db)}, false, []string{"target far", "target peer"}},
		{"redirect elsewhere", leadsTo("far"), []mesh.Leg{leg(fullWeight)}, false, []string{"refused"}},
		{"redirect to a namespace", leadsTo("ns", "db"), []mesh.Leg{leg(fullWeight, db)}, false, []string{"take the failover"}},
		{"1 %", split(99, 1), []mesh.Leg{leg(9900, v1), leg(100, v2)}, false, nil},
		{"hundredths", split(33.33, 33.34, 33.33), []mesh.Leg{leg(3333, v1), leg(3334, v2), leg(3333, db)}, false, nil},
		{"hundredths that no binary fraction equals", split(99.71, 0.29), []mesh.Leg{leg(9971, v1), leg(29, v2)}, false, nil},
		{"nothing for one", split(100, 0), []mesh.Leg{leg(10000, v1)}, false, nil},
		{"nothing for any", split(0, 0), []mesh.Leg{leg(fullWeight)}, false, []string{"no share"}},
		{"a split that leads nowhere", &chainNode{Type: api.DiscoveryGraphNodeTypeSplitter, Splits: []chainSplit{{40, "v1"}, {60, "gone"}}},
			[]mesh.Leg{leg(4000, v1), leg(6000)}, false, []string{"a share of 60"}},
		{"one target twice", &chainNode{Type: api.DiscoveryGraphNodeTypeSplitter, Splits: []chainSplit{{40, "v1"}, {20, "v2"}, {40, "v1"}}},
			[]mesh.Leg{leg(8000, v1), leg(2000, v2)}, false, nil},
		{"router with its default only", &chainNode{Type: api.DiscoveryGraphNodeTypeRouter, Routes: []chainRoute{
			route(&api.ServiceRouteHTTPMatch{PathPrefix: "/admin"}, "db"), route(&api.ServiceRouteHTTPMatch{PathPrefix: "/"}, "v1")}},
			[]mesh.Leg{leg(fullWeight, v1)}, false, nil},
		{"router that sends all elsewhere", &chainNode{Type: api.DiscoveryGraphNodeTypeRouter, Routes: []chainRoute{
			route(&api.ServiceRouteHTTPMatch{Methods: []string{"GET"}}, "v1"), route(nil, "db"), route(&api.ServiceRouteHTTPMatch{PathPrefix: "/"}, "v1")}},
			[]mesh.Leg{leg(fullWeight, db)}, false, nil},
		{"router without a default", &chainNode{Type: api.DiscoveryGraphNodeTypeRouter}, []mesh.Leg{leg(fullWeight)}, false, []string{"nowhere"}},
		{"a circle", &chainNode{Type: api.DiscoveryGraphNodeTypeSplitter, Splits: []chainSplit{{100, "start"}}}, []mesh.Leg{leg(fullWeight)}, false, []string{"a share of 100"}},
		{"nothing", nil, []mesh.Leg{leg(fullWeight)}, false, []string{"nowhere"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes := map[string]*chainNode{"start": c.start, "v1": leadsTo("v1"), "v2": leadsTo("v2"), "db": leadsTo("db")}
			var n notes
			legs, affinity := (&chain{ServiceName: "web", Datacenter: "dc1", StartNode: "start", Nodes: nodes, Targets: targets}).flatten(&n)
			if !reflect.DeepEqual(legs, c.want) || affinity != c.affinity {
				t.Errorf("legs %+v, affinity %v\nwant %+v, %v", legs, affinity, c.want, c.affinity)
			}
			wantNotes(t, n, c.notes...)
		})
	}
}

// chainFile is an answer of Consul 1.22.5: router, splitter, subsets with
// failover to a service, a subset, a datacenter and a peer.
const chainFile = "testdata/chain.json"

func TestFlattenAnswer(t *testing.T) {
	text, err := os.ReadFile(chainFile)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Chain *chain }
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	var n notes
	legs, affinity := answer.Chain.flatten(&n)
	backup := mesh.Target{Service: "backup"}
	v1, v2 := mesh.Target{Service: "web", Subset: "v1"}, mesh.Target{Service: "web", Subset: "v2"}
	want := []mesh.Leg{{Weight: 9000, Targets: []mesh.Target{v1, backup, v2}}, {Weight: 1000, Targets: []mesh.Target{v2, backup}}}
	if !reflect.DeepEqual(legs, want) || !affinity {
		t.Errorf("legs %+v, affinity %v\nwant %+v, true", legs, affinity, want)
	}
	wantNotes(t, n, "target v1.web.default.default.dc9", "target web.default.default.external.p1", "target v2.web.default.default.dc9", "target web.default")
}

func FuzzChain(f *testing.F) {
	text, err := os.ReadFile(chainFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"Chain":{"StartNode":"a","Nodes":{"a":{"Type":"splitter","Splits":[{"Weight":100,"NextNode":"a"}]}}}}`))
	f.Add([]byte(`{"Chain":{"StartNode":"a","Nodes":{"a":{"Type":"router","Routes":[{"NextNode":"a"}]},"b":null}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var answer struct{ Chain *chain }
		if json.Unmarshal(text, &answer) != nil || answer.Chain == nil {
			return
		}
		var n notes
		legs, _ := answer.Chain.flatten(&n)
		for _, l := range legs {
			if l.Weight == 0 {
				t.Errorf("a leg without weight: %+v", legs)
			}
		}
	})
}
