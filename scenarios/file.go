package scenarios

import (
	_ "embed"
	"slices"

	"meshlab.dev/meshlab/topo"
)

// The structs of this file are a scenario file as it is written: the file is
// decoded into them, and scenario.schema.json is generated from them. A json
// tag without omitempty marks a key that a file must have; the jsonschema tags
// hold what the schema can check by itself.

type fileScenario struct {
	Stated topo.YAMLStated `json:"-"`

	Name        topo.YAMLText                      `json:"name" jsonschema:"pattern=^[a-z0-9][a-z0-9_-]{0\\,31}$" jsonschema_description:"Name of the scenario: up to 32 of a-z, 0-9, _ and -."`
	Description topo.YAMLText                      `json:"description,omitempty" jsonschema_description:"What the scenario is for, in a sentence or two."`
	Open        *fileOpen                          `json:"open,omitempty" jsonschema_description:"An open loop: requests arrive at their own times, whatever the answers do. Excludes closed."`
	Closed      *fileClosed                        `json:"closed,omitempty" jsonschema_description:"A closed loop: each connection sends its next request when it has the answer to the last. Excludes open."`
	Requests    topo.YAMLMapping[topo.YAMLRequest] `json:"requests,omitempty" jsonschema_description:"Requests beside those of the lab file, by name, written as there."`
	Steps       []fileStep                         `json:"steps,omitempty" jsonschema:"maxItems=100" jsonschema_description:"Requests that are sent. Default: each of the lab file by itself."`
	Objective   *fileObjective                     `json:"objective,omitempty" jsonschema_description:"What a ramp keeps while it looks for the highest load. Of open loops."`
}

type fileOpen struct {
	Arrivals    topo.YAMLText     `json:"arrivals,omitempty" jsonschema:"enum=poisson,enum=constant" jsonschema_description:"How the arrivals are spread. Default: poisson."`
	Rate        topo.YAMLWord     `json:"rate,omitempty" jsonschema_description:"Arrivals per second and mesh, or auto: a third of what the machine can do, shared among the meshes, and 1000 in all at most. Default: auto."`
	Connections topo.YAMLNumber   `json:"connections,omitempty" jsonschema:"minimum=1,maximum=10000" jsonschema_description:"Connections of each mesh. Default: 16."`
	Requests    topo.YAMLNumber   `json:"requests,omitempty" jsonschema:"minimum=1,maximum=10000000" jsonschema_description:"Requests per mesh and trial. Default: 1000."`
	Pairs       []topo.YAMLNumber `json:"pairs,omitempty" jsonschema:"minimum=1,maximum=1000,minItems=1,maxItems=10" jsonschema_description:"Numbers of pairs of trials after which it is decided, ascending; the last ends the measurement. Every pair has labs of its own. Default: 10, 14, 20; 30 with one lab at a time."`
}

type fileClosed struct {
	Stated topo.YAMLStated `json:"-"`

	Connections []topo.YAMLNumber `json:"connections" jsonschema:"minItems=1,maxItems=100,uniqueItems=true" jsonschema_description:"Numbers of connections; each is measured by itself."`
	Requests    topo.YAMLNumber   `json:"requests" jsonschema:"minimum=1,maximum=10000000" jsonschema_description:"Requests per attempt."`
	Attempts    topo.YAMLNumber   `json:"attempts" jsonschema:"minimum=2,maximum=1000" jsonschema_description:"Attempts per cell; the first is kept apart."`
	WarmUp      topo.YAMLNumber   `json:"warm_up" jsonschema:"minimum=0,maximum=10000000" jsonschema_description:"Requests between the first attempt and the second, whose figures are dropped; at least one per connection is sent."`
	Timeout     topo.YAMLText     `json:"timeout,omitempty" jsonschema_description:"Longest time of one request, at most 1m. Default: 15s."`
	Limit       topo.YAMLText     `json:"limit,omitempty" jsonschema_description:"Longest time of one attempt, at most 1h. Default: 2m."`
}

type fileStep struct {
	Request topo.YAMLText   `json:"request" jsonschema_description:"Name of a request of this file or of the lab file."`
	Weight  topo.YAMLNumber `json:"weight,omitempty" jsonschema:"minimum=1,maximum=1000" jsonschema_description:"How often it is drawn, against the weights of the other steps. Of open loops. Default: 1."`
}

type fileObjective struct {
	Stated topo.YAMLStated `json:"-"`

	Percentile topo.YAMLWord `json:"percentile" jsonschema_description:"Percentile of the latencies, 1 to 99.9."`
	Below      topo.YAMLText `json:"below" jsonschema_description:"The percentile must be lower than this, as in 20ms; at most 1m."`
	Errors     topo.YAMLWord `json:"errors,omitempty" jsonschema_description:"Share of requests that may fail, as in 0.001. Default: 0."`
}

//go:embed scenario.schema.json
var scenarioSchema []byte

// ScenarioSchema returns the JSON Schema (draft 2020-12) of scenario files,
// for editors. It holds what can be said of one value at a time;
// ParseScenario checks more.
func ScenarioSchema() []byte { return slices.Clone(scenarioSchema) }
