package scenarios

import "time"

// Phase is what a duet does at the moment.
type Phase string

// The phases of a duet.
const (
	PhaseLabs      Phase = "labs"      // the labs of a round come up
	PhasePreflight Phase = "preflight" // the knees are searched
	PhaseWarmUp    Phase = "warm-up"
	PhaseTrial     Phase = "trial"
	PhaseDone      Phase = "done"
)

// DuetEvent tells how far a duet is. One is sent when a phase starts, one
// before each trial and one at the end.
type DuetEvent struct {
	Phase Phase
	Round int
	Trial int // that starts now, or is warmed up for, from 1; else 0

	Done     int // trials of this round
	NextLook int // trials of this round at the next look
	Most     int // trials of this round at the last look

	Load        OpenLoad     // Rate 0: not chosen yet
	Comparisons []Comparison // so far; its intervals are rough until a look. nil before the first trial
	Flags       []Flag       // of the last trial

	Elapsed time.Duration // since the duet started
	ToLook  time.Duration // estimate of the time until the next look; 0 before the first trial ends
	Left    time.Duration // the same until the last look of this round
}

// progress measures the pace of the trials.
type progress struct {
	observe func(DuetEvent)
	started time.Time
	round   int
	begun   time.Time // when the first trial of the round did
	begunIn int       // that round
	done    int       // trials of the round of the last one
	of      int       // that round
	flags   []Flag
}

func (p *progress) trialDone(t Trial) {
	if p.of != t.Round {
		p.of, p.done = t.Round, 0
	}
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
		Phase: phase, Round: p.round, Trial: trial, Load: r.duet.Load, Flags: p.flags,
		Elapsed: now.Sub(p.started), Most: r.c.Rule.last() * r.perPair(),
	}
	if p.of == p.round {
		e.Done = p.done
	}
	for _, look := range r.c.Rule.Looks {
		if e.NextLook = look * r.perPair(); e.NextLook > e.Done {
			break
		}
	}
	switch {
	case phase == PhaseTrial && p.begunIn != p.round:
		p.begun, p.begunIn = now, p.round
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
