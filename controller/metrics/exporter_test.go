package metrics

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"meshlab.dev/meshlab/controller/pipeline"
)

// loop is a control loop whose state a test sets.
type loop LoopStats

func (l loop) LoopStats() LoopStats { return LoopStats(l) }

func keep(context.Context) {}

// busyLoop and busyTraffic have something in every metric.
func busyLoop() loop {
	return loop{Serial: 12, RegistryUp: true, Warnings: []string{"api: a retry policy", "api: a timeout"},
		Datapaths: []DatapathStats{
			{Name: "s1", Connected: true, InSync: true, Flows: 75, Groups: 2, Meters: 5, ApplyErrors: 1,
				PacketIns: map[string]uint64{"dns": 4, "refuse": 3}, PacketInsDropped: 6},
			{Name: "s2"},
		}}
}

func busyTraffic(now func() time.Time) *Accumulator {
	a := New(now)
	counters := map[uint64]pipeline.Counter{
		1:  {Kind: pipeline.CountSent, Source: "web", Destination: "api"},
		2:  {Kind: pipeline.CountOpened, Source: "web", Destination: "api"},
		3:  {Kind: pipeline.CountChosen, Destination: "api", Instance: "h1/api-1"},
		4:  {Kind: pipeline.CountChosen, Destination: "api", Instance: "h2/api-2"},
		5:  {Kind: pipeline.CountReceived, Destination: "api", Instance: "h1/api-1"},
		6:  {Kind: pipeline.CountReceived, Destination: "api", Instance: "h2/api-2"},
		7:  {Kind: pipeline.CountDenied, Source: "guest", Destination: "api"},
		8:  {Kind: pipeline.CountDenied, Source: "*", Destination: "db"},
		9:  {Kind: pipeline.CountSpoofed, Host: "h1"},
		10: {Kind: pipeline.CountRefused},
		11: {Kind: pipeline.CountDNS},
		12: {Kind: pipeline.CountSent, Source: "web", Destination: "db"},
		13: {Kind: pipeline.CountResets},
		14: {Kind: pipeline.CountRepeated},
	}
	a.Learn("s1", counters)
	var stats []Stat
	for c := range uint64(11) {
		stats = append(stats, Stat{c + 1, 10 * (c + 1), 1000 * (c + 1)})
	}
	stats = append(stats, Stat{13, 7, 700}, Stat{14, 8, 800})
	a.Begin("s1").End(stats)
	a.Add("s1", pipeline.Counter{Kind: pipeline.CountResets, Destination: "api", Instance: "h1/api-1"}, 2)
	a.Add("s1", pipeline.Counter{Kind: pipeline.CountResets, Source: "web", Destination: "api", Instance: "h1/api-1"}, 3)
	a.Add("s1", pipeline.Counter{Kind: pipeline.CountRepeated, Destination: "api", Instance: "h2/api-2"}, 1)
	return a
}

func newBusyExporter(t *testing.T) *Exporter {
	t.Helper()
	e, err := NewExporter(Config{Traffic: busyTraffic(newClock().Now), Loop: busyLoop(), Refresh: keep})
	if err != nil {
		t.Fatal(err)
	}
	e.Converged("s1", 3*time.Millisecond)
	e.Converged("s1", 40*time.Second)
	return e
}

// scrape returns the page.
func scrape(t *testing.T, e *Exporter) string {
	t.Helper()
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// ours returns the lines of our own series, without the buckets.
func ours(page string) string {
	var out []string
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "meshlab_") && !strings.Contains(line, "_bucket") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func TestPage(t *testing.T) {
	const want = `meshlab_apply_errors_total{datapath="s1"} 1
meshlab_apply_errors_total{datapath="s2"} 0
meshlab_connection_attempts_total{datapath="s1",destination="api",source="web"} 20
meshlab_connections_total{datapath="s1",destination="api",service_instance="h1/api-1"} 30
meshlab_connections_total{datapath="s1",destination="api",service_instance="h2/api-2"} 40
meshlab_convergence_seconds_sum{datapath="s1"} 40.003
meshlab_convergence_seconds_count{datapath="s1"} 2
meshlab_counters_read_timestamp_seconds{datapath="s1"} 1.7672256e+09
meshlab_datapath_connected{datapath="s1"} 1
meshlab_datapath_connected{datapath="s2"} 0
meshlab_datapath_in_sync{datapath="s1"} 1
meshlab_datapath_in_sync{datapath="s2"} 0
meshlab_denied_packets_total{datapath="s1",destination="api",source="guest"} 70
meshlab_denied_packets_total{datapath="s1",destination="db",source="*"} 80
meshlab_dns_queries_total{datapath="s1"} 110
meshlab_flows{datapath="s1"} 75
meshlab_flows{datapath="s2"} 0
meshlab_groups{datapath="s1"} 2
meshlab_groups{datapath="s2"} 0
meshlab_meters{datapath="s1"} 5
meshlab_meters{datapath="s2"} 0
meshlab_packet_ins_dropped_total{datapath="s1"} 6
meshlab_packet_ins_dropped_total{datapath="s2"} 0
meshlab_packet_ins_total{datapath="s1",kind="dns"} 4
meshlab_packet_ins_total{datapath="s1",kind="refuse"} 3
meshlab_received_bytes_total{datapath="s1",destination="api",service_instance="h1/api-1"} 5000
meshlab_received_bytes_total{datapath="s1",destination="api",service_instance="h2/api-2"} 6000
meshlab_received_packets_total{datapath="s1",destination="api",service_instance="h1/api-1"} 50
meshlab_received_packets_total{datapath="s1",destination="api",service_instance="h2/api-2"} 60
meshlab_refused_packets_total{datapath="s1"} 100
meshlab_registry_up 1
meshlab_repeated_syn_packets_total{datapath="s1"} 8
meshlab_repeated_syns_total{datapath="s1",destination="api",service_instance="h2/api-2"} 1
meshlab_reset_packets_total{datapath="s1"} 7
meshlab_resets_total{datapath="s1",destination="api",service_instance="h1/api-1"} 5
meshlab_sent_bytes_total{datapath="s1",destination="api",source="web"} 3000
meshlab_sent_bytes_total{datapath="s1",destination="db",source="web"} 0
meshlab_sent_packets_total{datapath="s1",destination="api",source="web"} 30
meshlab_sent_packets_total{datapath="s1",destination="db",source="web"} 0
meshlab_snapshot_serial 12
meshlab_spoofed_packets_total{datapath="s1",host="h1"} 90
meshlab_warning_info{text="api: a retry policy"} 1
meshlab_warning_info{text="api: a timeout"} 1
meshlab_warnings 2
`
	page := scrape(t, newBusyExporter(t))
	if got := ours(page); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, more := range []string{
		`meshlab_convergence_seconds_bucket{datapath="s1",le="0.0005"} 0`, `meshlab_convergence_seconds_bucket{datapath="s1",le="0.003"} 1`,
		`meshlab_convergence_seconds_bucket{datapath="s1",le="30"} 1`, "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(page, "\n"+more) {
			t.Errorf("the page lacks %q", more)
		}
	}
}

func TestPageFollowsConventions(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, newBusyExporter(t)))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEveryKindIsExported(t *testing.T) {
	for kind := pipeline.CounterKind(1); kind.String() != ""; kind++ {
		n := 0
		for _, f := range families() {
			for _, k := range f.kinds {
				if k == kind {
					n++
				}
			}
		}
		if n == 0 {
			t.Errorf("no metric shows what the kind %s counts", kind)
		}
	}
}

func TestNamesThatAreNotUTF8(t *testing.T) {
	c := newClock()
	a := New(c.Now)
	// Two names that look the same once they are valid must not make one
	// series twice.
	a.Add("s1", pipeline.Counter{Kind: pipeline.CountResets, Destination: "a\xff", Instance: "i"}, 1)
	a.Add("s1", pipeline.Counter{Kind: pipeline.CountResets, Destination: "a\xfe", Instance: "i"}, 2)
	e, err := NewExporter(Config{Traffic: a, Loop: loop{Warnings: []string{"\xff", "\xfe", strings.Repeat("ä", warningLength)}}, Refresh: keep})
	if err != nil {
		t.Fatal(err)
	}
	page := scrape(t, e)
	for _, want := range []string{
		"meshlab_resets_total{datapath=\"s1\",destination=\"a\uFFFD\",service_instance=\"i\"} 3\n",
		"meshlab_warning_info{text=\"\uFFFD\"} 1\n",
		"meshlab_warning_info{text=\"" + strings.Repeat("ä", 98) + "…\"} 1\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, ours(page))
		}
	}
}

func TestWarningsAreBounded(t *testing.T) {
	l := loop{}
	for i := range 1000 {
		l.Warnings = append(l.Warnings, fmt.Sprintf("number %d", i))
	}
	e, err := NewExporter(Config{Traffic: New(newClock().Now), Loop: l, Refresh: keep})
	if err != nil {
		t.Fatal(err)
	}
	page := scrape(t, e)
	if got := strings.Count(page, "\nmeshlab_warning_info{"); got != warningsShown {
		t.Errorf("%d warnings with text, want %d", got, warningsShown)
	}
	if !strings.Contains(page, "\nmeshlab_warnings 1000\n") {
		t.Error("the number of all is missing")
	}
}

func TestScrapeRefreshesFirst(t *testing.T) {
	c := newClock()
	a := New(c.Now)
	counter := pipeline.Counter{Kind: pipeline.CountDNS}
	e, err := NewExporter(Config{Traffic: a, Loop: loop{}, Refresh: func(ctx context.Context) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the refresh of a scrape has no deadline")
		}
		a.Add("s1", counter, 1)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		want := fmt.Sprintf("meshlab_dns_queries_total{datapath=\"s1\"} %d\n", n+1)
		if page := scrape(t, e); !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, ours(page))
		}
	}
}

func TestOpenMetricsWhenAsked(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	newBusyExporter(t).Handler().ServeHTTP(w, r)
	if !strings.HasSuffix(w.Body.String(), "# EOF\n") {
		t.Errorf("no page of OpenMetrics: %s", w.Body)
	}
}

func TestExporterNeedsItsParts(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no traffic": {Loop: loop{}, Refresh: keep},
		"no loop":    {Traffic: New(time.Now), Refresh: keep},
		"no refresh": {Traffic: New(time.Now), Loop: loop{}},
	} {
		if _, err := NewExporter(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Everything at once, for the race detector; and two exporters of one process.
func TestConcurrentUse(t *testing.T) {
	a := busyTraffic(time.Now)
	e, err := NewExporter(Config{Traffic: a, Loop: busyLoop(), Refresh: keep})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e.Handler())
	defer server.Close()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range uint64(50) {
				a.Begin("s1").End([]Stat{{1, i, i}})
				a.Removed("s1", Stat{1, i, i})
				a.Learn("s1", map[uint64]pipeline.Counter{100 + i: {Kind: pipeline.CountSent}})
				a.Resume("s1")
				a.Reset("s2")
				e.Converged("s1", time.Millisecond)
				a.Traffic()
			}
		})
		all.Go(func() {
			for range 10 {
				resp, err := http.Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Error(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("status %s", resp.Status)
				}
			}
		})
	}
	all.Wait()
	newBusyExporter(t)
}

func TestEveryMetricIsExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	have := metricsOf(scrape(t, newBusyExporter(t)))
	for name := range have {
		name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "meshlab_") && !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not name %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`(meshlab_[a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		if have[m[1]] == nil && have[m[1]+"_bucket"] == nil {
			t.Errorf("docs/metrics.md names %s, which is not on the page", m[1])
		}
	}
}
