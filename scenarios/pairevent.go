package scenarios

import "time"

// Phase is what a duet does at the moment.
type Phase string

// The phases of a duet.
const (
	PhaseLabs      Phase = "labs"      // labs come up
	PhasePreflight Phase = "preflight" // the knees are searched
	PhaseWarmUp    Phase = "warm-up"
	PhaseTrial     Phase = "trial"
	PhaseDone      Phase = "done"
)

// DuetEvent tells how far a duet is. One is sent when a phase starts, one
// before each trial and one at the end.
type DuetEvent struct {
	Phase Phase
	Trial int // that starts now, or is warmed up for, from 1; else 0

	Done     int // trials so far
	NextLook int // trials at the next look
	Most     int // trials at the last look

	Load        OpenLoad     // Rate 0: not chosen yet
	Comparisons []Comparison // so far; its intervals are rough until a look. nil before the first trial
	Flags       []Flag       // of the last trial

	Elapsed time.Duration // since the duet started
	ToLook  time.Duration // estimate of the time until the next look; 0 before the first trial ends
	Left    time.Duration // the same until the last look
}

// progress measures the pace of the trials.
type progress struct {
	observe func(DuetEvent)
	started time.Time
	begun   time.Time // when the first trial did
	done    int       // trials so far
	flags   []Flag
}

func (p *progress) trialDone(t Trial) {
	p.done++
	p.flags = t.Flags
}

// report tells the observer.
func (r *duetRun) report(phase Phase, trial int) {
	p := &r.progress
	if p.observe == nil {
		return
	}
	now := time.Now()
	e := DuetEvent{
		Phase: phase, Trial: trial, Done: p.done, Load: r.duet.Load, Flags: p.flags,
		Elapsed: now.Sub(p.started), Most: r.c.Rule.last() * r.perPair(),
	}
	for _, look := range r.c.Rule.Looks {
		if e.NextLook = look * r.perPair(); e.NextLook > e.Done {
			break
		}
	}
	switch {
	case phase == PhaseTrial && p.begun.IsZero():
		p.begun = now
	case phase == PhaseTrial && e.Done > 0:
		pace := now.Sub(p.begun) / time.Duration(e.Done)
		e.ToLook = pace * time.Duration(e.NextLook-e.Done)
		e.Left = pace * time.Duration(e.Most-e.Done)
	}
	if len(r.duet.Trials) > 0 {
		e.Comparisons = r.judge.comparisons(r.duet.Trials)
	}
	p.observe(e)
}
