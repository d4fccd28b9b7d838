//go:build integration

package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tool finds a program of the Debian package prometheus, which .ci/testdeps
// unpacks into the cache.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	cache, cacheErr := os.UserCacheDir()
	if cacheErr != nil {
		t.Fatal(cacheErr)
	}
	path = filepath.Join(cache, "meshlab", "prometheus", "usr", "bin", name)
	if _, statErr := os.Stat(path); statErr != nil {
		t.Fatalf("%v, and %v: run .ci/testdeps", err, statErr)
	}
	return path
}

// eventually asks until ask returns no error, for at most 20 s.
func eventually(t *testing.T, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-tick.C
	}
}

// startPrometheus runs a Prometheus that scrapes a target 5 times a second,
// and returns the URL of its API.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\nscrape_configs:\n  - job_name: meshlab\n    static_configs:\n      - targets: [%q]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		stuck := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer stuck.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("Prometheus ended with %v and said\n%s", err, said)
		}
		log.Close()
	})
	return "http://" + address
}

// answer is what the API of Prometheus says to a query.
type answer struct {
	Status string
	Error  string
	Data   struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any // time, value as text
		}
	}
}

func ask(t *testing.T, api, query string) (answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return answer{}, fmt.Errorf("read answer to %s: %w", query, err)
	}
	if a.Status != "success" {
		return a, fmt.Errorf("query %s: %s", query, a.Error)
	}
	return a, nil
}

// A real Prometheus scrapes the page and answers questions about it, those of
// the dashboard too.
func TestPrometheusScrapes(t *testing.T) {
	traffic := busyTraffic(time.Now)
	var scrapes atomic.Uint64
	e, err := NewExporter(Config{Traffic: traffic, Loop: busyLoop(), Refresh: func(context.Context) {
		n := scrapes.Add(1)
		var stats []Stat
		for c := range uint64(12) {
			stats = append(stats, Stat{c + 1, (10 + n) * (c + 1), 1000 * (10 + n) * (c + 1)})
		}
		traffic.Begin("s1").End(stats)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		e.Converged("s1", 3*time.Millisecond)
	}
	server := httptest.NewServer(e.Handler())
	defer server.Close()
	api := startPrometheus(t, strings.TrimPrefix(server.URL, "http://"))

	value := func(query string) (string, error) {
		a, err := ask(t, api, query)
		if err != nil {
			return "", err
		}
		if len(a.Data.Result) != 1 {
			return "", fmt.Errorf("query %s: %d series, want 1", query, len(a.Data.Result))
		}
		return fmt.Sprint(a.Data.Result[0].Value[1]), nil
	}
	for query, want := range map[string]string{
		`up{job="meshlab"}`: "1",
		`meshlab_denied_packets_total{source="guest",destination="api"} / ignoring(source) meshlab_sent_packets_total{source="web",destination="api"}`: "2.3333333333333335",
		`meshlab_resets_total{service_instance="h1/api-1"}`:                       "5",
		`meshlab_flows{datapath="s1"}`:                                            "75",
		`sum(meshlab_warning_info)`:                                               "2",
		`histogram_quantile(1, sum by (le) (meshlab_convergence_seconds_bucket))`: "0.003",
	} {
		eventually(t, func() error {
			got, err := value(query)
			if err == nil && got != want {
				err = fmt.Errorf("query %s: %s, want %s", query, got, want)
			}
			return err
		})
	}
	eventually(t, func() error {
		got, err := value(`sum(rate(meshlab_sent_bytes_total{destination="api"}[5s])) > bool 1000`)
		if err == nil && got != "1" {
			err = fmt.Errorf("no rate yet")
		}
		return err
	})
	// Of the dashboard, every question is one that Prometheus understands, and
	// each panel shows something.
	for panel, queries := range readDashboard(t).queries() {
		eventually(t, func() error {
			n := 0
			for _, q := range queries {
				a, err := ask(t, api, q)
				if err != nil {
					return fmt.Errorf("panel %q: %w", panel, err)
				}
				n += len(a.Data.Result)
			}
			if n == 0 {
				return fmt.Errorf("panel %q shows nothing", panel)
			}
			return nil
		})
	}
}

func TestPromtoolFindsNoFault(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), tool(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, newBusyExporter(t)))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
