//go:build integration

package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate"
)

// Ctrl-C at the beginning, while the image is made, while hosts are made of it, and while
// containers of agents start: no container is left, and no image without a name.
func TestInterruptOnDocker(t *testing.T) {
	p, socket := withDocker(t)
	untagged := func(o string) bool { return strings.HasPrefix(o, "image ") && strings.Contains(o, "meshlab:") }
	left := func() []string { return slices.DeleteFunc(engineInventory(t, socket), untagged) }
	containers := func(of string) func() error {
		return func() error {
			if !strings.Contains(strings.Join(engineInventory(t, socket), "\n"), of) {
				return errors.New("no container " + of)
			}
			return nil
		}
	}
	before, inEngine := inventory(t), left()
	for _, tc := range []struct {
		moment  string
		reached func() error
	}{
		{"it has begun", func() error {
			_, err := os.Stat(orchestrate.StateOf("stopped").Dir)
			return err
		}},
		{"the first container is there", containers("/meshlab-stopped.")},
		{"an agent is there", containers(".consul")},
	} {
		t.Run(tc.moment, func(t *testing.T) {
			c := &crash{person: p}
			v := c.start(t, "up", "hashicups", "--name", "stopped", "--runtime", "docker")
			eventually(t, verbLimit, tc.reached)
			if err := v.cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if err := v.wait(verbLimit); err != nil {
				t.Fatal(err)
			}
			t.Logf("ended %.1f s later: %s", time.Since(begin).Seconds(), v.text.String())
			if code := v.cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(v.text.String(), "nothing is left of it") {
				t.Errorf("exit code %d: %s", code, v.text.String())
			}
			if diff := difference(inEngine, left()); len(diff) > 0 {
				t.Errorf("left in the engine: %v", diff)
			}
			if err := same(t, before); err != nil {
				t.Error(err)
			}
		})
	}
}
