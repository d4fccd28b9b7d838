//go:build integration

package meshtest_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
)

// four starts two instances of api on h2 and two on h3.
func (r *rig) four() []*server {
	r.t.Helper()
	return []*server{
		r.serve("h2", h2+":8001"), r.serve("h2", h2+":8002"),
		r.serve("h3", h3+":8003"), r.serve("h3", h3+":8004"),
	}
}

// api is a mesh in which web on h1 calls these instances at vip:9000.
func api(t testing.TB, servers ...*server) mesh.Snapshot {
	t.Helper()
	s := &mesh.Service{Name: "api"}
	for _, one := range servers {
		s.Instances = append(s.Instances, one.Instance)
	}
	return mesh.Snapshot{Services: []*mesh.Service{s}, Upstreams: []mesh.Upstream{calls(t, "web@"+h1+" -> api:9000")}}
}

const apiAt = vip + ":9000"

// TestSharesFollowTheWeights opens 4,000 connections from 4,000 ports for
// each set of weights.
func TestSharesFollowTheWeights(t *testing.T) {
	r := newRig(t)
	servers := r.four()
	r.begin(api(t, servers...))
	const n = 4000
	for i, weights := range [][]uint16{{1, 1, 1, 1}, {1, 2, 3, 4}} {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			if i > 0 {
				snap := api(t, servers...)
				for i, w := range weights {
					snap.Services[0].Instances[i].Weight = w
				}
				r.set(snap)
			}
			counts, total := map[string]int{}, 0.0
			for _, id := range r.choices("h1", 10000, n, apiAt) {
				counts[id]++
			}
			for _, w := range weights {
				total += float64(w)
			}
			for i, w := range weights {
				want := n * float64(w) / total
				got := float64(counts[servers[i].ID])
				t.Logf("weight %d: %4.0f connections, %+.1f %%", w, got, 100*(got-want)/want)
				if math.Abs(got-want) > want/10 {
					t.Errorf("weight %d: %.0f of %d connections, want %.0f, or 10 %% more or less", w, got, n, want)
				}
			}
		})
	}
}

// TestSharesOfMany opens 2,000 connections to 130 instances, more than have
// slots: those on h2 weigh nine times those on h3.
func TestSharesOfMany(t *testing.T) {
	r := newRig(t)
	var servers []*server
	total := 0
	for i := range 130 {
		host, addr, weight := "h2", h2, 9
		if i%2 == 0 {
			host, addr, weight = "h3", h3, 1
		}
		s := r.serve(host, fmt.Sprintf("%s:%d", addr, 8000+i))
		s.Weight = uint16(weight)
		servers, total = append(servers, s), total+weight
	}
	r.begin(api(t, servers...))
	const n = 2000
	counts := map[string]int{}
	for _, id := range r.choices("h1", 10000, n, apiAt) {
		counts[id]++
	}
	light := 0
	for _, s := range servers {
		if s.Weight == 1 {
			light += counts[s.ID]
		}
	}
	want := n * 65 / float64(total)
	t.Logf("%d of %d connections to instances of weight 1, %.0f are theirs", light, n, want)
	if math.Abs(float64(light)-want) > want/4 {
		t.Errorf("%d of %d connections to instances of weight 1, want %.0f, or a quarter more or less", light, n, want)
	}
}

// TestAChangeMovesFewPorts adds and removes an instance while 100 connections
// exchange data.
func TestAChangeMovesFewPorts(t *testing.T) {
	r := newRig(t)
	servers := append(r.four(), r.serve("h3", h3+":8005"))
	r.begin(api(t, servers[:3]...))
	const first, n = 20000, 500
	for _, step := range []struct {
		name string
		now  []*server
	}{
		{"a fourth", servers[:4]},
		{"a fifth", servers},
		{"the fifth leaves", servers[:4]},
		{"the first of four leaves", servers[1:4]},
	} {
		before := r.choices("h1", first, n, apiAt)
		var conns []*client
		for range 100 {
			conns = append(conns, r.mustOpen("h1", 0, apiAt))
		}
		running := run(conns)
		r.set(api(t, step.now...))
		after := r.choices("h1", first, n, apiAt)
		asked := running.asked.Load()
		r.until("three more answers on each connection", func() bool {
			return running.bad.Load() > 0 || running.asked.Load() >= asked+300
		})
		broken := 0
		for _, err := range running.stop() {
			if err != nil {
				broken++
				t.Logf("%s: %v", step.name, err)
			}
		}
		moved, ids := 0, map[string]int{}
		for port, id := range after {
			ids[id]++
			if id != before[port] {
				moved++
			}
		}
		t.Logf("%s: %d of %d ports moved, %d of 100 running connections broke; now %v", step.name, moved, n, broken, ids)
		if moved*100 > n*30 {
			t.Errorf("%s: %d of %d ports moved, want at most 30 %%", step.name, moved, n)
		}
		if broken > 0 {
			t.Errorf("%s: %d of 100 running connections broke", step.name, broken)
		}
		for id := range ids {
			if !slices.ContainsFunc(step.now, func(s *server) bool { return s.ID == id }) {
				t.Errorf("%s: %s, which has left, got %d new connections", step.name, id, ids[id])
			}
		}
		if len(ids) != len(step.now) {
			t.Errorf("%s: %d instances got connections, want %d", step.name, len(ids), len(step.now))
		}
		for _, c := range conns {
			if err := c.abort(); err != nil {
				t.Log(err)
			}
		}
	}
}
