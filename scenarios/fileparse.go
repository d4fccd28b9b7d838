package scenarios

import (
	"regexp"
	"slices"
	"strconv"
	"time"

	"meshlab.dev/meshlab/topo"
)

// Bounds of a scenario file that are not those of a Config.
const (
	MaxRate = 100_000 // arrivals per second and mesh

	maxSteps  = 100
	maxWeight = 1000
	maxTrial  = 10 * time.Minute // for the arrivals of one trial
	maxLimit  = time.Hour        // of one attempt
)

// What an open loop is when its file does not say it. 1000 requests are what
// a p99 needs: ten of them lie above it.
const (
	defaultArrivals    = Poisson
	defaultConnections = 16
	defaultRequests    = 1000
)

// The most that a file may ask for: each pair takes ten seconds or so.
const (
	maxPairs = 1000
	maxLooks = 10
)

// What a closed loop allows when its file does not say it.
const (
	defaultTimeout = 15 * time.Second
	defaultLimit   = 2 * time.Minute
)

const automatic = "auto"

var scenarioName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// ParseScenario reads a scenario file and checks it as a whole. filename only
// appears in messages. The error is a *topo.ParseError with every problem of
// the file.
func ParseScenario(filename string, src []byte) (*Scenario, error) {
	var f fileScenario
	s := &Scenario{}
	err := topo.ReadYAML(filename, src, "scenario", "name, and open or closed", &f, func(p *topo.YAMLProblems) {
		fileReader{p}.scenario(&f, s)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// fileReader turns the values of a file into those of a Scenario, and reports
// what is wrong with them.
type fileReader struct{ *topo.YAMLProblems }

func (r fileReader) scenario(f *fileScenario, s *Scenario) {
	name, ok := f.Name.Stated()
	if ok && !scenarioName.MatchString(name) {
		r.Addf(f.Name.At(), "the scenario's name %.64q must be 1 to 32 of a-z, 0-9, _ and -, and begin with a letter or digit", name)
	}
	s.Name = name
	s.Description, _ = f.Description.Stated()

	switch open, closed := f.Stated.Has("open"), f.Stated.Has("closed"); {
	case open && closed:
		r.Addf(f.Stated.At(), "the scenario has both open and closed; keep one")
	case !open && !closed:
		r.Addf(f.Stated.At(), "the scenario needs open or closed: who decides when a request is sent")
	}
	if f.Open != nil {
		s.Model, s.Open, s.Looks = OpenLoop, r.open(f.Open), r.looks(f.Open.Pairs)
	}
	if f.Closed != nil {
		s.Model, s.Closed = ClosedLoop, r.closed(f.Closed)
	}
	r.steps(f, s)
	if s.Model == ClosedLoop {
		for _, step := range s.Steps {
			s.Closed.Requests = append(s.Closed.Requests, step.Name)
		}
	}
	s.Faults = r.faults(f.Faults, s)
	if f.Objective != nil {
		s.Objective = r.objective(f.Objective)
		if s.Model == ClosedLoop {
			r.Addf(f.Objective.Stated.At(), "an objective is of open loops: a closed one sends less when answers are late")
		}
	}
}

func (r fileReader) open(f *fileOpen) OpenLoad {
	l := OpenLoad{
		Arrivals:    defaultArrivals,
		Connections: r.count(f.Connections, "connections", 1, MaxConnections, defaultConnections),
		Requests:    r.count(f.Requests, "requests", 1, MaxCount, defaultRequests),
	}
	if a, ok := f.Arrivals.Stated(); ok {
		l.Arrivals = Arrivals(a)
		if known := []string{string(Poisson), string(Constant)}; !slices.Contains(known, a) {
			r.Unknown(f.Arrivals.At(), "arrivals", a, known)
		}
	}
	if word, ok := f.Rate.Stated(); ok && string(word) != automatic {
		l.Rate = r.decimal(f.Rate, "rate", "auto, or ", 0.1, MaxRate)
		if took := float64(l.Requests) / l.Rate; l.Rate > 0 && took > maxTrial.Seconds() {
			r.Addf(f.Rate.At(), "%d requests at %g per second take %.0f s; a trial may take %.0f", l.Requests, l.Rate, took, maxTrial.Seconds())
		}
	}
	return l
}

// looks reads the numbers of pairs after which it is decided.
func (r fileReader) looks(pairs []topo.YAMLNumber) []int {
	if len(pairs) > maxLooks {
		r.Addf(pairs[maxLooks].At(), "%d numbers of pairs; at most %d are allowed", len(pairs), maxLooks)
		return nil
	}
	var looks []int
	last := 0
	for _, value := range pairs {
		n := r.count(value, "pairs", 1, maxPairs, 0)
		if n > 0 && n <= last {
			r.Addf(value.At(), "pairs %d must be more than %d before it", n, last)
		}
		last = n
		looks = append(looks, n)
	}
	return looks
}

func (r fileReader) closed(f *fileClosed) Config {
	c := Config{
		Count:   r.count(f.Requests, "requests", 1, MaxCount, 0),
		Repeats: r.count(f.Attempts, "attempts", 2, MaxRepeats, 0),
		WarmUp:  r.count(f.WarmUp, "warm_up", 0, MaxCount, 0),
		Timeout: r.duration(f.Timeout, "timeout", MaxTimeout, defaultTimeout),
		Limit:   r.duration(f.Limit, "limit", maxLimit, defaultLimit),
	}
	if f.Connections != nil && len(f.Connections) == 0 {
		r.Addf(f.Stated.At(), "connections is empty: state one number or more")
	}
	if len(f.Connections) > maxSteps {
		r.Addf(f.Stated.At(), "%d numbers of connections; at most %d are allowed", len(f.Connections), maxSteps)
		return c
	}
	for _, value := range f.Connections {
		n := r.count(value, "connections", 1, MaxConnections, 0)
		switch {
		case n == 0: // reported
		case slices.Contains(c.Connections, n):
			r.Addf(value.At(), "connections %d is stated twice", n)
		case c.Count > 0 && n > c.Count:
			r.Addf(value.At(), "%d requests over %d connections: every connection needs at least one request", c.Count, n)
		}
		c.Connections = append(c.Connections, n)
	}
	return c
}

func (r fileReader) steps(f *fileScenario, s *Scenario) {
	own := r.Requests(f.Requests)
	if len(f.Steps) > maxSteps {
		r.Addf(f.Steps[maxSteps].Request.At(), "%d steps; at most %d are allowed", len(f.Steps), maxSteps)
		return
	}
	used := map[string]bool{}
	for _, step := range f.Steps {
		name, ok := step.Request.Stated()
		if !ok {
			continue // reported
		}
		switch {
		case name == "":
			r.Addf(step.Request.At(), "request is empty: name one of this file or of the lab")
		case used[name] && s.Model == OpenLoop:
			r.Addf(step.Request.At(), "request %.64q is in two steps; give one of them the weight of both", name)
		case used[name]:
			r.Addf(step.Request.At(), "request %.64q is in two steps", name)
		}
		used[name] = true
		if _, weighted := step.Weight.Stated(); weighted && s.Model == ClosedLoop {
			r.Addf(step.Weight.At(), "a weight is of open loops: a closed one measures each step by itself")
		}
		out := ScenarioStep{Name: name, Request: name, Weight: r.count(step.Weight, "weight", 1, maxWeight, 1)}
		if request, ok := own[name]; ok {
			out.Request, out.To, out.RequestSpec = "", request.To, pathSpec(request)
		}
		s.Steps = append(s.Steps, out)
	}
	for _, request := range f.Requests {
		if name, _ := request.Key.Stated(); !used[name] {
			r.Addf(request.Key.At(), "no step sends request %.64q; add it to steps", name)
		}
	}
}

// pathSpec is a request whose URL is the path alone.
func pathSpec(r topo.Request) RequestSpec {
	return RequestSpec{
		Protocol: Protocol(r.Protocol), URL: r.Path, Method: r.Method, Headers: r.Headers, Body: r.Body,
		Status: r.Expect.Status, Contains: r.Expect.Contains, Matches: r.Expect.Matches,
	}
}

func (r fileReader) objective(f *fileObjective) *Objective {
	return &Objective{
		Percentile: r.decimal(f.Percentile, "percentile", "", minPercentile, maxPercentile),
		Below:      r.duration(f.Below, "below", MaxTimeout, 0),
		Errors:     r.decimal(f.Errors, "errors", "", 0, maxErrors),
	}
}

// count reads a whole number between two bounds, or takes the default.
func (r fileReader) count(n topo.YAMLNumber, what string, low, high int64, unstated int) int {
	v, ok := n.Stated()
	switch {
	case !ok:
		return unstated
	case v < low || v > high:
		r.Addf(n.At(), "%s %d must be %d to %d", what, v, low, high)
		return unstated
	}
	return int(v)
}

// decimal reads a number between two bounds; 0 when it is not there. or is
// what else the value could be, for the message.
func (r fileReader) decimal(w topo.YAMLWord, what, or string, low, high float64) float64 {
	word, ok := w.Stated()
	if !ok {
		return 0
	}
	v, err := strconv.ParseFloat(string(word), 64)
	if err != nil || !(v >= low && v <= high) { // NaN is not
		r.Addf(w.At(), "%s %.64q must be %sa number from %g to %s", what, string(word), or, low, strconv.FormatFloat(high, 'f', -1, 64))
		return 0
	}
	return v
}

// duration reads a length of time up to a bound, or takes the default.
func (r fileReader) duration(t topo.YAMLText, what string, high, unstated time.Duration) time.Duration {
	text, ok := t.Stated()
	if !ok {
		return unstated
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > high {
		r.Addf(t.At(), "%s %.64q must be a duration above 0 and up to %g s, as in 20ms or 1m30s", what, text, high.Seconds())
		return unstated
	}
	return d
}
