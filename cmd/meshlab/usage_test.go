package main

import (
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// What a user got wrong on the command line has the same exit code whatever
// level of verbs it is of.
func TestWrongUse(t *testing.T) {
	for _, line := range []string{
		"up a b", "link set", "link lst", "fault kill", "fault partition s1", "image push", "cloud plan a b", "agent manifests x",
		"export results.json", "controller", "ps --al", "link list --al",
	} {
		if code := run(t.Context(), strings.Fields(line)); code != exitUsage {
			t.Errorf("%s: exit code %d, want %d", line, code, exitUsage)
		}
	}
}

// What to type next stands in one column, whatever the lab is called.
func TestPrintUp(t *testing.T) {
	for name, want := range map[string]string{
		"shop":  "  meshlab ps     what runs in it\n  meshlab flows  what the switches do\n  meshlab down   remove it\n",
		"other": "  meshlab ps --lab other     what runs in it\n  meshlab flows --lab other  what the switches do\n  meshlab down other         remove it\n",
	} {
		var b strings.Builder
		printUp(&b, name, supervisor.Status{Lab: "shop"}, time.Second)
		if got := b.String(); !strings.HasSuffix(got, want) {
			t.Errorf("got\n%s\nwant at its end\n%s", got, want)
		}
	}
}
