package scenarios

import (
	"errors"
	"fmt"
	"slices"
)

// validatePaired checks what documents hold since schema_version 2.
func (r *Result) validatePaired() []error {
	var errs []error
	labs, meshes, scripts := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, l := range r.Labs {
		labs[l.Name] = true
	}
	for _, m := range r.Meshes {
		meshes[m.Name] = true
	}
	for i, s := range r.Scenarios {
		if s.Name == "" || scripts[s.Name] {
			errs = append(errs, fmt.Errorf("scenarios[%d]: name %q is empty or there twice", i, s.Name))
		}
		scripts[s.Name] = true
	}
	known := func(kind string, names map[string]bool, name string) error {
		if name == "" || names[name] {
			return nil // that it must not be empty is checked where it is so
		}
		return fmt.Errorf("the document has no %s %q", kind, name)
	}

	for i, d := range r.Duets {
		all := []error{known("lab", labs, d.Lab), known("scenario", scripts, d.Scenario), d.validate()}
		for _, v := range d.Variants {
			all = append(all, known("mesh", meshes, v.Mesh), known("lab", labs, v.Lab), known("scenario", scripts, v.Script))
		}
		if err := errors.Join(all...); err != nil {
			errs = append(errs, fmt.Errorf("duets[%d]: %w", i, err))
		}
	}
	for i, p := range r.Ramps {
		if err := errors.Join(known("lab", labs, p.Lab), known("mesh", meshes, p.Mesh), p.validate()); err != nil {
			errs = append(errs, fmt.Errorf("ramps[%d]: %w", i, err))
		}
	}
	for i, w := range r.Waterfalls {
		if err := errors.Join(known("lab", labs, w.Lab), known("mesh", meshes, w.Mesh), w.validate()); err != nil {
			errs = append(errs, fmt.Errorf("waterfalls[%d]: %w", i, err))
		}
	}
	if r.Calibration != nil {
		if err := r.Calibration.validate(); err != nil {
			errs = append(errs, fmt.Errorf("calibration: %w", err))
		}
	}
	return errs
}

func (p Ramp) validate() error {
	if p.Lab == "" || p.Mesh == "" {
		return errors.New("lab or mesh is empty")
	}
	if !(p.Objective.Percentile > 0 && p.Objective.Percentile <= 100) || p.Objective.Below <= 0 {
		return fmt.Errorf("objective: %v at the %v-th percentile", p.Objective.Below, p.Objective.Percentile)
	}
	if err := errors.Join(p.Pods.validate(), number("rate_per_second", p.Highest)); err != nil {
		return err
	}
	for i, s := range p.Steps {
		err := errors.Join(number("rate_per_second", s.Rate), number("achieved_per_second", s.Achieved), s.Outcome.validate())
		if err != nil {
			return fmt.Errorf("steps[%d]: %w", i, err)
		}
	}
	return nil
}

func (w Waterfall) validate() error {
	if w.Lab == "" || w.Mesh == "" || w.Request == "" {
		return errors.New("lab, mesh or request is empty")
	}
	if w.Requests < 0 || w.Lost < 0 {
		return fmt.Errorf("%d requests, %d lost", w.Requests, w.Lost)
	}
	if err := errors.Join(w.Pods.validate(), number("plain_ms", w.Plain), number("tapped_ms", w.Tapped)); err != nil {
		return err
	}
	for i, s := range w.Spans {
		err := errors.Join(number("start_ms", s.Start), number("length_ms", s.Duration), number("p95_ms", s.P95), number("within_ms", s.Within))
		if err == nil && s.Depth < 0 {
			err = fmt.Errorf("depth %d", s.Depth)
		}
		if err != nil {
			return fmt.Errorf("spans[%d]: %w", i, err)
		}
	}
	return nil
}

func (c Calibration) validate() error {
	if !isFingerprint(c.Fingerprint) {
		return fmt.Errorf("fingerprint %q: want %d hexadecimal digits", c.Fingerprint, fingerprintDigits)
	}
	if c.Verdicts < 0 {
		return fmt.Errorf("%d verdicts", c.Verdicts)
	}
	err := errors.Join(
		countsWithin("false_fails", c.FalseFails, c.Verdicts),
		countsWithin("inconclusive", c.Undecided, c.Verdicts), number("pairs", c.Pairs), number("smallest", c.Smallest),
		number("load.rate_per_second", c.Load.Rate), number("p50_ms", c.P50),
	)
	for metric, all := range c.Ratios {
		for i, v := range all {
			err = errors.Join(err, number(fmt.Sprintf("ratios[%s][%d]", metric, i), v))
		}
	}
	if err != nil {
		return err
	}
	for i, e := range c.Effects {
		for metric, all := range e.Ratios {
			for k, v := range all {
				err = errors.Join(err, number(fmt.Sprintf("effects[%d].ratios[%s][%d]", i, metric, k), v))
			}
		}
		if err != nil {
			return err
		}
		// What was reached may be below nothing: noise.
		err := errors.Join(number("injected", e.Injected), number("reached + 1", e.Reached+1), number("pairs", e.Pairs),
			countsWithin("found", e.Found, e.Verdicts))
		if err == nil && e.Delay < 0 {
			err = fmt.Errorf("delay %v", e.Delay)
		}
		if err != nil {
			return fmt.Errorf("effects[%d]: %w", i, err)
		}
	}
	return nil
}

// whole tells whether the ratios of all pairs of labs are there, above 0.
func (c Calibration) whole() bool {
	all := []map[string][]float64{c.Ratios}
	for _, e := range c.Effects {
		all = append(all, e.Ratios)
	}
	for _, ratios := range all {
		for metric := range zeroRatios() {
			if len(ratios[metric]) != c.LabStarts || c.LabStarts > 0 && slices.Min(ratios[metric]) <= 0 {
				return false
			}
		}
	}
	return true
}

// countsWithin checks counts by metric, of which none exceeds most.
func countsWithin(name string, counts map[string]int, most int) error {
	for metric, n := range counts {
		if n < 0 || n > most {
			return fmt.Errorf("%s of %s is %d, of %d", name, metric, n, most)
		}
	}
	return nil
}
