package sentence

import (
	"fmt"
	"strings"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// FaultSpan is when a fault was really on, over trials and variants, in seconds
// since the trial's start.
type FaultSpan struct {
	Began, Ended float64 // medians
	First, Last  float64 // the earliest beginning and the latest end
}

// SpanOf returns when fault i of a duet was on. It is false when it was on in no
// trial.
func SpanOf(d scenarios.Duet, i int) (FaultSpan, bool) {
	var began, ended []float64
	var s FaultSpan
	for _, t := range d.Trials {
		for _, on := range t.Faults {
			if on.Fault != i {
				continue
			}
			if len(began) == 0 || on.Began < s.First {
				s.First = on.Began
			}
			s.Last = max(s.Last, on.Ended)
			began, ended = append(began, on.Began), append(ended, on.Ended)
		}
	}
	if len(began) == 0 {
		return s, false
	}
	s.Began, s.Ended = stats.Median(began), stats.Median(ended)
	return s, true
}

// Faults says what was broken in the trials of a duet, and what that makes of
// its verdict. It is empty when nothing was. Times are medians over trials and
// variants of when each fault was really on.
func Faults(d scenarios.Duet) string {
	var said []string
	for i, f := range d.Faults {
		if s, ok := SpanOf(d, i); ok {
			said = append(said, fmt.Sprintf("%s from %.1f s to %.1f s", f.Past(), s.Began, s.Ended))
		}
	}
	if len(said) == 0 {
		return ""
	}
	return "In every trial " + strings.Join(said, "; ") + ": the verdict compares how the variants bear that."
}
