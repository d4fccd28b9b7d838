//go:build integration

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
)

// The whole way as a user without rights: up, query, bench, down.
func TestOrdinaryUser(t *testing.T) {
	p := ordinary(t)
	before := inventory(t)
	l := p.up(t, "mine", "hashicups")
	for _, pr := range labProcesses(t) {
		info, err := os.Stat(fmt.Sprintf("/proc/%d", pr.pid))
		if err != nil {
			continue // it has ended
		}
		if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid == 0 {
			t.Errorf("a process of the lab runs as root: %+v", pr)
		}
	}
	l.nineCoffees(t, "h1", "http://localhost:20863/api")
	l.nineCoffees(t, "client", "http://192.168.1.250:9191/api")
	p.ok(t, "down")

	out := p.ok(t, "bench", "single-upstream", "--only", "web", "--quick", "--output", "json")
	var told struct{ Results string }
	decode(t, out, &told)
	text, err := os.ReadFile(filepath.Join(p.dir, told.Results))
	if err != nil {
		t.Fatal(err)
	}
	var res scenarios.Result
	if err := json.Unmarshal(text, &res); err != nil {
		t.Fatal(err)
	}
	if want := len(scenarios.Quick().Connections) * len(orchestrate.Meshes()); len(res.Cells) != want {
		t.Errorf("%d cells instead of %d", len(res.Cells), want)
	}
	for _, c := range res.Cells {
		for _, a := range c.Attempts {
			if a.Errors != 0 || a.Requests == 0 {
				t.Errorf("%d errors in %d requests of %+v", a.Errors, a.Requests, c)
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(p.dir, "results")); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error { return same(t, before) })
}

// same fails when the machine is not as it was.
//
// A process that was killed with its parent is collected by the first process
// of the machine, which may take a moment.
func same(t *testing.T, before []string, also ...func(*testing.T) []string) error {
	t.Helper()
	for deadline := time.Now().Add(time.Second); ; {
		after := inventory(t)
		for _, more := range also {
			after = append(after, more(t)...)
		}
		diff := difference(before, after)
		if len(diff) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the machine has changed:\n%s", strings.Join(diff, "\n"))
		}
		runtime.Gosched()
	}
}

// Labs that bench holds end with it, however it ends; down --all clears what
// is remembered of them, and every other lab.
func TestHeldLabs(t *testing.T) {
	p := ordinary(t)
	p.up(t, "beside", "single-upstream")
	ctx, cancel := context.WithTimeout(t.Context(), verbLimit)
	defer cancel()
	cmd := p.command(ctx, "bench", "single-upstream", "--only", "web", "--mesh", "direct", "--requests", "5000", "--repeats", "500", "--connections", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	held := func() (live int) {
		for _, r := range listLabsOf(t, p) {
			if strings.HasPrefix(r.Name, "bench-") && r.Alive() && ready(orchestrate.State{Dir: filepath.Join(p.dir, "run", "meshlab", r.Name)}) {
				live++
			}
		}
		return live
	}
	eventually(t, patience, func() error {
		if held() == 0 {
			return fmt.Errorf("bench has no lab that is ready")
		}
		return nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	eventually(t, patience, func() error {
		if n := held(); n > 0 {
			return fmt.Errorf("%d labs live on", n)
		}
		return nil
	})
	if recs := listLabsOf(t, p); len(recs) != 2 {
		t.Errorf("instead of the dead lab and the one beside: %+v", recs)
	}
	p.ok(t, "ps", "--lab", "beside")
	p.ok(t, "down", "--all")
	if left := files(t, filepath.Join(p.dir, "run")); len(left) > 1 {
		t.Errorf("state: %v", left)
	}
	if left := labProcesses(t); len(left) > 0 {
		t.Errorf("processes: %+v", left)
	}
}

func listLabsOf(t *testing.T, p person) (recs []orchestrate.Record) {
	t.Helper()
	decode(t, p.ok(t, "ps", "--all", "--output", "json"), &recs)
	return recs
}

func ready(s orchestrate.State) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	st, err := supervisor.NewClient(s.Control()).Status(ctx)
	return err == nil && st.Ready
}
