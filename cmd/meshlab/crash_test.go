//go:build integration

package main

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

var (
	crashRounds = flag.Int("crash.rounds", 3, "rounds of TestCrash: up, kill -9 of a random process, down")
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of TestCrash (default: random)")
)

// Whatever is killed, at whatever moment: after `down` the machine is as it
// was before `up`. In every second round the lab is still coming up.
func TestCrash(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -crash.seed %d -crash.rounds %d", seed, *crashRounds)
	random := rand.New(rand.NewPCG(seed, 0))
	p := root(t)
	for round := range *crashRounds {
		crash(t, p, random, round%2 == 0)
		if t.Failed() {
			return
		}
	}
}

// crash is one round.
func crash(t *testing.T, p person, random *rand.Rand, comingUp bool) {
	t.Helper()
	before := inventory(t)
	ctx, cancel := context.WithTimeout(t.Context(), verbLimit)
	defer cancel()
	begin := time.Now()
	var text bytes.Buffer
	cmd := p.command(ctx, "up", "hashicups", "--name", "crash")
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is looked at below
	}()
	if !comingUp {
		<-ended
		if !cmd.ProcessState.Success() {
			t.Fatalf("up: %v\n%s", cmd.ProcessState, text.String())
		}
	}
	// A random moment: while the lab comes up, most happens at the beginning.
	moment := time.Duration(random.Float64() * random.Float64() * float64(8*time.Second))
	if !comingUp {
		moment /= 8
	}
	select {
	case <-time.After(moment):
	case <-whenComingUp(comingUp, ended):
	}
	victim := proc{pid: cmd.Process.Pid, command: "meshlab up"}
	victims := labProcesses(t)
	if !over(ended) {
		// As likely as any other, and the only one at first.
		victims = append(victims, victim)
	}
	if len(victims) > 0 {
		slices.SortFunc(victims, func(a, b proc) int { return a.pid - b.pid })
		victim = victims[random.IntN(len(victims))]
		_ = syscall.Kill(victim.pid, syscall.SIGKILL) // it may have just ended by itself
	}
	at := time.Since(begin)
	down := p.run(t, "", "down", "crash")
	if down.code != 0 {
		t.Errorf("down: %v", down)
	}
	<-ended
	if cmd.ProcessState.ExitCode() == 0 && comingUp {
		p.ok(t, "down", "crash") // `up` may have won against the first `down`
	}
	err := same(t, before)
	if err != nil {
		t.Errorf("after kill -9 of %d (%s): %v\nup: %s", victim.pid, victim.command, err, text.String())
	}
	t.Logf("coming up %-5v killed after %5.2f s among %2d: %.90s", comingUp, at.Seconds(), len(victims), victim.command)
}

// whenComingUp is ended for a lab that is coming up, and else never ends.
func whenComingUp(comingUp bool, ended chan struct{}) <-chan struct{} {
	if comingUp {
		return ended
	}
	return nil
}

func over(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
