package main

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/doctor"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/fortio"
	"meshlab.dev/meshlab/topo"
)

// benchFlags is what a user may say about a run.
type benchFlags struct {
	meshes      []string
	only        []string
	connections []int
	requests    int
	repeats     int
	quick       bool
	out         string
	seed        uint64
}

func newBench() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench [LAB...]",
		Short: "Measure the requests of labs under several meshes",
		Long: `Bring every LAB to life once per mesh, all meshes side by side, and send the
requests of its file from its client host with Fortio: a fixed number of
requests over 1, 8, 100 and 200 connections, closed loop. The meshes take
turns at every cell of the matrix, in random order, so that a slow moment of
the machine strikes all of them. The first attempt of each cell is kept apart.
Every answer is checked; a wrong one is an error, never a latency.

Labs whose services all run on one host count as SN (single node), others as
MN (several nodes), as in the thesis' Table 4. Results go to OUT/<id>.json;
OUT/latest.json points to the newest. 'meshlab report' makes a page of them.`,
		Example: `  meshlab bench hashicups --quick
  meshlab bench hashicups hashicups-single-node --mesh direct,ovs,consul-connect
  meshlab bench my-lab.yaml --connections 1,8 --requests 5000 --repeats 6`,
		RunE: func(c *cobra.Command, args []string) error { return bench(c, args, f) },
	}
	all := make([]string, 0, 3)
	for _, m := range orchestrate.Meshes() {
		all = append(all, string(m))
	}
	d := scenarios.Default()
	fl := c.Flags()
	fl.StringSliceVar(&f.meshes, "mesh", all, "meshes to compare")
	fl.StringSliceVar(&f.only, "only", nil, "names of requests to send (default: all of the lab file)")
	fl.IntSliceVar(&f.connections, "connections", d.Connections, "numbers of parallel connections")
	fl.IntVar(&f.requests, "requests", d.Count, "requests per attempt")
	fl.IntVar(&f.repeats, "repeats", d.Repeats, "attempts per cell; the first is kept apart")
	fl.BoolVar(&f.quick, "quick", false, "1 and 8 connections, few requests: shows that all works; not for quoting")
	fl.StringVar(&f.out, "out", "results", "folder of the results")
	fl.Uint64Var(&f.seed, "seed", 0, "seed of the order of the meshes (default: random)")
	return c
}

func bench(c *cobra.Command, args []string, f benchFlags) error {
	ctx := c.Context()
	if len(args) == 0 {
		args = []string{defaultLab}
	}
	cfg, err := f.config(c)
	if err != nil {
		return err
	}
	labs, err := benchLabs(args, &cfg)
	if err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return fmt.Errorf("create folder of results: %w", err)
	}
	outliveReader()
	p := newProgress(os.Stderr)
	defer p.stop()
	bin, err := findConsul(ctx, p)
	if err != nil {
		return err
	}

	res := &scenarios.Result{
		SchemaVersion: scenarios.SchemaVersion,
		Started:       time.Now(),
		Command:       append([]string{"meshlab"}, os.Args[1:]...),
		Seed:          cfg.Seed,
		Environment:   scenarios.Host(),
	}
	var random [4]byte
	_, _ = crand.Read(random[:]) // never fails (crypto/rand)
	res.ID = scenarios.NewID(res.Started, random)
	for _, m := range cfg.Meshes {
		res.Meshes = append(res.Meshes, meshInfo(orchestrate.Mesh(m)))
	}
	if res.Ceiling, err = ceiling(ctx, p, cfg); err != nil {
		return err
	}
	for _, pods := range cfg.Pods {
		lab := labs[pods]
		res.Labs = append(res.Labs, scenarios.LabInfo{Name: lab.Name, Pods: pods, File: string(lab.source), SVG: string(topo.SVG(lab.Lab))})
		one := cfg
		one.Pods = []scenarios.Pods{pods}
		cells, err := benchLab(ctx, p, lab, one, bin, res)
		res.Cells = append(res.Cells, cells...)
		if err != nil {
			p.stop()
			if ctx.Err() != nil && !errors.Is(err, supervisor.ErrLeft) {
				return errors.New("interrupted; no lab is left, and no results are written")
			}
			return err
		}
	}
	res.Finished = time.Now()
	p.stop()
	path, err := store(f.out, res)
	if err != nil {
		return err
	}
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"results": path, "id": res.ID})
	}
	printCells(c.OutOrStdout(), res)
	fmt.Fprintf(c.OutOrStdout(), "\nResults: %s\nAs a page: meshlab report %s\n", path, path)
	return nil
}

func (f benchFlags) config(c *cobra.Command) (scenarios.Config, error) {
	cfg := scenarios.Default()
	if f.quick {
		cfg = scenarios.Quick()
	}
	if !f.quick || c.Flags().Changed("connections") {
		cfg.Connections = f.connections
	}
	if !f.quick || c.Flags().Changed("requests") {
		cfg.Count = f.requests
	}
	if !f.quick || c.Flags().Changed("repeats") {
		cfg.Repeats = f.repeats
	}
	for _, m := range f.meshes {
		mesh, err := orchestrate.ParseMesh(m)
		if err != nil {
			return cfg, usageError{err}
		}
		cfg.Meshes = append(cfg.Meshes, string(mesh))
	}
	cfg.Requests = f.only
	cfg.Seed = f.seed
	if !c.Flags().Changed("seed") {
		cfg.Seed = rand.Uint64()
	}
	return cfg, nil
}

// benchLabs reads the labs and fills Pods and Requests of the matrix in.
func benchLabs(names []string, cfg *scenarios.Config) (map[scenarios.Pods]loadedLab, error) {
	labs := map[scenarios.Pods]loadedLab{}
	for _, name := range names {
		lab, err := loadLab(name)
		if err != nil {
			return nil, err
		}
		if lab.Client == nil || len(lab.Requests) == 0 {
			return nil, usageError{fmt.Errorf("lab %s has no client or no requests: `meshlab labs single-upstream` shows both", lab.Name)}
		}
		pods := spread(lab.Lab)
		if other, ok := labs[pods]; ok {
			return nil, usageError{fmt.Errorf("labs %s and %s are both %s: one run takes one lab on a single node and one on several", other.Name, lab.Name, pods)}
		}
		labs[pods] = lab
		cfg.Pods = append(cfg.Pods, pods)
		have := slices.Sorted(maps.Keys(lab.Requests))
		if len(cfg.Requests) == 0 {
			cfg.Requests = have
		}
		for _, want := range cfg.Requests {
			if !slices.Contains(have, want) {
				return nil, usageError{fmt.Errorf("lab %s has no request %q: it has %s", lab.Name, want, strings.Join(have, ", "))}
			}
		}
	}
	return labs, nil
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
	var all []scenarios.Ceiling
	for _, n := range cfg.Connections {
		c, err := fortio.Ceiling(ctx, n, ceilingRequests)
		if err != nil {
			return nil, fmt.Errorf("measure the generator's own ceiling: %w", err)
		}
		all = append(all, c)
	}
	best := slices.MaxFunc(all, func(a, b scenarios.Ceiling) int {
		return int(a.Attempt.RequestsPerSecond - b.Attempt.RequestsPerSecond)
	})
	p.finish(step, fmt.Sprintf("its own ceiling: %.0f requests/s against a bare loopback server", best.Attempt.RequestsPerSecond), time.Since(begin))
	return all, nil
}

// benchLab measures one lab under all meshes, and removes it again.
func benchLab(ctx context.Context, p *progress, lab loadedLab, cfg scenarios.Config, bin consul.Binary, res *scenarios.Result) (cells []scenarios.Cell, err error) {
	targets := map[string]benchTarget{}
	defer func() {
		for _, t := range targets {
			_, rerr := supervisor.Remove(context.WithoutCancel(ctx), t.name)
			if rerr != nil {
				err = errors.Join(err, fmt.Errorf("lab %s: %w: %w", t.name, supervisor.ErrLeft, rerr))
			}
		}
	}()
	for _, m := range cfg.Meshes {
		mesh := orchestrate.Mesh(m)
		name := fmt.Sprintf("bench-%d-%s-%s", os.Getpid(), lab.Name, m)
		if len(name) > 40 {
			name = fmt.Sprintf("bench-%d-%s", os.Getpid(), m)
		}
		begin := time.Now()
		step := "lab for " + m
		p.start(step)
		launch := lab.launch(name, mesh, bin)
		launch.Hold = true
		st, err := supervisor.Launch(ctx, launch, func(e supervisor.Event) {
			if !e.Done {
				p.report(e.Step)
			}
		})
		if err != nil {
			return nil, failedUp(ctx, name, err)
		}
		targets[m] = benchTarget{name: name, lab: lab.Lab, mesh: mesh, seconds: new(float64),
			ctl: supervisor.NewClient(orchestrate.StateOf(name).Control())}
		p.finish(step, lab.Name+" is ready", time.Since(begin))
		recordEnvironment(&res.Environment, st.Environment)
		res.Environment.Postgres = doctor.PostgresVersion(ctx)
	}
	counted, counts := targets[string(orchestrate.OVS)] // the one mesh whose switches count
	var before metrics.Traffic
	var uncounted error
	if counts {
		before, uncounted = settledTraffic(ctx, counted.ctl)
	}
	step := "measure " + lab.Name
	begin := time.Now()
	p.start(step)
	last := 0
	cells, err = scenarios.Run(ctx, cfg, func(mesh string, _ scenarios.Pods) scenarios.Target { return targets[mesh] },
		func(e scenarios.Event) {
			if e.StepsDone < e.Steps {
				p.report(fmt.Sprintf("%d of %d cells, %s left, %s under %s", e.Done, e.Total, e.Left.Round(time.Second), e.Step.Point, e.Step.Mesh))
			}
			if !p.tty && e.Done >= last+len(cfg.Meshes) {
				last = e.Done
				p.line("  %s: %d of %d cells after %.0f s, about %s left", lab.Name, e.Done, e.Total, e.Elapsed.Seconds(), e.Left.Round(time.Second))
			}
		})
	if err != nil {
		return cells, err
	}
	p.finish(step, fmt.Sprintf("%d cells", len(cells)), time.Since(begin))
	if counts && uncounted == nil {
		var after metrics.Traffic
		if after, uncounted = settledTraffic(ctx, counted.ctl); uncounted == nil {
			res.Labs[len(res.Labs)-1].Traffic = trafficBetween(before, after, counted.mesh, *counted.seconds)
		}
	}
	if uncounted != nil { // the latencies are worth keeping without it
		p.line("  %s: the results hold no traffic: %v", lab.Name, uncounted)
	}
	return cells, ctx.Err()
}

// benchTarget is a lab that is up.
type benchTarget struct {
	name string
	lab  *topo.Lab
	mesh orchestrate.Mesh
	ctl  *supervisor.Client

	seconds *float64 // that attempts have taken
}

func (t benchTarget) Spec(request string) (scenarios.RequestSpec, error) {
	return supervisor.Spec(t.lab, t.mesh, request)
}

func (t benchTarget) Load(ctx context.Context, spec scenarios.LoadSpec) (scenarios.Attempt, error) {
	a, err := t.ctl.Load(ctx, spec)
	*t.seconds += a.Seconds
	return a, err
}

func recordEnvironment(e *scenarios.Environment, lab supervisor.Environment) {
	e.Meshlab = version()
	e.OpenVSwitch, e.Datapath, e.Consul = lab.OpenVSwitch, lab.Datapath, lab.Consul
	e.CongestionControl, e.TxChecksumOffload = lab.CongestionControl, lab.TxChecksumOffload
	e.SwitchBufferBytes = lab.SwitchBufferBytes
	e.Root = os.Geteuid() == 0
	if lab.Proxy != "" {
		e.Proxy = lab.Proxy
	}
}

// meshInfo says what a mesh gives, in the words of the report.
func meshInfo(m orchestrate.Mesh) scenarios.MeshInfo {
	switch m {
	case orchestrate.OVS:
		return scenarios.MeshInfo{Name: string(m), DataPath: "client, Open vSwitch with the mesh's flows, service",
			Gives: "discovery at a virtual address and balancing over healthy instances in the switch; no encryption, nothing above layer 4"}
	case orchestrate.ConsulConnect:
		return scenarios.MeshInfo{Name: string(m), DataPath: "client, its sidecar, Open vSwitch as plain switch, the service's sidecar, service", MTLS: true,
			Gives: "discovery and balancing in sidecars, mutual TLS between them, intentions; with Envoy layer 7 too"}
	}
	return scenarios.MeshInfo{Name: string(m), DataPath: "client, Open vSwitch as plain switch, service",
		Gives: "nothing: the client knows the instance's own address; the floor of what a mesh can cost"}
}

// store writes the results and points latest.json to them.
func store(dir string, res *scenarios.Result) (string, error) {
	path := filepath.Join(dir, res.ID+".json")
	if err := scenarios.Write(path, res); err != nil {
		return "", err
	}
	latest := filepath.Join(dir, "latest.json")
	tmp := latest + ".new"
	_ = os.Remove(tmp) // of an earlier run that was killed here
	if err := os.Symlink(filepath.Base(path), tmp); err != nil {
		return "", fmt.Errorf("point %s to the results: %w", latest, err)
	}
	if err := os.Rename(tmp, latest); err != nil {
		return "", fmt.Errorf("point %s to the results: %w", latest, err)
	}
	return path, nil
}
