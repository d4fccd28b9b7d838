package eject

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// Apply returns the snapshot with the ejected instances unhealthy, and the
// time at which the next of them is to return; zero when none is out.
//
// What an ejection does not touch keeps its pointer. An ejected instance's
// service gets a copy, which is the same one as long as neither the service
// nor who is out has changed; and when nothing at all has, Services is the
// same slice as before.
//
// An ejection ends early when the registry takes the instance out, or gives
// it another address, or no longer asks for ejection: its word is newer. It
// ends early, too, when the healthy instances became so few that the bound of
// MaxPercent no longer holds; the one that is due next returns first.
func (e *Ejector) Apply(snap mesh.Snapshot, now time.Time) (mesh.Snapshot, time.Time) {
	same := sameSlice(snap.Services, e.in)
	e.snap = snap
	e.in = snap.Services
	e.settle(now)

	var next time.Time
	ids := map[string][]string{}
	for _, k := range e.keys() {
		st := e.state[k]
		if !st.out {
			continue
		}
		ids[k.service] = append(ids[k.service], k.id)
		if next.IsZero() || st.last.Until.Before(next) {
			next = st.last.Until
		}
	}
	if !same || !e.fresh {
		e.rebuild(ids)
	}
	snap.Services = e.out
	return snap, next
}

// rebuild makes out of in.
func (e *Ejector) rebuild(ids map[string][]string) {
	e.fresh = true
	e.out = e.in
	if len(ids) > 0 {
		e.out = slices.Clone(e.in)
	}
	for name := range e.made {
		if ids[name] == nil {
			delete(e.made, name)
		}
	}
	for name, out := range ids {
		at, _ := slices.BinarySearchFunc(e.in, name, func(s *mesh.Service, name string) int { return cmp.Compare(s.Name, name) })
		from, joined := e.in[at], strings.Join(out, "\x00")
		r := e.made[name]
		if r.from != from || r.ids != joined {
			r = replaced{from, without(from, out), joined}
			e.made[name] = r
		}
		e.out[at] = r.to
	}
}

// without is a copy of a service with some instances unhealthy.
func without(s *mesh.Service, ids []string) *mesh.Service {
	c := *s
	c.Instances = slices.Clone(s.Instances)
	for i := range c.Instances {
		if slices.Contains(ids, c.Instances[i].ID) {
			c.Instances[i].Healthy = false
		}
	}
	return &c
}

func sameSlice(a, b []*mesh.Service) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// settle brings the state to the snapshot and the time.
func (e *Ejector) settle(now time.Time) {
	touched := map[string]*mesh.Service{} // with somebody out
	for _, k := range e.keys() {
		st := e.state[k]
		service, i := e.find(k)
		if i == nil || !i.Healthy || i.Addr != st.addr || service.Limits.Ejection.Failures == 0 {
			e.forget(k)
			continue
		}
		base := cmp.Or(service.Limits.Ejection.BaseTime, defaultBaseTime)
		if st.out && !st.last.Until.After(now) {
			e.release(st, st.last.Until)
		}
		if st.out {
			touched[service.Name] = service
			continue
		}
		e.expire(st, now.Add(-cmp.Or(service.Limits.Ejection.Interval, defaultInterval)))
		st.forgive(base, now)
		if st.times == 0 && len(st.run) == 0 {
			e.forget(k)
		}
	}
	for _, service := range touched {
		e.bound(service, now)
	}
}

// bound releases instances until the bounds of a service hold.
func (e *Ejector) bound(service *mesh.Service, now time.Time) {
	for {
		var worst *instance
		for i := range service.Instances {
			instance := &service.Instances[i]
			st := e.state[key{service.Name, instance.ID}]
			if st == nil || !st.out || e.fits(service, instance.Subsets, 0) {
				continue
			}
			if worst == nil || st.last.Until.Before(worst.last.Until) {
				worst = st
			}
		}
		if worst == nil {
			return
		}
		e.release(worst, now)
	}
}

// mayGo tells whether the bounds allow to eject one more instance.
func (e *Ejector) mayGo(service *mesh.Service, i *mesh.Instance) bool {
	return e.fits(service, i.Subsets, 1)
}

// fits tells whether the bounds hold when more instances of these subsets go
// out: at most MaxPercent of the healthy ones or one, and not the last of the
// service or of one of the subsets.
func (e *Ejector) fits(service *mesh.Service, subsets []string, more int) bool {
	percent := min(cmp.Or(int(service.Limits.Ejection.MaxPercent), defaultMaxPercent), 100)
	healthy, out := e.count(service, "")
	if out+more > min(healthy-1, max(1, healthy*percent/100)) {
		return false
	}
	for _, subset := range subsets {
		if healthy, out := e.count(service, subset); out+more >= healthy {
			return false
		}
	}
	return true
}

// count counts the healthy instances of a subset, or of all for "", and those
// of them that are out.
func (e *Ejector) count(service *mesh.Service, subset string) (healthy, out int) {
	for i := range service.Instances {
		instance := &service.Instances[i]
		if !instance.Healthy || subset != "" && !slices.Contains(instance.Subsets, subset) {
			continue
		}
		healthy++
		if st := e.state[key{service.Name, instance.ID}]; st != nil && st.out {
			out++
		}
	}
	return healthy, out
}

func (e *Ejector) release(st *instance, at time.Time) {
	st.out, st.back = false, at
	e.fresh = false
}

func (e *Ejector) forget(k key) {
	st := e.state[k]
	if st.out {
		e.fresh = false
	}
	e.endRun(st)
	delete(e.state, k)
}

// Ejected lists who was out at the last Apply or Poll, sorted by service and
// instance.
func (e *Ejector) Ejected() []Ejected {
	var all []Ejected
	for _, k := range e.keys() {
		if st := e.state[k]; st.out {
			all = append(all, st.last)
		}
	}
	return all
}
