package scenarios

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func thesisMatrix() Config {
	c := Default()
	c.Meshes = []string{"direct", "ovs", "consul-connect"}
	c.Pods = []Pods{SingleNode, MultipleNodes}
	c.Requests = []string{"frontend", "api"}
	c.Seed = 7
	return c
}

func TestPlan(t *testing.T) {
	c := thesisMatrix()
	steps := Plan(c)
	if want := 16 * 3 * 5; len(steps) != want {
		t.Fatalf("%d steps, want %d", len(steps), want)
	}
	if again := Plan(c); !reflect.DeepEqual(steps, again) {
		t.Error("the same configuration gave another plan")
	}

	orders := make(map[string]int)
	seen := make(map[Point]bool)
	for i := 0; i < len(steps); i += 15 { // 5 rounds of 3 meshes at each point
		point := steps[i].Point
		if seen[point] {
			t.Errorf("%s comes up twice", point)
		}
		seen[point] = true
		for round, attempt := range []int{1, 0, 2, 3, 4} {
			var order []string
			for _, s := range steps[i+3*round : i+3*round+3] {
				if s.Point != point || s.Attempt != attempt || s.WarmUp() != (attempt == 0) {
					t.Errorf("round %d at %s holds %+v", round, point, s)
				}
				order = append(order, s.Mesh)
			}
			orders[strings.Join(order, " ")]++
			slices.Sort(order)
			if !slices.Equal(order, []string{"consul-connect", "direct", "ovs"}) {
				t.Errorf("round %d at %s has the meshes %v", round, point, order)
			}
		}
	}
	if len(orders) != 6 {
		t.Errorf("80 rounds used %d of the 6 orders: %v", len(orders), orders)
	}
	c.Seed = 8
	if reflect.DeepEqual(steps, Plan(c)) {
		t.Error("another seed gave the same order")
	}
}

func TestPlanChangesLabOnce(t *testing.T) {
	changes := 0
	steps := Plan(thesisMatrix())
	for i := 1; i < len(steps); i++ {
		if steps[i].Pods != steps[i-1].Pods {
			changes++
		}
	}
	if changes != 1 {
		t.Errorf("the kind of pods changes %d times, want once", changes)
	}
}

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no mesh", func(c *Config) { c.Meshes = nil }, "no mesh given"},
		{"mesh twice", func(c *Config) { c.Meshes = []string{"ovs", "ovs"} }, `mesh "ovs" is given twice`},
		{"empty request", func(c *Config) { c.Requests = []string{""} }, "request 1 has an empty name"},
		{"pods", func(c *Config) { c.Pods = []Pods{"AN"} }, `pods "AN"`},
		{"no connections", func(c *Config) { c.Connections = nil }, "no number of connections"},
		{"zero connections", func(c *Config) { c.Connections = []int{0} }, "connections 0"},
		{"connections twice", func(c *Config) { c.Connections = []int{8, 8} }, "given twice"},
		{"more connections than requests", func(c *Config) { c.Count = 150 }, "give 200 requests or more"},
		{"one attempt", func(c *Config) { c.Repeats = 1 }, "repeats 1"},
		{"no requests", func(c *Config) { c.Count = 0 }, "requests per attempt 0"},
		{"negative warm-up", func(c *Config) { c.WarmUp = -1 }, "warm-up of -1"},
		{"timeout", func(c *Config) { c.Timeout = 2 * MaxTimeout }, "timeout 2m0s"},
		{"limit", func(c *Config) { c.Limit = 0 }, "limit 0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := thesisMatrix()
			tt.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	q := Quick()
	q.Meshes, q.Pods, q.Requests = []string{"ovs"}, []Pods{SingleNode}, []string{"api"}
	for _, c := range []Config{thesisMatrix(), q} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
