//go:build integration

package pipeline_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// direct and meshed are the ways to the server. Its port differs, as else
// connections of both ways would meet in TIME_WAIT at the server.
const (
	direct = "http://" + h3 + ":81/"
	meshed = "http://" + vip + ":9000/"
)

// benchLab has a server with 1 KiB answers on h3, which h1 reaches at h3
// itself and, through the mesh, at the virtual address.
func benchLab(b *testing.B) *realLab {
	b.Helper()
	l := newRealLab(b)
	l.install(snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80")))
	body := bytes.Repeat([]byte("x"), 1024)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body) // the client's count tells of errors
	}), ReadHeaderTimeout: patience}
	for _, port := range []uint16{80, 81} {
		ln := l.listen("h3", port)
		go srv.Serve(ln) //nolint:errcheck // ends with the listener
	}
	b.Cleanup(func() { srv.Close() })
	return l
}

// load is what wrk measured. Rate is requests per second.
type load struct {
	p50  time.Duration
	rate float64
}

var (
	wrkP50  = regexp.MustCompile(`50%\s+([0-9.]+)(us|ms|s)\n`)
	wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkBad  = regexp.MustCompile(`Socket errors:.*|Non-2xx.*`)
)

// wrk loads a URL from h1 for some seconds.
func (l *realLab) wrk(url string, connections, seconds int, args ...string) load {
	l.t.Helper()
	args = append([]string{"netns", "exec", l.ns["h1"], "wrk", "--latency", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", seconds)}, args...)
	out, err := exec.Command("ip", append(args, url)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("run wrk (Debian package wrk): %v: %s", err, out)
	}
	if bad := wrkBad.Find(out); bad != nil {
		l.t.Errorf("%s with %d connections: %s", url, connections, bad)
	}
	p50, rate := wrkP50.FindSubmatch(out), wrkRate.FindSubmatch(out)
	if p50 == nil || rate == nil {
		l.t.Fatalf("read the output of wrk: %s", out)
	}
	d, err := time.ParseDuration(string(p50[1]) + string(p50[2]))
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := strconv.ParseFloat(string(rate[1]), 64)
	if err != nil {
		l.t.Fatal(err)
	}
	return load{d, r}
}

// BenchmarkKeepAlive compares plain switching and the mesh in one run, a
// second each in turn; metrics are ratios of the mesh to plain switching.
func BenchmarkKeepAlive(b *testing.B) {
	l := benchLab(b)
	for _, connections := range []int{1, 8, 64} {
		b.Run(strconv.Itoa(connections), func(b *testing.B) {
			var plain, mesh load
			rounds := 0
			for b.Loop() {
				d, m := l.wrk(direct, connections, 1), l.wrk(meshed, connections, 1)
				plain.p50, plain.rate = plain.p50+d.p50, plain.rate+d.rate
				mesh.p50, mesh.rate = mesh.p50+m.p50, mesh.rate+m.rate
				rounds++
			}
			b.ReportMetric(float64(plain.p50.Microseconds())/float64(rounds), "direct-p50-us")
			b.ReportMetric(float64(mesh.p50)/float64(plain.p50), "p50-ratio")
			b.ReportMetric(mesh.rate/plain.rate, "rate-ratio")
		})
	}
}

// BenchmarkChurn makes a connection per request, 8 at a time, in bursts of
// five seconds. first and last are connections per second of the first and
// the last burst: tracking must not wear out.
func BenchmarkChurn(b *testing.B) {
	l := benchLab(b)
	var first, last, plain, total float64
	for b.Loop() {
		d := l.wrk(direct, 8, 5, "-H", "Connection: close")
		m := l.wrk(meshed, 8, 5, "-H", "Connection: close")
		if first == 0 {
			first = m.rate
		}
		plain, last, total = d.rate, m.rate, total+5*m.rate
	}
	b.ReportMetric(first, "first/s")
	b.ReportMetric(last, "last/s")
	b.ReportMetric(last/plain, "of-direct")
	b.ReportMetric(total, "connections")
}
