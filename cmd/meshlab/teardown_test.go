//go:build integration

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"meshlab.dev/meshlab/orchestrate"
)

// leave makes the state folder of a lab with a record as another meshlab, or
// a power cut, may have left it.
func leave(t *testing.T, name, record string) {
	t.Helper()
	s := orchestrate.StateOf(name)
	err := os.MkdirAll(s.Dir, 0o700)
	if record != "" {
		text, rerr := os.ReadFile(filepath.Join("..", "..", "orchestrate", "testdata", "records", record+".json"))
		err = errors.Join(err, rerr, os.WriteFile(filepath.Join(s.Dir, "lab.json"), text, 0o600), os.WriteFile(s.Log(), nil, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Every lab goes, whoever brought it up and however far it came.
func TestDownAll(t *testing.T) {
	p := root(t)
	file := p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0))
	before := inventory(t)
	p.up(t, "alive", file)
	broken := p.up(t, "broken", file)
	if err := os.WriteFile(filepath.Join(orchestrate.StateOf(broken.name).Dir, "lab.json"), []byte(`{"pid":`), 0o600); err != nil {
		t.Fatal(err)
	}
	leave(t, "old", "first")
	leave(t, "new", "newer")
	leave(t, "cut", "cut-short")
	leave(t, "empty", "")
	r, wait := startUp(t, p, file, "half")

	want := []string{"alive", "broken", "cut", "empty", "half", "new", "old"}
	text := p.ok(t, "ps", "--all")
	for _, line := range []string{"alive .* up", "broken .* up .*cannot be read", "old .* hashicups .* ended", "new .* ended .*v9.1.0.* cloud, machines", "cut .* ended .*cannot be read", "empty .* ended .*no record"} {
		if !matchesLine(text, line) {
			t.Errorf("ps --all lacks %q:\n%s", line, text)
		}
	}
	var got removal
	decode(t, p.ok(t, "down", "--all", "--output", "json"), &got)
	if !slices.Equal(got.Removed, want) {
		t.Errorf("removed %v, want %v", got.Removed, want)
	}
	for _, l := range got.Labs {
		if l.Name == "new" && (l.Version != "v9.1.0" || !strings.Contains(l.Problem, "cloud")) {
			t.Errorf("a newer lab: %+v", l)
		}
	}
	wait()
	if r.code != exitFailed || !strings.Contains(r.stderr, "elsewhere has removed the lab") {
		t.Errorf("the up that lost its lab: %v", *r)
	}
	if err := same(t, before); err != nil {
		t.Error(err)
	}

	leave(t, "new", "newer")
	leave(t, "old", "first")
	text = p.ok(t, "down", "--all")
	for _, want := range []string{"Lab old is down; nothing is left of it.", "Lab new is down; nothing is left of it that this meshlab knows (its record, of meshlab v9.1.0", "2 labs removed: 2 ended."} {
		if !strings.Contains(text, want) {
			t.Errorf("down --all lacks %q:\n%s", want, text)
		}
	}
	if text := p.ok(t, "down", "--all"); !strings.Contains(text, "nothing to do") {
		t.Error(text)
	}
}

// matchesLine finds a line that has all words of the pattern, which " .* "
// separates, in this order.
func matchesLine(text, pattern string) bool {
	for line := range strings.Lines(text) {
		rest, found := line, true
		for _, part := range strings.Split(pattern, ".*") {
			_, after, ok := strings.Cut(rest, strings.TrimSpace(part))
			rest, found = after, found && ok
		}
		if found {
			return true
		}
	}
	return false
}

// startUp starts `up` and returns when the lab's folder is there. The result is
// complete when wait has returned.
func startUp(t *testing.T, p person, file, name string) (r *result, wait func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), verbLimit)
	cmd := p.command(ctx, "up", file, "--name", name)
	r = &result{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		*r = finish(t, cmd, cmd.Run)
	}()
	t.Cleanup(func() { cancel(); <-ended; p.ok(t, "down", name) })
	eventually(t, patience, func() error {
		_, err := os.Stat(orchestrate.StateOf(name).Control())
		return err
	})
	return r, func() { <-ended }
}

// A lab whose supervisor has died is gone with all that was in it; whoever
// asks is told so, and the next `up` of that name takes over.
func TestAdoption(t *testing.T) {
	p := root(t)
	file := p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0))
	before := inventory(t)
	for _, victim := range []string{"meshlab supervise --inside", "first process"} {
		t.Run(victim, func(t *testing.T) {
			p.up(t, "orphan", file)
			pid := listLabsOf(t, p)[0].PID
			for _, pr := range labProcesses(t) {
				if strings.Contains(pr.command, "supervise --inside") && victim != "first process" {
					pid = pr.pid
				}
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, patience, func() error {
				if left := labProcesses(t); len(left) > 0 {
					return fmt.Errorf("still there: %+v", left)
				}
				return nil
			})
			if text := p.ok(t, "ps", "--all"); !matchesLine(text, "orphan .* ended") {
				t.Error(text)
			}
			for _, verb := range [][]string{{"ps", "--lab", "orphan"}, {"exec", "--lab", "orphan", "h1", "--", "true"}} {
				p.fails(t, exitFailed, verb, "orphan", "has ended", "meshlab down orphan", "meshlab up")
			}
			l := p.up(t, "orphan", file)
			if text, err := l.fetch(t, "h1", "GET", "http://localhost:8080/", ""); err != nil {
				t.Errorf("%v: %s", err, text)
			}
			p.ok(t, "down", "orphan")
			if err := same(t, before); err != nil {
				t.Error(err)
			}
		})
	}
}
