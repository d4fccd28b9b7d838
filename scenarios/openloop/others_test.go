package openloop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// fortioCommand is what is built when no fortio is on the PATH: the newest
// whose command needs nothing that module proxies refuse.
const fortioCommand = "fortio.org/fortio@v1.66.5"

const (
	othersRounds      = 5
	othersConnections = 8
	othersTime        = 2 * time.Second // of one measurement
	othersRate        = 1000            // per second, where requests are paced
)

// BenchmarkOthers compares the generator with wrk and with Fortio's command on
// one server, a process of its own that answers 1 KiB over the loopback
// interface of the same machine: how many requests a second they reach, and at
// 1,000 a second what they take of the processors and how late the generator
// is. All of them take turns, in five rounds of about 8 seconds; figures are
// medians, and ratios are within a round. Run it on a quiet machine:
//
//	go test -run '^$' -bench '^BenchmarkOthers$' -benchtime 1x ./scenarios/openloop
func BenchmarkOthers(b *testing.B) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		b.Skip("needs wrk: apt-get install wrk")
	}
	fortio := findFortio(b)
	url := bareServer(b)
	g := generatorSpec(&target{url: url})
	g.Connections = othersConnections
	p, err := Start(b.Context(), command(b, "generate"), g)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()

	for b.Loop() {
		var t table
		for range othersRounds {
			t.add("wrk, as fast as it goes", runWrk(b, wrk, url))
			t.add("Fortio, as fast as it goes", runFortio(b, fortio, url, 0))
			// More than any can send: what is sent is the ceiling.
			t.add("meshlab, as fast as it goes", runTrial(b, p, maxRate, 20_000))
			t.add("Fortio, 1000/s", runFortio(b, fortio, url, othersRate))
			t.add("meshlab, 1000/s", runTrial(b, p, othersRate, int(othersTime.Seconds()*othersRate)))
		}
		b.Log("\n" + t.String())
		b.ReportMetric(t.ratio(2, 0, sample.perSecond), "ceiling/wrk")
		b.ReportMetric(t.ratio(2, 1, sample.perSecond), "ceiling/fortio")
		b.ReportMetric(t.ratio(4, 3, sample.cpuEach), "cpu/fortio")
		b.ReportMetric(t.median(4, func(s sample) float64 { return s.late }), "late-p99-ms")
		b.ReportMetric(0, "ns/op") // the time of the whole comparison tells nothing
	}
}

// sample is one measurement of one program.
type sample struct {
	requests float64
	seconds  float64
	cpu      float64 // seconds
	late     float64 // milliseconds, p99; of meshlab
}

func (s sample) perSecond() float64 { return s.requests / s.seconds }

func (s sample) cpuEach() float64 { return s.cpu / s.requests * 1e6 } // microseconds

// table holds the samples by program, in the order in which they were added
// first, and by round.
type table struct {
	names   []string
	samples [][]sample
}

func (t *table) add(name string, s sample) {
	for i, n := range t.names {
		if n == name {
			t.samples[i] = append(t.samples[i], s)
			return
		}
	}
	t.names, t.samples = append(t.names, name), append(t.samples, []sample{s})
}

func (t *table) median(i int, of func(sample) float64) float64 {
	var all []float64
	for _, s := range t.samples[i] {
		all = append(all, of(s))
	}
	return stats.Median(all)
}

// ratio is the median over rounds of what one program has by what another has.
func (t *table) ratio(i, j int, of func(sample) float64) float64 {
	var all []float64
	for k, s := range t.samples[i] {
		all = append(all, of(s)/of(t.samples[j][k]))
	}
	return stats.Median(all)
}

func (t *table) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\trequests/s\tCPU us/request\tlateness p99 ms\t")
	for i, name := range t.names {
		late := "-"
		if strings.HasPrefix(name, "meshlab") {
			late = fmt.Sprintf("%.3f", t.median(i, func(s sample) float64 { return s.late }))
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.1f\t%s\t\n", name, t.median(i, sample.perSecond), t.median(i, sample.cpuEach), late)
	}
	w.Flush()
	return b.String()
}

func runTrial(b *testing.B, p *Process, rate float64, requests int) sample {
	b.Helper()
	o, err := p.Trial(b.Context(), scenarios.TrialSpec{
		Requests: requests, Rate: rate, Arrivals: scenarios.Poisson, Seed: 1, Limit: 30 * time.Second,
	})
	if err != nil {
		b.Fatal(err)
	}
	if n := o.Sides[0].Errors; n > 0 {
		b.Fatalf("%d errors: %v", n, o.Sides[0].ErrorKind)
	}
	return sample{float64(requests), o.Seconds, o.Generator.CPUSeconds, o.Generator.Lateness.P99}
}

// runTool runs a program and returns its output and the processor time it took.
func runTool(b *testing.B, name string, args ...string) (out []byte, cpu float64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	out, err := c.Output()
	if err != nil {
		b.Fatalf("%s: %v: %s", name, err, out)
	}
	return out, (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds()
}

var wrkLine = regexp.MustCompile(`(\d+) requests in ([\d.]+)s`)

func runWrk(b *testing.B, wrk, url string) sample {
	b.Helper()
	out, cpu := runTool(b, wrk, "-t1", fmt.Sprint("-c", othersConnections), fmt.Sprint("-d", othersTime), url)
	m := wrkLine.FindSubmatch(out)
	if m == nil {
		b.Fatalf("wrk says %s", out)
	}
	n, nerr := strconv.ParseFloat(string(m[1]), 64)
	s, serr := strconv.ParseFloat(string(m[2]), 64)
	if err := errors.Join(nerr, serr); err != nil {
		b.Fatal(err)
	}
	return sample{requests: n, seconds: s, cpu: cpu}
}

func runFortio(b *testing.B, fortio, url string, rate int) sample {
	b.Helper()
	out, cpu := runTool(b, fortio, "load", "-quiet", "-c", fmt.Sprint(othersConnections), "-qps", fmt.Sprint(rate),
		"-t", othersTime.String(), "-json", "-", url)
	var r struct {
		ActualDuration    time.Duration
		RetCodes          map[string]int
		DurationHistogram struct{ Count float64 }
	}
	if err := json.Unmarshal(out, &r); err != nil {
		b.Fatalf("fortio says %s: %v", out, err)
	}
	if n := float64(r.RetCodes["200"]); n == 0 || n != r.DurationHistogram.Count {
		b.Fatalf("fortio met errors: %v", r.RetCodes)
	}
	return sample{requests: r.DurationHistogram.Count, seconds: r.ActualDuration.Seconds(), cpu: cpu}
}

func findFortio(b *testing.B) string {
	b.Helper()
	if path, err := exec.LookPath("fortio"); err == nil {
		return path
	}
	dir := b.TempDir()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "go", "install", fortioCommand)
	c.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		b.Skipf("build Fortio's command: %v: %s", err, out)
	}
	return filepath.Join(dir, "fortio")
}

// bareServer starts this test's program as a server and returns its URL.
func bareServer(b *testing.B) string {
	b.Helper()
	args := command(b, "serve")
	c := exec.Command(args[0], args[1:]...)
	stdin, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		_ = c.Wait()
	})
	var url string
	if err := json.NewDecoder(out).Decode(&url); err != nil {
		b.Fatal(err)
	}
	return url
}

// serveBare answers 1 KiB to all requests until standard input ends.
func serveBare() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	body := []byte(strings.Repeat("meshlab ", 128))
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	}()
	if err := json.NewEncoder(os.Stdout).Encode("http://" + l.Addr().String() + "/"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
