package openloop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// target is a server that counts.
type target struct {
	url         string
	hangUp      func() // closes all connections
	requests    atomic.Int64
	connections atomic.Int64
}

func serve(t *testing.T, h http.HandlerFunc) *target {
	t.Helper()
	s := &target{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if h != nil {
			h(w, r)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	s.url, s.hangUp = server.URL, server.CloseClientConnections
	return s
}

func step(url string, weight int) scenarios.WeightedStep {
	return scenarios.WeightedStep{RequestSpec: scenarios.RequestSpec{URL: url, Status: http.StatusOK}, Weight: weight}
}

// generatorSpec has a side for each target.
func generatorSpec(targets ...*target) scenarios.GeneratorSpec {
	spec := scenarios.GeneratorSpec{Connections: 4, Timeout: 5 * time.Second}
	for i, s := range targets {
		spec.Sides = append(spec.Sides, scenarios.SideSpec{Name: fmt.Sprint("side ", i), Steps: []scenarios.WeightedStep{step(s.url, 1)}})
	}
	return spec
}

func newEngine(t *testing.T, spec scenarios.GeneratorSpec) *Engine {
	t.Helper()
	e, err := New(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func mustTrial(t *testing.T, g scenarios.Generator, spec scenarios.TrialSpec) scenarios.TrialOutcome {
	t.Helper()
	o, err := g.Trial(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTrialsSharesArrivals(t *testing.T) {
	one, two, three := serve(t, nil), serve(t, nil), serve(t, nil)
	e := newEngine(t, generatorSpec(one, two, three))
	spec := trialSpec()
	spec.Log, spec.Only = true, []int{0, 2}
	for n := range 3 {
		spec.Seed = uint64(n)
		began := time.Now()
		o := mustTrial(t, e, spec)
		if len(o.Sides) != 3 || o.Sides[1].Requests != 0 || o.Sides[1].Log != nil {
			t.Fatalf("sides %+v: want three, and nothing of the second", o.Sides)
		}
		if o.Started.Before(began) || o.Started.After(time.Now()) || o.Seconds <= 0 {
			t.Errorf("started %v, took %v s", o.Started, o.Seconds)
		}
		for _, i := range []int{0, 2} {
			s := o.Sides[i]
			if s.Requests != 100 || s.Errors != 0 || len(s.Log) != 100 {
				t.Errorf("side %d: %d requests, errors %v, log of %d", i, s.Requests, s.ErrorKind, len(s.Log))
			}
			checkSide(t, s)
		}
		if o.Generator.CPUSeconds <= 0 || o.Generator.Lateness.HDR == "" {
			t.Errorf("generator %+v", o.Generator)
		}
		// Each slot has one arrival per side.
		for k, a := range o.Sides[0].Log {
			b := o.Sides[2].Log[k]
			if k+1 < 100 && (b.At >= o.Sides[0].Log[k+1].At && a.At >= o.Sides[2].Log[k+1].At) {
				t.Errorf("slot %d is not paired", k)
			}
		}
	}
	for i, s := range []*target{one, two, three} {
		want := []int64{300, 0, 300}[i]
		if s.requests.Load() != want || s.connections.Load() != min(want, 4) {
			t.Errorf("server %d saw %d requests over %d connections", i, s.requests.Load(), s.connections.Load())
		}
	}
}

// checkSide holds the figures of a side to its log.
func checkSide(t *testing.T, s scenarios.SideOutcome) {
	t.Helper()
	var latency, service []float64
	for _, r := range s.Log {
		if r.Error == "" {
			latency, service = append(latency, r.Late+r.Service), append(service, r.Service)
		}
	}
	for _, d := range []struct {
		name   string
		got    scenarios.Distribution
		values []float64
	}{{"latency", s.Latency, latency}, {"service", s.Service, service}} {
		want := stats.Summarize(d.values)
		if math.Abs(d.got.P50-want.P50) > 1e-6 || math.Abs(d.got.P99-want.P99) > 1e-6 || math.Abs(d.got.Max-want.Max) > 1e-6 ||
			math.Abs(d.got.Min-want.Min) > 1e-6 || math.Abs(d.got.Avg-want.Avg) > 1e-6 || math.Abs(d.got.P90-want.P90) > 1e-6 {
			t.Errorf("%s is %+v, its log says %+v", d.name, d.got, want)
		}
		if len(d.values) == 0 {
			if d.got != (scenarios.Distribution{}) {
				t.Errorf("%s of nothing is %+v", d.name, d.got)
			}
			continue
		}
		h, err := stats.DecodeHDR(d.got.HDR)
		if err != nil {
			t.Fatal(err)
		}
		if h.TotalCount() != int64(len(d.values)) || math.Abs(float64(h.Max())/1000-want.Max) > 0.002*want.Max+0.002 {
			t.Errorf("%s: histogram of %d values up to %d us; %d up to %v ms were logged", d.name, h.TotalCount(), h.Max(), len(d.values), want.Max)
		}
	}
}

// TestStallIsSeenByAll is about coordinated omission: a server that stops for
// 300 ms delays all that were to be sent meanwhile, though only as many
// requests as there are connections wait for it. A busy machine stalls both
// sides for as long, so it is tried again.
func TestStallIsSeenByAll(t *testing.T) {
	var wrong []string
	for range 5 {
		if wrong = stall(t); len(wrong) == 0 {
			return
		}
	}
	t.Error(strings.Join(wrong, "\n"))
}

// stall lets a server stop in a trial, and tells what is not seen of it.
func stall(t *testing.T) (wrong []string) {
	var door sync.RWMutex
	var once sync.Once
	s := serve(t, nil)
	stalling := serve(t, func(http.ResponseWriter, *http.Request) {
		if s.requests.Load() >= 100 { // the other side's count tells the time
			once.Do(func() {
				door.Lock()
				time.AfterFunc(300*time.Millisecond, door.Unlock)
			})
		}
		door.RLock()
		defer door.RUnlock()
	})
	e := newEngine(t, generatorSpec(stalling, s))
	spec := trialSpec()
	spec.Requests, spec.Rate, spec.Log = 400, 400, true
	o := mustTrial(t, e, spec)
	got, other := o.Sides[0], o.Sides[1]
	slow := func(log []scenarios.RequestAt, of func(scenarios.RequestAt) float64) (n int) {
		for _, r := range log {
			if of(r) > 100 {
				n++
			}
		}
		return n
	}
	unless := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	// 120 arrivals fall into the stall; those of its first 200 ms wait more
	// than 100 ms.
	n := slow(got.Log, func(r scenarios.RequestAt) float64 { return r.Late + r.Service })
	unless(n >= 50, "%d requests were more than 100 ms late, want about 80", n)
	n = slow(got.Log, func(r scenarios.RequestAt) float64 { return r.Service })
	unless(n <= 12, "%d requests took more than 100 ms once sent, want 4: one per connection", n)
	unless(got.Latency.P90 >= 100 && got.Latency.P99 >= 200, "p90 %v ms and p99 %v ms: the stall does not show", got.Latency.P90, got.Latency.P99)
	unless(o.Generator.Queued >= 50, "%d requests waited for a connection, want about 110", o.Generator.Queued)
	unless(other.Latency.P90 <= got.Latency.P90/2, "the other side has p90 %v ms: it waits for the one that stalls", other.Latency.P90)
	late := o.Generator.Lateness
	unless(late.P90 <= got.Latency.P90/2, "lateness %+v has waiting for connections in it", late)
	return wrong
}

func TestQueueIsServedInOrder(t *testing.T) {
	var mu sync.Mutex
	var paths []string
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, r.URL.Path)
		mu.Unlock()
		select {
		case <-time.After(5 * time.Millisecond):
		case <-r.Context().Done():
		}
	})
	spec := generatorSpec(s)
	spec.Connections = 1
	spec.Sides[0].Steps = []scenarios.WeightedStep{step(s.url+"/0", 1), step(s.url+"/1", 3)}
	e := newEngine(t, spec)
	trial := trialSpec()
	trial.Log = true
	o := mustTrial(t, e, trial) // 1,000 per second to a server that does 200
	if o.Generator.Queued < 90 || o.Sides[0].Latency.P50 < 100 {
		t.Errorf("%d of 100 were queued, p50 %v ms", o.Generator.Queued, o.Sides[0].Latency.P50)
	}
	for i, r := range o.Sides[0].Log {
		if want := fmt.Sprint("/", r.Step); paths[i] != want {
			t.Fatalf("request %d went to %s, want %s", i, paths[i], want)
		}
	}
	if h, err := stats.DecodeHDR(o.Generator.Lateness.HDR); err != nil || int(h.TotalCount())+o.Generator.Queued != 100 {
		t.Errorf("lateness of %v and %d queued, of 100 requests", h.TotalCount(), o.Generator.Queued)
	}
}

func TestStepsAreThoseOfTheSlot(t *testing.T) {
	var counts [2][2]atomic.Int64
	handler := func(side int) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			counts[side][strings.Count(r.URL.Path, "rare")].Add(1)
		}
	}
	one, two := serve(t, handler(0)), serve(t, handler(1))
	spec := generatorSpec(one, two)
	for i, s := range []*target{one, two} {
		spec.Sides[i].Steps = []scenarios.WeightedStep{step(s.url+"/often", 9), step(s.url+"/rare", 1)}
	}
	trial := trialSpec()
	trial.Requests, trial.Log = 300, true
	o := mustTrial(t, newEngine(t, spec), trial)
	for k := range o.Sides[0].Log {
		if a, b := o.Sides[0].Log[k].Step, o.Sides[1].Log[k].Step; a != b {
			t.Fatalf("slot %d: steps %d and %d", k, a, b)
		}
	}
	a, b := counts[0][1].Load(), counts[1][1].Load()
	if a != b || a < 5 || a > 75 || counts[0][0].Load()+a != 300 {
		t.Errorf("the rare step was sent %d and %d times of 300, want the same, about 30", a, b)
	}
}

func TestErrorsHaveKinds(t *testing.T) {
	var n atomic.Int64
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 10 {
		case 3:
			w.WriteHeader(http.StatusBadGateway)
		case 7:
			panic(http.ErrAbortHandler)
		}
	})
	gone := serve(t, nil)
	spec := generatorSpec(s, gone)
	spec.Sides[1].Steps[0].URL = "http://127.0.0.1:1"
	trial := trialSpec()
	trial.Log = true
	o := mustTrial(t, newEngine(t, spec), trial)
	got := o.Sides[0]
	if got.Errors != 20 || got.ErrorKind["status 502"] != 10 || got.ErrorKind["connection closed early"] != 10 {
		t.Errorf("%d errors %v", got.Errors, got.ErrorKind)
	}
	checkSide(t, got)
	if k := o.Sides[1]; k.Errors != 100 || k.ErrorKind["connection refused"] != 100 || k.Latency != (scenarios.Distribution{}) {
		t.Errorf("%+v", k)
	}
}

func TestLimit(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	trial := trialSpec()
	trial.Requests, trial.Rate, trial.Limit, trial.Log = 1000, 100, 300*time.Millisecond, true
	start := time.Now()
	o := mustTrial(t, newEngine(t, generatorSpec(s)), trial)
	if took := time.Since(start); took > 4*time.Second || o.Seconds < 0.29 {
		t.Errorf("took %v and says %v s, the limit was 300ms", took, o.Seconds)
	}
	got := o.Sides[0]
	if got.Requests != 1000 || got.Errors != 1000 || got.ErrorKind["unanswered after 300ms"] != 4 || got.ErrorKind["not sent within 300ms"] != 996 {
		t.Errorf("%+v", got.ErrorKind)
	}
	if last := got.Log[999]; last.Error == "" || last.Late != 0 || last.Service != 0 {
		t.Errorf("what was not sent is logged as %+v", last)
	}
}

func TestTrialIsCancelled(t *testing.T) {
	arrived := make(chan struct{}, 100)
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	trial := trialSpec()
	trial.Rate = 0.5 // most wait for a time that is far away
	trial.Limit = time.Hour
	start := time.Now()
	if _, err := newEngine(t, generatorSpec(s)).Trial(ctx, trial); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v to stop", took)
	}
}

func TestWindows(t *testing.T) {
	s := serve(t, nil)
	trial := trialSpec()
	trial.Requests, trial.Rate, trial.Window, trial.Log = 300, 1000, 50*time.Millisecond, true
	o := mustTrial(t, newEngine(t, generatorSpec(s, s)), trial)
	for _, side := range o.Sides {
		total := 0
		for i, w := range side.Windows {
			if math.Abs(w.At-float64(i)*0.05) > 1e-9 {
				t.Errorf("window %d starts at %v s", i, w.At)
			}
			total += w.N
			var in []float64
			for _, r := range side.Log {
				if r.At >= w.At*1000 && r.At < w.At*1000+50 {
					in = append(in, r.Late+r.Service)
				}
			}
			slices.Sort(in)
			if w.N != len(in) || math.Abs(w.P50-stats.Summarize(in).P50) > 1e-6 || math.Abs(w.P99-stats.Summarize(in).P99) > 1e-6 {
				t.Errorf("window %d is %+v, the log has %d", i, w, len(in))
			}
		}
		if n := len(side.Windows); total != side.Requests-side.Errors || n < 4 || n > 9 {
			t.Errorf("%d windows with %d requests, want about 6 with %d", n, total, side.Requests-side.Errors)
		}
	}
}

func TestConnectionsAreRenewedBetweenTrials(t *testing.T) {
	s := serve(t, nil)
	e := newEngine(t, generatorSpec(s))
	mustTrial(t, e, trialSpec())
	s.hangUp()
	if o := mustTrial(t, e, trialSpec()); o.Sides[0].Errors != 0 {
		t.Error(o.Sides[0].ErrorKind)
	}
	if n := s.connections.Load(); n != 8 {
		t.Errorf("%d connections, want 4 twice", n)
	}
}

// TestSleepersHaveThreads: see trial.run for why.
func TestSleepersHaveThreads(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	var during atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) { during.Store(int64(runtime.GOMAXPROCS(0))) })
	mustTrial(t, newEngine(t, generatorSpec(s, s)), trialSpec())
	if want := max(before, runtime.NumCPU()+2); int(during.Load()) != want || runtime.GOMAXPROCS(0) != before {
		t.Errorf("GOMAXPROCS is %d before a trial of two sides, %d meanwhile (want %d), %d afterwards",
			before, during.Load(), want, runtime.GOMAXPROCS(0))
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*scenarios.GeneratorSpec)
		want   string
	}{
		{"no side", func(s *scenarios.GeneratorSpec) { s.Sides = nil }, "0 sides"},
		{"no connection", func(s *scenarios.GeneratorSpec) { s.Connections = 0 }, "connections 0"},
		{"no timeout", func(s *scenarios.GeneratorSpec) { s.Timeout = 0 }, "timeout 0s"},
		{"long timeout", func(s *scenarios.GeneratorSpec) { s.Timeout = time.Hour }, "timeout 1h"},
		{"no step", func(s *scenarios.GeneratorSpec) { s.Sides[0].Steps = nil }, `side "side 0" has no steps`},
		{"weight", func(s *scenarios.GeneratorSpec) { s.Sides[0].Steps[0].Weight = 0 }, "weight 0: want 1"},
		{"other weights", func(s *scenarios.GeneratorSpec) { s.Sides[1].Steps[0].Weight = 2 }, "weight 2, on the first side 1"},
		{"other steps", func(s *scenarios.GeneratorSpec) {
			s.Sides[1].Steps = append(s.Sides[1].Steps, s.Sides[1].Steps[0])
		}, "has 2 steps, the first side 1"},
		{"request", func(s *scenarios.GeneratorSpec) { s.Sides[1].Steps[0].URL = "shop" }, `step 1 of side "side 1": URL "shop"`},
		{"name in a lab", func(s *scenarios.GeneratorSpec) {
			s.Sides[0].Lab, s.Sides[0].Steps[0].URL = "/x", "http://shop/"
		}, "reach IPv4 addresses"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := target{url: "http://127.0.0.1:1"}, target{url: "http://127.0.0.1:2"}
			spec := generatorSpec(&a, &b)
			tt.change(&spec)
			if _, err := New(t.Context(), spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestClock(t *testing.T) {
	c := startClock(0)
	for _, after := range []time.Duration{-time.Second, 3 * time.Millisecond, coarse + 20*time.Millisecond} {
		at := c.now() + after
		if !c.sleep(t.Context(), at) {
			t.Error("interrupted")
		}
		if now := c.now(); now < at || after < 0 && now > at+2*time.Second {
			t.Errorf("woke up at %v, wanted %v", now, at)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c.sleep(ctx, c.now()+time.Hour) || c.sleep(ctx, c.now()+time.Millisecond) {
		t.Error("slept on")
	}
}
