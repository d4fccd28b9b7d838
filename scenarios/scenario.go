package scenarios

import (
	"context"
	"fmt"
)

// Model is who decides when a request is sent.
type Model string

// The two load models.
const (
	ClosedLoop Model = "closed" // each connection sends its next request when it has the answer to the last
	OpenLoop   Model = "open"   // arrivals come at their own times, whatever the answers do
)

// Scenario is what a scenario file says, complete and consistent. It names no
// mesh and no lab: it runs in any lab that knows its requests.
type Scenario struct {
	Name        string
	Description string
	Model       Model
	Steps       []ScenarioStep // empty: each request of the lab file, measured by itself

	Closed Config   // of a closed loop: the matrix without Meshes, Pods and Seed; its Requests are the names of Steps
	Open   OpenLoad // of an open loop; Rate 0: chosen by the knee
	Looks  []int    // of an open loop: as in Rule; empty: the default

	Faults    []Fault    // of an open loop, by At: what is broken in every trial
	Objective *Objective // what a ramp searches for; nil: the file says nothing
}

// ScenarioStep is one request of a mix, or, in a closed loop, one request that
// is measured by itself. Either Request names one of the lab file, or To and
// what follows say what it is.
type ScenarioStep struct {
	Name    string // unique in the scenario
	Weight  int    // 1 or more
	Request string

	To          string // a service among the client's upstreams
	RequestSpec        // its URL is a path alone: the host depends on the mesh
}

// Spec returns what the step sends under a mesh. lookup returns a request of
// the lab file, to the address (host:port) at which the client reaches a
// service; both know the mesh.
func (s ScenarioStep) Spec(lookup func(name string) (RequestSpec, error), to func(service string) (string, error)) (RequestSpec, error) {
	if s.Request != "" {
		spec, err := lookup(s.Request)
		if err != nil {
			return RequestSpec{}, fmt.Errorf("request %s: %w", s.Name, err)
		}
		return spec, nil
	}
	address, err := to(s.To)
	if err != nil {
		return RequestSpec{}, fmt.Errorf("request %s: %w", s.Name, err)
	}
	spec := s.RequestSpec
	spec.URL = "http://" + address + spec.URL
	return spec, nil
}

// Requests returns what the steps of an open loop send under a mesh; none when
// the scenario has no steps. The functions are those of ScenarioStep.Spec.
func (s *Scenario) Requests(lookup func(name string) (RequestSpec, error), to func(service string) (string, error)) ([]WeightedStep, error) {
	steps := make([]WeightedStep, 0, len(s.Steps))
	for _, step := range s.Steps {
		spec, err := step.Spec(lookup, to)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		steps = append(steps, WeightedStep{RequestSpec: spec, Weight: step.Weight})
	}
	return steps, nil
}

// Generator sends the load of open-loop trials, over connections that stay
// open from one trial to the next. It makes one trial at a time.
type Generator interface {
	// Trial makes one trial. Requests that fail are counted in the outcome; an
	// error means that the trial could not be made, or that ctx is done.
	Trial(ctx context.Context, spec TrialSpec) (TrialOutcome, error)
	Close() error
}
