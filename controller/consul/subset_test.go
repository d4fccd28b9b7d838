package consul

import (
	"slices"
	"testing"

	"github.com/hashicorp/consul/api"
)

func resolver(filters map[string]string) *api.ServiceResolverConfigEntry {
	e := &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "web", Subsets: map[string]api.ServiceResolverSubset{}}
	for name, filter := range filters {
		e.Subsets[name] = api.ServiceResolverSubset{Filter: filter}
	}
	return e
}

func sample() *api.ServiceEntry {
	e := entry("h1", "10.0.0.1", api.AgentService{Service: "web", ID: "web-1", Port: 80, Tags: []string{"v1", "blue"},
		Meta: map[string]string{"version": "v1", "weight-class": "3"}}, api.HealthPassing)
	e.Node.Meta = map[string]string{"rack": "a1"}
	return e
}

func TestSubsetFilters(t *testing.T) {
	for _, c := range []struct {
		filter string
		in     bool
		note   string
	}{
		{"", true, ""},
		{"Service.Meta.version == v1", true, ""},
		{"Service.Meta.version == v2", false, ""},
		{"Service.Meta.version != v2", true, ""},
		{"Service.Meta.color == red", false, ""},
		{"Service.Meta.color != red", true, ""},
		{`"v1" in Service.Tags`, true, ""},
		{`Service.Tags contains "v2"`, false, ""},
		{`"v2" not in Service.Tags`, true, ""},
		{"Service.Tags is empty", false, ""},
		{"Node.Meta.rack == a1", true, ""},
		{`Node.Meta["rack"] matches "^a"`, true, ""},
		{`Service.Meta["weight-class"] == 3`, true, ""},
		{`Service.ID == "web-1"`, true, ""},
		{"Service.Port == 80", true, ""},
		{"Node.Node == h2", false, ""},
		{`Node.Datacenter == dc1 and (Service.Meta.version == v2 or "blue" in Service.Tags)`, true, ""},
		{"not Service.Meta.version == v1", false, ""},
		{"Service.Meta.version = v1", false, "cannot be read"},
		{"Service.Nothing == v1", false, "cannot be evaluated"},
		{"Service.Port == eighty", false, "cannot be evaluated"},
		{`Service.ID matches "("`, false, "cannot be evaluated"},
		{"Service.ModifyIndex == 0", false, "cannot be evaluated"}, // hidden in Consul too
		{"Checks.Status == passing", false, "cannot be evaluated"},
	} {
		t.Run(c.filter, func(t *testing.T) {
			var n notes
			rec := record{subsets: subsetsOf(resolver(map[string]string{"s": c.filter}), &n)}
			rec.take([]*api.ServiceEntry{sample(), sample()}, &n)
			if got := len(rec.instances[0].Subsets) > 0; got != c.in {
				t.Errorf("in the subset: %v, want %v", got, c.in)
			}
			if c.note == "" {
				wantNotes(t, n)
			} else {
				wantNotes(t, n, c.note)
			}
		})
	}
}

func TestSubsetsAreSorted(t *testing.T) {
	var n notes
	all := subsetsOf(resolver(map[string]string{"c": "", "a": "Service.Meta.version == v1", "b": "Service.Port == 1"}), &n)
	if got := subsetsFor(sample(), all, map[string]error{}); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("subsets %v, want a and c", got)
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"", "Service.Meta.version == v1", `"v1" in Service.Tags`, `Node.Meta["rack"] matches "^a"`,
		"not (Service.Port == 80 or Service.Proxy.Upstreams is empty)", "any Checks as c { c.Status == passing }", "Service.Connect.Native == true",
		`all Service.Meta as k, v { v != "x" }`, "Service.Weights.Passing == 1", "((((((((((Service.ID == a))))))))))"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		if len(filter) > 4096 {
			return
		}
		var n notes
		rec := record{subsets: subsetsOf(resolver(map[string]string{"s": filter}), &n)}
		rec.take([]*api.ServiceEntry{sample()}, &n)
		if len(n) > 0 && len(rec.instances[0].Subsets) > 0 {
			t.Errorf("filter %q is broken and fits: %v", filter, n)
		}
	})
}
