package scenarios

import "context"

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

	Closed Config   // of a closed loop: the matrix without Meshes, Pods, Requests and Seed
	Open   OpenLoad // of an open loop; Rate 0: chosen by the knee

	Objective *Objective // what a ramp searches for; nil: the file says nothing
}

// ScenarioStep is one request of a mix. Either Request names one of the lab
// file, or To and what follows say what it is.
type ScenarioStep struct {
	Request string
	Weight  int // 1 or more

	Name        string
	To          string // a service among the client's upstreams
	RequestSpec        // without the URL's host: it depends on the mesh
}

// Generator sends the load of open-loop trials, over connections that stay
// open from one trial to the next. It makes one trial at a time.
type Generator interface {
	// Trial makes one trial. Requests that fail are counted in the outcome; an
	// error means that the trial could not be made, or that ctx is done.
	Trial(ctx context.Context, spec TrialSpec) (TrialOutcome, error)
	Close() error
}
