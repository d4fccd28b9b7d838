package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// thesisReference stands for the thesis' Table 4 as what is to be reproduced.
const thesisReference = "thesis"

func newReproduce() *cobra.Command {
	var out string
	var seed uint64
	var quick bool
	c := &cobra.Command{
		Use:   "reproduce REPORT",
		Short: "Run an earlier measurement again, and say what came out the same",
		Long: `Read an earlier report (index.html) or result file, run the same labs, meshes and
scenarios here, and say for each ratio whether it was found again:

  replicated      what differs is within what both runs leave open
  direction only  the same mesh is ahead, by another factor
  not replicated  neither

Labs and scenarios are taken from the report itself, so its run can be repeated
where its files are not. The commands of their services run here as you, so run
a stranger's report as you would run a stranger's program. 'thesis' stands for Table 4 of the thesis: how many times
the average of Consul Connect that of the mesh in the switches is.`,
		Example: "  meshlab reproduce report/index.html\n  meshlab reproduce results/latest.json --output json\n  meshlab reproduce thesis",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("seed") {
				seed = rand.Uint64()
			}
			return reproduce(c, args[0], out, seed, quick)
		},
	}
	c.Flags().StringVar(&out, "out", defaultOut, "folder of the results")
	c.Flags().Uint64Var(&seed, "seed", 0, "seed of orders and arrivals (default: random)")
	c.Flags().BoolVar(&quick, "quick", false, "of closed loops only 1 and 8 connections and few requests: shows that all works")
	return c
}

func reproduce(c *cobra.Command, source, out string, seed uint64, quick bool) error {
	ctx := c.Context()
	again, err := originalOf(source)
	if err != nil {
		return err
	}
	again.plan.seed = seed
	if quick {
		again.hurry()
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("create folder of results: %w", err)
	}
	outliveReader()
	p := newProgress(os.Stderr)
	defer p.stop()
	r, err := newMeasurement(ctx, p, seed)
	if err != nil {
		return err
	}
	r.fleet.runtime = again.runtime
	if err := again.plan.run(ctx, r, nil); err != nil {
		return r.rescue(ctx, out, err)
	}
	path, err := r.finish(out)
	if err != nil {
		return err
	}
	found := scenarios.Replicate(again.findings, r.res.Findings())
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"of": again.name, "replications": found, "results": path})
	}
	return printReplications(c.OutOrStdout(), again.name, found, path)
}

// original is what is to be found again, and the run that may find it.
type original struct {
	name     string
	findings []scenarios.Finding
	plan     benchPlan
	runtime  string
}

func originalOf(source string) (original, error) {
	if source == thesisReference {
		return ofThesis()
	}
	results, err := resultsOf(source)
	if err != nil {
		return original{}, usageError{err}
	}
	if len(results) != 1 {
		return original{}, usageError{fmt.Errorf("%s holds %d results: name the result file of one", source, len(results))}
	}
	return ofResult(results[0])
}

// resultsOf reads a result file, or the results inside a report.
func resultsOf(path string) ([]*scenarios.Result, error) {
	page := filepath.Join(path, "index.html")
	if _, err := os.Stat(page); err == nil {
		path = page
	}
	if filepath.Ext(path) != ".html" {
		r, err := scenarios.ReadFile(path)
		return []*scenarios.Result{r}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	defer f.Close()
	results, err := reports.Embedded(f)
	if err != nil {
		return nil, fmt.Errorf("read report %s: %w", path, err)
	}
	return results, nil
}

// ofThesis is the thesis' matrix, under the meshes that its Table 4 compares.
func ofThesis() (original, error) {
	findings, err := reports.ThesisFindings()
	if err != nil {
		return original{}, err
	}
	o := original{name: "Table 4 of the thesis", findings: findings}
	cfg := scenarios.Default()
	cfg.Meshes = []string{"ovs", "consul-connect"}
	o.plan = benchPlan{meshes: cfg.Meshes, closed: &closedPlan{matrix: cfg}}
	for _, name := range []string{"hashicups", "hashicups-single-node"} {
		lab, err := loadLab(name)
		if err != nil {
			return o, err
		}
		o.plan.labs = append(o.plan.labs, lab)
	}
	return o, nil
}

// ofResult plans the run of a result document again, from what it holds.
func ofResult(r *scenarios.Result) (original, error) {
	o := original{name: r.ID, findings: r.Findings(), runtime: r.Environment.Runtime}
	if r.Environment.Cluster != nil {
		return o, usageError{fmt.Errorf("run %s measured in a cluster (%s), which reproduce does not reach: repeat it with its own command, %s, and set both files beside each other with 'meshlab report'",
			r.ID, r.Environment.Place(), strings.Join(r.Command, " "))}
	}
	if len(o.findings) == 0 {
		return o, usageError{fmt.Errorf("run %s has no ratio that could be found again: no paired trials, and no closed loop under ovs and another mesh, in which no more than one request in a thousand failed", r.ID)}
	}
	for _, m := range r.Meshes {
		o.plan.meshes = append(o.plan.meshes, m.Name)
	}
	for _, info := range r.Labs {
		lab, err := topo.Parse(info.Name+".yaml", []byte(info.File), topo.Options{Builtins: builtin.Names()})
		if err != nil {
			return o, usageError{fmt.Errorf("read lab %s of run %s: %w", info.Name, r.ID, err)}
		}
		o.plan.labs = append(o.plan.labs, loadedLab{Lab: lab, source: []byte(info.File), file: info.Name})
	}
	o.closedOf(r)
	return o, o.openOf(r)
}

// closedOf takes the closed loop's matrix from the cells.
func (o *original) closedOf(r *scenarios.Result) {
	if len(r.Cells) == 0 {
		return
	}
	cfg := scenarios.Default()
	cfg.Connections, cfg.Repeats = nil, 0
	var only []string
	for _, cell := range r.Cells {
		if !slices.Contains(cfg.Connections, cell.Connections) {
			cfg.Connections = append(cfg.Connections, cell.Connections)
		}
		if !slices.Contains(cfg.Meshes, cell.Mesh) {
			cfg.Meshes = append(cfg.Meshes, cell.Mesh)
		}
		if !slices.Contains(only, cell.Request) {
			only = append(only, cell.Request)
		}
		cfg.Repeats = max(cfg.Repeats, len(cell.Attempts), leastRepeats)
		cfg.Count = cell.Attempts[0].Requests
	}
	o.plan.meshes = cfg.Meshes
	o.plan.closed = &closedPlan{matrix: cfg, only: only}
	for _, info := range r.Scenarios {
		s, err := scenarios.ParseScenario(info.Name+".yaml", []byte(info.File))
		if err != nil || s.Model != scenarios.ClosedLoop {
			continue // openOf tells what is wrong with the others
		}
		o.plan.closed.script = loadedScenario{s, []byte(info.File)}
		m := &o.plan.closed.matrix // what the cells do not tell
		m.WarmUp, m.Timeout, m.Limit = s.Closed.WarmUp, s.Closed.Timeout, s.Closed.Limit
		if len(s.Steps) > 0 {
			m.Requests, o.plan.closed.only = s.Closed.Requests, nil
		}
	}
}

// openOf takes the open loops from the scenario files in the document.
func (o *original) openOf(r *scenarios.Result) error {
	if len(r.Duets) == 0 {
		return nil
	}
	var names []string
	for _, d := range r.Duets {
		for i, v := range d.Variants {
			if v.Build != "" || v.Lab != "" || v.Script != "" || v.Name != v.Mesh {
				return usageError{fmt.Errorf("run %s compares builds, labs or scenarios (%s and others), not meshes: repeat it with its own command: %s",
					r.ID, v.Name, strings.Join(r.Command, " "))}
			}
			if i == 0 && !slices.Contains(names, d.Scenario) {
				names = append(names, d.Scenario)
			}
		}
		if d.Request != "" && !slices.Contains(o.plan.only, d.Request) {
			o.plan.only = append(o.plan.only, d.Request)
		}
		o.plan.oneAtATime = d.Method == scenarios.ABBA
		o.plan.meshes = nil
		for _, v := range d.Variants {
			o.plan.meshes = append(o.plan.meshes, v.Mesh)
		}
	}
	for _, name := range names {
		at := slices.IndexFunc(r.Scenarios, func(s scenarios.ScenarioInfo) bool { return s.Name == name })
		if at < 0 {
			return usageError{fmt.Errorf("run %s does not hold its scenario %s", r.ID, name)}
		}
		s, err := scenarios.ParseScenario(name+".yaml", []byte(r.Scenarios[at].File))
		if err != nil {
			return usageError{err}
		}
		if len(s.Steps) > 0 {
			o.plan.only = nil
		}
		o.plan.open = append(o.plan.open, loadedScenario{s, []byte(r.Scenarios[at].File)})
	}
	return nil
}

// hurry makes closed loops short.
func (o *original) hurry() {
	if o.plan.closed == nil {
		return
	}
	q, cfg := scenarios.Quick(), &o.plan.closed.matrix
	cfg.Connections, cfg.Count, cfg.Repeats, cfg.WarmUp = q.Connections, q.Count, leastRepeats, q.WarmUp
}

// leastRepeats leaves three later attempts, for an interval of ratios.
const leastRepeats = 4

func printReplications(w io.Writer, name string, all []scenarios.Replication, path string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "cell\tfigure\tratio\toriginal\t95 % interval\there\t95 % interval\toutcome\t")
	count := map[scenarios.Outcome]int{}
	for _, r := range all {
		count[r.Outcome]++
		here, span := "-", "-"
		if r.Here != nil {
			here, span = fmt.Sprintf("%.3f", r.Here.Ratio), interval(*r.Here)
		}
		fmt.Fprintf(t, "%s\t%s\t%s to %s\t%.3f\t%s\t%s\t%s\t%s\t\n", r.Original.Cell, r.Original.Figure,
			r.Original.New, r.Original.Base, r.Original.Ratio, interval(r.Original), here, span, r.Outcome)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nOf %d ratios of %s: %d replicated, %d in direction only, %d not replicated, %d not measured.\nResults: %s\n",
		len(all), name, count[scenarios.Replicated], count[scenarios.SameDirection], count[scenarios.NotReplicated], count[scenarios.NotMeasured], path)
	return err
}

func interval(f scenarios.Finding) string {
	if f.Low <= 0 || f.High <= 0 {
		return "none given"
	}
	return fmt.Sprintf("%.3f to %.3f", f.Low, f.High)
}
