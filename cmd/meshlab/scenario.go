package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
)

// The scenarios that verbs take when nothing is said.
const (
	thesisScenario = "thesis"
	quickScenario  = "quick"
	openScenario   = "open"
)

// loadedScenario is a scenario file and what it says.
type loadedScenario struct {
	*scenarios.Scenario
	source []byte
}

// loadScenario reads a built-in scenario or a scenario file.
func loadScenario(nameOrPath string) (loadedScenario, error) {
	s, source, err := scenarios.LookupScenario(nameOrPath)
	if err != nil {
		return loadedScenario{}, usageError{wrongKind(err, source, scenarioFile)}
	}
	return loadedScenario{s, source}, nil
}

// duetPlans are the duets that a scenario asks for: one for its steps, or one
// for each request that all sides' labs have and only names, if it names any.
// Requests that a side's mesh cannot carry are left out, and told.
func duetPlans(script loadedScenario, sides []side, only []string) (plans []duetPlan, skipped []string, err error) {
	for _, s := range sides {
		if s.lab.Client == nil || len(s.lab.Requests) == 0 {
			return nil, nil, usageError{fmt.Errorf("lab %s has no client or no requests: `meshlab labs single-upstream` shows both", s.lab.Name)}
		}
	}
	for _, s := range sides {
		if err := supervisor.CheckFaults(s.lab.Lab, s.mesh, script.Faults); err != nil {
			return nil, nil, usageError{fmt.Errorf("scenario %s: %w", script.Name, err)}
		}
	}
	if len(script.Steps) > 0 || slices.ContainsFunc(sides, func(s side) bool { return s.script.Scenario != nil }) {
		if len(only) > 0 {
			return nil, nil, usageError{fmt.Errorf("--only chooses requests of the lab file; scenario %s has steps of its own", script.Name)}
		}
		plans = []duetPlan{{script: script, sides: sides}}
	} else {
		names := only
		if len(names) == 0 {
			names = slices.Sorted(maps.Keys(sides[0].lab.Requests))
		}
		for _, name := range names {
			plan := duetPlan{script: script, request: name, sides: sides}
			err := plan.carried()
			switch {
			case errors.Is(err, supervisor.ErrNotCarried):
				skipped = append(skipped, err.Error())
			case err != nil:
				return nil, nil, usageError{err}
			default:
				plans = append(plans, plan)
			}
		}
	}
	if len(plans) == 0 {
		return nil, nil, usageError{fmt.Errorf("nothing is left to measure: %s", strings.Join(skipped, "; "))}
	}
	for i := range plans {
		plans[i].hypotheses = hypotheses(sides, len(plans))
	}
	return plans, skipped, nil
}

// hypotheses are how many decisions a run of so many duets makes.
func hypotheses(sides []side, duets int) int {
	return len(scenarios.DefaultRule(scenarios.Alive, 0).Margins) * (len(sides) - 1) * duets
}

// carried tells whether every side knows the request and can carry it.
func (p duetPlan) carried() error {
	for _, s := range p.sides {
		if _, err := supervisor.Spec(s.lab.Lab, s.mesh, p.request); err != nil {
			return err
		}
	}
	return nil
}
