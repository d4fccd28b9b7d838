package scenarios

import "time"

// Duet is the paired measurement of one scenario in one lab: two or more
// variants, each a lab of its own, compared trial by trial.
type Duet struct {
	Scenario    string       `json:"scenario"`
	Request     string       `json:"request,omitempty"` // of the lab file, when each is measured by itself; empty: a mix
	Lab         string       `json:"lab"`
	Pods        Pods         `json:"pods"`
	Method      Method       `json:"method"`
	Load        OpenLoad     `json:"load"`
	Variants    []Variant    `json:"variants"` // the first is the base of all comparisons
	Knee        []Knee       `json:"knee,omitempty"`
	Faults      []Fault      `json:"faults,omitempty"` // of each trial, in the lab of each variant
	Rule        Rule         `json:"rule,omitzero"`    // zero: DefaultRule of the method, with no hypotheses but these
	Trials      []Trial      `json:"trials"`           // in the order they ran
	Comparisons []Comparison `json:"comparisons"`
}

// Rule is how the trials of a duet become verdicts; Decide says what it means.
type Rule struct {
	Looks      []int    `json:"looks"`      // numbers of pairs after which it is decided, ascending; the last ends the measurement
	Hypotheses int      `json:"hypotheses"` // metrics x comparisons x duets of the whole run: what Holm's correction counts with
	Margins    []Margin `json:"margins"`
}

// Margin is how much worse a metric may become.
type Margin struct {
	Metric string  `json:"metric"` // p50 or p99, of Latency
	Ratio  float64 `json:"ratio"`  // d: the ratio new / base may grow to 1+d
}

// Method is how the trials of the variants were paired.
type Method string

// The ways of pairing, and what has none.
const (
	Alive  Method = "duet"   // all variants live; requests alternate within each trial
	Across Method = "across" // two runs at different times, trials unpaired: see CompareRuns
	ABBA   Method = "abba"   // one variant at a time, in randomised ABBA order; two neighbouring trials make a pair
)

// OpenLoad is the load of a duet.
type OpenLoad struct {
	Arrivals    Arrivals `json:"arrivals"`
	Rate        float64  `json:"rate_per_second"` // per variant
	Connections int      `json:"connections"`     // per variant
	Requests    int      `json:"requests"`        // per variant and trial
}

// Variant is one side of a duet.
type Variant struct {
	Name string `json:"name"` // unique in the duet, for example "ovs", or "ovs (new)"
	Mesh string `json:"mesh"`
	// What else tells it from the others, where something does.
	Build  string        `json:"build,omitempty"`      // version that the program says of itself
	Lab    string        `json:"lab,omitempty"`        // name of its lab file, if it is not Duet.Lab
	Delay  time.Duration `json:"delay_ns,omitempty"`   // that its service adds on purpose
	Script string        `json:"scenario,omitempty"`   // name of its scenario, if it is not Duet.Scenario
	Starts int           `json:"lab_starts,omitempty"` // how many labs it had, one after the other
}

// Knee is the highest rate that a variant can bear alone, as it was found before
// the trials: the smaller of what a closed loop reached and of what would keep
// all processors busy by what requests at a low rate took of them. The rate of
// the trials was chosen by it.
type Knee struct {
	Variant string  `json:"variant"`
	Rate    float64 `json:"rate_per_second"`
}

// Trial is one measurement of all variants; under ABBA, of a pair of
// neighbouring trials of two of them.
type Trial struct {
	TrialOutcome
	WarmUp WarmUp       `json:"warm_up"`
	Costs  [][]Cost     `json:"costs,omitempty"`  // by variant, then by part; what could not be read is missing
	Steal  float64      `json:"steal_ratio"`      // of the machine's processor time, taken by the hypervisor
	Busy   float64      `json:"busy_ratio"`       // of the machine's processor time, used by anything
	Faults []TrialFault `json:"faults,omitempty"` // by fault, then by variant: when each was on
	Flags  []Flag       `json:"flags,omitempty"`  // what disturbed it; a flagged trial counts like any other
}

// WarmUp is what went before the first trial in labs that had just come up;
// zero before others.
type WarmUp struct {
	Seconds float64 `json:"seconds"`
	Steady  bool    `json:"steady"` // false: the medians still drifted at the end
}

// Flag tells what disturbed a trial.
type Flag struct {
	Kind   FlagKind `json:"kind"`
	Detail string   `json:"detail"` // with figures, for people
}

// FlagKind names a disturbance.
type FlagKind string

// The kinds of disturbance.
const (
	FlagSteal    FlagKind = "steal"    // the hypervisor took more than 2 % of the processor time
	FlagLate     FlagKind = "late"     // the generator was later than the median latency, at its 99th percentile
	FlagUnsteady FlagKind = "unsteady" // the warm-up ended without becoming steady
	FlagErrors   FlagKind = "errors"   // requests failed
	FlagOverload FlagKind = "overload" // more than half of the knee
)

// Cost is what a part of a lab used during a trial.
type Cost struct {
	Part        string  `json:"part"` // switch, controller, registry, sidecar, service
	CPUSeconds  float64 `json:"cpu_seconds"`
	MemoryBytes uint64  `json:"memory_bytes"` // proportional set size at the end
}

// Comparison is what the trials say of one variant against the base.
type Comparison struct {
	Base    string           `json:"base"`
	New     string           `json:"new"`
	Metrics []MetricDecision `json:"metrics"`
	Verdict Verdict          `json:"verdict"`          // of all metrics, and of the requests that failed
	Reason  string           `json:"reason,omitempty"` // of the verdict, where the figures alone do not tell it
}

// MetricDecision is the decision on one figure.
type MetricDecision struct {
	Metric    string  `json:"metric"` // p50 or p99, of Latency
	Margin    float64 `json:"margin"` // d: the ratio may grow to 1+d
	Pairs     int     `json:"pairs"`  // at the look that decided, or the last
	Ratio     float64 `json:"ratio"`  // new / base: Hodges-Lehmann estimate
	Low       float64 `json:"low"`    // 95 % interval: BCa bootstrap over pairs
	High      float64 `json:"high"`
	Bound     float64 `json:"bound"`      // one-sided 99 % upper bound of the ratio: the larger of BCa's and the signed-rank test's
	PValue    float64 `json:"p_value"`    // one-sided signed-rank test of ratio > 1
	PAdjusted float64 `json:"p_adjusted"` // by Holm, over all metrics and comparisons of the run
	Verdict   Verdict `json:"verdict"`
	Reason    string  `json:"reason,omitempty"` // what beside these figures made the verdict
}

// Verdict is what a decision came to.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "PASS"         // not worse by the margin or more
	Fail         Verdict = "FAIL"         // worse, and by more than the margin
	Inconclusive Verdict = "INCONCLUSIVE" // the trials do not tell
)

// Ramp is a search for the highest load that keeps an objective.
type Ramp struct {
	Scenario  string     `json:"scenario"`
	Lab       string     `json:"lab"`
	Pods      Pods       `json:"pods"`
	Mesh      string     `json:"mesh"`
	Objective Objective  `json:"objective"`
	Steps     []RampStep `json:"steps"`           // in the order they ran
	Highest   float64    `json:"rate_per_second"` // that kept it; 0: none did
	End       RampEnd    `json:"end,omitempty"`   // what the search ended at
}

// Objective is a bound on a latency, counted from the intended start.
type Objective struct {
	Percentile float64       `json:"percentile"`
	Below      time.Duration `json:"below_ns"`
	Errors     float64       `json:"error_ratio,omitempty"` // share of requests that may fail
}

// RampStep is one rate that was tried.
type RampStep struct {
	Rate     float64     `json:"rate_per_second"` // offered
	Achieved float64     `json:"achieved_per_second"`
	Outcome  SideOutcome `json:"outcome"`
	Kept     bool        `json:"kept"`
	Late     float64     `json:"late_ms,omitempty"` // lateness of the generator, at its 99th percentile
}

// RampEnd is what a ramp ended at.
type RampEnd string

// The ends of a ramp.
const (
	EndObjective RampEnd = "objective" // higher rates broke the objective
	EndGenerator RampEnd = "generator" // at higher rates the generator itself was late: the mesh may do more
	EndMaximum   RampEnd = "maximum"   // the highest rate that was to be tried kept it
)

// Waterfall is where the time of one request goes under one mesh, hop by hop,
// of requests that were sent one after the other and watched on the ports along
// the way. Starts and lengths are means over the middle half of the requests,
// by what a whole request took: unlike medians, they add up, to about its p50.
type Waterfall struct {
	Request  string  `json:"request"`
	Lab      string  `json:"lab"`
	Pods     Pods    `json:"pods"`
	Mesh     string  `json:"mesh"`
	Requests int     `json:"requests"` // that were put together
	Lost     int     `json:"lost"`     // that could not be put together
	Plain    float64 `json:"plain_ms"` // p50 without taps, in the same run
	Tapped   float64 `json:"tapped_ms"`
	Spans    []Span  `json:"spans"` // in the order of their starts
}

// Span is a stretch of a request's way.
type Span struct {
	Kind     SpanKind `json:"kind"`
	Where    string   `json:"where"`     // host or switches, for people: "client", "s3, s1", "h1"
	What     string   `json:"what"`      // "request to public-api", "public-api", ...
	Depth    int      `json:"depth"`     // of calls: 0 is the client's own
	Start    float64  `json:"start_ms"`  // since the last answer
	Duration float64  `json:"length_ms"` // with the calls within it, which are spans of a greater depth
	P95      float64  `json:"p95_ms"`    // of the length, of all requests

	Within float64 `json:"within_ms,omitempty"` // of the length, spent in those calls
}

// SpanKind is what happens in a span.
type SpanKind string

// The kinds of spans.
const (
	SpanClient  SpanKind = "client"  // client stack
	SpanSwitch  SpanKind = "switch"  // from one port to another
	SpanProxy   SpanKind = "proxy"   // a sidecar
	SpanService SpanKind = "service" // a service, and its host's stack
)

// Calibration is what is known of verdicts on one machine.
type Calibration struct {
	Fingerprint string         `json:"fingerprint"` // Environment.Fingerprint of the machine
	Made        time.Time      `json:"made"`
	Meshlab     string         `json:"meshlab"`
	Lab         string         `json:"lab"`
	Scenario    string         `json:"scenario"`
	Request     string         `json:"request,omitempty"` // of the lab file, as in Duet
	Mesh        string         `json:"mesh"`
	Load        OpenLoad       `json:"load"`
	LabStarts   int            `json:"lab_starts"`   // pairs of labs that were measured
	Verdicts    int            `json:"verdicts"`     // of a mesh against itself, drawn from these pairs
	FalseFails  map[string]int `json:"false_fails"`  // by metric
	Undecided   map[string]int `json:"inconclusive"` // by metric
	Pairs       float64        `json:"pairs"`        // per verdict: mean
	P50         float64        `json:"p50_ms"`       // of the base: median over trials
	Effects     []Effect       `json:"effects"`      // in the order of Injected

	// Ratios of each pair of labs, by metric.
	Ratios map[string][]float64 `json:"ratios,omitempty"`

	Smallest float64 `json:"smallest"` // the smallest Injected that was found in 95 % of verdicts or more; 0: none
}

// Effect is how often a delay that was added on purpose was found.
type Effect struct {
	Injected float64        `json:"injected"` // share of the base's p50
	Delay    time.Duration  `json:"delay_ns"` // that the service added
	Reached  float64        `json:"reached"`  // median of the p50 ratios less 1
	Verdicts int            `json:"verdicts"` // drawn from the pairs of labs
	Found    map[string]int `json:"found"`    // FAILs, by metric
	Pairs    float64        `json:"pairs"`    // per verdict: mean

	Ratios map[string][]float64 `json:"ratios,omitempty"` // of each pair of labs, by metric
}
