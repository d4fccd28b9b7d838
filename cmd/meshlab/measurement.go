package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/doctor"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// measurement is one run from its start to its result document: what the
// verbs that measure share.
type measurement struct {
	p     *progress
	fleet *fleet
	res   *scenarios.Result
	live  *live // nil: nobody watches
}

// newMeasurement begins a result document. It finds Consul, and builds it when there
// is none.
func newMeasurement(ctx context.Context, p *progress, seed uint64) (*measurement, error) {
	if err := doctor.Lack(ctx, doctor.Needs{Consul: true}); err != nil {
		return nil, err
	}
	bin, err := findConsul(ctx, p)
	if err != nil {
		return nil, err
	}
	res := &scenarios.Result{
		SchemaVersion: scenarios.SchemaVersion,
		Started:       time.Now(),
		Command:       append([]string{"meshlab"}, os.Args[1:]...),
		Seed:          seed,
		Environment:   scenarios.Host(),
	}
	var random [4]byte
	_, _ = crand.Read(random[:]) // never fails (crypto/rand)
	res.ID = scenarios.NewID(res.Started, random)
	if res.Preflight, err = scenarios.LookAtMachine(ctx); err != nil {
		return nil, err
	}
	if w := res.Preflight.Warning(); w != "" {
		p.line("  %s", w)
	}
	return &measurement{p: p, res: res, fleet: &fleet{p: p, bin: bin, env: &res.Environment}}, nil
}

// addMeshes names meshes in the document, each once.
func (r *measurement) addMeshes(sides []side) {
	for _, s := range sides {
		if !slices.ContainsFunc(r.res.Meshes, func(m scenarios.MeshInfo) bool { return m.Name == string(s.mesh) }) {
			r.res.Meshes = append(r.res.Meshes, meshInfo(s.mesh))
		}
	}
}

// addLabs describes the sides' labs in the document, each once.
func (r *measurement) addLabs(sides []side) {
	for _, s := range sides {
		if r.info(s.lab) == nil {
			r.res.Labs = append(r.res.Labs, scenarios.LabInfo{
				Name: s.lab.Name, Pods: spread(s.lab.Lab), File: string(s.lab.source), SVG: string(topo.SVG(s.lab.Lab)),
			})
		}
	}
}

// addScenario puts a scenario's file into the document, once.
func (r *measurement) addScenario(s loadedScenario) {
	if s.Scenario == nil || slices.ContainsFunc(r.res.Scenarios, func(i scenarios.ScenarioInfo) bool { return i.Name == s.Name }) {
		return
	}
	r.res.Scenarios = append(r.res.Scenarios, scenarios.ScenarioInfo{Name: s.Name, File: string(s.source)})
}

// info is a lab's description in the document; nil: it has none.
func (r *measurement) info(lab loadedLab) *scenarios.LabInfo {
	for i := range r.res.Labs {
		if r.res.Labs[i].Name == lab.Name && r.res.Labs[i].File == string(lab.source) {
			return &r.res.Labs[i]
		}
	}
	return nil
}

// measure brings up a lab for each side, hands them to each step in turn, and
// removes them, whatever happens. What the switches carried meanwhile goes
// into the document.
func (r *measurement) measure(ctx context.Context, sides []side, steps ...func(context.Context, []raised) error) (err error) {
	defer func() { err = errors.Join(err, r.fleet.remove(ctx)) }()
	r.addMeshes(sides)
	r.addLabs(sides)
	up, err := r.fleet.raise(ctx, sides...)
	if err != nil {
		return err
	}
	counted := r.counting(ctx, up)
	for _, step := range steps {
		if err := step(ctx, up); err != nil {
			return err
		}
		r.publish()
	}
	counted(ctx)
	return ctx.Err()
}

// finish writes the document to dir, and returns its path.
func (r *measurement) finish(dir string) (string, error) {
	r.complete()
	return store(dir, r.res)
}

// rescue writes what a run had complete that failed or was interrupted: cells
// with all their attempts, paired trials that were decided. It is not what
// latest.json points to. The error that it returns is why the run ended.
func (r *measurement) rescue(ctx context.Context, dir string, err error) error {
	r.p.stop()
	err = interrupted(ctx, err)
	if len(r.res.Cells)+len(r.res.Duets)+len(r.res.Ramps)+len(r.res.Waterfalls) == 0 {
		return err
	}
	r.complete()
	path := resultPath(dir, r.res)
	if werr := scenarios.Write(path, r.res); werr != nil {
		return errors.Join(err, werr)
	}
	return fmt.Errorf("%w; what was complete by then is in %s", err, path)
}

// complete adds to the document what is known when all has been measured.
func (r *measurement) complete() {
	r.res.Finished = time.Now()
	r.res.Environment.Fingerprint = r.res.Environment.Sum()
	r.p.stop()
	cal, err := scenarios.LoadCalibration(calibrationDir(), r.res.Environment.Fingerprint)
	if err != nil && !errors.Is(err, scenarios.ErrNotCalibrated) { // what was measured must not be lost by it
		r.p.line("  %v; verdicts do not tell of it: 'meshlab calibrate --fresh' makes it anew", err)
	}
	if cal != nil && cal.Verdicts == 0 {
		r.p.line("  the calibration of this machine has %d pairs of labs, too few for verdicts: the same 'meshlab calibrate' goes on", cal.LabStarts)
		cal = nil
	}
	if cal != nil { // without the single pairs
		cal.Ratios = nil
		for i := range cal.Effects {
			cal.Effects[i].Ratios = nil
		}
	}
	r.res.Calibration = cal
}

// interrupted turns the error of a run that Ctrl-C ended into what a user
// wants to know.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, supervisor.ErrLeft) {
		return errors.New("interrupted; no lab is left")
	}
	return err
}

func recordEnvironment(e *scenarios.Environment, lab supervisor.Environment) {
	e.Meshlab = version()
	e.OpenVSwitch, e.Datapath, e.Consul = lab.OpenVSwitch, lab.Datapath, lab.Consul
	e.CongestionControl, e.TxChecksumOffload = lab.CongestionControl, lab.TxChecksumOffload
	e.SwitchBufferBytes = lab.SwitchBufferBytes
	e.Runtime, e.Docker = string(lab.Runtime), lab.Docker
	e.Root = os.Geteuid() == 0
	if lab.Proxy != "" {
		e.Proxy = lab.Proxy
	}
}

// meshInfo says what a mesh gives, in the words of the report.
func meshInfo(m orchestrate.Mesh) scenarios.MeshInfo {
	switch m {
	case orchestrate.OVS:
		return scenarios.MeshInfo{Name: string(m), DataPath: "client, Open vSwitch with the mesh's flows, service",
			Gives: "discovery at a virtual address and balancing over healthy instances in the switch; no encryption, nothing above layer 4"}
	case orchestrate.ConsulConnect:
		return scenarios.MeshInfo{Name: string(m), DataPath: "client, its sidecar, Open vSwitch as plain switch, the service's sidecar, service", MTLS: true,
			Gives: "discovery and balancing in sidecars, mutual TLS between them, intentions; with Envoy layer 7 too"}
	}
	return scenarios.MeshInfo{Name: string(m), DataPath: "client, Open vSwitch as plain switch, service",
		Gives: "nothing: the client knows the instance's own address; the floor of what a mesh can cost"}
}

// store writes the results and points latest.json to them.
func store(dir string, res *scenarios.Result) (string, error) {
	path := resultPath(dir, res)
	if err := scenarios.Write(path, res); err != nil {
		return "", err
	}
	if err := pointLatest(dir, path); err != nil {
		return "", fmt.Errorf("point latest.json to the results: %w", err)
	}
	return path, nil
}
