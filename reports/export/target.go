package export

import (
	"errors"
	"fmt"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// targets returns what a series sent, as the lab file and the scenario file
// in the document say it. The host of each URL is the name of the service:
// which address the client used depends on the mesh, and is not recorded. It
// returns none when the files cannot be read, as those of another meshlab.
func (r run) targets(s series) []scenarios.RequestSpec {
	lab := r.labs[s.lab]
	if lab == nil {
		return nil
	}
	lookup := func(name string) (scenarios.RequestSpec, error) {
		q, ok := lab.Requests[name]
		if !ok {
			return scenarios.RequestSpec{}, fmt.Errorf("lab %s has no such request", lab.Name)
		}
		return scenarios.RequestSpec{
			Protocol: scenarios.Protocol(q.Protocol), URL: "http://" + q.To + q.Path, Method: q.Method,
			Headers: q.Headers, Body: q.Body, Status: q.Expect.Status, Contains: q.Expect.Contains,
		}, nil
	}
	if s.request != "" {
		if spec, err := lookup(s.request); err == nil {
			return []scenarios.RequestSpec{spec}
		}
	}
	specs, err := r.steps(s, lookup)
	if err != nil {
		return nil
	}
	return specs
}

// steps returns the requests of a mix, or the one of its steps that a series
// measured by itself.
func (r run) steps(s series, lookup func(string) (scenarios.RequestSpec, error)) ([]scenarios.RequestSpec, error) {
	for _, info := range r.Scenarios {
		if info.Name != s.scenario {
			continue
		}
		scenario, err := scenarios.ParseScenario(info.Name, []byte(info.File))
		if err != nil {
			return nil, err
		}
		var specs []scenarios.RequestSpec
		for _, step := range scenario.Steps {
			if s.request != "" && s.request != step.Name && s.request != step.Request {
				continue
			}
			spec, err := step.Spec(lookup, func(service string) (string, error) { return service, nil })
			if err != nil {
				return nil, err
			}
			specs = append(specs, spec)
		}
		return specs, nil
	}
	return nil, errors.New("the document does not have the scenario")
}

// parseLabs reads the lab files of a document, by the names of the labs. One
// that cannot be read, as it is of another meshlab, is left out.
func parseLabs(labs []scenarios.LabInfo) map[string]*topo.Lab {
	parsed := make(map[string]*topo.Lab)
	for _, l := range labs {
		if lab, err := topo.Parse(l.Name, []byte(l.File), topo.Options{}); err == nil {
			parsed[l.Name] = lab
		}
	}
	return parsed
}
