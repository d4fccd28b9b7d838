//go:build integration

package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Ctrl-C, or a friendly kill, at whatever moment of whatever verb: the exit
// code says so, and nothing is left of what the verb has made.
func TestInterruptAnywhere(t *testing.T) {
	p := root(t)
	file := p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0))
	out := filepath.Join(p.dir, "out")
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -crash.seed %d", seed)
	for i, tc := range []struct {
		name    string
		up      bool // on a lab that is up
		args    []string
		longest time.Duration
	}{
		{name: "up at the beginning", args: []string{"up", "single-upstream", "--name", "stopped"}, longest: 200 * time.Millisecond},
		{name: "up", args: []string{"up", "single-upstream", "--name", "stopped"}, longest: 3 * time.Second},
		{name: "up of many parts", args: []string{"up", "hashicups", "--name", "stopped"}, longest: 5 * time.Second},
		{name: "bench", args: []string{"bench", file, "--mesh", "direct,ovs", "--quick", "--out", out}, longest: 8 * time.Second},
		{name: "compare", args: []string{"compare", "direct", "ovs", "--lab", file, "--out", out}, longest: 12 * time.Second},
		{name: "exec", up: true, args: []string{"exec", "--lab", "stopped", "h1", "--", "sleep", "100"}, longest: time.Second},
		{name: "fault", up: true, args: []string{"fault", "kill", "web", "--lab", "stopped", "--for", "1s"}, longest: 150 * time.Millisecond},
		{name: "down", up: true, args: []string{"down", "stopped"}, longest: 300 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			before := inventory(t)
			if tc.up {
				p.ok(t, "up", file, "--name", "stopped")
			}
			c := &crash{person: p}
			v := c.start(t, tc.args...)
			moment := time.Duration(random.Float64() * float64(tc.longest))
			signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}[random.IntN(3)]
			select {
			case <-time.After(moment):
			case <-v.ended:
			}
			_ = v.cmd.Process.Signal(signal) // it may have ended by itself
			if err := v.wait(verbLimit); err != nil {
				t.Fatal(err)
			}
			st := v.cmd.ProcessState
			status, _ := st.Sys().(syscall.WaitStatus)
			t.Logf("%v after %v: %v", signal, moment.Round(time.Millisecond), st)
			switch code := st.ExitCode(); {
			case code == exitInterrupted || code == 0: // it may have been faster
			case tc.name == "exec" && code == 128+int(signal): // the command's own
			case status.Signaled() && status.Signal() == signal && moment < time.Second: // before it listens for signals, or does anything
			default:
				t.Errorf("%v: %s", st, v.text.String())
			}
			if tc.up || v.ok() {
				p.ok(t, "down", "stopped")
			}
			if err := whole(out); err != nil {
				t.Error(err)
			}
			if err := same(t, before); err != nil {
				t.Errorf("%v\n%s", err, v.text.String())
			}
		})
	}
}
