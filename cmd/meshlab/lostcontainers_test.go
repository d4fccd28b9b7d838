//go:build integration

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/orchestrate"
)

// Containers whose lab has lost its record, or its state folder, are found by
// their labels.
func TestLostContainers(t *testing.T) {
	p, socket := withDocker(t)
	const file = "single-upstream"
	p.up(t, "lost", file, "--runtime", "docker") // builds the image, which stays
	p.ok(t, "down", "lost")
	before := engineInventory(t, socket)
	dir := orchestrate.StateOf("lost").Dir

	other := p.up(t, "other", file, "--runtime", "docker")
	p.up(t, "lost", file, "--runtime", "docker")
	if text := leftoversOf(t, p); strings.Contains(text, "containers of lab") {
		t.Errorf("those of labs that live: %s", text)
	}
	beside := engineInventory(t, socket)
	beside = slices.DeleteFunc(beside, func(o string) bool { return strings.Contains(o, "/meshlab-lost.") })
	gone := func(of string) {
		t.Helper()
		if left := difference(beside, engineInventory(t, socket)); len(left) > 0 {
			t.Errorf("of a lab %s: %v", of, left)
		}
		other.nothingBroken(t)
	}
	if err := os.WriteFile(filepath.Join(dir, "lab.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ok(t, "down", "lost")
	gone("with a broken record")

	p.up(t, "lost", file, "--runtime", "docker")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if text := leftoversOf(t, p, "--fix"); !strings.Contains(text, "lab lost: its processes live on") || !strings.Contains(text, ": removed") {
		t.Errorf("a lab that lives without a state folder: %s", text)
	}
	gone("that lived without a state folder")

	rec, err := orchestrate.StateOf(other.name).Read()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(orchestrate.StateOf(other.name).Dir); err != nil {
		t.Fatal(err)
	}
	if err := rec.Kill(verbLimit); err != nil {
		t.Fatal(err)
	}
	eventually(t, verbLimit, func() error {
		if text := leftoversOf(t, p); !strings.Contains(text, "containers of lab other") {
			return fmt.Errorf("not found: %s", text)
		}
		return nil
	})
	if text := p.ok(t, "down", other.name); !strings.Contains(text, "Lab other is down; nothing is left of it") {
		t.Error(text)
	}
	if left := difference(before, engineInventory(t, socket)); len(left) > 0 {
		t.Errorf("of labs without a state folder: %v", left)
	}
}
