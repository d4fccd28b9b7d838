package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/fortio"
	"meshlab.dev/meshlab/topo"
)

// defaultOut is the folder of results.
const defaultOut = "results"

// benchFlags is what a user may say about a run.
type benchFlags struct {
	meshes      []string
	runtime     string
	scenarios   []string
	only        []string
	connections []int
	requests    int
	repeats     int
	quick       bool
	duet        bool
	oneAtATime  bool
	ramp        string
	waterfall   bool
	log         bool
	watch       bool
	out         string
	seed        uint64
	kube        kubeFlags
}

func newBench() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench [LAB...]",
		Short: "Measure the requests of labs under several meshes",
		Long: `Bring every LAB to life once per mesh, all meshes side by side, and send load
from its client host. Scenarios say which load:

  thesis   a closed loop (the default): a fixed number of requests over 1, 8, 100
           and 200 connections. The meshes take turns at every cell of the matrix,
           and the first attempt of each cell is kept apart.
  open     an open loop in paired trials (--duet): requests arrive at their own
           times, in turns for every mesh, and latency counts from the moment at
           which a request should have been sent. Ratios come with intervals.
  FILE     your own: 'meshlab validate --scenario FILE' checks it.

Every answer is checked; a wrong one is an error, never a latency. Labs whose
services all run on one host count as SN (single node), others as MN (several
nodes), as in the thesis' Table 4. Results go to OUT/<id>.json; OUT/latest.json
points to the newest. 'meshlab report' makes a page of them.

--kube CONTEXT measures on a Kubernetes cluster in place of this machine: the
closed loop alone, from a pod, in a namespace that is removed afterwards. Meshes
are those that the cluster has what they need for. docs/bench-kubernetes.md says
what a cluster needs, and what differs.`,
		Example: `  meshlab bench hashicups --quick
  meshlab bench hashicups hashicups-single-node --mesh direct,ovs,consul-connect
  meshlab bench hashicups --duet --mesh consul-connect,ovs
  meshlab bench hashicups --scenario thesis,open --waterfall
  meshlab bench hashicups --ramp p99=20ms --only frontend
  sudo meshlab bench hashicups --runtime docker --quick
  meshlab bench hashicups hashicups-single-node --kube my-cluster --image registry.example/meshlab:1
  meshlab bench my-lab.yaml --connections 1,8 --requests 5000 --repeats 6`,
		RunE: func(c *cobra.Command, args []string) error { return bench(c, args, f) },
	}
	all := make([]string, 0, 3)
	for _, m := range orchestrate.Meshes() {
		all = append(all, string(m))
	}
	d := scenarios.Default()
	fl := c.Flags()
	fl.StringSliceVar(&f.meshes, "mesh", all, "meshes to compare; of paired trials the first is the base")
	fl.StringVar(&f.runtime, "runtime", "", runtimeHelp)
	fl.StringSliceVar(&f.scenarios, "scenario", nil, "names or files of scenarios (default: thesis)")
	fl.StringSliceVar(&f.only, "only", nil, "names of requests to send (default: all of the lab file)")
	fl.BoolVar(&f.duet, "duet", false, "paired trials of an open loop: short for --scenario open")
	fl.BoolVar(&f.oneAtATime, "one-at-a-time", false, "paired trials with one lab up at a time, in ABBA order, which need longer")
	fl.StringVar(&f.ramp, "ramp", "", "find the highest rate of the open-loop scenarios that keeps an objective, as in p99=20ms; 'scenario': that of its file")
	fl.BoolVar(&f.waterfall, "waterfall", false, "watch the ports on the way and tell where the time of a request goes")
	fl.BoolVar(&f.log, "log", false, "write every request of paired trials to OUT/<id>.requests.csv.gz")
	fl.BoolVar(&f.watch, "watch", false, "serve the report of what has been measured so far on a loopback port")
	fl.BoolVar(&f.quick, "quick", false, "1 and 8 connections, few requests: shows that all works; not for quoting")
	fl.IntSliceVar(&f.connections, "connections", d.Connections, "closed loop: numbers of parallel connections")
	fl.IntVar(&f.requests, "requests", d.Count, "closed loop: requests per attempt")
	fl.IntVar(&f.repeats, "repeats", d.Repeats, "closed loop: attempts per cell; the first is kept apart")
	fl.StringVar(&f.out, "out", defaultOut, "folder of the results")
	fl.Uint64Var(&f.seed, "seed", 0, "seed of orders and arrivals (default: random)")
	f.kube.define(c)
	return c
}

func bench(c *cobra.Command, args []string, f benchFlags) error {
	if on, err := f.kube.given(c); err != nil || on {
		if err == nil {
			err = benchOnCluster(c, args, f)
		}
		return err
	}
	ctx := c.Context()
	if len(args) == 0 {
		args = []string{defaultLab}
	}
	plan, err := f.plan(c, args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return fmt.Errorf("create folder of results: %w", err)
	}
	outliveReader()
	p := newProgress(os.Stderr)
	defer p.stop()
	r, err := newMeasurement(ctx, p, plan.seed)
	if err != nil {
		return err
	}
	r.fleet.runtime = f.runtime
	log, err := newRequestLog(f.log, f.out, r.res.ID)
	if err != nil {
		return err
	}
	defer log.discard()
	if f.watch {
		stop, err := r.serveLive(ctx)
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := plan.run(ctx, r, log); err != nil {
		return r.rescue(ctx, f.out, err)
	}
	if err := log.keep(); err != nil {
		return err
	}
	path, err := r.finish(f.out)
	if err != nil {
		return err
	}
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"results": path, "id": r.res.ID})
	}
	printResult(c.OutOrStdout(), r.res)
	fmt.Fprintf(c.OutOrStdout(), "\nResults: %s\nAs a page: meshlab report %s\n", path, path)
	return nil
}

// spread tells whether a lab's services run on one host or on several.
func spread(lab *topo.Lab) scenarios.Pods {
	for _, s := range lab.Services {
		if s.Node != lab.Services[0].Node {
			return scenarios.MultipleNodes
		}
	}
	return scenarios.SingleNode
}

// ceilingRequests is how many requests each number of connections gets to
// show what the generator itself can do: some 0.1 s of work.
const ceilingRequests = 5000

// ceiling measures the generator against a bare loopback server.
func ceiling(ctx context.Context, p *progress, cfg scenarios.Config) ([]scenarios.Ceiling, error) {
	const step = "generator"
	p.start(step)
	begin := time.Now()
	all, err := ceilings(ctx, cfg)
	if err != nil {
		return nil, err
	}
	best := slices.MaxFunc(all, func(a, b scenarios.Ceiling) int {
		return int(a.Attempt.RequestsPerSecond - b.Attempt.RequestsPerSecond)
	})
	p.finish(step, fmt.Sprintf("its own ceiling: %.0f requests/s against a bare loopback server", best.Attempt.RequestsPerSecond), time.Since(begin))
	return all, nil
}

func ceilings(ctx context.Context, cfg scenarios.Config) ([]scenarios.Ceiling, error) {
	var all []scenarios.Ceiling
	for _, n := range cfg.Connections {
		c, err := fortio.Ceiling(ctx, n, ceilingRequests)
		if err != nil {
			return nil, fmt.Errorf("measure the generator's own ceiling: %w", err)
		}
		all = append(all, c)
	}
	return all, nil
}
