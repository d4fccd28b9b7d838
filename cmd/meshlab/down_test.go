package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

func TestOnly(t *testing.T) {
	entry := func(name string, c orchestrate.Condition) orchestrate.Entry {
		return orchestrate.Entry{Record: orchestrate.Record{Name: name}, Condition: c}
	}
	live := func(name string) orchestrate.Entry { return entry(name, orchestrate.Up) }
	dead := func(name string) orchestrate.Entry { return entry(name, orchestrate.Ended) }
	for name, tc := range map[string]struct {
		recs []orchestrate.Entry
		want string
		fail string // part of the error
	}{
		"none":                      {nil, "", "no lab is up"},
		"one":                       {[]orchestrate.Entry{live("a")}, "a", ""},
		"two":                       {[]orchestrate.Entry{live("a"), live("b")}, "", "say which: a, b"},
		"one among those of killed": {[]orchestrate.Entry{dead("bench-1"), live("b"), dead("bench-2")}, "b", ""},
		"a dead one":                {[]orchestrate.Entry{dead("a")}, "a", ""},
		"two dead ones":             {[]orchestrate.Entry{dead("a"), dead("b")}, "", "say which: a, b"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := only(tc.recs)
			if got != tc.want || (err == nil) != (tc.fail == "") || err != nil && !strings.Contains(err.Error(), tc.fail) {
				t.Errorf("%q, %v", got, err)
			}
			if errors.Is(err, errNoLab) != (len(tc.recs) == 0) {
				t.Errorf("not the right kind: %v", err)
			}
		})
	}
}

// Nobody is told that nothing is left when something is.
func TestFailedUp(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	left := fmt.Errorf("%w\n%w", context.Canceled, supervisor.ErrLeft)
	for name, tc := range map[string]struct {
		ctx  context.Context
		err  error
		want string
	}{
		"failed":               {t.Context(), errors.New("no disk"), "nothing is left of it: no disk"},
		"interrupted":          {ended, context.Canceled, "interrupted; nothing is left"},
		"interrupted and left": {ended, left, "something of the lab is left"},
		"up already":           {t.Context(), orchestrate.ErrUp, "up already"},
	} {
		t.Run(name, func(t *testing.T) {
			text := failedUp(tc.ctx, "mine", tc.err).Error()
			if !strings.Contains(text, tc.want) {
				t.Error(text)
			}
			if errors.Is(tc.err, supervisor.ErrLeft) && strings.Contains(text, "nothing is left") {
				t.Error(text)
			}
		})
	}
}
