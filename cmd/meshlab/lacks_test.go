package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate/doctor"
)

// Without the programs, up says so before it begins, with the command that
// brings them.
func TestUpWithoutPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // daemons may still be found in /usr/sbin, but ovsdb-tool is elsewhere
	_, _, err := typed(t, "up", "two-hosts")
	var l *doctor.Lacks
	if !errors.As(err, &l) || l.Findings[0].Name != "Open vSwitch" {
		t.Fatalf("up = %v", err)
	}
	if !strings.Contains(err.Error(), "One command brings all of it:\n  sudo ") && !strings.Contains(err.Error(), "install what Debian calls") {
		t.Errorf("up says\n%v", err)
	}
	if !slices.Contains(builtin.Names(), database) {
		t.Errorf("there is no builtin %s", database)
	}
}
