package process

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

// beat is a process that prints a line again and again.
func beat(name string) Spec {
	s := sh(name, `echo "start $$"; while :; do echo beat; sleep 0.02; done`)
	s.KeepRunning = true
	return s
}

func TestKill(t *testing.T) {
	m := newManager(t)
	if err := m.Kill("none"); !errors.Is(err, ErrUnknown) {
		t.Errorf("kill of nothing: %v", err)
	}
	if err := m.Start(beat("a")); err != nil {
		t.Fatal(err)
	}
	if err := m.Kill("a"); err != nil {
		t.Fatal(err)
	}
	got := until(t, m, "a", func(p Info, _ string) bool { return p.State == Running && p.Restarts == 1 })
	if got.Exit != "signal: killed" {
		t.Errorf("%+v", got)
	}
}

func TestHoldAndRelease(t *testing.T) {
	m := newManager(t)
	if err := m.Start(beat("a")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds it held
		if err := m.Hold("a"); err != nil {
			t.Fatal(err)
		}
		until(t, m, "a", func(p Info, _ string) bool { return p.State == Held })
	}
	if err := m.Kill("a"); err == nil || !strings.Contains(err.Error(), "it does not run: it is held") {
		t.Errorf("kill of what is held: %v", err)
	}
	for range 2 {
		if err := m.Release("a"); err != nil {
			t.Fatal(err)
		}
		until(t, m, "a", func(p Info, _ string) bool { return p.State == Running && p.Restarts == 1 })
	}
	if err := m.Hold("a"); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if p := until(t, m, "a", func(p Info, _ string) bool { return p.State == Exited }); p.Restarts != 1 {
		t.Errorf("stopped while held: %+v", p)
	}
	if err := m.Hold("a"); err == nil {
		t.Error("held what has ended for good")
	}
}

// A paused process and its children stand still, and go on where they were.
func TestPauseAndResume(t *testing.T) {
	m := newManager(t)
	if err := m.Start(beat("a")); err != nil {
		t.Fatal(err)
	}
	beats := func() int {
		text, _ := m.Tail("a", 100000)
		return strings.Count(text, "beat")
	}
	until(t, m, "a", func(Info, string) bool { return beats() > 2 })
	if err := m.Pause("a"); err != nil {
		t.Fatal(err)
	}
	p := until(t, m, "a", func(p Info, _ string) bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/stat")
		return p.State == Paused && err == nil && strings.Contains(string(stat), ") T ")
	})
	if _, err := m.Usage(t.Context()); err != nil {
		t.Errorf("usage while paused: %v", err)
	}
	if err := m.Resume("a"); err != nil {
		t.Fatal(err)
	}
	seen := beats()
	after := until(t, m, "a", func(p Info, _ string) bool { return p.State == Running && beats() > seen })
	if after.PID != p.PID || after.Restarts != 0 {
		t.Errorf("%+v before, %+v after", p, after)
	}
	if err := m.Resume("a"); err != nil {
		t.Errorf("resume what runs: %v", err)
	}
	if err := m.Pause("a"); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(t.Context(), "a"); err != nil {
		t.Errorf("stop what is paused: %v", err)
	}
}
