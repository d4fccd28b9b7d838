package reports

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

// visible returns the text of a page.
func visible(html string) string {
	text := regexp.MustCompile(`(?s)<style>.*?</style>|<svg.*?</svg>|href="data:[^"]*"|src="data:[^"]*"`).ReplaceAllString(html, "")
	return regexp.MustCompile(`<[^>]*>`).ReplaceAllString(text, " ")
}

func TestDuetPage(t *testing.T) {
	r := sample.Result(sample.Small)
	r.Duets[1].Variants[1].Name = "<evil>"
	r.Duets[1].Comparisons[0].New, r.Duets[1].Knee[1].Variant = "<evil>", "<evil>"
	html := page(t, Options{}, r)
	wellFormed(t, "index.html", []byte(html))
	text := visible(html)
	for _, want := range []string{
		"Frontend, several nodes: with the mesh in the switches the median answer takes 0.6", "times as long as under Consul Connect (95\u00a0% interval",
		"12 pairs)", "; the 99th percentile", "PASS", "FAIL", "INCONCLUSIVE",
		"False alarms when a mesh was compared with itself, in verdicts drawn from 150 pairs of labs: p50 1 of 200 (0.5\u00a0%)",
		"found in 95\u00a0% of verdicts or more is 10\u00a0%", "3 of 36 trials were disturbed. None was dropped.", "the hypervisor took 4.1 %",
		"api, several nodes", "Highest load that keeps p99 below 20 ms", "For a thesis:", "ranges, not confidence intervals",
		"one variant at a time (ABBA)", "In the closed loop: Over 4 cells,", "&lt;evil&gt;", "links carried",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	first := strings.Index(html, "<h2")
	if !strings.HasPrefix(html[first:], `<h2 id="verdict"`) {
		t.Errorf("the first chapter is not the verdict: %.60s", html[first:])
	}
	checkContents(t, html)
}

// checkContents follows all links of the page to its parts.
func checkContents(t *testing.T, html string) {
	t.Helper()
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(`\sid="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		ids[m[1]]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("id %q is there %d times", id, n)
		}
	}
	links := regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(html, -1)
	if len(links) < 5 {
		t.Errorf("%d links to chapters", len(links))
	}
	for _, m := range links {
		if ids[m[1]] == 0 {
			t.Errorf("#%s leads nowhere", m[1])
		}
	}
}

// notNumbers are what a page must never show.
var notNumbers = regexp.MustCompile(`NaN|[+-]Inf|%!`)

func TestDuetPageWithLittle(t *testing.T) {
	one := sample.Result(sample.Small, sample.OnlyDuets)
	for i := range one.Duets {
		d := &one.Duets[i]
		d.Trials, d.Comparisons = d.Trials[:1], nil
	}
	none := sample.Result(sample.Small, sample.OnlyDuets)
	for i := range none.Duets {
		none.Duets[i].Trials, none.Duets[i].Comparisons = nil, nil
	}
	foreign := sample.Result(sample.Small, sample.OnlyDuets)
	foreign.Calibration.Fingerprint = "000000000000"
	blind := sample.Result(sample.Small, sample.OnlyDuets)
	blind.Calibration.Smallest = 0
	noRatio := sample.Result(sample.Small, sample.OnlyDuets)
	for i := range noRatio.Duets {
		for j := range noRatio.Duets[i].Comparisons {
			c := &noRatio.Duets[i].Comparisons[j]
			c.Verdict, c.Reason = scenarios.Inconclusive, "too many requests failed"
			for k := range c.Metrics {
				m := &c.Metrics[k]
				*m = scenarios.MetricDecision{Metric: m.Metric, Margin: m.Margin, PValue: 1, PAdjusted: 1, Verdict: scenarios.Inconclusive}
			}
		}
	}
	few := sample.Result(sample.Small, sample.OnlyDuets)
	for i := range few.Duets {
		few.Duets[i].Trials = few.Duets[i].Trials[:2]
		for j := range few.Duets[i].Comparisons {
			for k := range few.Duets[i].Comparisons[j].Metrics {
				m := &few.Duets[i].Comparisons[j].Metrics[k]
				m.Ratio, m.Low, m.High, m.Bound, m.Pairs, m.Verdict = 0.743, 0, 0, 0, 2, scenarios.Inconclusive
			}
		}
	}
	ramps, falls := sample.Result(sample.Small), sample.Result(sample.Small)
	ramps.Cells, ramps.Duets, ramps.Waterfalls = nil, nil, nil
	for i := range ramps.Ramps {
		ramps.Ramps[i].Scenario = "frontend"
	}
	falls.Cells, falls.Duets, falls.Ramps = nil, nil, nil
	for name, tt := range map[string]struct {
		r    *scenarios.Result
		want []string
	}{
		"uncalibrated":      {sample.Result(sample.Small, sample.OnlyDuets, sample.Uncalibrated), []string{"This machine is not calibrated"}},
		"of another one":    {foreign, []string{"that of another machine or of other software"}},
		"finds nothing":     {blind, []string{"a PASS says little here"}},
		"all failed":        {sample.Result(sample.Small, sample.OnlyErrors), []string{"every request failed, so there is nothing to compare", "no answer was right, so there is no latency", "connection refused ×1440"}},
		"one trial":         {one, []string{"nothing was compared"}},
		"no trial":          {none, []string{"nothing was compared", "no trial was made"}},
		"no ratio":          {noRatio, []string{"no pair of trials has latencies on both sides", "Too many requests failed."}},
		"two pairs":         {few, []string{"0.74 times as long", "(too few pairs for an interval, 2 pairs)"}},
		"one mesh":          {sample.Result(sample.Small, sample.OneMesh), []string{"allows no comparison", "no verdict"}},
		"nothing":           {sample.Result(sample.Nothing), []string{"The run measured nothing."}},
		"only ramps":        {ramps, []string{"Frontend in lab hashicups, several nodes: The highest load that keeps p99 below 20 ms: "}},
		"only waterfalls":   {falls, []string{"The run watched where the time of 1 request goes"}},
		"of version 1 only": {sample.Result(sample.Small, sample.OnlyCells), []string{"no confidence intervals and no verdict"}},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := newDocument(t.Context(), "", []*scenarios.Result{tt.r}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			html, err := doc.html()
			if err != nil {
				t.Fatal(err)
			}
			wellFormed(t, name, html)
			checkContents(t, string(html))
			markdown, err := doc.markdown()
			if err != nil {
				t.Fatal(err)
			}
			text := visible(string(html))
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			for _, s := range []string{text, string(markdown)} {
				if m := notNumbers.FindString(s); m != "" {
					t.Errorf("%q in the report", m)
				}
			}
		})
	}
}

// The table of two pairs has their ratio, and says why it has no interval.
func TestComparisonsOfFewPairs(t *testing.T) {
	d := duet{Duet: scenarios.Duet{Request: "frontend", Pods: scenarios.SingleNode, Comparisons: []scenarios.Comparison{{Base: "direct", New: "ovs", Metrics: []scenarios.MetricDecision{
		{Metric: "p50", Pairs: 2, Ratio: 0.743, PAdjusted: 1, Margin: 0.05, Verdict: scenarios.Inconclusive}}}}}}
	s := section{duets: []*duet{&d}}
	if got, want := row(s.comparisons(), 0), "| 0.74 | too few pairs for an interval | 1 | 2 | 5\u00a0%"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want at its end %q", got, want)
	}
}

// Neighbours under ABBA share a lab, and so do trials of labs that came up once.
func TestTrialTableTellsOwnLabs(t *testing.T) {
	for _, tc := range []struct {
		method scenarios.Method
		starts int
		want   bool
	}{{scenarios.Alive, 2, true}, {scenarios.Alive, 1, false}, {scenarios.ABBA, 2, false}} {
		d := duet{Duet: scenarios.Duet{Method: tc.method, Trials: make([]scenarios.Trial, 2), Variants: []scenarios.Variant{{Name: "ovs", Starts: tc.starts}}}}
		if got := strings.Contains(d.TrialTable().Caption, "labs of its own"); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

func TestPoolSide(t *testing.T) {
	d := sample.Result(sample.Small, sample.OnlyDuets).Duets[0]
	// A sidecar that was started anew in the first trial has no cost there.
	d.Trials[0].Costs[0] = slices.DeleteFunc(d.Trials[0].Costs[0], func(c scenarios.Cost) bool { return c.Part == "sidecar" })
	got, err := newDuet(d, "")
	if err != nil {
		t.Fatal(err)
	}
	requests, withSidecar := 0, 0
	var sidecar float64
	lowest := math.Inf(1)
	for i, tr := range d.Trials {
		requests += tr.Sides[0].Requests
		if i > 0 {
			withSidecar += tr.Sides[0].Requests
		}
		lowest = min(lowest, tr.Sides[0].Latency.Min)
		for _, c := range tr.Costs[0] {
			if c.Part == "sidecar" {
				sidecar += c.CPUSeconds
			}
		}
	}
	s := got.sides[0]
	if s.requests != requests || s.latency.TotalCount() != int64(requests) || s.min != lowest {
		t.Errorf("%d requests, %d values from %v on; want %d from %v on", s.requests, s.latency.TotalCount(), s.min, requests, lowest)
	}
	for _, c := range s.costs {
		if want := sidecar / float64(withSidecar) * 1e5; c.part == "sidecar" && math.Abs(c.cpu-want) > 1e-9 {
			t.Errorf("the sidecars used %v s per 100,000 requests, want %v", c.cpu, want)
		}
	}
	if got.sides[0].look == got.sides[1].look {
		t.Error("two variants look alike")
	}
	twins, err := newDuet(sample.Result(sample.Small, sample.OnlyDuets).Duets[2], "")
	if err != nil {
		t.Fatal(err)
	}
	if twins.sides[0].look == twins.sides[1].look {
		t.Error("two variants of one mesh look alike")
	}
}

// Two labs with the same load are told apart, in headings and in the figure of
// all ratios, where rows of one head are of one duet.
func TestTwins(t *testing.T) {
	r := sample.Result(sample.Small, sample.OnlyDuets)
	other := r.Duets[0]
	lab := r.Labs[0]
	lab.Name, other.Lab = "another", "another"
	r.Labs, r.Duets = append(r.Labs, lab), append(r.Duets[:1:1], other)
	s, err := newSection(r, "")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := s.duets[0].title(), s.duets[1].title(); a != "Frontend, several nodes, lab "+r.Duets[0].Lab || b != "Frontend, several nodes, lab another" {
		t.Errorf("%q and %q", a, b)
	}
	f := falls([]scenarios.Waterfall{{Request: "api", Lab: "a"}, {Request: "api", Lab: "b"}, {Request: "frontend", Lab: "a"}}, "")
	if f[0].Title() != "API, several nodes, lab a" || f[1].Title() != "API, several nodes, lab b" || f[2].Title() != "Frontend, several nodes" {
		t.Errorf("%q, %q and %q", f[0].Title(), f[1].Title(), f[2].Title())
	}
}

func TestOutward(t *testing.T) {
	lab := scenarios.LabInfo{Name: "x", File: "not a lab"}
	for _, ends := range [][2]string{{"h1:eth0", "s1:1"}, {"s1:2", "s2:1"}, {"h2:eth0", "s2:2"}, {"a:eth0", "b:1"}} {
		lab.Links = append(lab.Links, scenarios.LinkTraffic{Mesh: "m", Seconds: 1, A: ends[0], B: ends[1]})
	}
	s := &section{Result: &scenarios.Result{Labs: []scenarios.LabInfo{lab}}}
	var got []string
	for _, e := range s.linksOf()[0].outward() {
		got = append(got, nodeOf(e[0])+">"+nodeOf(e[1]))
	}
	if want := "h1>s1 s1>s2 s2>h2 a>b"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// row returns the texts of a table's row.
func row(t table, i int) string {
	var texts []string
	for _, e := range t.Rows[i] {
		texts = append(texts, e.Text)
	}
	return strings.Join(texts, " | ")
}

func TestFallKinds(t *testing.T) {
	f := falls([]scenarios.Waterfall{
		{Mesh: "ovs", Requests: 9, Lost: 1, Plain: 2, Tapped: 2.1, Spans: []scenarios.Span{
			{Kind: scenarios.SpanClient, Duration: 0.1}, {Kind: scenarios.SpanSwitch, Duration: 0.2}, {Kind: scenarios.SpanSwitch, Duration: 0.3},
			{Kind: scenarios.SpanService, Duration: 1.4, Within: 1}, {Kind: scenarios.SpanService, Duration: 0.5},
		}},
		{Mesh: "direct"}, {Mesh: "ovs", Request: "another"},
	}, "p-")
	if len(f) != 2 || len(f[0].meshes) != 2 || f[1].FigureName() != "p-waterfall-2" {
		t.Fatalf("%d requests, the first under %d meshes", len(f), len(f[0].meshes))
	}
	kinds := f[0].Kinds()
	if got, want := row(kinds, 0), "Mesh in the switches | 0.100 | 0.500 | 0 | 0.900 | 1.50 | 2.10 | 2.00 | +5.0 % | 9 | 1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := row(kinds, 1); !strings.HasSuffix(got, "| 0 | 0 | – | 0 | 0") {
		t.Errorf("without a span: %s", got)
	}
	spans := f[0].SpanTable()
	for i, want := range map[int]string{3: "service | 0 | 1.40 | 0.400 | 0", 4: "service | 0 | 0.500 | – | 0"} {
		if got := row(spans, i); !strings.HasSuffix(got, want) {
			t.Errorf("span %d: got %s, want it to end in %s", i, got, want)
		}
	}
	for _, caption := range []string{kinds.Caption, spans.Caption} {
		if strings.Contains(caption, "median") || !strings.Contains(caption, "means over the middle half of the requests") {
			t.Errorf("caption %q", caption)
		}
	}
}

func TestClimb(t *testing.T) {
	o := scenarios.Objective{Percentile: 99.9, Below: 2_500_000, Errors: 0.01}
	c := climbs([]scenarios.Ramp{
		{Lab: "a", Pods: scenarios.SingleNode, Mesh: "ovs", Objective: o, Highest: 400, End: scenarios.EndGenerator,
			Steps: []scenarios.RampStep{{Rate: 300}, {Rate: 800}, {Rate: 400, Kept: true}, {Rate: 600}, {Rate: 600}}},
		{Lab: "a", Pods: scenarios.SingleNode, Mesh: "direct", Objective: o, Steps: []scenarios.RampStep{{Rate: 100}}},
		{Lab: "b", Pods: scenarios.SingleNode, Mesh: "direct", Objective: o},
	}, "")
	if len(c) != 2 {
		t.Fatalf("%d searches, want 2", len(c))
	}
	if got, want := c[0].Summary(), "The highest load that keeps p99.9 below 2.5 ms, with at most 1\u00a0% of requests failed: Mesh in the switches 400 requests/s; Plain switching none of those tried."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := c[0].Table().Columns[3]; got != (column{"", "trials"}) {
		t.Errorf("a rate that was tried twice counts twice under %+v", got)
	}
	for i, want := range []string{
		"Mesh in the switches | 400 | 600 | 5 | the generator: it was late, and the mesh may do more",
		"Plain switching | none of those tried | 100 | 1 | –",
	} {
		if got := row(c[0].Table(), i); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestPercentileNames(t *testing.T) {
	for p, want := range map[float64]string{50: "p50", 99: "p99", 99.9: "p99.9", 99.99: "p99.99"} {
		c := climb{ramps: []scenarios.Ramp{{Objective: scenarios.Objective{Percentile: p, Below: 20_000_000}}}}
		if got := c.Objective(); got != want+" below 20 ms" {
			t.Errorf("%v: got %q", p, got)
		}
	}
}

func TestFlagSummary(t *testing.T) {
	clear, flagged := scenarios.Trial{}, scenarios.Trial{Flags: []scenarios.Flag{{}}}
	for _, tt := range []struct {
		trials []scenarios.Trial
		want   string
	}{
		{[]scenarios.Trial{clear}, "The one trial was not disturbed."},
		{[]scenarios.Trial{flagged}, "The one trial was disturbed. It counts all the same."},
		{[]scenarios.Trial{clear, clear}, "None of the 2 trials was disturbed."},
		{[]scenarios.Trial{clear, flagged}, "1 of 2 trials was disturbed. None was dropped."},
		{[]scenarios.Trial{flagged, clear, flagged}, "2 of 3 trials were disturbed. None was dropped."},
	} {
		s := section{duets: []*duet{{Duet: scenarios.Duet{Trials: tt.trials}}}}
		if got := s.flagSummary(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestCeilingIsMissedByClosedLoopsOnly(t *testing.T) {
	const alarm = "bottleneck of the closed loop"
	for _, tt := range []struct {
		name  string
		cells bool
	}{{"closed loop", true}, {"paired trials", false}} {
		r := sample.Result(sample.Small)
		r.Ceiling = nil
		if !tt.cells {
			r.Cells = nil
		}
		dir := write(t, r)
		for _, file := range []string{"index.html", "report.md"} {
			if got := strings.Contains(string(read(t, dir, file)), alarm); got != tt.cells {
				t.Errorf("%s: %s speaks of the %s: %v", tt.name, file, alarm, got)
			}
		}
	}
}
