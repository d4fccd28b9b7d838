package scenarios

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"meshlab.dev/meshlab/topo"
)

// maxFaults bounds the faults of a scenario.
const maxFaults = 20

// faults reads what is broken in each trial, in the order of their times.
func (r fileReader) faults(list []fileFault, s *Scenario) []Fault {
	if len(list) == 0 {
		return nil
	}
	if s.Model == ClosedLoop {
		r.Addf(list[0].Stated.At(), "faults are of open loops: a closed one has no times, and sends less while a fault is on")
		return nil
	}
	if len(list) > maxFaults {
		r.Addf(list[maxFaults].Stated.At(), "%d faults; at most %d are allowed", len(list), maxFaults)
		return nil
	}
	var all []Fault
	for i := range list {
		if f, ok := r.fault(&list[i], s); ok {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return all
}

func (r fileReader) fault(f *fileFault, s *Scenario) (out Fault, ok bool) {
	var kinds []string
	for _, k := range FaultKinds() {
		if f.Stated.Has(string(k)) {
			kinds = append(kinds, string(k))
		}
	}
	switch len(kinds) {
	case 0:
		r.Addf(f.Stated.At(), "a fault needs one of kill, pause, cut, degrade and partition")
		return out, false
	case 1:
	default:
		r.Addf(f.Stated.At(), "a fault has %s; make each a fault of its own", strings.Join(kinds, " and "))
		return out, false
	}
	out = Fault{Kind: FaultKind(kinds[0]), At: r.moment(f.At), For: r.duration(f.For, "for", maxTrial, 0)}
	if s.Open.Rate > 0 {
		if lasts := trialLength(s.Open); out.At >= lasts {
			r.Addf(f.At.At(), "at %v: the trial lasts %v: %d requests at %g per second", out.At, lasts, s.Open.Requests, s.Open.Rate)
		}
	}
	at := f.Stated.At()
	switch out.Kind {
	case Kill:
		out.Target, _ = f.Kill.Stated()
	case Pause:
		out.Target, _ = f.Pause.Stated()
	case Cut:
		out.Target, _ = f.Cut.Stated()
	case Degrade:
		if f.Degrade == nil {
			return out, false // reported
		}
		at = f.Degrade.Stated.At()
		r.degrade(f.Degrade, &out)
	case Partition:
		for _, g := range f.Partition {
			var names []string
			for _, n := range g {
				name, _ := n.Stated()
				names = append(names, name)
			}
			out.Groups = append(out.Groups, names)
		}
	}
	if err := errors.Join(out.Validate(), out.Character().Check()); err != nil {
		r.Addf(at, "%v", err)
		return out, false
	}
	return out, true
}

// moment reads a time since the start of a trial.
func (r fileReader) moment(t topo.YAMLText) time.Duration {
	text, ok := t.Stated()
	if !ok {
		return 0 // reported
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d >= maxTrial {
		r.Addf(t.At(), "at %.64q must be a duration from 0s to %g s, as in 2s or 500ms", text, maxTrial.Seconds())
		return 0
	}
	return d
}

func (r fileReader) degrade(f *fileDegrade, out *Fault) {
	out.Target, _ = f.Link.Stated()
	read := func(t topo.YAMLText, parse func(string) error) {
		if text, ok := t.Stated(); ok {
			if err := parse(text); err != nil {
				r.Addf(t.At(), "%v", err)
			}
		}
	}
	var err error
	read(f.Delay, func(s string) error { out.Delay, err = topo.ParseDelay(s); return err })
	read(f.Jitter, func(s string) error { out.Jitter, err = topo.ParseDelay(s); return err })
	read(f.Loss, func(s string) error { out.Loss, err = topo.ParseLoss(s); return err })
	read(f.Bandwidth, func(s string) error { out.Bandwidth, err = topo.ParseBandwidth(s); return err })
}

// trialLength is how long the arrivals of a trial take, about: those of
// Poisson take a little more or less.
func trialLength(l OpenLoad) time.Duration {
	return time.Duration(float64(l.Requests) / l.Rate * float64(time.Second)).Round(time.Millisecond)
}
