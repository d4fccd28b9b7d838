package controller

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// drainer keeps instances that the registry no longer lists for some time as
// unhealthy ones, so that their connections can end. One whose address and
// port are registered again, under whatever name, is not kept: they belong to
// who is registered. A service without such instances keeps its pointer.
type drainer struct {
	keep    func() time.Duration
	latest  mesh.Snapshot          // as the registry gave it
	listed  map[netip.AddrPort]int // how many of its instances are there
	leaving map[string]*leaving
}

// leaving are the instances of a service that are no longer listed.
type leaving struct {
	instances map[netip.AddrPort]drainEntry
	merged    *mesh.Service // with them; nil: to be made
}

type drainEntry struct {
	mesh.Instance
	until time.Time
}

func newDrainer(keep func() time.Duration) *drainer {
	return &drainer{keep: keep, listed: map[netip.AddrPort]int{}, leaving: map[string]*leaving{}}
}

// take notes a new snapshot.
func (d *drainer) take(snap mesh.Snapshot, now time.Time) {
	until := now.Add(d.keep())
	old, next := d.latest.Services, snap.Services
	for len(old) > 0 || len(next) > 0 {
		switch {
		case len(next) == 0 || len(old) > 0 && old[0].Name < next[0].Name:
			d.replace(old[0], &mesh.Service{Name: old[0].Name}, until)
			old = old[1:]
		case len(old) == 0 || next[0].Name < old[0].Name:
			d.replace(&mesh.Service{Name: next[0].Name}, next[0], until)
			next = next[1:]
		default:
			if old[0] != next[0] {
				d.replace(old[0], next[0], until)
			}
			old, next = old[1:], next[1:]
		}
	}
	d.latest = snap
}

func (d *drainer) replace(old, now *mesh.Service, until time.Time) {
	l := d.leaving[old.Name]
	if l == nil {
		l = &leaving{instances: map[netip.AddrPort]drainEntry{}}
	}
	l.merged = nil
	for _, i := range old.Instances {
		i.Healthy = false
		l.instances[i.Addr] = drainEntry{i, until}
		if d.listed[i.Addr]--; d.listed[i.Addr] == 0 {
			delete(d.listed, i.Addr)
		}
	}
	for _, i := range now.Instances {
		delete(l.instances, i.Addr)
		d.listed[i.Addr]++
	}
	if len(l.instances) > 0 {
		d.leaving[old.Name] = l
	} else {
		delete(d.leaving, old.Name)
	}
}

// snapshot is the latest snapshot with the draining instances, and the time
// at which the next of these is to go; zero when there is none.
func (d *drainer) snapshot(now time.Time) (mesh.Snapshot, time.Time) {
	var next time.Time
	for name, l := range d.leaving {
		for addr, e := range l.instances {
			if !e.until.After(now) || d.listed[addr] > 0 {
				delete(l.instances, addr)
				l.merged = nil
			} else if next.IsZero() || e.until.Before(next) {
				next = e.until
			}
		}
		if len(l.instances) == 0 {
			delete(d.leaving, name)
		}
	}
	if len(d.leaving) == 0 {
		return d.latest, next
	}
	out := d.latest
	out.Services = slices.Clone(out.Services)
	for name, l := range d.leaving {
		at, ok := slices.BinarySearchFunc(out.Services, name, func(s *mesh.Service, name string) int { return strings.Compare(s.Name, name) })
		if !ok {
			out.Services = slices.Insert(out.Services, at, &mesh.Service{Name: name})
		}
		if l.merged == nil {
			l.merge(*out.Services[at])
		}
		out.Services[at] = l.merged
	}
	return out, next
}

func (l *leaving) merge(s mesh.Service) {
	s.Instances = slices.Clone(s.Instances)
	for _, e := range l.instances {
		s.Instances = append(s.Instances, e.Instance)
	}
	slices.SortFunc(s.Instances, func(a, b mesh.Instance) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), a.Addr.Compare(b.Addr))
	})
	l.merged = &s
}
