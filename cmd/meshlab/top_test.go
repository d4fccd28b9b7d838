package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// fakeTraffic is a lab of which a test says what flows in it.
type fakeTraffic struct {
	asked   int
	traffic func(asked int) (metrics.Traffic, error)
}

func (f *fakeTraffic) Traffic(context.Context) (metrics.Traffic, error) {
	f.asked++
	return f.traffic(f.asked)
}

func (f *fakeTraffic) Status(context.Context) (supervisor.Status, error) {
	return supervisor.Status{Lab: "shop", Services: []supervisor.ServiceStatus{
		{Name: "api-1", Service: "api", Node: "h1", Health: "passing"}, {Name: "api-2", Service: "api", Node: "h2", Health: "critical"},
	}}, nil
}

func shopTraffic(read time.Time) metrics.Traffic {
	return metrics.Traffic{
		Datapaths: []metrics.DatapathTraffic{
			{Name: "s1", Read: read, IntervalSeconds: 1, Refused: metrics.Figure{Total: 3, PerSecond: 1.5}, DNS: metrics.Figure{PerSecond: 2}},
			{Name: "s2", Read: read.Add(-12 * time.Second)},
			{Name: "s3"},
		},
		Edges: []metrics.Edge{
			{Source: "guest", Destination: "*", Denied: metrics.Figure{Total: 9, PerSecond: 3}},
			{Source: "web", Destination: "api", Attempts: metrics.Figure{PerSecond: 12}, Packets: metrics.Figure{PerSecond: 120}, Bytes: metrics.Figure{Total: 5_000_000, PerSecond: 12_340}},
			{Source: "web", Destination: "mail\x1b[2J\n"},
		},
		Instances: []metrics.Instance{
			{Service: "api", ID: "h1/api-1", Connections: metrics.Figure{PerSecond: 9}, Share: 0.75, Bytes: metrics.Figure{PerSecond: 2e6}},
			{Service: "api", ID: "h2/api-2", Connections: metrics.Figure{PerSecond: 3}, Share: 0.25, Resets: metrics.Figure{PerSecond: 1}},
		},
	}
}

func shopView(t *testing.T) view {
	t.Helper()
	source := &fakeTraffic{traffic: func(int) (metrics.Traffic, error) {
		return shopTraffic(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)), nil
	}}
	v, err := look(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	v.Time = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	return v
}

func TestPrintView(t *testing.T) {
	const want = `Lab shop, 12:00:00
  s2: no rates; counters read 12 s ago
  s3: no counters yet
  refused 1.5/s, spoofed 0.0/s, DNS 2.0/s

FROM   TO          ATTEMPTS/s   PACKETS/s     BYTES/s   DENIED/s       BYTES
web    api               12.0       120.0     12.3 kB        0.0      5.0 MB
guest  *                  0.0         0.0      0.0 B         3.0      0.0 B
web    mail?[2J?          0.0         0.0      0.0 B         0.0      0.0 B

SERVICE  INSTANCE  HEALTH       CONN/s   SHARE     BYTES/s   RESETS/s  UNANSWERED/s       BYTES
api      h1/api-1  passing         9.0   75.0%      2.0 MB        0.0           0.0      0.0 B
api      h2/api-2  critical        3.0   25.0%      0.0 B         1.0           0.0      0.0 B

`
	var b strings.Builder
	if err := printView(&b, shopView(t)); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestAlerts(t *testing.T) {
	var red []string
	for _, l := range shopView(t).lines(0) {
		if l.kind == alertLine {
			red = append(red, strings.Fields(l.text)[0]+" "+strings.Fields(l.text)[1])
		}
	}
	v := view{Traffic: metrics.Traffic{Edges: []metrics.Edge{{Destination: "*", Denied: metrics.Figure{Total: 1}}}}}
	if got := v.edgeLines()[1].text; !strings.HasPrefix(got, "(unknown)  * ") {
		t.Errorf("a source that the switch cannot tell: %q", got)
	}
	if got := strings.Join(red, ", "); got != "s2: no, s3: no, guest *, api h2/api-2" {
		t.Errorf("red lines: %s", got)
	}
}

func TestViewFitsTheTerminal(t *testing.T) {
	v := shopView(t)
	v.Datapaths = v.Datapaths[:1]
	for i := range 100 {
		v.Edges = append(v.Edges, metrics.Edge{Source: fmt.Sprint(i)})
	}
	few := v.Instances
	for i := range 100 {
		v.Instances = append(v.Instances, metrics.Instance{ID: fmt.Sprint(i)})
	}
	for _, height := range []int{1, 5, 10, 24, 50, 300} {
		if got := len(v.lines(height)); got > height {
			t.Errorf("%d lines on a terminal of %d", got, height)
		}
	}
	text := func(v view, height int) (all string) {
		for _, l := range v.lines(height) {
			all += l.text + "\n"
		}
		return all
	}
	if got := text(v, 24); strings.Count(got, "... and ") != 2 || !strings.Contains(got, "h1/api-1") || !strings.Contains(got, "... and 95 more\n\nSERVICE") {
		t.Errorf("both tables too long:\n%s", got)
	}
	v.Instances = few
	if got := text(v, 24); strings.Count(got, "... and ") != 1 || !strings.Contains(got, "h2/api-2") || strings.Count(got, "\n") != 24 {
		t.Errorf("one table too long, the other gives it its room:\n%s", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0.0 B", 999: "999.0 B", 999.96: "1.0 kB", 1000: "1.0 kB", 12_340: "12.3 kB", 999_950: "1.0 MB", 5e9: "5.0 GB", 1e22: "10000.0 EB",
	} {
		if got := strings.TrimSpace(size(n)); got != want {
			t.Errorf("%g: %q, want %q", n, got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	gone := errors.New("the lab is gone")
	for name, tc := range map[string]struct {
		keys  []byte
		fails int // every view from that one on; 0: none
		want  error
		shown int
	}{
		"q ends it":                     {[]byte("xq"), 0, nil, 1},
		"Ctrl-C of a raw terminal":      {[]byte{3}, 0, nil, 1},
		"an error that show passes on":  {nil, 3, gone, 2},
		"keys that mean nothing do not": {[]byte("abc"), 3, gone, 2},
	} {
		t.Run(name, func(t *testing.T) {
			keys := make(chan byte, len(tc.keys))
			for _, k := range tc.keys {
				keys <- k
			}
			source := &fakeTraffic{traffic: func(asked int) (metrics.Traffic, error) {
				if tc.fails > 0 && asked >= tc.fails {
					return metrics.Traffic{}, gone
				}
				return shopTraffic(time.Now()), nil
			}}
			every := time.Millisecond
			if tc.fails == 0 {
				every = time.Hour // only a key can end it
			}
			shown := 0
			err := follow(t.Context(), source, every, keys, func(v view, err error) error {
				if err == nil && v.Lab == "shop" {
					shown++
				}
				return err
			})
			if !errors.Is(err, tc.want) || shown != tc.shown {
				t.Errorf("%d views and %v, want %d and %v", shown, err, tc.shown, tc.want)
			}
		})
	}
	t.Run("an error that passes", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		shown, missed := 0, 0
		source := &fakeTraffic{traffic: func(asked int) (metrics.Traffic, error) {
			if asked == 2 {
				return metrics.Traffic{}, gone
			}
			return shopTraffic(time.Now()), nil
		}}
		err := follow(ctx, source, time.Millisecond, nil, func(_ view, err error) error {
			if err != nil {
				missed++
			} else if shown++; shown == 3 {
				cancel()
			}
			return nil
		})
		if err != nil || shown != 3 || missed != 1 {
			t.Errorf("%d views, %d errors, %v", shown, missed, err)
		}
	})
}

// A lab that has just come up has no rates at first.
func TestLookForRates(t *testing.T) {
	for name, tc := range map[string]struct {
		from  int // number of the first answer with rates
		asked int
		rates bool
	}{
		"at once":  {1, 1, true},
		"later":    {3, 3, true},
		"not soon": {100, 5, false},
	} {
		t.Run(name, func(t *testing.T) {
			source := &fakeTraffic{traffic: func(asked int) (metrics.Traffic, error) {
				traffic := shopTraffic(time.Now())
				if asked < tc.from {
					traffic.Datapaths[0].IntervalSeconds = 0
				}
				return traffic, nil
			}}
			v, err := lookForRates(t.Context(), source, time.Millisecond)
			if err != nil || source.asked != tc.asked || v.hasRates() != tc.rates {
				t.Errorf("asked %d times, rates %v, %v", source.asked, v.hasRates(), err)
			}
		})
	}
}

func TestViewAsJSON(t *testing.T) {
	text, err := json.Marshal(shopView(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"lab":"shop"`, `"edges":[{"source":"guest"`, `"health":{"h1/api-1":"passing"`, `"datapaths":[`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the JSON lacks %s: %s", want, text)
		}
	}
}

func TestTopNamesALab(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"two labs":      {[]string{"a", "b"}, "accepts at most 1 arg"},
		"not up":        {[]string{"no-such-lab-is-up"}, "lab no-such-lab-is-up"},
		"not up, graph": {[]string{"no-such-lab-is-up", "--live"}, "lab no-such-lab-is-up"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTop()
			if len(tc.args) == 2 && tc.args[1] == "--live" {
				c = newGraph()
			}
			c.SetArgs(tc.args)
			c.SetOut(io.Discard)
			c.SetErr(io.Discard)
			if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestDrawView(t *testing.T) {
	v := shopView(t)
	for format, want := range map[string][]string{
		"svg":     {"Services of the lab shop at 12:00:00", ">12.0 conn/s<", ">12.3 kB/s<", ">3.0 denied/s<", ">any service<"},
		"dot":     {`"guest" -> "any service"`, `"web" -> "api" [label="12.0 conn/s\n12.3 kB/s", color="#1f4e79"`, `color="#b42318"`},
		"mermaid": {"flowchart LR\n", "12.0 conn/s<br/>12.3 kB/s"},
		"text":    {"FROM   TO ", "web    api               12.0"},
	} {
		var b strings.Builder
		if err := drawView(&b, v, format); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s lacks %q:\n%s", format, w, b.String())
			}
		}
		if format == "svg" {
			if err := xml.Unmarshal([]byte(b.String()), new(struct{})); err != nil {
				t.Errorf("SVG: %v", err)
			}
		}
	}
	var usage usageError
	if err := drawView(&strings.Builder{}, v, "png"); !errors.As(err, &usage) {
		t.Errorf("png: %v, want a usage error", err)
	}
}
