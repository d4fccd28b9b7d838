package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// TrialFault is a fault of a trial, as it was in one variant's lab.
type TrialFault struct {
	Fault   int     `json:"fault"`   // index of Duet.Faults
	Variant int     `json:"variant"` // index of Duet.Variants
	Began   float64 `json:"began_s"` // since the variant's trial started
	Ended   float64 `json:"ended_s"`
}

// EndFault ends a fault that DuetHooks.Fault began, unless it has ended by
// itself, and tells when it began and ended. The lab is as it was then.
type EndFault func(ctx context.Context) (FaultTimes, error)

// faultWait bounds the beginning and the end of a fault.
const faultWait = time.Minute

// faultRun breaks the labs of one trial at their times.
type faultRun struct {
	run    *duetRun
	active []int // variants
	ctx    context.Context
	cancel context.CancelCauseFunc // of the trial: a fault cannot begin
	wg     sync.WaitGroup

	mu    sync.Mutex
	start time.Time // of the trial; zero: it has not started
	on    []begunFault
	errs  []error
}

type begunFault struct {
	TrialFault
	end EndFault
}

// withFaults makes a trial in which the faults of the duet begin and end at
// their times, in the labs of all active variants alike. When it returns, all
// of them have ended, whatever became of the trial.
func (r *duetRun) withFaults(ctx context.Context, active []int, spec TrialSpec, trial func(context.Context, TrialSpec) (TrialOutcome, error)) (TrialOutcome, []TrialFault, error) {
	if len(r.c.Faults) == 0 {
		o, err := trial(ctx, spec)
		return o, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &faultRun{run: r, active: active, ctx: ctx, cancel: cancel}
	spec.Announce, spec.Begun = true, f.begin
	outcome, err := trial(ctx, spec)
	cause := context.Cause(ctx)
	cancel(nil) // what has not begun does not begin any more
	faults, ferr := f.end(context.WithoutCancel(ctx), err == nil)
	if ferr != nil {
		if errors.Is(err, context.Canceled) && errors.Is(cause, errFault) {
			err = nil // told by ferr
		}
		return outcome, faults, errors.Join(ferr, err)
	}
	return outcome, faults, err
}

// errFault ends a trial whose fault cannot begin.
var errFault = errors.New("a fault could not begin")

// begin waits for the time of each fault. The trial starts at start.
func (f *faultRun) begin(start time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.start = start
	for i, fault := range f.run.c.Faults {
		for _, v := range f.active {
			f.wg.Go(func() { f.strike(i, fault, v) })
		}
	}
}

// strike begins one fault in the lab of one variant, at its time.
func (f *faultRun) strike(i int, fault Fault, variant int) {
	timer := time.NewTimer(time.Until(f.start.Add(fault.At)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.ctx.Done():
		return
	}
	// It is ended by its number, which must be known: the end of the trial does
	// not cut the question short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), faultWait)
	defer cancel()
	end, err := f.run.h.Fault(ctx, variant, fault)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.errs = append(f.errs, fmt.Errorf("%s under %s: %w", fault, f.run.c.Variants[variant].Name, err))
		f.cancel(errFault)
		return
	}
	f.on = append(f.on, begunFault{TrialFault{Fault: i, Variant: variant}, end})
}

// end ends what is on, the last one first, and tells of all. Of a trial that
// was completed each fault must have begun.
func (f *faultRun) end(ctx context.Context, completed bool) ([]TrialFault, error) {
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, faultWait)
	defer cancel()
	errs := f.errs
	var all []TrialFault
	for _, on := range slices.Backward(f.on) {
		times, err := on.end(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("under %s: %w", f.run.c.Variants[on.Variant].Name, err))
			continue
		}
		// A clock of another process may be a moment behind.
		on.Began = max(0, times.Began.Sub(f.start).Seconds())
		on.Ended = max(on.Began, times.Ended.Sub(f.start).Seconds())
		all = append(all, on.TrialFault)
	}
	if missing := len(f.run.c.Faults)*len(f.active) - len(all); completed && missing > 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("the trial was over before %d of its faults began: it needs more requests", missing))
	}
	slices.SortFunc(all, func(a, b TrialFault) int {
		if a.Fault != b.Fault {
			return a.Fault - b.Fault
		}
		return a.Variant - b.Variant
	})
	return all, errors.Join(errs...)
}

// checkFaults tells when a fault would begin after the trial.
func (r *duetRun) checkFaults() error {
	for _, f := range r.c.Faults {
		if lasts := trialLength(r.duet.Load); f.At >= lasts {
			return fmt.Errorf("%s begins at %v, and a trial of %d requests at %g per second lasts %v: ask for more requests",
				f, f.At, r.duet.Load.Requests, r.duet.Load.Rate, lasts.Round(10*time.Millisecond))
		}
	}
	return nil
}

// validateFaults checks the faults of a duet, and those of its trials.
func (d Duet) validateFaults() error {
	for i, f := range d.Faults {
		if err := f.Validate(); err != nil {
			return fmt.Errorf("faults[%d]: %w", i, err)
		}
	}
	for i, t := range d.Trials {
		for j, f := range t.Faults {
			if f.Fault < 0 || f.Fault >= len(d.Faults) || f.Variant < 0 || f.Variant >= len(d.Variants) {
				return fmt.Errorf("trials[%d].faults[%d]: fault %d of %d, variant %d of %d", i, j, f.Fault, len(d.Faults), f.Variant, len(d.Variants))
			}
			if err := errors.Join(number("began_s", f.Began), number("ended_s", f.Ended)); err != nil || f.Ended < f.Began {
				return fmt.Errorf("trials[%d].faults[%d]: from %v s to %v s: %w", i, j, f.Began, f.Ended, err)
			}
		}
	}
	return nil
}
