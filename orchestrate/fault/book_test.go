package fault

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// actor notes what is broken.
type actor struct {
	mu     sync.Mutex
	broken []string
	begin  error
	undo   error
}

func (a *actor) Begin(_ context.Context, s Strike) (func(context.Context) error, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begin != nil {
		return nil, a.begin
	}
	a.broken = append(a.broken, s.Fault.Target)
	return func(context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.undo != nil {
			return a.undo
		}
		a.broken = slices.DeleteFunc(a.broken, func(n string) bool { return n == s.Fault.Target })
		return nil
	}, nil
}

func (a *actor) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.broken, " ")
}

func strike(kind scenarios.FaultKind, target string, lasts time.Duration, names ...string) Strike {
	return Strike{Fault: scenarios.Fault{Kind: kind, Target: target, For: lasts}, Processes: append(names, target)}
}

func TestFaultsEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &actor{}
		b := NewBook(a)
		short, err := b.Begin(t.Context(), strike(scenarios.Kill, "web", 2*time.Second))
		if err != nil || short.ID != 1 || short.Until == nil || short.Until.Sub(short.Began) != 2*time.Second {
			t.Fatalf("%+v, %v", short, err)
		}
		if _, err := b.Begin(t.Context(), strike(scenarios.Pause, "db", 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1999 * time.Millisecond)
		synctest.Wait()
		if a.String() != "web db" {
			t.Errorf("broken after 2 s less a moment: %s", a)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if a.String() != "db" {
			t.Errorf("broken after 2 s: %s", a)
		}
		all := b.List()
		if len(all) != 2 || all[0].On() || all[0].Ended.Sub(all[0].Began) != 2*time.Second || !all[1].On() || all[1].Until != nil {
			t.Errorf("%+v", all)
		}
		ended, err := b.EndAll(t.Context())
		if err != nil || len(ended) != 1 || ended[0].ID != 2 || a.String() != "" {
			t.Errorf("%+v, %v; broken: %s", ended, err, a)
		}
	})
}

func TestOneFaultForEachThing(t *testing.T) {
	a := &actor{}
	b := NewBook(a)
	host, err := b.Begin(t.Context(), strike(scenarios.Kill, "h1", 0, "web", "consul@h1"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Begin(t.Context(), strike(scenarios.Pause, "web", 0))
	if !errors.Is(err, ErrStruck) || !strings.Contains(err.Error(), "pause web: web: it is under a fault already, 1 (kill h1); `meshlab fault undo 1` ends that") {
		t.Errorf("pause of what is killed: %v", err)
	}
	if _, err := b.Begin(t.Context(), strike(scenarios.Pause, "db", 0)); err != nil {
		t.Errorf("another one: %v", err)
	}
	if _, err := b.End(t.Context(), host.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Begin(t.Context(), strike(scenarios.Pause, "web", 0)); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func TestEnd(t *testing.T) {
	a := &actor{undo: errors.New("no memory")}
	b := NewBook(a)
	e, err := b.Begin(t.Context(), strike(scenarios.Kill, "web", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.End(t.Context(), e.ID); err == nil || !strings.Contains(err.Error(), "end fault 1 (kill web): no memory") {
		t.Errorf("an undo that fails: %v", err)
	}
	if now := b.List()[0]; !now.On() || now.Error != "no memory" {
		t.Errorf("after it: %+v", now)
	}
	a.undo = nil
	first, err := b.End(t.Context(), e.ID)
	if err != nil || first.On() || first.Error != "" {
		t.Errorf("tried again: %+v, %v", first, err)
	}
	second, err := b.End(t.Context(), e.ID)
	if err != nil || !second.Ended.Equal(first.Ended) {
		t.Errorf("ended twice: %+v, %v", second, err)
	}
	if _, err := b.End(t.Context(), 7); !errors.Is(err, ErrUnknown) {
		t.Errorf("end of nothing: %v", err)
	}
}

func TestFaultThatCannotBegin(t *testing.T) {
	a := &actor{begin: errors.New("no such thing")}
	b := NewBook(a)
	if _, err := b.Begin(t.Context(), strike(scenarios.Kill, "web", time.Hour)); err == nil || len(b.List()) != 0 {
		t.Errorf("%v, %+v", err, b.List())
	}
	a.begin = nil
	if _, err := b.Begin(t.Context(), strike(scenarios.Kill, "web", 0)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// What a fault has broken is changed by nobody else, and nothing begins while
// somebody changes.
func TestChange(t *testing.T) {
	a := &actor{}
	b := NewBook(a)
	e, err := b.Begin(t.Context(), strike(scenarios.Cut, "s1-s2", 0))
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	change := func() error { changed++; return nil }
	if err := b.Change("s1-s2", change); !errors.Is(err, ErrStruck) || !strings.Contains(err.Error(), "meshlab fault undo 1") || changed != 0 {
		t.Errorf("under a fault: %v, and it was changed %d times", err, changed)
	}
	if err := b.Change("s2-s3", change); err != nil || changed != 1 {
		t.Errorf("another one: %v", err)
	}
	if _, err := b.End(t.Context(), e.ID); err != nil {
		t.Fatal(err)
	}
	begun := make(chan error)
	err = b.Change("s1-s2", func() error {
		go func() {
			_, err := b.Begin(t.Context(), strike(scenarios.Cut, "s1-s2", 0))
			begun <- err
		}()
		for range 10_000 { // so that it would have begun, if it could
			runtime.Gosched()
		}
		if a.String() != "" {
			t.Error("a fault began in the middle of a change")
		}
		return nil
	})
	if err != nil {
		t.Errorf("after the fault: %v", err)
	}
	if err := <-begun; err != nil || a.String() != "s1-s2" {
		t.Errorf("after the change: %v, broken: %q", err, a)
	}
}
