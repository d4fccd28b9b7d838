//go:build integration

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/doctor"
)

// leftoversOf asks doctor for what crashes have left, one line each.
func leftoversOf(t *testing.T, p person, flags ...string) string {
	t.Helper()
	r := p.run(t, "", append([]string{"doctor", "--output", "json"}, flags...)...)
	if r.code != 0 {
		t.Fatal(r)
	}
	var findings []doctor.Finding
	decode(t, r.stdout, &findings)
	var lines []string
	for _, f := range findings {
		if f.Name == "Leftovers" {
			lines = append(lines, fmt.Sprintf("%s %s %s", f.Status, f.Detail, f.Remedy))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// Doctor finds all that crashes leave, removes it when asked to, and leaves
// alone what lives.
func TestDoctorFix(t *testing.T) {
	p := root(t)
	cache := filepath.Join(p.dir, "cache")
	p.env = append(p.env, "MESHLAB_CACHE="+cache)
	file := p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0))
	alive := p.up(t, "alive", file)
	p.up(t, "orphan", file)
	if err := os.RemoveAll(orchestrate.StateOf("orphan").Dir); err != nil {
		t.Fatal(err)
	}
	for _, record := range []string{"first", "newer", "cut-short"} {
		leave(t, record, record)
	}
	build := filepath.Join(cache, ".build-7")
	half := filepath.Join(p.dir, "results", ".meshlab-latest.json.1")
	mine := filepath.Join(p.dir, "results", ".mine")
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.MkdirAll(build, 0o755), os.Mkdir(filepath.Dir(half), 0o755),
		os.WriteFile(half, nil, 0o644), os.WriteFile(mine, nil, 0o644), os.Chtimes(half, old, old), os.Chtimes(mine, old, old)); err != nil {
		t.Fatal(err)
	}
	half, err := filepath.EvalSymlinks(half)
	if err != nil {
		t.Fatal(err)
	}
	r, wait := startUp(t, p, file, "half")
	found := []string{"lab orphan: its processes live on", "lab first: it has ended", "lab newer: it has ended", "cloud, machines",
		"lab cut-short: it has ended", build, filepath.Base(half)}
	check := func(text, status, end string) {
		t.Helper()
		for _, w := range found {
			line := ""
			for l := range strings.Lines(text) {
				if strings.Contains(l, w) {
					line = l
				}
			}
			if !strings.HasPrefix(line, status) || !strings.HasSuffix(strings.TrimSpace(line), end) {
				t.Errorf("no line %s ... %q ... %q in:\n%s", status, w, end, text)
			}
		}
		for _, w := range []string{"lab alive", "lab half", ".mine"} {
			if strings.Contains(text, w) {
				t.Errorf("it takes %s for a leftover:\n%s", w, text)
			}
		}
	}
	check(leftoversOf(t, p), "warn", "meshlab doctor --fix")
	check(leftoversOf(t, p, "--fix"), "ok", ": removed")
	if text := leftoversOf(t, p); !strings.HasPrefix(text, "ok no crash has left anything") {
		t.Errorf("after the repair: %s", text)
	}
	wait()
	if r.code != 0 {
		t.Errorf("the lab that was coming up: %v", *r)
	}
	for _, l := range []lab{alive, {person: p, name: "half"}} {
		if text, err := l.fetch(t, "h1", "GET", "http://localhost:8080/", ""); err != nil {
			t.Errorf("lab %s is hurt: %v: %s", l.name, err, text)
		}
	}
	for path, stays := range map[string]bool{half: false, build: false, mine: true} {
		if _, err := os.Lstat(path); (err == nil) != stays {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, pr := range labProcesses(t) {
		if strings.Contains(pr.command, "orphan") {
			t.Errorf("still there: %+v", pr)
		}
	}
}

// The labs of a user who has set XDG_RUNTIME_DIR, and then not.
func TestDownAllEverywhere(t *testing.T) {
	p := ordinary(t)
	before := inventory(t)
	file := p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0))
	without := p
	without.env = nil
	for _, e := range p.env {
		if !strings.HasPrefix(e, "XDG_RUNTIME_DIR=") {
			without.env = append(without.env, e)
		}
	}
	without.ok(t, "up", file, "--name", "elsewhere")
	p.ok(t, "up", file, "--name", "here")
	if err := os.RemoveAll(filepath.Join(p.dir, "run", "meshlab", "here")); err != nil {
		t.Fatal(err)
	}
	text := p.ok(t, "down", "--all")
	for _, want := range []string{"Lab elsewhere is down; nothing is left of it.", "Lab here is down; nothing is left of it (its state folder has been deleted).", "2 labs removed: 2 up."} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(p.dir, "run", "meshlab")); err != nil { // empty: its lab's folder was deleted
		t.Fatal(err)
	}
	if err := same(t, before); err != nil {
		t.Error(err)
	}
}
