package sample

import (
	"fmt"
	"math"
	"slices"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// side is a variant and how long its requests take.
type side struct {
	scenarios.Variant
	factor float64
}

func (g *generator) duets() []scenarios.Duet {
	of := func(mesh string) side {
		return side{scenarios.Variant{Name: mesh, Mesh: mesh, Starts: 2}, factor(mesh)}
	}
	old, built := of(ovs), of(ovs)
	old.Name, old.Build = "ovs (base)", "v0.3.0"
	built.Name, built.Build, built.factor = "ovs (new)", "v0.4.0", factor(ovs)*1.035
	return []scenarios.Duet{
		g.duet("frontend", scenarios.MultipleNodes, scenarios.Alive, 30, []side{of(connect), of(ovs), of(direct)}),
		g.duet("api", scenarios.MultipleNodes, scenarios.Alive, 20, []side{of(direct), of(connect)}),
		g.duet("api", scenarios.SingleNode, scenarios.ABBA, 30, []side{old, built}),
	}
}

// duet makes trials, and compares each side with the first.
func (g *generator) duet(request string, pods scenarios.Pods, method scenarios.Method, trials int, sides []side) scenarios.Duet {
	trials = min(trials, g.trials)
	rule := scenarios.DefaultRule(method, 8)
	rule.Looks = []int{trials}
	d := scenarios.Duet{
		Scenario: "open", Request: request, Lab: labName(pods), Pods: pods, Method: method,
		Load: scenarios.OpenLoad{Arrivals: scenarios.Poisson, Rate: 400, Connections: 16, Requests: g.perTrial},
		Rule: rule,
	}
	for _, s := range sides {
		if method == scenarios.Alive { // each pair has labs of its own
			s.Starts = trials
		}
		d.Variants = append(d.Variants, s.Variant)
		d.Knee = append(d.Knee, scenarios.Knee{Variant: s.Name, Rate: math.Round(2300 / s.factor)})
	}
	seconds := float64(g.perTrial) / d.Load.Rate
	if method == scenarios.ABBA {
		seconds *= float64(len(sides))
	}
	if g.broken { // in the third window
		fifth := time.Duration(seconds / 5 * float64(time.Second))
		d.Faults = []scenarios.Fault{{Kind: scenarios.Kill, Target: "payments", At: 2 * fifth, For: fifth}}
	}
	at := start().Add(5 * time.Minute)
	for i := range trials {
		t := scenarios.Trial{TrialOutcome: scenarios.TrialOutcome{Started: at, Seconds: seconds}}
		if method == scenarios.Alive || i == 0 {
			t.WarmUp = scenarios.WarmUp{Seconds: 4.5, Steady: true}
		}
		at = at.Add(time.Duration(seconds*float64(time.Second)) + 200*time.Millisecond)
		g.trial(&t, base(request, pods)*math.Exp(0.1*math.Sin(float64(i)/4)), sides, method)
		for k, f := range d.Faults {
			for v := range d.Variants {
				began := f.At.Seconds() + 0.0001*float64(i+v)
				t.Faults = append(t.Faults, scenarios.TrialFault{Fault: k, Variant: v, Began: began, Ended: began + f.For.Seconds()})
			}
		}
		g.disturb(&t, i)
		d.Trials = append(d.Trials, t)
	}
	d.Comparisons = g.compare(d)
	return d
}

// trial draws the outcomes of all sides around the same state of the machine.
func (g *generator) trial(t *scenarios.Trial, base float64, sides []side, method scenarios.Method) {
	noise := 0.008
	if method == scenarios.ABBA {
		noise = 0.06
	}
	lateness := func(n int) []float64 {
		ms := make([]float64, n)
		for i := range ms {
			ms[i] = round(0.02 + 0.03*g.rng.ExpFloat64())
		}
		return ms
	}
	for _, s := range sides {
		n := g.perTrial
		if g.failed {
			t.Sides = append(t.Sides, scenarios.SideOutcome{Requests: n, Errors: n, ErrorKind: map[string]int{"connection refused": n}})
			t.Costs = append(t.Costs, nil)
			continue
		}
		lost := g.lost(s.Mesh)
		service := draw(g.rng, n-lost, base*s.factor*math.Exp(noise*g.rng.NormFloat64()))
		late := lateness(n - lost)
		latency := make([]float64, n-lost)
		for i := range service {
			latency[i] = round(service[i] + late[i])
		}
		out := scenarios.SideOutcome{Requests: n, Errors: lost, Windows: windows(latency, lost, t.Seconds)}
		if lost > 0 {
			out.ErrorKind = map[string]int{"connection refused": lost}
		}
		out.Latency, out.Service = g.latencies.of(latency), g.latencies.of(service)
		t.Sides = append(t.Sides, out)
		t.Costs = append(t.Costs, costs(s.Mesh, float64(n), g.rng.Float64()))
	}
	t.Generator = scenarios.GeneratorOutcome{CPUSeconds: 0.08 * t.Seconds * float64(len(sides))}
	t.Generator.Lateness = g.latencies.of(lateness(g.perTrial))
	t.Generator.Queued = int(3 * g.rng.Float64())
	t.Steal, t.Busy = 0.001+0.004*g.rng.Float64(), 0.55+0.1*g.rng.Float64()
}

// disturb makes some trials suspect.
func (g *generator) disturb(t *scenarios.Trial, i int) {
	if g.failed {
		t.Flags = append(t.Flags, scenarios.Flag{Kind: scenarios.FlagErrors, Detail: fmt.Sprintf("all %d requests failed", t.Sides[0].Requests)})
		return
	}
	switch i {
	case 4:
		t.Steal = 0.041
		t.Flags = append(t.Flags, scenarios.Flag{Kind: scenarios.FlagSteal, Detail: "the hypervisor took 4.1 % of the processor time"})
	case 17:
		t.Flags = append(t.Flags, scenarios.Flag{Kind: scenarios.FlagLate, Detail: "the generator was 1.9 ms late at p99, and the median latency is 0.7 ms"})
		t.Steal = 0.027
		t.Flags = append(t.Flags, scenarios.Flag{Kind: scenarios.FlagSteal, Detail: "the hypervisor took 2.7 % of the processor time"})
	}
}

// lost is how many requests of a trial fail when a process is killed in it:
// less than a fifth.
func (g *generator) lost(mesh string) int {
	switch {
	case !g.broken:
		return 0
	case mesh == direct:
		return g.perTrial / 8
	}
	return g.perTrial / 100
}

// windows cuts a trial into fifths. In the third of them some requests failed,
// so that it has less latencies than the others.
func windows(ms []float64, failed int, seconds float64) []scenarios.Window {
	const parts = 5
	var out []scenarios.Window
	all, answered := len(ms)+failed, 0
	for i := range parts {
		w := scenarios.Window{At: seconds * float64(i) / parts, N: (i+1)*all/parts - i*all/parts}
		if i == 2 {
			w.N, w.Errors = w.N-failed, failed
		}
		part := slices.Sorted(slices.Values(ms[answered : answered+w.N]))
		w.P50, w.P99 = part[len(part)/2], part[len(part)*99/100]
		answered += w.N
		out = append(out, w)
	}
	return out
}

// costs are what the parts of a lab used for n requests.
func costs(mesh string, n, noise float64) []scenarios.Cost {
	perRequest := map[string]float64{"switch": 62e-6, "service": 410e-6, "registry": 9e-6}
	memory := map[string]uint64{"switch": 61 << 20, "service": 143 << 20, "registry": 310 << 20}
	switch mesh {
	case ovs:
		perRequest["switch"], perRequest["controller"] = 88e-6, 4e-6
		memory["switch"], memory["controller"] = 66<<20, 38<<20
	case connect:
		perRequest["sidecar"], perRequest["registry"] = 690e-6, 14e-6
		memory["sidecar"] = 244 << 20
	}
	var out []scenarios.Cost
	for _, part := range []string{"switch", "controller", "registry", "sidecar", "service"} {
		if s := perRequest[part]; s > 0 {
			out = append(out, scenarios.Cost{Part: part, CPUSeconds: math.Round(n*s*(0.95+0.1*noise)*1e4) / 1e4, MemoryBytes: memory[part]})
		}
	}
	return out
}
