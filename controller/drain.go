package controller

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// drainer keeps instances that the registry no longer lists for some time as
// unhealthy ones, so that their connections can end.
type drainer struct {
	keep    time.Duration
	latest  mesh.Snapshot           // as the registry gave it
	leaving map[drainKey]drainEntry // no longer listed
}

type drainKey struct {
	service string
	addr    netip.AddrPort
}

type drainEntry struct {
	mesh.Instance
	until time.Time
}

// take notes a new snapshot.
func (d *drainer) take(snap mesh.Snapshot, now time.Time) {
	listed := map[drainKey]bool{}
	for _, s := range snap.Services {
		for _, i := range s.Instances {
			listed[drainKey{s.Name, i.Addr}] = true
		}
	}
	if d.leaving == nil {
		d.leaving = map[drainKey]drainEntry{}
	}
	for _, s := range d.latest.Services {
		for _, i := range s.Instances {
			i.Healthy = false
			d.leaving[drainKey{s.Name, i.Addr}] = drainEntry{i, now.Add(d.keep)}
		}
	}
	for key := range d.leaving {
		if listed[key] {
			delete(d.leaving, key)
		}
	}
	d.latest = snap
}

// snapshot is the latest snapshot with the draining instances, and the time
// at which the next of these is to go; zero when there is none.
func (d *drainer) snapshot(now time.Time) (mesh.Snapshot, time.Time) {
	var next time.Time
	out := mesh.Snapshot{Services: slices.Clone(d.latest.Services), Upstreams: d.latest.Upstreams}
	index := map[string]int{}
	for i, s := range out.Services {
		index[s.Name] = i
	}
	for key, e := range d.leaving {
		if !e.until.After(now) {
			delete(d.leaving, key)
			continue
		}
		if next.IsZero() || e.until.Before(next) {
			next = e.until
		}
		i, ok := index[key.service]
		if !ok {
			i = len(out.Services)
			index[key.service] = i
			out.Services = append(out.Services, mesh.Service{Name: key.service})
		}
		s := &out.Services[i]
		s.Instances = append(slices.Clone(s.Instances), e.Instance)
		slices.SortFunc(s.Instances, func(a, b mesh.Instance) int {
			return cmp.Or(cmp.Compare(a.ID, b.ID), a.Addr.Compare(b.Addr))
		})
	}
	slices.SortFunc(out.Services, func(a, b mesh.Service) int { return cmp.Compare(a.Name, b.Name) })
	return out, next
}
