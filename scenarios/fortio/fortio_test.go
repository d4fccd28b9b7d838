package fortio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	fstats "fortio.org/fortio/stats"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

func specFor(url string) scenarios.LoadSpec {
	return scenarios.LoadSpec{
		RequestSpec: scenarios.RequestSpec{URL: url, Method: http.MethodGet, Status: http.StatusOK, Contains: []string{"coffee"}},
		Connections: 4, Requests: 42, Timeout: 5 * time.Second, Limit: 30 * time.Second,
	}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestRunMeasures(t *testing.T) {
	var conns atomic.Int64
	var got atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Host != "shop" || r.Header.Get("X-Lab") != "yes" || string(body) != "{}" || r.URL.Path != "/api" {
			http.Error(w, "wrong request", http.StatusBadRequest)
			return
		}
		got.Add(1)
		// Chunked, with the expected text across the border of two chunks.
		_, _ = io.WriteString(w, "cof")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "fee")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)

	spec := specFor(s.URL + "/api")
	spec.Method, spec.Body = http.MethodPost, "{}"
	spec.Headers = map[string]string{"host": "shop", "X-Lab": "yes"}
	a, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if a.Errors != 0 || a.Requests != 42 || got.Load() != 42 {
		t.Fatalf("%d requests, %d errors %v, the server saw %d; want 42, 0, 42", a.Requests, a.Errors, a.ErrorKind, got.Load())
	}
	if conns.Load() != 4 {
		t.Errorf("%d connections, want 4 that are kept", conns.Load())
	}
	if a.Min <= 0 || a.Min > a.P50 || a.P50 > a.P90 || a.P90 > a.P99 || a.P99 > a.Max || a.Avg > a.Max {
		t.Errorf("latencies out of order: %+v", a)
	}
	if want := 42 / a.Seconds; math.Abs(a.RequestsPerSecond-want) > 1e-6*want {
		t.Errorf("%v requests/s, want %v", a.RequestsPerSecond, want)
	}

	doc := scenarios.Result{SchemaVersion: scenarios.SchemaVersion, ID: "x", Cells: []scenarios.Cell{
		{Request: "api", Pods: scenarios.SingleNode, Connections: 4, Mesh: "ovs", Attempts: []scenarios.Attempt{a}},
	}}
	if err := doc.Validate(); err != nil {
		t.Errorf("the attempt does not fit into a document: %v", err)
	}
	h, err := stats.DecodeHDR(a.HDR)
	if err != nil {
		t.Fatal(err)
	}
	if h.TotalCount() != 42 || math.Abs(float64(h.Max())/1000-a.Max) > 0.002*a.Max+0.002 {
		t.Errorf("HDR: %d values up to %d us; max is %v ms", h.TotalCount(), h.Max(), a.Max)
	}
	var f fstats.HistogramData
	if err := json.Unmarshal(a.Fortio, &f); err != nil {
		t.Fatal(err)
	}
	if f.Count != 42 || math.Abs(f.Max*1000-a.Max) > 1e-9 || len(f.Data) == 0 {
		t.Errorf("Fortio's histogram: %+v; max is %v ms", f, a.Max)
	}
}

func TestRunMeasuresTheWholeAnswer(t *testing.T) {
	const delay = 30 * time.Millisecond
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "coffee")
		w.(http.Flusher).Flush()
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "end")
	})
	a, err := Run(t.Context(), specFor(url))
	if err != nil {
		t.Fatal(err)
	}
	if a.Min < 30 {
		t.Errorf("fastest answer %v ms, but its last byte comes after %v", a.Min, delay)
	}
}

// everyNth answers well except to each n-th request, which fault gets.
func everyNth(n int64, fault http.HandlerFunc) http.HandlerFunc {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1)%n == 0 {
			fault(w, r)
			return
		}
		_, _ = io.WriteString(w, "nine coffees")
	}
}

func hijack(t *testing.T, w http.ResponseWriter) *net.TCPConn {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return nil
	}
	return c.(*net.TCPConn)
}

func TestRunCountsErrors(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	tests := []struct {
		name  string
		fault http.HandlerFunc
		kind  string
	}{
		{"status", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no coffee", http.StatusServiceUnavailable)
		}, "status 503"},
		{"another good status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "coffee")
		}, "status 202"},
		{"wrong body", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "tea") }, `body without "coffee"`},
		{"empty body", func(http.ResponseWriter, *http.Request) {}, `body without "coffee"`},
		{"hang", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}, "timeout"},
		{"closed without a word", func(w http.ResponseWriter, _ *http.Request) {
			_ = hijack(t, w).Close()
		}, "connection closed early"},
		{"closed in the body", func(w http.ResponseWriter, _ *http.Request) {
			c := hijack(t, w)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncoffee")
			_ = c.Close()
		}, "connection closed early"},
		{"reset", func(w http.ResponseWriter, _ *http.Request) {
			c := hijack(t, w)
			_ = c.SetLinger(0)
			_ = c.Close()
		}, "connection reset"},
		{"not HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c := hijack(t, w)
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n\r\n")
			_ = c.Close()
		}, "malformed answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spec := specFor(serve(t, everyNth(7, tt.fault)))
			spec.Timeout = 500 * time.Millisecond
			a, err := Run(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			// 42 requests, each seventh of them wrong, none of them repeated.
			if want := map[string]int{tt.kind: 6}; a.Errors != 6 || !maps.Equal(a.ErrorKind, want) {
				t.Errorf("%d errors %v, want %v", a.Errors, a.ErrorKind, want)
			}
			h, err := stats.DecodeHDR(a.HDR)
			if err != nil {
				t.Fatal(err)
			}
			if h.TotalCount() != 36 {
				t.Errorf("%d latencies, want those of the 36 successes", h.TotalCount())
			}
			if tt.kind == "timeout" && a.Max >= 500 {
				t.Errorf("a latency of %v ms came out of a timeout of 500 ms", a.Max)
			}
		})
	}
}

func TestRunSpeaksOtherProtocols(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	spec := specFor("http://" + l.Addr().String())
	spec.RequestSpec = scenarios.RequestSpec{Protocol: scenarios.TCPEcho, URL: spec.URL, Body: "beans"}
	a, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if a.Requests != 42 || a.Errors != 0 || a.P50 <= 0 {
		t.Errorf("%d requests, errors %v", a.Requests, a.ErrorKind)
	}
}

func TestRunReconnectsWhenAsked(t *testing.T) {
	url := serve(t, everyNth(2, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "coffee")
	}))
	a, err := Run(t.Context(), specFor(url))
	if err != nil {
		t.Fatal(err)
	}
	if a.Errors != 0 {
		t.Errorf("errors %v; closing after an answer that says so is none", a.ErrorKind)
	}
}

func TestRunRefusedEverywhere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	a, err := Run(t.Context(), specFor(url))
	if err != nil {
		t.Fatal(err)
	}
	if a.ErrorKind["connection refused"] != 42 || a.Errors != 42 || a.HDR != "" || a.P50 != 0 || a.RequestsPerSecond != 0 {
		t.Errorf("got %+v, want 42 refused connections and no latency", a)
	}
}

func TestRunStopsAtItsLimit(t *testing.T) {
	url := serve(t, everyNth(3, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	spec := specFor(url)
	spec.Timeout, spec.Limit = 30*time.Second, 200*time.Millisecond
	start := time.Now()
	a, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v, the limit was 200ms", took)
	}
	// The third, sixth, ninth and twelfth request each block one connection.
	if a.ErrorKind["unanswered after 200ms"] != 4 || a.ErrorKind["not sent within 200ms"] != 30 {
		t.Errorf("errors %v, want 4 unanswered and 30 not sent", a.ErrorKind)
	}
	h, err := stats.DecodeHDR(a.HDR)
	if err != nil {
		t.Fatal(err)
	}
	if int(h.TotalCount())+a.Errors != a.Requests {
		t.Errorf("%d answers and %d errors of %d requests", h.TotalCount(), a.Errors, a.Requests)
	}
}

func TestRunIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	spec := specFor(url)
	spec.Timeout = 30 * time.Second
	start := time.Now()
	if _, err := Run(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v to stop", took)
	}
}

func TestRunRefusesSpecs(t *testing.T) {
	tests := []struct {
		name   string
		change func(*scenarios.LoadSpec)
		want   string
	}{
		{"fewer requests than connections", func(s *scenarios.LoadSpec) { s.Requests = 3 }, "requests 3"},
		{"no connection", func(s *scenarios.LoadSpec) { s.Connections = 0 }, "connections 0"},
		{"no timeout", func(s *scenarios.LoadSpec) { s.Timeout = 0 }, "timeout 0s"},
		{"timeout beyond the histogram", func(s *scenarios.LoadSpec) { s.Timeout = time.Hour }, "timeout 1h"},
		{"no limit", func(s *scenarios.LoadSpec) { s.Limit = 0 }, "limit 0s"},
		{"no status", func(s *scenarios.LoadSpec) { s.Status = 0 }, "expected status 0"},
		{"https", func(s *scenarios.LoadSpec) { s.URL = "https://localhost/" }, "want http://"},
		{"no host", func(s *scenarios.LoadSpec) { s.URL = "/api" }, "want http://"},
		{"bad method", func(s *scenarios.LoadSpec) { s.Method = "GE T" }, "invalid method"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := specFor("http://127.0.0.1:1/")
			tt.change(&spec)
			if _, err := Run(t.Context(), spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestMainReadsAndWrites(t *testing.T) {
	spec := specFor(serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "coffee") }))
	in, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Main(t.Context(), bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var a scenarios.Attempt
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatalf("output %q: %v", out.String(), err)
	}
	if a.Requests != 42 || a.Errors != 0 || a.P50 <= 0 {
		t.Errorf("got %+v", a)
	}
	for _, bad := range []string{"", "{", `{"urll": ""}`, `{"url": "http://127.0.0.1/"}`} {
		out.Reset()
		if err := Main(t.Context(), strings.NewReader(bad), &out); err == nil || out.Len() > 0 {
			t.Errorf("input %q: error %v, output %q; want an error and no output", bad, err, out.String())
		}
	}
}

func TestCeiling(t *testing.T) {
	for _, n := range []int{1, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c, err := Ceiling(t.Context(), n, 400)
			if err != nil {
				t.Fatal(err)
			}
			if c.Connections != n || c.Attempt.Requests != 400 || c.Attempt.RequestsPerSecond <= 0 {
				t.Errorf("got %+v", c)
			}
			t.Logf("%d connections: %.0f requests/s, p50 %.3f ms", n, c.Attempt.RequestsPerSecond, c.Attempt.P50)
		})
	}
}
