//go:build integration

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

	p.up(t, "lost", file, "--runtime", "docker")
	if text := leftoversOf(t, p); strings.Contains(text, "containers of lab") {
		t.Errorf("those of a lab that lives: %s", text)
	}
	if err := os.WriteFile(filepath.Join(dir, "lab.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ok(t, "down", "lost")
	if left := difference(before, engineInventory(t, socket)); len(left) > 0 {
		t.Errorf("of a lab with a broken record: %v", left)
	}

	p.up(t, "lost", file, "--runtime", "docker")
	pid := listLabsOf(t, p)[0].PID
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if text := leftoversOf(t, p); strings.Contains(text, "containers of lab") || !strings.Contains(text, "lab lost: its processes live on") {
		t.Errorf("a lab that lives without a state folder: %s", text)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, verbLimit, func() error {
		if text := leftoversOf(t, p); !strings.Contains(text, "containers of lab lost") {
			return fmt.Errorf("not found: %s", text)
		}
		return nil
	})
	if text := leftoversOf(t, p, "--fix"); !strings.Contains(text, ": removed") {
		t.Error(text)
	}
	if left := difference(before, engineInventory(t, socket)); len(left) > 0 {
		t.Errorf("of a lab without a state folder: %v", left)
	}
}
