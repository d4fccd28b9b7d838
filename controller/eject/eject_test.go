package eject

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

var start = time.Unix(1_700_000_000, 0)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(1024+n%60000))
}

// service has instances "0", "1" and so on.
func service(name string, instances int, rule mesh.Ejection) *mesh.Service {
	s := &mesh.Service{Name: name, Limits: mesh.Limits{Ejection: rule}}
	for i := range instances {
		s.Instances = append(s.Instances, mesh.Instance{
			ID: fmt.Sprint(i), Healthy: true, Weight: 1,
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 80),
		})
	}
	slices.SortFunc(s.Instances, func(a, b mesh.Instance) int { return strings.Compare(a.ID, b.ID) })
	return s
}

// story is an Ejector with the counters of a switch.
type story struct {
	*Ejector
	t      *testing.T
	snap   mesh.Snapshot
	counts map[string]Counts // by service and id, joined by "/"
	next   time.Time
	n      int
}

func tell(t *testing.T, services ...*mesh.Service) *story {
	s := &story{Ejector: New(), t: t, counts: map[string]Counts{}}
	s.show(at(0), services...)
	return s
}

func (s *story) show(now time.Time, services ...*mesh.Service) mesh.Snapshot {
	s.snap = mesh.Snapshot{Services: services}
	return s.apply(now)
}

func (s *story) apply(now time.Time) mesh.Snapshot {
	var out mesh.Snapshot
	out, s.next = s.Apply(s.snap, now)
	return out
}

func (s *story) poll(now time.Time) bool {
	return s.Poll(func(service, id string) (Counts, bool) {
		c, ok := s.counts[service+"/"+id]
		return c, ok
	}, now)
}

// opens adds connections that failed, which the instance answered with a
// reset, and others that succeeded.
func (s *story) opens(name string, failed, succeeded int, now time.Time) {
	c := s.counts[name]
	c.Opened += uint64(failed + succeeded)
	c.Packets += uint64(failed + 3*succeeded)
	c.Bytes += uint64(54*failed + (74+66+500)*succeeded)
	s.counts[name] = c
	service, id, _ := strings.Cut(name, "/")
	for range failed {
		s.n++
		s.Failed(Sign{service, id, Refused, client(s.n)}, now)
	}
}

// out are the ejected ones as "service/id".
func (s *story) out() string {
	var all []string
	for _, e := range s.Ejected() {
		all = append(all, e.Service+"/"+e.Instance)
	}
	return strings.Join(all, " ")
}

func (s *story) expect(what, want string) {
	s.t.Helper()
	if got := s.out(); got != want {
		s.t.Fatalf("%s: out are %q, want %q", what, got, want)
	}
}

var three = mesh.Ejection{Failures: 3}

func TestEjectsWhoFailsInARow(t *testing.T) {
	s := tell(t, service("api", 3, three))
	s.opens("api/1", 2, 0, at(0.1))
	s.poll(at(1))
	s.opens("api/1", 2, 0, at(1.1))
	s.expect("before a poll with a comparison", "")
	if !s.poll(at(2)) {
		t.Error("Poll tells of no change")
	}
	s.expect("after it", "api/1")
	want := Ejected{Service: "api", Instance: "1", Refused: 3, Since: at(2), Until: at(32), Times: 1}
	if got := s.Ejected()[0]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	got := s.apply(at(2))
	for i, want := range []bool{true, false, true} {
		if got.Services[0].Instances[i].Healthy != want {
			t.Errorf("instance %d: healthy %t", i, !want)
		}
	}
	if !s.snap.Services[0].Instances[1].Healthy {
		t.Error("the registry's snapshot has changed")
	}
	if s.next != at(32) {
		t.Errorf("next change at %v, want %v", s.next, at(32))
	}
	s.apply(at(31.9))
	s.expect("just before its time", "api/1")
	if got := s.apply(at(32)); got.Services[0] != s.snap.Services[0] || !s.next.IsZero() {
		t.Error("the service is not as before")
	}
	s.expect("after its time", "")
}

func TestStories(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int // instances
		rule mesh.Ejection
		act  func(s *story)
		want string
	}{
		{"no rule", 3, mesh.Ejection{}, func(s *story) {
			for k := range 4 {
				s.opens("api/0", 9, 0, at(float64(k)))
				s.poll(at(float64(k) + .5))
			}
		}, ""},
		{"too few", 3, three, func(s *story) {
			s.opens("api/0", 2, 0, at(0))
			s.poll(at(1))
			s.poll(at(2))
		}, ""},
		{"half succeed", 3, three, func(s *story) {
			for k := range 20 {
				s.opens("api/0", 5, 5, at(float64(k)))
				s.poll(at(float64(k) + .5))
			}
		}, ""},
		{"one in twenty fails, often", 3, three, func(s *story) {
			for k := range 20 {
				s.opens("api/0", 50, 950, at(float64(k)))
				s.poll(at(float64(k) + .5))
			}
		}, ""},
		{"old connections go on, new ones fail", 3, three, func(s *story) {
			for k := range 4 {
				s.opens("api/0", 3, 0, at(float64(k)))
				c := s.counts["api/0"]
				c.Packets, c.Bytes = c.Packets+1000, c.Bytes+1_000_000
				s.counts["api/0"] = c
				s.poll(at(float64(k) + .5))
			}
		}, "api/0"},
		{"most signs are lost, but it sends only resets", 3, three, func(s *story) {
			for k := range 4 {
				s.opens("api/0", 3, 0, at(float64(k)))
				c := s.counts["api/0"]
				c.Opened, c.Packets, c.Bytes = c.Opened+900, c.Packets+900, c.Bytes+900*54
				s.counts["api/0"] = c
				s.poll(at(float64(k) + .5))
			}
		}, "api/0"},
		{"most signs are lost, slowly", 3, three, func(s *story) {
			for k := range 6 {
				s.opens("api/0", 1, 0, at(float64(k)))
				c := s.counts["api/0"]
				c.Opened, c.Packets, c.Bytes = c.Opened+900, c.Packets+900, c.Bytes+900*54
				s.counts["api/0"] = c
				s.poll(at(float64(k) + .5))
			}
		}, "api/0"},
		{"recovers", 3, three, func(s *story) {
			s.opens("api/0", 2, 0, at(0))
			s.poll(at(1))
			s.opens("api/0", 0, 9, at(1.5))
			s.poll(at(2))
			s.poll(at(3)) // now the nine are known to have succeeded
			s.opens("api/0", 2, 0, at(3.5))
			s.poll(at(4))
			s.poll(at(5))
		}, ""},
		{"spread over more than the interval", 3, three, func(s *story) {
			for k := range 10 {
				s.opens("api/0", 1, 0, at(float64(k)*6))
				s.poll(at(float64(k)*6 + 1))
			}
		}, ""},
		{"the same spread, with a longer interval", 3, mesh.Ejection{Failures: 3, Interval: time.Minute}, func(s *story) {
			for k := range 3 {
				s.opens("api/0", 1, 0, at(float64(k)*6))
				s.poll(at(float64(k)*6 + 1))
			}
		}, "api/0"},
		{"no counters", 3, three, func(s *story) {
			for n := range 3 {
				s.Failed(Sign{"api", "0", Unanswered, client(n)}, at(1))
			}
			s.poll(at(2))
		}, "api/0"},
		{"one unanswered connection, many SYNs", 3, three, func(s *story) {
			for range 9 {
				s.Failed(Sign{"api", "0", Unanswered, client(1)}, at(1))
			}
			s.poll(at(2))
		}, ""},
		{"counters begin anew", 3, three, func(s *story) {
			s.opens("api/0", 3, 0, at(0))
			s.poll(at(1))
			s.counts["api/0"] = Counts{}
			s.poll(at(2))
			s.poll(at(3))
		}, "api/0"},
		{"the only instance", 1, three, func(s *story) { s.failAll(1) }, ""},
		{"both of two", 2, mesh.Ejection{Failures: 3, MaxPercent: 100}, func(s *story) { s.failAll(2) }, "api/0"},
		{"all of ten: one may always", 10, three, func(s *story) { s.failAll(10) }, "api/0"},
		{"all of ten, half may", 10, mesh.Ejection{Failures: 3, MaxPercent: 50}, func(s *story) { s.failAll(10) }, "api/0 api/1 api/2 api/3 api/4"},
		{"all of ten, all may: one stays", 10, mesh.Ejection{Failures: 3, MaxPercent: 1000}, func(s *story) { s.failAll(10) },
			"api/0 api/1 api/2 api/3 api/4 api/5 api/6 api/7 api/8"},
		{"unknown", 3, three, func(s *story) {
			for n := range 9 {
				s.Failed(Sign{"api", "7", Refused, client(n)}, at(1))
				s.Failed(Sign{"web", "0", Refused, client(n)}, at(1))
			}
			s.poll(at(2))
			s.poll(at(3))
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tell(t, service("api", c.n, c.rule))
			c.act(s)
			s.expect("at the end", c.want)
		})
	}
}

// failAll has all new connections to n instances of api refused.
func (s *story) failAll(n int) {
	for k := range 3 {
		for i := range n {
			s.opens(fmt.Sprintf("api/%d", i), 3, 0, at(float64(k)))
		}
		s.poll(at(float64(k) + .5))
	}
}

// fail ejects one instance of api; it takes 2 s.
func (s *story) fail(name string, now time.Time) {
	s.t.Helper()
	s.opens(name, 3, 0, now)
	s.poll(now.Add(time.Second))
	s.poll(now.Add(2 * time.Second))
	s.apply(now.Add(2 * time.Second))
	if !strings.Contains(s.out(), name) {
		s.t.Fatalf("%s is not out", name)
	}
}

func TestTimeOutGrowsAndIsForgiven(t *testing.T) {
	s := tell(t, service("api", 3, three))
	now := at(0)
	for i, want := range []time.Duration{30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300} {
		s.fail("api/0", now)
		e := s.Ejected()[0]
		if got := e.Until.Sub(e.Since); got != want*time.Second || e.Times != i+1 {
			t.Fatalf("ejection %d: out for %v, %d times", i+1, got, e.Times)
		}
		now = e.Until
		s.apply(now)
	}
	// Eleven times BaseTime without a failure, less the one that now follows.
	now = now.Add(9 * 30 * time.Second)
	s.fail("api/0", now)
	if e := s.Ejected()[0]; e.Times != 3 {
		t.Errorf("%d times, want 2 of 11 left and this one", e.Times)
	}
	now = s.Ejected()[0].Until
	s.apply(now)
	s.apply(now.Add(90 * time.Second))
	if len(s.state) != 0 || s.signs != 0 {
		t.Errorf("what is forgiven is not forgotten: %v, %d signs", s.state, s.signs)
	}
	s = tell(t, service("api", 3, mesh.Ejection{Failures: 3, BaseTime: time.Hour}))
	s.fail("api/0", at(0))
	if e := s.Ejected()[0]; e.Until.Sub(e.Since) != time.Hour {
		t.Errorf("out for %v, want a BaseTime of an hour", e.Until.Sub(e.Since))
	}
}

func TestTheRegistrysWordIsNewer(t *testing.T) {
	change := func(f func(s *mesh.Service)) *mesh.Service {
		s := service("api", 4, three)
		f(s)
		return s
	}
	for name, to := range map[string][]*mesh.Service{
		"instance gone":     {change(func(s *mesh.Service) { s.Instances = s.Instances[1:] })},
		"instance drains":   {change(func(s *mesh.Service) { s.Instances[0].Healthy = false })},
		"another address":   {change(func(s *mesh.Service) { s.Instances[0].Addr = netip.MustParseAddrPort("10.9.9.9:80") })},
		"no ejection asked": {change(func(s *mesh.Service) { s.Limits = mesh.Limits{} })},
		"service gone":      {},
		"successor of one that drains": {change(func(s *mesh.Service) {
			old := s.Instances[0]
			old.Healthy = false
			s.Instances[0].Addr = netip.MustParseAddrPort("10.9.9.9:80")
			s.Instances = slices.Insert(s.Instances, 0, old)
		})},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, service("api", 4, three))
			s.fail("api/0", at(0))
			got := s.show(at(3), to...)
			s.expect(name, "")
			if !reflect.DeepEqual(got.Services, to) || !s.next.IsZero() || len(s.state) != 0 {
				t.Errorf("the snapshot is not the registry's, or something is remembered: %v", s.state)
			}
		})
	}
	s := tell(t, change(func(s *mesh.Service) {
		old := s.Instances[0]
		old.Healthy = false
		s.Instances[0].Addr = netip.MustParseAddrPort("10.9.9.9:80")
		s.Instances = slices.Insert(s.Instances, 0, old)
	}))
	s.fail("api/0", at(0)) // the successor
	s = tell(t, service("api", 4, three))
	s.fail("api/0", at(0))
	got := s.show(at(3), change(func(s *mesh.Service) { s.Instances[3].Weight = 7 }))
	if i := got.Services[0].Instances; i[0].Healthy || i[3].Weight != 7 {
		t.Errorf("after another change: %+v", i)
	}
}

func TestBoundHoldsWhenInstancesGo(t *testing.T) {
	half := mesh.Ejection{Failures: 3, MaxPercent: 50}
	s := tell(t, service("api", 4, half))
	s.fail("api/0", at(0))
	s.fail("api/1", at(5))
	few := service("api", 4, half)
	few.Instances[2].Healthy = false
	few.Instances[3].Healthy = false
	got := s.show(at(8), few)
	s.expect("two of two healthy ones were out", "api/1")
	if !got.Services[0].Instances[0].Healthy {
		t.Error("nobody is left")
	}
	s.show(at(9), service("api", 1, half))
	s.expect("the only one", "")
}

func TestSubsetKeepsItsLast(t *testing.T) {
	with := func() *mesh.Service {
		s := service("api", 4, mesh.Ejection{Failures: 3, MaxPercent: 100})
		for i, v := range []string{"v1", "v1", "v1", "v2"} {
			s.Instances[i].Subsets = []string{v}
		}
		return s
	}
	s := tell(t, with())
	s.failAll(4)
	s.expect("one of each subset stays", "api/0 api/1")
	fewer := with()
	fewer.Instances[2].Healthy = false
	s.show(at(4), fewer)
	s.expect("subset v1 has shrunk", "api/1")
}

func TestPointers(t *testing.T) {
	api, web := service("api", 3, three), service("web", 3, three)
	s := tell(t, api, web)
	in := s.snap.Services
	got := s.apply(at(0))
	if !sameSlice(got.Services, in) {
		t.Error("without ejections the slice is not the registry's")
	}
	s.fail("api/1", at(0))
	first := s.apply(at(3))
	if first.Services[1] != web || first.Services[0] == api || sameSlice(first.Services, in) || in[0] != api {
		t.Error("more has changed than the ejected instance's service")
	}
	s.opens("web/0", 1, 0, at(3.5))
	s.poll(at(4))
	if second := s.apply(at(5)); !sameSlice(first.Services, second.Services) {
		t.Error("nothing has changed, but the slice has")
	}
	web2 := service("web", 2, three)
	third := s.show(at(6), api, web2)
	if third.Services[0] != first.Services[0] || third.Services[1] != web2 {
		t.Error("another service has changed, and api has got another pointer")
	}
	s.fail("web/1", at(6))
	fourth := s.apply(at(9))
	if fourth.Services[0] != first.Services[0] || fourth.Services[1] == web2 {
		t.Error("another ejection has changed api, or not web")
	}
}

func TestSecondOfAService(t *testing.T) {
	s := tell(t, service("api", 4, mesh.Ejection{Failures: 3, MaxPercent: 50}))
	s.fail("api/0", at(0))
	s.fail("api/3", at(3))
	got := s.apply(at(6)).Services[0].Instances
	if got[0].Healthy || !got[1].Healthy || !got[2].Healthy || got[3].Healthy {
		t.Errorf("%+v", got)
	}
	got = s.apply(at(32.5)).Services[0].Instances
	if !got[0].Healthy || got[3].Healthy {
		t.Errorf("after the first returned: %+v", got)
	}
}

// TestAnyHistory throws dice and holds each outcome to the bounds.
func TestAnyHistory(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		e, now := New(), start
		names := []string{"a", "b", "c"}
		draw := func() mesh.Snapshot {
			var snap mesh.Snapshot
			for _, name := range names {
				if r.IntN(10) == 0 {
					continue
				}
				s := service(name, r.IntN(7), mesh.Ejection{Failures: uint32(r.IntN(4)), MaxPercent: uint32(r.IntN(120)), BaseTime: time.Duration(r.IntN(20)) * time.Second})
				for i := range s.Instances {
					s.Instances[i].Healthy = r.IntN(4) > 0
					if r.IntN(2) == 0 {
						s.Instances[i].Subsets = []string{fmt.Sprint("v", r.IntN(2))}
					}
				}
				snap.Services = append(snap.Services, s)
			}
			return snap
		}
		snap := draw()
		out, _ := e.Apply(snap, now)
		for step := range 300 {
			now = now.Add(time.Duration(r.IntN(1500)) * time.Millisecond)
			switch r.IntN(8) {
			case 0:
				snap = draw()
			case 1, 2:
				e.Poll(func(string, string) (Counts, bool) {
					return Counts{r.Uint64N(9), r.Uint64N(9), r.Uint64N(999)}, r.IntN(3) > 0
				}, now)
			default:
				e.Failed(Sign{names[r.IntN(3)], fmt.Sprint(r.IntN(8)), Kind(1 + r.IntN(2)), client(r.IntN(9))}, now)
				continue
			}
			var next time.Time
			out, next = e.Apply(snap, now)
			if err := check(e, snap, out, next, now); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			if again, _ := e.Apply(snap, now); !sameSlice(again.Services, out.Services) {
				t.Fatalf("seed %d, step %d: the same again is another slice", seed, step)
			}
		}
	}
}

func check(e *Ejector, in, out mesh.Snapshot, next, now time.Time) error {
	if len(in.Services) != len(out.Services) {
		return fmt.Errorf("%d services became %d", len(in.Services), len(out.Services))
	}
	instances, signs := 0, 0
	for i, s := range in.Services {
		instances += len(s.Instances)
		healthy, left := map[string]int{}, map[string]int{}
		for k, inst := range s.Instances {
			o := out.Services[i].Instances[k]
			if o.Healthy && !inst.Healthy {
				return fmt.Errorf("%s/%s became healthy", s.Name, inst.ID)
			}
			for _, set := range append([]string{""}, inst.Subsets...) {
				if inst.Healthy {
					healthy[set]++
				}
				if o.Healthy {
					left[set]++
				}
			}
			o.Healthy = inst.Healthy
			if !reflect.DeepEqual(o, inst) {
				return fmt.Errorf("%s/%s changed otherwise: %+v", s.Name, inst.ID, o)
			}
		}
		for set := range healthy {
			if healthy[set] > 0 && left[set] == 0 {
				return fmt.Errorf("service %s, subset %q: all are out", s.Name, set)
			}
		}
		percent := int(s.Limits.Ejection.MaxPercent)
		if percent == 0 {
			percent = 10
		}
		gone := healthy[""] - left[""]
		if gone > max(1, healthy[""]*percent/100) || gone > 0 && s.Limits.Ejection.Failures == 0 {
			return fmt.Errorf("service %s: %d of %d are out, with %d %%", s.Name, gone, healthy[""], percent)
		}
		if (gone == 0) != (out.Services[i] == s) {
			return fmt.Errorf("service %s: %d out, but its pointer says otherwise", s.Name, gone)
		}
	}
	for _, st := range e.state {
		signs += len(st.run)
	}
	if len(e.state) > instances || e.signs != signs || len(e.made) > len(e.Ejected()) {
		return fmt.Errorf("%d states of %d instances, %d of %d signs, %d copies", len(e.state), instances, e.signs, signs, len(e.made))
	}
	if (len(e.Ejected()) == 0) != next.IsZero() || !next.IsZero() && !next.After(now) {
		return fmt.Errorf("next change at %v, with %d out", next, len(e.Ejected()))
	}
	return nil
}

func TestSignsAreBounded(t *testing.T) {
	s := tell(t, service("api", 70, mesh.Ejection{Failures: 1000}))
	for n := range 70 * 1000 {
		s.Failed(Sign{"api", fmt.Sprint(n / 1000), Refused, client(n)}, at(1))
	}
	if s.signs != mostSigns {
		t.Errorf("%d signs are remembered, want %d", s.signs, mostSigns)
	}
	s.show(at(2))
	if s.signs != 0 || len(s.state) != 0 {
		t.Errorf("%d signs and %d states of a service that has gone", s.signs, len(s.state))
	}
}

// BenchmarkApply has 10,000 services, of which one changes and ten have an
// instance out.
func BenchmarkApply(b *testing.B) {
	var services []*mesh.Service
	for i := range 10_000 {
		services = append(services, service(fmt.Sprintf("s%05d", i), 3, three))
	}
	e := New()
	e.Apply(mesh.Snapshot{Services: services}, start)
	for i := range 10 {
		for n := range 3 {
			e.Failed(Sign{services[i*7].Name, "0", Unanswered, client(n)}, start)
		}
	}
	e.Poll(func(string, string) (Counts, bool) { return Counts{}, false }, start)
	if len(e.Ejected()) != 10 {
		b.Fatalf("%d are out", len(e.Ejected()))
	}
	other := slices.Clone(services)
	other[5000] = service("s05000", 2, three)
	for i := 0; b.Loop(); i++ {
		e.Apply(mesh.Snapshot{Services: [][]*mesh.Service{services, other}[i%2]}, start)
	}
}
