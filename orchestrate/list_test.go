package orchestrate

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stored puts a record of testdata into a state folder.
func stored(t *testing.T, s State, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "records", name+".json"))
	if err == nil {
		err = errors.Join(os.MkdirAll(s.Dir, 0o700), os.WriteFile(s.record(), text, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Records as every version of meshlab has written them, and as later ones or
// a power cut may leave them: each is a lab with a name.
func TestLookAtRecords(t *testing.T) {
	for name, tc := range map[string]struct {
		version string
		problem string // part of it
		newer   bool
	}{
		"first":       {version: "0a28a35"},
		"newer":       {version: "v9.1.0", problem: "of meshlab v9.1.0, has fields which this meshlab does not know: cloud, machines", newer: true},
		"other-types": {problem: "cannot be read"},
		"cut-short":   {problem: "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newState(t)
			stored(t, s, name)
			e, err := s.Look()
			if err != nil || e.Name != "mine" || e.Condition != Ended || e.Version != tc.version || e.Newer() != tc.newer {
				t.Errorf("%+v, %v", e, err)
			}
			if (e.Problem == "") != (tc.problem == "") || !strings.Contains(e.Problem, tc.problem) {
				t.Errorf("problem %q, want %q", e.Problem, tc.problem)
			}
			claim, err := s.Claim(keep) // what `up` of the same name does
			if err != nil {
				t.Fatal(err)
			}
			defer claim.Release()
			if e, err := s.Look(); err != nil || e.Problem != "" || e.Condition != ComingUp {
				t.Errorf("taken over: %+v, %v", e, err)
			}
		})
	}
}

// A record that this version writes has no field that it does not know.
func TestOwnRecordIsKnown(t *testing.T) {
	s := newState(t)
	claim, err := s.Claim(keep)
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	if err := s.Write(record(t, os.Getpid())); err != nil {
		t.Fatal(err)
	}
	e, err := s.Look()
	if err != nil || e.Condition != Up || e.Problem != "" {
		t.Errorf("%+v, %v", e, err)
	}
	text, err := json.Marshal(e)
	if err != nil || !strings.Contains(string(text), `"state":"up"`) || !strings.Contains(string(text), `"name":"mine"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// The lock that a lab keeps when the `up` that took it has ended says nothing:
// nobody is at work on it.
func TestLookAtClaim(t *testing.T) {
	s := newState(t)
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	condition := func() Condition {
		t.Helper()
		e, err := s.Look()
		if err != nil {
			t.Fatal(err)
		}
		return e.Condition
	}
	if c := condition(); c != Ended {
		t.Errorf("an empty folder: %s", c)
	}
	claim, err := s.Claim(keep)
	if err != nil {
		t.Fatal(err)
	}
	if c := condition(); c != ComingUp {
		t.Errorf("claimed: %s", c)
	}
	claim.Release()
	if c := condition(); c != Ended {
		t.Errorf("released: %s", c)
	}
}

func TestList(t *testing.T) {
	root := filepath.Join(t.TempDir(), "meshlab")
	if all, err := list(root); err != nil || len(all) != 0 {
		t.Errorf("without a folder: %v, %v", all, err)
	}
	for _, name := range []string{"newer", "cut-short", "first"} {
		stored(t, State{filepath.Join(root, name)}, name)
	}
	if err := os.WriteFile(filepath.Join(root, "stray"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := list(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "cut-short first newer" {
		t.Errorf("labs: %s", got)
	}
}
