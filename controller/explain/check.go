package explain

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/controller/flow"
)

// Agreement is how an explanation compares with Open vSwitch's own account.
type Agreement struct {
	Switches   []string `json:"switches"`             // that were asked, in order
	Steps      int      `json:"steps"`                // that agree
	Difference string   `json:"difference,omitempty"` // the first; empty: they agree
	// Choice says that Open vSwitch took another of several instances, or did
	// not say which; what comes after that was not compared.
	Choice bool `json:"choice,omitempty"`
}

// OK tells whether there is no difference.
func (a Agreement) OK() bool { return a.Difference == "" }

// String is one sentence.
func (a Agreement) String() string {
	switch {
	case !a.OK():
		return "Open vSwitch does not agree: " + a.Difference
	case a.Choice:
		return fmt.Sprintf("Open vSwitch agrees: %d steps, up to the choice among instances", a.Steps)
	default:
		return fmt.Sprintf("Open vSwitch agrees: %d steps in %s", a.Steps, strings.Join(a.Switches, ", "))
	}
}

// Check asks Open vSwitch, through run, for both ways of a trace. Run gets the
// name of a switch and arguments of ovs-appctl for the Open vSwitch that the
// switch is in, and returns what that printed. The error
// is run's, or that of an answer that cannot be read.
func Check(ctx context.Context, t Trace, run func(ctx context.Context, name string, args []string) (string, error)) (Agreement, error) {
	var a Agreement
	ways := []Way{t.There}
	if t.Back != nil {
		ways = append(ways, *t.Back)
	}
	for _, w := range ways {
		for _, h := range w.Hops {
			text, err := run(ctx, h.Switch, h.OVS)
			if err != nil {
				return a, fmt.Errorf("ask Open vSwitch about %s: %w", h.Switch, err)
			}
			steps, err := ParseOVS(text)
			if err != nil {
				return a, fmt.Errorf("ask Open vSwitch about %s: %w", h.Switch, err)
			}
			if !slices.Contains(a.Switches, h.Switch) {
				a.Switches = append(a.Switches, h.Switch)
			}
			one := Compare(h, steps)
			a.Steps += one.Steps
			a.Choice = a.Choice || one.Choice
			if !one.OK() {
				a.Difference = one.Difference
				return a, nil
			}
		}
	}
	return a, nil
}

// Compare puts a hop beside what Open vSwitch says of the same packet at the
// same switch. What Open vSwitch tells of switches behind it, and all after
// that, is left aside: once connection tracking has resumed a packet there, it
// names the first switch again.
func Compare(h Hop, said []OVSStep) Agreement {
	a := Agreement{Switches: []string{h.Switch}}
	if end := slices.IndexFunc(said, func(s OVSStep) bool { return s.Bridge != h.Switch }); end >= 0 {
		said = said[:end]
	}
	chose := false
	for i, want := range h.Steps {
		if i >= len(said) {
			if chose {
				a.Choice = true
				return a
			}
			a.Difference = fmt.Sprintf("%s: it ends after %d steps, and here follows %s", h.Switch, i, want)
			return a
		}
		if got := said[i]; !want.is(got) {
			if chose {
				a.Choice = true
				return a
			}
			a.Difference = fmt.Sprintf("%s, step %d: it meets %s, and here it is %s", h.Switch, i+1, got, want)
			return a
		}
		a.Steps++
		chose = chose || want.Group
	}
	if len(said) > len(h.Steps) && !chose {
		a.Difference = fmt.Sprintf("%s: after %d steps it goes on to %s, and here it ends", h.Switch, len(h.Steps), said[len(h.Steps)])
	}
	return a
}

// is tells whether a flow that Open vSwitch names is this one: by the cookie
// or, when it has none, by priority and match.
func (s Step) is(o OVSStep) bool {
	if s.Table != o.Table {
		return false
	}
	cookie, err := strconv.ParseUint(s.Cookie, 0, 64)
	switch {
	case cookie == flow.CookieLearned || o.Cookie == flow.CookieLearned:
		return true // ofproto/trace learns nothing, and a real connection may have
	case s.Miss || o.Miss:
		return s.Miss == o.Miss
	case err == nil && o.Cookie != 0:
		return cookie == o.Cookie
	}
	return s.Priority == o.Priority && sameFields(s.Match, o.Match)
}

// sameFields compares matches as sets of fields, as the order is no part of
// their meaning.
func sameFields(a, b string) bool {
	return slices.Equal(fields(a), fields(b))
}

func fields(match string) []string {
	f := strings.FieldsFunc(match, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(f)
	return f
}

// String is "table 20, priority 100, tcp,nw_src=...".
func (s Step) String() string {
	if s.Miss {
		return fmt.Sprintf("no flow of table %d", s.Table)
	}
	return fmt.Sprintf("table %d, priority %d, %s (%s)", s.Table, s.Priority, orAll(s.Match), s.Reason)
}

// String is the same of Open vSwitch's.
func (s OVSStep) String() string {
	if s.Miss {
		return fmt.Sprintf("no flow of table %d", s.Table)
	}
	return fmt.Sprintf("table %d, priority %d, %s", s.Table, s.Priority, orAll(s.Match))
}

func orAll(match string) string {
	if match == "" {
		return "every packet"
	}
	return match
}
