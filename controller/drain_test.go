package controller

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// TestDrainGivesWay registers a service where another one has just gone: the
// address is its own, and the draining one must not keep it.
func TestDrainGivesWay(t *testing.T) {
	addr := netip.MustParseAddrPort("10.0.0.2:8080")
	at := func(names ...string) mesh.Snapshot {
		var s mesh.Snapshot
		for _, name := range names {
			s.Services = append(s.Services, &mesh.Service{Name: name, Instances: []mesh.Instance{{ID: name, Addr: addr, Weight: 1}}})
		}
		return s
	}
	now := time.Now()
	d := newDrainer(func() time.Duration { return time.Hour })
	for _, step := range []struct {
		taken mesh.Snapshot
		want  []string // whose instances there are
	}{
		{at("old"), []string{"old"}},
		{at(), []string{"old"}},
		{at("secret"), []string{"secret"}},
		{at("another", "secret"), []string{"another", "secret"}},
		{at("secret"), []string{"secret"}},
		{at(), []string{"secret"}},
		{at("old"), []string{"old"}},
	} {
		d.take(step.taken, now)
		snap, _ := d.snapshot(now)
		var got []string
		for _, s := range snap.Services {
			for _, i := range s.Instances {
				got = append(got, i.ID)
			}
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("instances %v, want %v", got, step.want)
		}
	}
}
