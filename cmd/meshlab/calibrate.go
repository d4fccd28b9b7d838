package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/reports/gate"
	"meshlab.dev/meshlab/scenarios"
)

// calibrateFlags is what a user may say about a calibration.
type calibrateFlags struct {
	mesh, scenario, only string
	runtime              string
	pairs, verdicts      int
	effects              []int
	seed                 uint64
	fresh                bool
}

func newCalibrate() *cobra.Command {
	var f calibrateFlags
	c := &cobra.Command{
		Use:   "calibrate [LAB]",
		Short: "Find out how often a verdict is wrong on this machine",
		Long: `Compare a mesh with itself in many pairs of labs, as it is and with a delay of one
lab's service that adds 5, 10 and 20 % to the median. Then draw verdicts from these
pairs, by the same rule as those of 'meshlab compare': each FAIL of the mesh against
itself is a false alarm, and each FAIL with a delay is one found. Verdicts and
reports made on this machine state the outcome.

A pair takes half a minute. What is done is kept after each: the same command goes
on where an earlier one was interrupted, or with more --pairs; --fresh begins anew,
and replaces what was kept when it has pairs enough for verdicts.`,
		Example: `  meshlab calibrate
  meshlab calibrate hashicups --only api --pairs 150 --effects 10`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return calibrate(c, args, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.mesh, "mesh", string(orchestrate.OVS), "mesh that is compared with itself")
	fl.StringVar(&f.runtime, "runtime", "", runtimeHelp)
	fl.StringVar(&f.scenario, "scenario", openScenario, "name or file of an open-loop scenario")
	fl.StringVar(&f.only, "only", "", "request to send (default: the first of the lab file)")
	fl.IntVar(&f.pairs, "pairs", 60, "pairs of labs to measure")
	fl.IntVar(&f.verdicts, "verdicts", 200, "verdicts to draw from them")
	fl.IntSliceVar(&f.effects, "effects", []int{5, 10, 20}, "delays to add on purpose, in per cent of the median")
	fl.BoolVar(&f.fresh, "fresh", false, "do not go on with an earlier study")
	fl.Uint64Var(&f.seed, "seed", 0, "seed of arrivals, order and draws (default: random)")
	return c
}

func calibrate(c *cobra.Command, args []string, f calibrateFlags) error {
	ctx := c.Context()
	mesh, err := orchestrate.ParseMesh(f.mesh)
	if err != nil {
		return usageError{err}
	}
	script, err := loadScenario(f.scenario)
	if err != nil {
		return err
	}
	if script.Model != scenarios.OpenLoop {
		return usageError{fmt.Errorf("scenario %s is a closed loop: verdicts are made of open-loop trials", script.Name)}
	}
	if len(script.Faults) > 0 {
		return usageError{fmt.Errorf("scenario %s has faults: a calibration is of an undisturbed machine", script.Name)}
	}
	lab, err := loadLab(argOr(args, defaultLab))
	if err != nil {
		return err
	}
	if _, err := runtimeOf(lab.Lab, f.runtime); err != nil {
		return err
	}
	sides := []side{{label: "a", lab: lab, mesh: mesh}, {label: "b", lab: lab, mesh: mesh}}
	var only []string
	if f.only != "" {
		only = []string{f.only}
	}
	plans, _, err := duetPlans(script, sides, only)
	if err != nil {
		return err
	}
	if !c.Flags().Changed("seed") {
		f.seed = rand.Uint64()
	}
	cfg := scenarios.CalibrateConfig{
		Lab: lab.Name, Scenario: script.Name, Request: plans[0].request, Mesh: string(mesh), Pods: spread(lab.Lab),
		Load: script.Open, Looks: script.Looks, LabStarts: f.pairs, Verdicts: f.verdicts, Seed: f.seed,
	}
	for _, e := range f.effects {
		cfg.Effects = append(cfg.Effects, float64(e)/100)
	}
	outliveReader()
	p := newProgress(os.Stderr)
	defer p.stop()
	r, err := newMeasurement(ctx, p, f.seed)
	if err != nil {
		return err
	}
	r.fleet.runtime = f.runtime
	cal, err := r.calibrate(ctx, cfg, plans[0], f.fresh)
	p.stop()
	if err != nil {
		if cal != nil && cal.LabStarts > 0 && ctx.Err() != nil && !errors.Is(err, supervisor.ErrLeft) {
			return fmt.Errorf("interrupted; no lab is left. %s", whatIsKept(cal, f.fresh))
		}
		return interrupted(ctx, err)
	}
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(cal)
	}
	printCalibration(c.OutOrStdout(), cal)
	fmt.Fprintf(c.OutOrStdout(), "Stored in %s\n", calibrationDir())
	return nil
}

// calibrate measures the pairs of labs, and keeps each. Labs stay up until the
// study asks for other ones.
func (r *measurement) calibrate(ctx context.Context, cfg scenarios.CalibrateConfig, plan duetPlan, anew bool) (_ *scenarios.Calibration, err error) {
	defer func() { err = errors.Join(err, r.fleet.remove(ctx)) }()
	var labs *duetLabs
	current := -1
	fresh := func(ctx context.Context, pair int) error {
		if pair == current {
			return nil
		}
		if err := r.fleet.remove(ctx); err != nil {
			return err
		}
		up, err := r.fleet.raise(ctx, plan.sides...)
		if err != nil {
			return err
		}
		labs, current = &duetLabs{measurement: r, plan: plan, up: up, current: -1}, pair
		return nil
	}
	if err := fresh(ctx, 0); err != nil { // which tells what the machine is
		return nil, err
	}
	r.res.Environment.Fingerprint = r.res.Environment.Sum()
	cfg.Environment = r.res.Environment
	if !anew {
		cfg.Earlier, err = scenarios.LoadCalibration(calibrationDir(), r.res.Environment.Fingerprint)
		if err != nil && !errors.Is(err, scenarios.ErrNotCalibrated) {
			return nil, err
		}
		if cfg.Earlier != nil && cfg.Earlier.LabStarts > 0 {
			r.p.line("  an earlier study has %d pairs of labs with %s in %s under %s; it goes on", cfg.Earlier.LabStarts, dash(cfg.Earlier.Request), cfg.Earlier.Lab, cfg.Earlier.Mesh)
		}
	}
	begin := time.Now()
	const step = "calibrate"
	r.p.start(step)
	cal, err := scenarios.Calibrate(ctx, cfg, scenarios.CalibrateHooks{
		Duet: func(ctx context.Context, pair int, delay time.Duration) (scenarios.DuetHooks, error) {
			if err := fresh(ctx, pair); err != nil {
				return scenarios.DuetHooks{}, err
			}
			labs.delay = delay
			open := func(ctx context.Context) (scenarios.Generator, error) { return labs.connect(ctx, labs.up) }
			return scenarios.DuetHooks{Open: open, Knee: labs.knee}, nil // costs are not part of a calibration
		},
		Store: func(c *scenarios.Calibration) error {
			if err := scenarios.StoreCalibration(calibrationDir(), c); !errors.Is(err, scenarios.ErrHasVerdicts) {
				return err
			}
			return nil // a later pair has verdicts
		},
	}, func(e scenarios.CalibrateEvent) { r.showCalibration(e) })
	if errors.Is(err, scenarios.ErrOtherStudy) {
		return nil, usageError{fmt.Errorf("%w; --fresh replaces it", err)}
	}
	if err != nil {
		return cal, err
	}
	r.p.finish(step, fmt.Sprintf("%d pairs of labs", cal.LabStarts), time.Since(begin))
	return cal, nil
}

// whatIsKept says what is stored of a study that was interrupted.
func whatIsKept(c *scenarios.Calibration, anew bool) string {
	stored, err := scenarios.LoadCalibration(calibrationDir(), c.Fingerprint)
	switch {
	case err != nil || !stored.Made.Equal(c.Made):
		return fmt.Sprintf("%d pairs are too few for verdicts and are not kept: the calibration of before stays", c.LabStarts)
	case anew:
		return fmt.Sprintf("%d pairs are kept: the same command without --fresh goes on from there", c.LabStarts)
	}
	return fmt.Sprintf("%d pairs are kept: the same command goes on from there", c.LabStarts)
}

// showCalibration tells how far a calibration is: on a terminal all the time,
// in a pipe after every tenth pair.
func (r *measurement) showCalibration(e scenarios.CalibrateEvent) {
	if e.Tuning {
		r.report(fmt.Sprintf("looking for the delay that adds %.0f %%: trial %d", e.Effect*100, e.Duet.Done+1))
		return
	}
	what := "as it is"
	if e.Effect > 0 {
		what = fmt.Sprintf("with %.0f %% added", e.Effect*100)
	}
	text := fmt.Sprintf("pair %d of %d, %s; about %s left", e.Pair, e.Of, what, e.Left.Round(time.Minute))
	r.report(text)
	if !r.p.tty && e.Duet.Phase == scenarios.PhaseDone && e.Pair%10 == 0 {
		r.p.line("  %s%s, after %s", text, ratios(e.Duet.Comparisons), e.Elapsed.Round(time.Second))
	}
}

func printCalibration(w io.Writer, c *scenarios.Calibration) {
	fmt.Fprintf(w, "%s in lab %s under %s, against itself: %d verdicts drawn from %d pairs of labs, %.1f pairs each\n",
		dash(c.Request), c.Lab, c.Mesh, c.Verdicts, c.LabStarts, c.Pairs)
	for _, m := range []string{"p50", "p99"} {
		fmt.Fprintf(w, "  %s: %d false alarms, %d inconclusive\n", m, c.FalseFails[m], c.Undecided[m])
	}
	for _, e := range c.Effects {
		fmt.Fprintf(w, "%+.0f %% added (a delay of %v, which came to %+.1f %%): found in %d of %d verdicts by p50, in %d by p99; %.1f pairs each\n",
			e.Injected*100, e.Delay, e.Reached*100, e.Found["p50"], e.Verdicts, e.Found["p99"], e.Pairs)
	}
	fmt.Fprintln(w, gate.Trust(c))
}

// calibrationDir is where calibrations of this machine are kept.
func calibrationDir() string {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return filepath.Join("/var/lib", "meshlab", "calibration")
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "meshlab", "calibration")
}
