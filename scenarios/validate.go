package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Validate returns all that makes the document useless to a reader, joined:
// a wrong version, a cluster of an impossible kind, cells twice or without attempts, figures that are not
// numbers or contradict each other, histograms that are missing or damaged,
// traffic without names or with names twice, trials that do not fit their
// duet, verdicts of more pairs than there are, names that nothing else has.
// Whether verdicts follow from the trials, Decide tells.
func (r *Result) Validate() error {
	var errs []error
	if r.SchemaVersion < 1 || r.SchemaVersion > SchemaVersion {
		errs = append(errs, fmt.Errorf("schema_version %d: this meshlab knows 1 to %d", r.SchemaVersion, SchemaVersion))
	}
	if r.ID == "" {
		errs = append(errs, errors.New("id is empty"))
	}
	if err := r.Environment.validate(); err != nil {
		errs = append(errs, fmt.Errorf("environment: %w", err))
	}
	if err := r.Preflight.validate(); err != nil {
		errs = append(errs, fmt.Errorf("preflight: %w", err))
	}
	if r.Finished.Before(r.Started) {
		errs = append(errs, fmt.Errorf("finished %v, before it started %v", r.Finished, r.Started))
	}
	seen := make(map[cellKey]bool)
	for i, c := range r.Cells {
		k := keyOf(c)
		if seen[k] {
			errs = append(errs, fmt.Errorf("cells[%d]: %s under %s is there twice", i, c.Point(), c.Mesh))
		}
		seen[k] = true
		if err := c.validate(); err != nil {
			errs = append(errs, fmt.Errorf("cells[%d] (%s under %s): %w", i, c.Point(), c.Mesh, err))
		}
	}
	for i, l := range r.Labs {
		for _, p := range l.Placement {
			if c := r.Environment.Cluster; c == nil || p.Node < 0 || p.Node >= len(c.Nodes) {
				errs = append(errs, fmt.Errorf("labs[%d]: placement: host %s is on node %d, which the environment does not have", i, p.Host, p.Node))
			}
		}
		if l.Traffic == nil {
			continue
		}
		if err := l.Traffic.validate(); err != nil {
			errs = append(errs, fmt.Errorf("labs[%d]: traffic: %w", i, err))
		}
	}
	for i, c := range r.Ceiling {
		if err := c.Attempt.validate(); err != nil {
			errs = append(errs, fmt.Errorf("generator_ceiling[%d]: %w", i, err))
		}
	}
	return errors.Join(append(errs, r.validatePaired()...)...)
}

func (c Cell) validate() error {
	if c.Request == "" || c.Mesh == "" {
		return errors.New("request or mesh is empty")
	}
	if err := c.Pods.validate(); err != nil {
		return err
	}
	if c.Connections < 1 {
		return fmt.Errorf("connections %d: want 1 or more", c.Connections)
	}
	if len(c.Attempts) == 0 {
		return errors.New("no attempts")
	}
	for i, a := range c.Attempts {
		if err := a.validate(); err != nil {
			return fmt.Errorf("attempts[%d]: %w", i, err)
		}
	}
	return nil
}

func (a Attempt) validate() error {
	err := errors.Join(number("seconds", a.Seconds), number("min_ms", a.Min), number("avg_ms", a.Avg), number("p50_ms", a.P50),
		number("p90_ms", a.P90), number("p99_ms", a.P99), number("max_ms", a.Max), number("requests_per_second", a.RequestsPerSecond))
	if err != nil {
		return err
	}
	if a.Requests < 1 || a.Errors < 0 || a.Errors > a.Requests {
		return fmt.Errorf("%d errors of %d requests", a.Errors, a.Requests)
	}
	if err := validateKinds(a.ErrorKind, a.Errors); err != nil {
		return err
	}
	if len(a.Fortio) > 0 && !json.Valid(a.Fortio) {
		return errors.New("fortio is not JSON")
	}
	if a.Errors == a.Requests {
		return nil // no success, so no latency either
	}
	if a.Seconds == 0 {
		return fmt.Errorf("%d answers in no time", a.Requests-a.Errors)
	}
	d := Distribution{Min: a.Min, Avg: a.Avg, P50: a.P50, P90: a.P90, P99: a.P99, Max: a.Max, HDR: a.HDR}
	return d.validate(a.Requests-a.Errors, math.SmallestNonzeroFloat64)
}
