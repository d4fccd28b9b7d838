//go:build integration

package pipeline_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// load is what wrk measured.
type load struct {
	p50       time.Duration
	rate      float64       // requests per second
	requests  float64       // all of them
	switchCPU time.Duration // processor time of ovs-vswitchd meanwhile
}

var (
	wrkP50   = regexp.MustCompile(`50%\s+([0-9.]+)(us|ms|s)\n`)
	wrkRate  = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkCount = regexp.MustCompile(`([0-9]+) requests in`)
	wrkBad   = regexp.MustCompile(`Socket errors:.*|Non-2xx.*`)
)

// wrk loads a URL from h1 for some seconds. A failed request fails the test.
func (l *realLab) wrk(url string, connections, seconds int, args ...string) load {
	l.t.Helper()
	args = append([]string{"netns", "exec", l.ns["h1"], "wrk", "--latency", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", seconds)}, args...)
	before := l.ovs.SwitchCPU()
	out, err := exec.Command("ip", append(args, url)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("run wrk (Debian package wrk): %v: %s", err, out)
	}
	cpu := l.ovs.SwitchCPU() - before
	if bad := wrkBad.Find(out); bad != nil {
		l.t.Errorf("%s with %d connections: %s", url, connections, bad)
	}
	p50, rate, count := wrkP50.FindSubmatch(out), wrkRate.FindSubmatch(out), wrkCount.FindSubmatch(out)
	if p50 == nil || rate == nil || count == nil {
		l.t.Fatalf("read the output of wrk: %s", out)
	}
	d, err := time.ParseDuration(string(p50[1]) + string(p50[2]))
	if err != nil {
		l.t.Fatalf("read the output of wrk: %v: %s", err, out)
	}
	return load{d, l.number(rate[1]), l.number(count[1]), cpu}
}

func (l *realLab) number(text []byte) float64 {
	l.t.Helper()
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		l.t.Fatalf("read a number: %v", err)
	}
	return v
}

// serveHTTP answers every request at a port of a host with a body of size bytes.
func (l *realLab) serveHTTP(host string, port uint16, size int) {
	l.t.Helper()
	body := bytes.Repeat([]byte("x"), size)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body) // the client's count tells of errors
	})}
	ln := l.listen(host, port)
	go srv.Serve(ln) //nolint:errcheck // ends with the listener
	l.t.Cleanup(func() { srv.Close() })
}
