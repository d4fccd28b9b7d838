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
	Faults      []fileFault                        `json:"faults,omitempty" jsonschema:"maxItems=20" jsonschema_description:"What is broken in every trial, at fixed times. Of open loops."`
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

type fileFault struct {
	Stated topo.YAMLStated `json:"-"`

	At  topo.YAMLText `json:"at" jsonschema_description:"When it begins, since the start of the trial, as in 2s."`
	For topo.YAMLText `json:"for,omitempty" jsonschema_description:"How long it lasts, as in 500ms. Default: until the end of the trial."`

	Kill      topo.YAMLText     `json:"kill,omitempty" jsonschema_description:"A process that meshlab ps lists, or a host: it ends by SIGKILL and stays down."`
	Pause     topo.YAMLText     `json:"pause,omitempty" jsonschema_description:"A process that meshlab ps lists, or a host: it stands still."`
	Cut       topo.YAMLText     `json:"cut,omitempty" jsonschema_description:"A link, NODE-NODE: it carries nothing."`
	Degrade   *fileDegrade      `json:"degrade,omitempty" jsonschema_description:"A link, and what it does to frames in each direction."`
	Partition []fileSwitchGroup `json:"partition,omitempty" jsonschema:"minItems=2,maxItems=2" jsonschema_description:"Two groups of switches: all links between them carry nothing."`
}

type fileSwitchGroup []topo.YAMLText

type fileDegrade struct {
	Stated topo.YAMLStated `json:"-"`

	Link      topo.YAMLText `json:"link" jsonschema_description:"NODE-NODE."`
	Delay     topo.YAMLText `json:"delay,omitempty" jsonschema_description:"One way, as in 20ms."`
	Jitter    topo.YAMLText `json:"jitter,omitempty" jsonschema_description:"At most this much less or more than the delay, as in 2ms."`
	Loss      topo.YAMLText `json:"loss,omitempty" jsonschema_description:"Share of frames that are lost, as in 5%."`
	Bandwidth topo.YAMLText `json:"bandwidth,omitempty" jsonschema_description:"Of whole frames, as in 1Mbit."`
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
