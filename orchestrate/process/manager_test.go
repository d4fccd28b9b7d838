package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func newManager(t *testing.T) *Manager {
	t.Helper()
	m, err := NewManager(filepath.Join(t.TempDir(), "log"), Namespaces{UID: 65534})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range m.List() {
			if err := m.Stop(t.Context(), p.Name); err != nil {
				t.Error(err)
			}
		}
	})
	return m
}

// sh is a process that runs a script in a shell.
func sh(name, script string) Spec {
	return Spec{Name: name, Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

// until polls the named process until ok says that it is as it should be.
func until(t *testing.T, m *Manager, name string, ok func(Info, string) bool) Info {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var now Info
		for _, p := range m.List() {
			if p.Name == name {
				now = p
			}
		}
		text, _ := m.Tail(name, 1000) // there may be none yet
		if ok(now, text) {
			return now
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v, it printed:\n%s", name, now, text)
		}
		<-tick.C
	}
}

func TestExit(t *testing.T) {
	m := newManager(t)
	if err := m.Start(sh("once", "echo out; echo err >&2; exit 3")); err != nil {
		t.Fatal(err)
	}
	got := until(t, m, "once", func(p Info, _ string) bool { return p.State == Exited })
	if got.Exit != "exit status 3" || got.Restarts != 0 {
		t.Errorf("%+v", got)
	}
	if text, err := m.Tail("once", 10); err != nil || text != "out\nerr" {
		t.Errorf("printed %q, %v", text, err)
	}
	if err := m.Start(sh("once", "exit 0")); err != nil {
		t.Errorf("start again after the end: %v", err)
	}
	if err := m.Start(Spec{Name: "missing", Path: "/no/such/program"}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "start missing") {
		t.Errorf("a program that is not there: %v", err)
	}
	if err := m.Start(Spec{Name: "image", Path: "/bin/true", Image: "busybox"}); err == nil || !strings.Contains(err.Error(), "Docker") {
		t.Errorf("an image without containers: %v", err)
	}
	if _, err := m.Tail("never", 1); err == nil {
		t.Error("the log of a process that never was")
	}
}

func TestRestart(t *testing.T) {
	m := newManager(t)
	s := sh("again", `echo "start $$"; exit 1`)
	s.KeepRunning = true
	if err := m.Start(s); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(s); err == nil {
		t.Error("started twice")
	}
	begin := time.Now()
	until(t, m, "again", func(p Info, _ string) bool { return p.Restarts >= 3 })
	if took := time.Since(begin); took < 600*time.Millisecond { // 100 + 200 + 400, less what had passed
		t.Errorf("three restarts after %v: the pause does not grow", took)
	}
	if text, err := m.Tail("again", 100); err != nil || strings.Count(text, "start ") < 3 || !strings.Contains(text, "ended (exit status 1)") {
		t.Errorf("log: %v\n%s", err, text)
	}
	if err := m.Stop(t.Context(), "again"); err != nil {
		t.Fatal(err)
	}
	stopped := until(t, m, "again", func(p Info, _ string) bool { return p.State == Exited })
	if now := until(t, m, "again", func(Info, string) bool { return true }); now.Restarts != stopped.Restarts {
		t.Errorf("it started again after the stop")
	}
}

// A lack of memory or processes passes; the process must come back then.
func TestRestartThatFailsIsTriedAgain(t *testing.T) {
	m := newManager(t)
	program := filepath.Join(t.TempDir(), "program")
	write := func() {
		t.Helper()
		if err := os.WriteFile(program+".new", []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(program+".new", program); err != nil {
			t.Fatal(err)
		}
	}
	write()
	starts := make(chan struct{}, 10)
	s := Spec{Name: "gone", Path: program, Env: []string{"PATH=/usr/bin:/bin"}, KeepRunning: true, Started: func() { starts <- struct{}{} }}
	if err := m.Start(s); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	p := until(t, m, "gone", func(p Info, _ string) bool { return p.State == Running })
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	failed := until(t, m, "gone", func(p Info, text string) bool { return strings.Count(text, "trying again") >= 2 })
	if failed.State != Waiting || failed.Restarts != 0 || !strings.Contains(failed.Exit, "start gone") {
		t.Errorf("while it cannot start: %+v", failed)
	}
	write()
	until(t, m, "gone", func(p Info, _ string) bool { return p.State == Running && p.Restarts == 1 })
	if len(starts) != 2 {
		t.Errorf("told of %d starts instead of 2", len(starts))
	}
}

// A process that is to stop while its restart fails ends.
func TestStopWhileRestartFails(t *testing.T) {
	m := newManager(t)
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nwhile [ -e $0 ]; do sleep 0.01; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(Spec{Name: "gone", Path: program, Env: []string{"PATH=/usr/bin:/bin"}, KeepRunning: true}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	until(t, m, "gone", func(_ Info, text string) bool { return strings.Contains(text, "trying again") })
	if err := m.Stop(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if p := until(t, m, "gone", func(Info, string) bool { return true }); p.State != Exited {
		t.Errorf("%+v", p)
	}
}

func TestKilledProcessTakesItsGroupAlong(t *testing.T) {
	m := newManager(t)
	s := sh("leader", `sleep 600 & echo "child $!"; wait`)
	s.KeepRunning = true
	if err := m.Start(s); err != nil {
		t.Fatal(err)
	}
	var child int
	p := until(t, m, "leader", func(_ Info, text string) bool {
		_, err := fmt.Sscanf(text, "child %d", &child)
		return err == nil
	})
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, m, "leader", func(p Info, _ string) bool { return p.Restarts == 1 && p.State == Running })
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat")
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the first one's child still runs: %s", stat)
	}
}

func TestStop(t *testing.T) {
	m := newManager(t)
	if err := m.Stop(t.Context(), "none"); !errors.Is(err, ErrUnknown) {
		t.Errorf("stop of nothing: %v", err)
	}
	if err := m.Start(sh("polite", `trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done`)); err != nil {
		t.Fatal(err)
	}
	until(t, m, "polite", func(_ Info, text string) bool { return strings.Contains(text, "ready") })
	if err := m.Stop(t.Context(), "polite"); err != nil {
		t.Fatal(err)
	}
	if text, _ := m.Tail("polite", 1); text != "bye" {
		t.Errorf("it was not asked to end: %q", text)
	}
	if err := m.Stop(t.Context(), "polite"); err != nil {
		t.Errorf("stop again: %v", err)
	}
	if err := m.Start(sh("stubborn", `trap '' TERM; echo ready; while :; do sleep 0.01; done`)); err != nil {
		t.Fatal(err)
	}
	until(t, m, "stubborn", func(_ Info, text string) bool { return strings.Contains(text, "ready") })
	begin := time.Now()
	if err := m.Stop(t.Context(), "stubborn"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < stopWait || took > stopWait+5*time.Second {
		t.Errorf("it was killed after %v", took)
	}
}

func TestTail(t *testing.T) {
	m := newManager(t)
	if err := m.Start(sh("a/b", "seq 1 100000")); err != nil { // more than the window
		t.Fatal(err)
	}
	until(t, m, "a/b", func(p Info, _ string) bool { return p.State == Exited })
	for n, want := range map[int]string{1: "100000", 3: "99998\n99999\n100000"} {
		if got, err := m.Tail("a/b", n); err != nil || got != want {
			t.Errorf("last %d lines: %q, %v", n, got, err)
		}
	}
}

func TestFolderAndEnvironment(t *testing.T) {
	m := newManager(t)
	dir := filepath.Join(t.TempDir(), "made")
	t.Setenv("LEAK", "outside")
	s := sh("env", `pwd; echo "leak=$LEAK own=$OWN"`)
	s.Dir, s.Env = dir, []string{"OWN=1"}
	if err := m.Start(s); err != nil {
		t.Fatal(err)
	}
	until(t, m, "env", func(p Info, _ string) bool { return p.State == Exited })
	if got, want := must(m.Tail("env", 2)), dir+"\nleak= own=1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("maps the lab's root, so it must run as root")
	}
	m := newManager(t)
	s := sh("other", `id -u; touch file && echo written`)
	s.Unprivileged, s.Dir = true, filepath.Join(t.TempDir(), "own")
	if err := m.Start(s); err != nil {
		t.Fatal(err)
	}
	until(t, m, "other", func(p Info, _ string) bool { return p.State == Exited })
	if got := must(m.Tail("other", 5)); got != "65534\nwritten" {
		t.Errorf("printed %q", got)
	}
}

func must(text string, err error) string {
	if err != nil {
		return err.Error()
	}
	return text
}
