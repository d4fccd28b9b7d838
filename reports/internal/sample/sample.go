// Package sample makes result documents for the tests of reports and of what
// lies below it. They are fakes: nothing in them was measured. They are
// complete, valid, and the same for the same options, byte by byte.
package sample

import (
	"math/rand/v2"
	"slices"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// Option changes what Result makes.
type Option func(*config)

type config struct {
	meshes      []string
	requests    []string
	pods        []scenarios.Pods
	connections []int
	count       int // requests per attempt
	repeats     int // attempts per cell
	perTrial    int // requests per side and trial
	trials      int // of a duet, at most

	cells, duets, ramps, waterfalls, calibration, failed, broken bool
}

// Uncalibrated leaves the calibration of the machine out.
func Uncalibrated(c *config) { c.calibration = false }

// OnlyDuets leaves out the closed loop, the ramps and the waterfalls.
func OnlyDuets(c *config) { c.cells, c.ramps, c.waterfalls = false, false, false }

// OnlyCells leaves out all that documents of version 2 brought.
func OnlyCells(c *config) {
	c.duets, c.ramps, c.waterfalls, c.calibration = false, false, false, false
}

// Nothing leaves out everything that is measured.
func Nothing(c *config) {
	OnlyCells(c)
	c.cells = false
}

// OnlyErrors makes every request fail.
func OnlyErrors(c *config) { c.failed = true }

// Broken kills a process in each trial of the duets, which some requests do
// not survive.
func Broken(c *config) { c.broken = true }

// OneMesh leaves one mesh, the one in the switches, so nothing can be
// compared and there are no duets.
func OneMesh(c *config) { c.meshes, c.duets = []string{ovs}, false }

// Small makes a document of a few cells and short trials, for tests that do
// not look at the figures.
func Small(c *config) {
	c.connections, c.count, c.repeats, c.perTrial, c.trials = []int{1, 8}, 200, 3, 120, 12
	c.pods = []scenarios.Pods{scenarios.MultipleNodes}
}

// The meshes, as meshlab calls them.
const (
	direct  = "direct"
	ovs     = "ovs"
	connect = "consul-connect"
)

// start is when the runs began.
func start() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC) }

// Result returns a document of version 2: the thesis' matrix under three
// meshes, three duets, a ramp and a waterfall for each mesh, traffic of
// services and links, and the calibration of the machine. It panics when it
// cannot be made, which only a mistake in this package brings about.
func Result(options ...Option) *scenarios.Result {
	c := config{
		meshes:   []string{direct, ovs, connect},
		requests: []string{"frontend", "api"}, pods: []scenarios.Pods{scenarios.SingleNode, scenarios.MultipleNodes},
		connections: []int{1, 8, 100, 200}, count: 1000, repeats: 4, perTrial: 1000, trials: 30,
		cells: true, duets: true, ramps: true, waterfalls: true, calibration: true,
	}
	for _, o := range options {
		o(&c)
	}
	g := &generator{config: c, rng: rand.New(rand.NewPCG(1, 2)), latencies: newLatencies()} //nolint:gosec // nothing secret
	r := &scenarios.Result{
		SchemaVersion: scenarios.SchemaVersion,
		ID:            scenarios.NewID(start(), [4]byte{0xde, 0xad, 0xbe, 0xef}),
		Started:       start(), Finished: start().Add(14*time.Minute + 3*time.Second),
		Command: []string{"meshlab", "bench", "hashicups", "hashicups-single-node", "--scenario", "thesis,open", "--ramp", "p99=20ms", "--waterfall", "--seed", "7"},
		Seed:    7, Environment: environment(), Labs: g.labs(), Ceiling: g.ceiling(),
	}
	for _, m := range meshes() {
		if slices.Contains(c.meshes, m.Name) {
			r.Meshes = append(r.Meshes, m)
		}
	}
	r.Scenarios = []scenarios.ScenarioInfo{{Name: "open", File: "name: open\nmodel: open\narrivals: poisson\n"}}
	if c.cells {
		r.Cells = g.cells()
	}
	if c.duets {
		r.Duets = g.duets()
	}
	if c.ramps {
		r.Ramps = g.ramps()
	}
	if c.waterfalls {
		r.Waterfalls = g.waterfalls()
	}
	if c.calibration {
		r.Calibration = calibration()
	}
	return r
}

// generator draws what is random in a document.
type generator struct {
	config
	rng       *rand.Rand
	latencies *latencies
}

// factor is how many times as long as under plain switching a request takes.
func factor(mesh string) float64 {
	switch mesh {
	case ovs:
		return 1.05
	case connect:
		return 1.7
	}
	return 1
}

// base is the median of a request under plain switching, without a queue, in
// milliseconds.
func base(request string, pods scenarios.Pods) float64 {
	ms := 0.52
	if request == "api" {
		ms = 1.24
	}
	if pods == scenarios.MultipleNodes {
		ms *= 1.2
	}
	return ms
}
