//go:build integration

package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate/docker/dockertest"
)

var (
	crashRounds = flag.Int("crash.rounds", 6, "rounds of TestCrash")
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of TestCrash (default: random)")
	crashOnly   = flag.Int("crash.only", 0, "the one round of that seed to repeat, from 1")
	crashOn     = flag.String("crash.on", "", "part of the names of modes, such as docker/ or isolated (default: each round on one of all)")
	crashLimit  = flag.Duration("crash.limit", 40*time.Second, "no round of TestCrash begins after that time; 0: all do")
)

// crashFailures is how many rounds may fail before TestCrash gives up: the
// first says most.
const crashFailures = 3

// Whatever is killed with SIGKILL, at whatever moment of up, run and down:
// after `down` the machine is as it was before `up`. What a round does hangs on
// the seed and its number alone, but for the pace of the machine.
func TestCrash(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	p, engine := root(t), (*dockertest.Server)(nil)
	if strings.Contains("docker/shared docker/isolated", *crashOn) && (*crashOn != "" || *crashLimit == 0) {
		p, engine = withEngine(t) // it takes its time: not in the few rounds of `make test`
	}
	// In a folder that the inventory sees, and that no other meshlab uses.
	p.env = append(p.env, "MESHLAB_CACHE="+filepath.Join(os.Getenv(binVar), "cache"))
	modes := crashModes(t, p, engine)
	if engine != nil {
		p.ok(t, "up", "single-upstream", "--runtime", "docker", "--name", "image") // builds the image, which stays
		p.ok(t, "down", "image")
		modes[len(modes)-1].seesLeftovers(t) // one on Docker
	}
	tally := map[string]int{}
	begin, done, failed := time.Now(), 0, 0
	for n := 1; n <= *crashRounds; n++ {
		if *crashOnly != 0 && n != *crashOnly {
			continue
		}
		if *crashLimit > 0 && time.Since(begin) > *crashLimit {
			break
		}
		c := newCrash(p, modes, seed, n)
		err := c.round(t)
		c.log(t, err)
		done++
		tally["in "+c.phase]++
		tally["of "+c.victim.class]++
		tally["with "+c.mode.String()]++
		if c.build {
			tally["with an image to be built"]++
		}
		if err != nil {
			t.Errorf("repeat round %d with -crash.seed %d -crash.only %d -crash.rounds %d", n, seed, n, n)
			if failed++; failed == crashFailures {
				break
			}
		}
	}
	t.Logf("seed %d: %d rounds in %v, %d failed", seed, done, time.Since(begin).Round(time.Second), failed)
	for _, what := range slices.Sorted(maps.Keys(tally)) {
		t.Logf("%4d kills %s", tally[what], what)
	}
	if done == 0 {
		t.Error("no round was made")
	}
}

// Phases of a lab's life in which something is killed.
const (
	whileUp    = "up"    // while it comes up
	whileRun   = "run"   // while it carries load
	whileDown  = "down"  // while it is taken down
	whileBench = "bench" // while bench holds labs of its own
)

// crash is one round.
type crash struct {
	person
	n      int
	random *rand.Rand
	mode   crashMode
	phase  string
	fix    bool // `doctor --fix` has its turn before `down`
	build  bool // the image is built anew
	victim victim
	after  time.Duration // from the beginning of the phase to the kill
	among  int           // processes that could have been killed
	verbs  []*verb
}

func newCrash(p person, modes []crashMode, seed uint64, n int) *crash {
	c := &crash{person: p, n: n, random: rand.New(rand.NewPCG(seed, uint64(n)))}
	c.mode = modes[c.random.IntN(len(modes))]
	c.phase = []string{whileUp, whileUp, whileUp, whileRun, whileRun, whileRun, whileDown, whileDown, whileBench}[c.random.IntN(9)]
	c.fix = c.random.IntN(4) == 0
	c.build = c.random.IntN(3) == 0 && c.mode.engine != nil && c.phase == whileUp
	return c
}

func (c *crash) log(t *testing.T, err error) {
	t.Logf("%3d %-5s %-19v %5.2f s, of %2d: %-10s %d %.70s", c.n, c.phase, c.mode, c.after.Seconds(), c.among, c.victim.class, c.victim.pid, c.victim.command)
	if err != nil {
		t.Errorf("round %d: %v", c.n, err)
		c.run(t, "", "down", "--all") // so that the next round can tell something
		for _, v := range c.verbs {
			t.Logf("meshlab %s: %s", strings.Join(v.args, " "), v.text.String())
		}
	}
}

// round brings a lab up, kills one of its processes, takes it down, and
// compares the machine with what it was.
func (c *crash) round(t *testing.T) error {
	out := filepath.Join(c.dir, "out")
	if c.build {
		c.mode.removeImage(t)
	}
	before := inventory(t)
	before = append(before, c.mode.inventory(t)...)
	if err := c.begin(t, out); err != nil {
		return err
	}
	c.kill(t)
	if c.fix {
		if r := c.run(t, "", "doctor", "--fix"); r.code != 0 {
			return fmt.Errorf("doctor --fix: %v", r)
		}
	}
	// An `up` that was not the victim may win against the first `down`.
	for range 2 {
		args := []string{"down", "crash"}
		if c.phase == whileBench {
			args = []string{"down", "--all"}
		}
		if r := c.run(t, "", args...); r.code != 0 {
			return fmt.Errorf("%s: %v", strings.Join(args, " "), r)
		}
		for _, v := range c.verbs {
			if err := v.wait(verbLimit); err != nil {
				return err
			}
		}
	}
	if err := whole(out); err != nil {
		return err
	}
	return same(t, before, c.mode.inventory)
}

// begin starts the phase, and returns at the moment of the kill.
func (c *crash) begin(t *testing.T, out string) error {
	up := append([]string{"up", c.mode.lab, "--name", "crash"}, c.mode.flags...)
	var longest time.Duration
	switch c.phase {
	case whileUp:
		c.start(t, up...)
		longest = 8 * time.Second
	case whileBench:
		c.start(t, slices.Concat([]string{"bench", "--mesh", "direct,ovs", "--quick", "--out", out}, c.mode.bench, c.mode.flags)...)
		longest = 16 * time.Second
	default:
		if err := c.start(t, up...).wait(verbLimit); err != nil || !c.verbs[0].ok() {
			return errors.Join(err, fmt.Errorf("up has failed without a crash"))
		}
		if c.phase == whileRun {
			c.start(t, "exec", "--lab", "crash", "client", "--", "/usr/bin/env", stageVar+"=load",
				filepath.Join(os.Getenv(binVar), "bin", "test"), c.mode.address, "4")
			longest = 2 * time.Second
		} else {
			c.start(t, "down", "crash")
			longest = 600 * time.Millisecond
		}
	}
	// Most happens at the beginning.
	c.after = time.Duration(c.random.Float64() * c.random.Float64() * float64(longest))
	last := c.verbs[len(c.verbs)-1]
	select {
	case <-time.After(c.after):
	case <-last.ended:
		if c.phase != whileRun && !last.ok() { // the load does not end by itself
			return errors.New("it has failed before anything was killed")
		}
	}
	return nil
}

// victim is a process that could be killed, and which part of a lab it is.
type victim struct {
	proc
	class string
}

// kill ends one process: first a part is chosen, so that the one supervisor
// is as likely as one of many services, then a process of it.
func (c *crash) kill(t *testing.T) {
	byClass := map[string][]victim{}
	for _, v := range c.verbs {
		if !over(v.ended) {
			byClass["verb"] = append(byClass["verb"], victim{proc{pid: v.cmd.Process.Pid, command: "meshlab " + strings.Join(v.args, " ")}, "verb " + v.args[0]})
			c.among++
		}
	}
	for _, p := range labProcesses(t) {
		class := classOf(p.command)
		if class == "engine" {
			continue // no part of a lab
		}
		byClass[class] = append(byClass[class], victim{p, class})
		c.among++
	}
	if c.among == 0 {
		c.victim.class = "nothing"
		return
	}
	classes := slices.Sorted(maps.Keys(byClass))
	if c.phase == whileDown && len(byClass["verb"]) > 0 && c.random.IntN(2) == 0 {
		classes = []string{"verb"}
	}
	of := byClass[classes[c.random.IntN(len(classes))]]
	slices.SortFunc(of, func(a, b victim) int { return a.pid - b.pid })
	c.victim = of[c.random.IntN(len(of))]
	_ = syscall.Kill(c.victim.pid, syscall.SIGKILL) // it may have just ended by itself
}

// classOf tells from its command line which part of a lab a process is.
func classOf(command string) string {
	for _, c := range []struct{ word, class string }{
		{"containerd-shim", "shim"},
		{"runc ", "runtime"},
		{"libnetwork-setkey", "runtime"},
		{"docker-untar", "runtime"},
		{"dockerd ", "engine"},
		{"containerd --config", "engine"},
		{"host-container", "host"},
		{"supervise --inside", "supervisor"},
		{"supervise", "first"},
		{"exe controller", "controller"},
		{"ovs-vswitchd", "switch"},
		{"ovsdb-server", "database"},
		{"consul", "consul"},
		{"postgres", "postgres"},
		{"bin/test", "load"},
		{"meshlab load", "load"},
	} {
		if strings.Contains(command, c.word) {
			return c.class
		}
	}
	return "service"
}

// whole fails when the folder of results holds half-written files that do not
// look like it, and removes it. Those that `doctor --fix` knows may be there:
// nobody can remove a file after SIGKILL.
func whole(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, n := range names {
		if b := filepath.Base(n); strings.HasPrefix(b, ".") && !strings.HasPrefix(b, ".meshlab-") || strings.HasSuffix(b, ".new") {
			return fmt.Errorf("half-written: %s", n)
		}
	}
	return os.RemoveAll(dir)
}

func over(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
