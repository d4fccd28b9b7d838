package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/reports/gate"
	"meshlab.dev/meshlab/scenarios"
)

// compareFlags is what a user may say about a comparison.
type compareFlags struct {
	lab, mesh, scenario string
	runtime             string
	only                []string
	baseBin, newBin     string
	markdown, junit     string
	annotate            bool
	oneAtATime          bool
	out                 string
	seed                uint64
}

func newCompare() *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare BASE NEW",
		Short: "Say whether NEW is slower than BASE, with an exit code for CI",
		Long: `Bring up a lab for BASE and one for NEW, side by side, send the same open-loop
load to both in turns, and decide: is the median or the 99th percentile of NEW
worse than that of BASE by more than a margin (5 % and 20 %), or do more of its
requests fail? After 10, 14 and 20 pairs of trials it looks whether that is certain
enough. Two labs of one kind are never quite alike, so each pair of trials has labs
of its own: a pair takes 10 s to bring them up and the trial's own time, on 2 cores
some 13 s for HashiCups' frontend and 27 s for its API.

BASE and NEW are two meshes, two lab files, two scenario files, or two result
files of earlier runs. With --base-bin and --new-bin they are two builds of
meshlab, and no BASE and NEW are given. Two result files come from two times,
and what changed on the machine in between cannot be told from what changed in
the mesh: their verdict says so.

Exit codes: 0 PASS, 3 FAIL (a regression), 4 INCONCLUSIVE; 1 and 2 as ever.`,
		Example: `  meshlab compare direct ovs
  meshlab compare consul-connect ovs --lab hashicups --only api
  meshlab compare --base-bin ./meshlab-main --new-bin ./meshlab-branch --markdown comment.md
  meshlab compare old-lab.yaml new-lab.yaml --mesh ovs --junit junit.xml
  meshlab compare results/monday.json results/tuesday.json`,
		Args: cobra.RangeArgs(0, 2),
		RunE: func(c *cobra.Command, args []string) error { return compare(c, args, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.lab, "lab", defaultLab, "lab that is measured")
	fl.StringVar(&f.mesh, "mesh", string(orchestrate.OVS), "mesh of both sides, unless they are two meshes")
	fl.StringVar(&f.runtime, "runtime", "", runtimeHelp)
	fl.StringVar(&f.scenario, "scenario", openScenario, "name or file of an open-loop scenario")
	fl.StringSliceVar(&f.only, "only", nil, "names of requests to send (default: all of the lab file)")
	fl.StringVar(&f.baseBin, "base-bin", "", "program of the base: another build of meshlab")
	fl.StringVar(&f.newBin, "new-bin", "", "program of the new side: another build of meshlab")
	fl.StringVar(&f.markdown, "markdown", "", "file to write the verdict to as Markdown, for a comment on a pull request")
	fl.StringVar(&f.junit, "junit", "", "file to write the verdict to as JUnit's XML")
	fl.BoolVar(&f.annotate, "annotate", os.Getenv("GITHUB_ACTIONS") == "true", "print GitHub's annotations too (default: inside GitHub Actions)")
	fl.BoolVar(&f.oneAtATime, "one-at-a-time", false, "never have both labs up at once: trials in ABBA order, which need longer")
	fl.StringVar(&f.out, "out", defaultOut, "folder of the results")
	fl.Uint64Var(&f.seed, "seed", 0, "seed of arrivals and order (default: random)")
	return c
}

func compare(c *cobra.Command, args []string, f compareFlags) error {
	ctx := c.Context()
	if len(args) == 2 && isResult(args[0]) && isResult(args[1]) {
		return compareFiles(c, args, f)
	}
	script, err := loadScenario(f.scenario)
	if err != nil {
		return err
	}
	sides, err := f.sides(ctx, args)
	if err != nil {
		return err
	}
	if base := sides[0].script; base.Scenario != nil {
		if c.Flags().Changed("scenario") {
			return usageError{fmt.Errorf("BASE and NEW are scenarios: leave --scenario out")}
		}
		if other := sides[1].script; base.Model != other.Model || base.Open != other.Open || !slices.Equal(base.Looks, other.Looks) || !reflect.DeepEqual(base.Faults, other.Faults) {
			return usageError{fmt.Errorf("scenarios %s and %s differ in their load or their faults: both sides get the same, so only their steps may differ", args[0], args[1])}
		}
		script = base
	}
	if script.Model != scenarios.OpenLoop {
		return usageError{fmt.Errorf("scenario %s is a closed loop: verdicts are made of open-loop trials; 'meshlab bench' measures closed loops", script.Name)}
	}
	if !c.Flags().Changed("seed") {
		f.seed = rand.Uint64()
	}
	for _, s := range sides {
		if _, err := runtimeOf(s.lab.Lab, f.runtime); err != nil {
			return err
		}
	}
	plans, skipped, err := duetPlans(script, sides, f.only)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return fmt.Errorf("create folder of results: %w", err)
	}
	if err := f.writable(); err != nil { // now, and not after an hour of trials
		return err
	}
	outliveReader()
	p := newProgress(os.Stderr)
	defer p.stop()
	for _, s := range skipped {
		p.line("  left out: %s", s)
	}
	r, err := newMeasurement(ctx, p, f.seed)
	if err != nil {
		return err
	}
	r.fleet.runtime = f.runtime
	if err := r.compare(ctx, plans, f.oneAtATime); err != nil {
		return r.rescue(ctx, f.out, err)
	}
	path, err := r.finish(f.out)
	if err != nil {
		return err
	}
	return f.tell(c, r.res, path)
}

// compare measures the plans one after the other.
func (r *measurement) compare(ctx context.Context, plans []duetPlan, oneAtATime bool) (err error) {
	defer func() {
		if rerr := r.fleet.remove(ctx); err == nil {
			err = rerr
		}
	}()
	sides := plans[0].sides
	r.addMeshes(sides)
	r.addLabs(sides)
	for _, plan := range plans {
		plan.oneAtATime = oneAtATime
		if err := r.duet(ctx, plan); err != nil {
			return err
		}
	}
	return nil
}

// tell prints the verdict, writes it to the files that were asked for, and returns
// the exit code. That is the verdict's also when something cannot be written, unless
// it would be 0.
func (f compareFlags) tell(c *cobra.Command, res *scenarios.Result, path string) error {
	verdict := gate.Overall(res.Duets)
	err := f.print(c, res, verdict, path)
	for _, file := range f.files() {
		err = errors.Join(err, file.put(res))
	}
	code := verdictCode(verdict)
	switch {
	case err == nil:
		return code
	case code == nil:
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "meshlab: %v\n", err)
	return code
}

func (f compareFlags) print(c *cobra.Command, res *scenarios.Result, verdict scenarios.Verdict, path string) error {
	out := c.OutOrStdout()
	if wantJSON(c) {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"verdict": verdict, "figures": gate.Rows(res.Duets), "calibration": res.Calibration, "results": path})
	}
	if err := gate.Text(out, res); err != nil {
		return err
	}
	if path != "" {
		fmt.Fprintf(out, "\nResults: %s\nAs a page: meshlab report %s\n", path, path)
	}
	if f.annotate {
		return gate.Annotations(out, res)
	}
	return nil
}

// verdictFile is a form of the verdict, and the file for it.
type verdictFile struct {
	path  string
	write func(io.Writer, *scenarios.Result) error
}

// files are those that were asked for.
func (f compareFlags) files() []verdictFile {
	all := []verdictFile{{f.markdown, gate.Markdown}, {f.junit, gate.JUnit}}
	return slices.DeleteFunc(all, func(v verdictFile) bool { return v.path == "" })
}

// writable returns an error when one of the files cannot be written.
func (f compareFlags) writable() error {
	for _, file := range f.files() {
		if err := scenarios.Writable(file.path); err != nil {
			return usageError{err}
		}
	}
	return nil
}

func (v verdictFile) put(res *scenarios.Result) error {
	var b strings.Builder
	if err := v.write(&b, res); err != nil {
		return fmt.Errorf("write %s: %w", v.path, err)
	}
	return scenarios.WriteFile(v.path, []byte(b.String()))
}

// Exit codes of verdicts.
const (
	exitRegression   = 3
	exitInconclusive = 4
)

func verdictCode(v scenarios.Verdict) error {
	switch v {
	case scenarios.Pass:
		return nil
	case scenarios.Fail:
		return exitCode(exitRegression)
	}
	return exitCode(exitInconclusive)
}

// sides are what the arguments name.
func (f compareFlags) sides(ctx context.Context, args []string) ([]side, error) {
	mesh, err := orchestrate.ParseMesh(f.mesh)
	if err != nil {
		return nil, usageError{err}
	}
	if f.baseBin != "" || f.newBin != "" {
		return f.builds(ctx, args, mesh)
	}
	if len(args) != 2 {
		return nil, usageError{fmt.Errorf("name BASE and NEW, or give --base-bin and --new-bin")}
	}
	kinds := []argKind{kindOf(args[0]), kindOf(args[1])}
	if kinds[0] != kinds[1] {
		for i, a := range args {
			if _, err := loadLab(a); kinds[1-i] == kindMesh && errors.Is(err, labs.ErrUnknown) {
				_, err := orchestrate.ParseMesh(a)
				return nil, usageError{err}
			}
		}
		return nil, usageError{fmt.Errorf("%s is %s and %s is %s: BASE and NEW must be of one kind", args[0], kinds[0], args[1], kinds[1])}
	}
	var sides []side
	for i, a := range args {
		s := side{label: strings.TrimSuffix(filepath.Base(a), filepath.Ext(a)), mesh: mesh}
		lab := f.lab
		switch kinds[0] {
		case kindMesh:
			s.label, s.mesh = a, orchestrate.Mesh(a)
		case kindScenario:
			if s.script, err = loadScenario(a); err != nil {
				return nil, err
			}
		default:
			lab = a
		}
		if s.lab, err = loadLab(lab); err != nil {
			return nil, err
		}
		if i == 1 && s.label == sides[0].label {
			s.label, sides[0].label = s.label+" (new)", s.label+" (base)"
		}
		sides = append(sides, s)
	}
	if base, other := sides[0].script, sides[1].script; kinds[0] == kindScenario && base.Name == other.Name && !bytes.Equal(base.source, other.source) {
		base.Name, other.Name = base.Name+" (base)", other.Name+" (new)" // the document holds both, by name
	}
	return sides, nil
}

// builds are two sides that differ in the program alone.
func (f compareFlags) builds(ctx context.Context, args []string, mesh orchestrate.Mesh) ([]side, error) {
	if f.baseBin == "" || f.newBin == "" || len(args) > 0 {
		return nil, usageError{fmt.Errorf("give both --base-bin and --new-bin, and no BASE and NEW")}
	}
	lab, err := loadLab(f.lab)
	if err != nil {
		return nil, err
	}
	var sides []side
	for i, bin := range []string{f.baseBin, f.newBin} {
		path, err := filepath.Abs(bin)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", bin, err)
		}
		build, err := supervisor.ProgramVersion(ctx, path)
		if err != nil {
			return nil, usageError{err}
		}
		sides = append(sides, side{label: []string{"base", "new"}[i], lab: lab, mesh: mesh, program: path, build: build})
	}
	return sides, nil
}

// argKind is what an argument of compare names.
type argKind string

const (
	kindMesh     argKind = "a mesh"
	kindResult   argKind = "a result file"
	kindScenario argKind = "a scenario"
	kindLab      argKind = "a lab"
)

func kindOf(arg string) argKind {
	switch {
	case slices.Contains(orchestrate.Meshes(), orchestrate.Mesh(arg)):
		return kindMesh
	case isResult(arg):
		return kindResult
	}
	if _, err := loadLab(arg); err == nil {
		return kindLab
	}
	if _, err := loadScenario(arg); err == nil {
		return kindScenario
	}
	return kindLab // whose error tells what is wrong with it
}

func isResult(arg string) bool { return filepath.Ext(arg) == ".json" }
