//go:build integration

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate"
)

// A lab that lives behind a record that is broken or gone can be removed.
func TestBrokenRecord(t *testing.T) {
	p := root(t)
	before := inventory(t)
	for name, spoil := range map[string]func(path string) error{
		"no JSON":          func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"no process in it": func(path string) error { return os.WriteFile(path, []byte("{}"), 0o600) },
		"gone":             os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			p.ok(t, "up", "single-upstream", "--name", "broken", "--no-publish")
			if err := spoil(filepath.Join(orchestrate.StateOf("broken").Dir, "lab.json")); err != nil {
				t.Error(err)
			}
			if text := p.ok(t, "ps", "--all"); !matchesLine(text, "broken .* up ("+map[string]string{"no process in it": "its record names another process", "gone": "there is no record"}[name]) {
				t.Error(text)
			}
			if text := leftoversOf(t, p, "--fix"); !strings.HasPrefix(text, "ok no crash") {
				t.Errorf("a lab that lives is taken for a leftover: %s", text)
			}
			begin := time.Now()
			p.ok(t, "down", "--all")
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("down took %v", took)
			}
			if err := same(t, before); err != nil {
				t.Error(err)
			}
		})
	}
}

// An ordinary user finds the first process of the lab too, though it is in a
// user namespace of its own.
func TestRecordGoneOfOrdinaryUser(t *testing.T) {
	p := ordinary(t)
	p.ok(t, "up", "single-upstream", "--name", "broken", "--no-publish")
	if err := os.Remove(filepath.Join(p.dir, "run", "meshlab", "broken", "lab.json")); err != nil {
		t.Error(err)
	}
	p.ok(t, "down", "broken")
	if left := labProcesses(t); len(left) > 0 {
		t.Errorf("processes: %+v", left)
	}
}

// A lab comes up also when whoever read the progress has gone.
func TestNobodyReads(t *testing.T) {
	p := root(t)
	ctx, cancel := context.WithTimeout(t.Context(), verbLimit)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	t.Cleanup(func() { p.ok(t, "down", "unread") })
	cmd := p.command(ctx, "up", "single-upstream", "--name", "unread", "--no-publish")
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		t.Errorf("up: %v", err)
	}
	p.ok(t, "ps", "--lab", "unread")
}
