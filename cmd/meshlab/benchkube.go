package main

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/user"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/kube"
	"meshlab.dev/meshlab/scenarios"
)

// kubeBench is a run of bench on a Kubernetes cluster: labs as pods, in
// namespaces of the run's own, that are measured from one more pod.
type kubeBench struct {
	Kubeconfig string // file; empty: as kubectl finds it
	Context    string // of the kubeconfig; empty: its current one
	Image      string // of this program: the load pod, and services of the lab that are this program's own; empty: that of the cluster's agent
	PullSecret string // Secret of the namespace default to pull images with; empty: none is needed
	Group      string // of results that belong together (Environment.Group); empty: none

	Labs   []string // names or files; empty: hashicups
	Meshes []string // empty: those that the cluster has what they need for

	Quick       bool     // the scenario quick in place of thesis
	Scenario    string   // name or file of a closed loop; empty: thesis
	Only        []string // names of requests; empty: all
	Connections []int    // empty: the scenario's
	Requests    int      // of an attempt; 0: the scenario's
	Repeats     int      // attempts of a cell; 0: the scenario's
	Seed        uint64   // of the order of attempts; 0: random

	VIP     string // address of the mesh in the switches; empty: what its agents have been told
	Network string // attachment that joins pods to the switches, NAMESPACE/NAME; empty: one is made
}

// run measures, and returns the result document without having written it (see
// store). Whatever happens, what it made in the cluster is gone when it returns,
// or the error matches kube.ErrLeft and says what is left and how to remove it.
func (b kubeBench) run(ctx context.Context, p *progress) (*scenarios.Result, error) {
	plan, err := b.plan()
	if err != nil {
		return nil, err
	}
	cluster, err := b.cluster()
	if err != nil {
		return nil, err
	}
	facts, err := cluster.Look(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.choose(p, facts, &plan); err != nil {
		return nil, err
	}
	if b.Image == "" && facts.Agent != nil {
		b.Image = facts.Agent.Image
	}
	left, err := cluster.Leftovers(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range left {
		p.line("  namespace %s is there, of a run of %s that began at %s; if that does not run any more: %s", l.Name, l.By, l.Started, l.Command())
	}
	r := &kubeRun{kubeBench: b, measurement: &measurement{p: p, res: b.document(plan.seed)}, target: cluster, facts: facts}
	r.addScenario(plan.closed.script)
	// Everything that can be known of all labs is known before the first is up.
	var labs []*kubeLab
	for _, lab := range plan.labs {
		l, err := r.prepare(ctx, plan, lab)
		if err != nil {
			return nil, err
		}
		labs = append(labs, l)
	}
	for _, l := range labs {
		if err := r.measureLab(ctx, plan, l); err != nil {
			return nil, err
		}
	}
	r.res.Finished = time.Now()
	r.res.Environment.Fingerprint = r.res.Environment.Sum()
	return r.res, nil
}

// plan checks everything that can be known before the cluster is asked, but for
// the meshes, which are those that it has.
func (b kubeBench) plan() (benchPlan, error) {
	p := benchPlan{seed: b.Seed, only: b.Only}
	if p.seed == 0 {
		p.seed = rand.Uint64()
	}
	name := b.Scenario
	switch {
	case name != "" && b.Quick:
		return p, usageError{fmt.Errorf("--quick is a scenario: leave it or --scenario %s out", name)}
	case b.Quick:
		name = quickScenario
	case name == "":
		name = thesisScenario
	}
	s, err := loadScenario(name)
	if err != nil {
		return p, err
	}
	if s.Model == scenarios.OpenLoop {
		return p, usageError{fmt.Errorf("scenario %s is an open loop: paired trials need labs of their own for each pair, which a cluster does not make in time; take a closed loop, such as %s", s.Name, thesisScenario)}
	}
	cfg := s.Closed
	if len(b.Connections) > 0 {
		cfg.Connections = b.Connections
	}
	if b.Requests > 0 {
		cfg.Count = b.Requests
	}
	if b.Repeats > 0 {
		cfg.Repeats = b.Repeats
	}
	p.closed = &closedPlan{s, cfg, p.only}
	for _, m := range b.Meshes {
		if _, err := orchestrate.ParseMesh(m); err != nil {
			return p, usageError{err}
		}
	}
	if b.VIP != "" {
		if _, err := netip.ParseAddr(b.VIP); err != nil {
			return p, usageError{fmt.Errorf("--vip: %w", err)}
		}
	}
	names := b.Labs
	if len(names) == 0 {
		names = []string{defaultLab}
	}
	for _, name := range names {
		lab, err := loadLab(name)
		if err != nil {
			return p, err
		}
		for _, other := range p.labs {
			if spread(other.Lab) == spread(lab.Lab) {
				return p, usageError{fmt.Errorf("labs %s and %s are both %s: one run takes one lab on a single node and one on several", other.Name, lab.Name, spread(lab.Lab))}
			}
		}
		p.labs = append(p.labs, lab)
	}
	return p, nil
}

// document begins the result.
func (b kubeBench) document(seed uint64) *scenarios.Result {
	res := &scenarios.Result{SchemaVersion: scenarios.SchemaVersion, Started: time.Now(), Command: append([]string{"meshlab"}, os.Args[1:]...), Seed: seed}
	var random [4]byte
	_, _ = crand.Read(random[:]) // never fails (crypto/rand)
	res.ID = scenarios.NewID(res.Started, random)
	return res
}

// kubeRun is a run on a cluster from its first namespace to its last.
type kubeRun struct {
	kubeBench
	*measurement
	target kube.Cluster
	facts  kube.Facts
}

// kubeLab is a lab that can be brought up in the cluster.
type kubeLab struct {
	loadedLab
	matrix     scenarios.Config
	skipped    []string
	plan       kube.Plan
	deployment *kube.Deployment
}

// measureLab brings up a lab, measures it and removes it, whatever happens.
func (r *kubeRun) measureLab(ctx context.Context, plan benchPlan, l *kubeLab) (err error) {
	for _, s := range l.skipped {
		r.p.line("  left out: %s", s)
	}
	defer func() {
		step, begin := "clean up", time.Now()
		r.p.start(step)
		gone := l.deployment.Remove(context.WithoutCancel(ctx))
		if gone == nil {
			r.p.finish(step, "namespace "+l.deployment.Namespace()+" is gone", time.Since(begin))
		}
		err = errors.Join(err, gone)
	}()
	step, begin := "lab "+l.Name, time.Now()
	r.p.start(step)
	say := func(format string, args ...any) { r.p.report(fmt.Sprintf(format, args...)) }
	pods, err := l.deployment.Raise(ctx, say)
	if err != nil {
		return fmt.Errorf("lab %s: %w", l.Name, err)
	}
	todo, err := r.loadPlan(plan, l, pods)
	if err != nil {
		return err
	}
	text, err := json.Marshal(todo)
	if err != nil {
		return fmt.Errorf("write the load's plan: %w", err)
	}
	if err := l.deployment.StartLoad(ctx, text, say); err != nil {
		return fmt.Errorf("lab %s: %w", l.Name, err)
	}
	sidecars, err := l.deployment.Sidecars(ctx)
	if err != nil {
		return err
	}
	r.p.finish(step, fmt.Sprintf("%d pods in namespace %s", len(pods)+1, l.deployment.Namespace()), time.Since(begin))

	step, begin = "measure "+l.Name, time.Now()
	r.p.start(step)
	show := r.showClosed(l.Name, len(l.matrix.Meshes))
	silent := l.matrix.Limit + l.matrix.Timeout + firstAnswerWithin + time.Minute
	out, err := l.deployment.Result(ctx, silent, func(text []byte) {
		var now loadProgress
		switch err := json.Unmarshal(text, &now); {
		case err != nil: // the next one tells more
		case now.Event != nil:
			show(*now.Event)
		default:
			r.report(now.Step)
		}
	})
	if err != nil {
		return fmt.Errorf("lab %s: %w", l.Name, err)
	}
	var got loadResult
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("lab %s: read what the load has measured: %w", l.Name, err)
	}
	if got.Error != "" {
		return fmt.Errorf("lab %s: the load says: %s", l.Name, got.Error)
	}
	r.add(l, got, sidecars)
	r.p.finish(step, fmt.Sprintf("%d cells", len(got.Cells)), time.Since(begin))
	return ctx.Err()
}

// firstAnswerWithin is how long a request may go unanswered when all pods are
// ready: Consul and the agents have yet to make their part of it known.
const firstAnswerWithin = 3 * time.Minute

// loadPlan is what the load pod is told.
func (r *kubeRun) loadPlan(plan benchPlan, l *kubeLab, pods map[string]netip.Addr) (loadPlan, error) {
	out := loadPlan{Matrix: l.matrix, Ready: firstAnswerWithin, Targets: map[string]map[string]scenarios.RequestSpec{}}
	for _, m := range l.plan.Meshes {
		lab := l.loadedLab
		lab.Lab = l.plan.View(m, pods)
		target := scripted{raised{side: side{lab: lab, mesh: m}}, plan.closed.script}
		specs := map[string]scenarios.RequestSpec{}
		for _, name := range l.matrix.Requests {
			spec, err := target.Spec(name)
			if err != nil {
				return out, fmt.Errorf("mesh %s: %w", m, err)
			}
			specs[name] = spec
		}
		out.Targets[string(m)] = specs
	}
	return out, nil
}

// who tells others whose a namespace is.
func who() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// kubeInterrupted turns the error of a run that Ctrl-C ended into what a user
// wants to know.
func kubeInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, kube.ErrLeft) {
		return errors.New("interrupted; nothing is left in the cluster, and no results are written")
	}
	return err
}
