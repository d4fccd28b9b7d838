package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fortio.org/fortio/fhttp"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

func fortioResults(t *testing.T, dir string, r *scenarios.Result) map[string]*fhttp.HTTPRunnerResults {
	t.Helper()
	paths, err := WriteDir(dir, "fortio", []*scenarios.Result{r})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*fhttp.HTTPRunnerResults)
	for _, p := range paths {
		body, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		var res fhttp.HTTPRunnerResults
		if err := json.Unmarshal(body, &res); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if res.RunnerResults.ID+".json" != filepath.Base(p) {
			t.Errorf("%s has the id %s", p, res.RunnerResults.ID)
		}
		all[res.Labels] = &res
	}
	return all
}

func TestFortioFiles(t *testing.T) {
	all := fortioResults(t, t.TempDir(), tiny(t))
	if len(all) != 7 {
		t.Errorf("%d files, want 3 of attempts and 4 of sides", len(all))
	}
	later := all["api, ovs, MN, attempt 2"]
	if later == nil || later.DurationHistogram.Count != 4 || later.RetCodes[200] != 4 || later.NumThreads != 8 || later.RequestedQPS != "max" {
		t.Fatalf("attempt 2: %+v", later)
	}
	near(t, "min", later.DurationHistogram.Min, 0.001)
	near(t, "max", later.DurationHistogram.Max, 0.004)
	near(t, "avg", later.DurationHistogram.Avg, 0.0025)
	near(t, "standard deviation", later.DurationHistogram.StdDev, 0.001118034)
	near(t, "p50", later.DurationHistogram.Percentiles[0].Value, 0.002)

	failed := all["api, consul-connect, MN, attempt 1, 3 of 3 failed"]
	if failed == nil || !failed.Error || failed.RetCodes[-1] != 3 || failed.DurationHistogram.Count != 0 {
		t.Errorf("without a success: %+v", failed)
	}
	side := all["api, ovs (new), MN, latency from the intended start, 2 of 8 failed"]
	if side == nil || side.DurationHistogram.Count != 6 || side.RequestedQPS != "2" || side.Exactly != 8 {
		t.Fatalf("side: %+v", side)
	}
	near(t, "both trials' average", side.DurationHistogram.Avg, (2.25+3.25+4.25+5.25+1.25+3.25)/6000)
	if sum := side.DurationHistogram.Sum; math.Abs(sum-0.0195) > 1e-12 {
		t.Errorf("sum %v, want what the document has: 0.0195", sum)
	}
	if side.RetCodes[200] != 6 || side.RetCodes[-1] != 2 {
		t.Errorf("codes %v, want 6 and 2", side.RetCodes)
	}
	near(t, "rate", side.ActualQPS, 1.5)
	service := all["api, ovs (new), MN, service time, 2 of 8 failed"]
	near(t, "its service time", service.DurationHistogram.Min, 0.001)
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.002*math.Abs(want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func TestFortioFilesOfTwoRunsStayApart(t *testing.T) {
	files, err := WriteDir(t.TempDir(), "fortio", []*scenarios.Result{tiny(t), tiny(t)})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var res fhttp.HTTPRunnerResults
		if err := json.Unmarshal(body, &res); err != nil {
			t.Fatal(err)
		}
		if res.RunnerResults.ID+".json" != filepath.Base(f) || seen[f] {
			t.Errorf("%s has the id %s, or is there twice", f, res.RunnerResults.ID)
		}
		seen[f] = true
	}
	if len(seen) != 14 {
		t.Errorf("%d files, want 14", len(seen))
	}
}

func TestFortioNamesTheURL(t *testing.T) {
	all := fortioResults(t, t.TempDir(), sample.Result(sample.Small))
	if got := all["frontend, direct, MN, service time"].URL; got != "http://frontend/" {
		t.Errorf("URL %q, want the one of the lab file", got)
	}
}

// fortioReport starts Fortio's pages with the data of a directory and returns
// their address.
func fortioReport(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "fortioreport")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/fortioreport").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.Command(program, dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has no other end
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if at := strings.Index(lines.Text(), "http://"); at >= 0 {
			address := strings.TrimRight(lines.Text()[at:], "/ ")
			waitFor(t, address+"/data/") // it answers before it has all its handlers
			return address
		}
	}
	t.Fatalf("it ended without saying its address: %v", lines.Err())
	return ""
}

func waitFor(t *testing.T, url string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		resp, err := http.Get(url)
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s does not answer", url)
}

// TestFortioReportShowsThem starts Fortio's own report server and asks it for
// what a browser would.
func TestFortioReportShowsThem(t *testing.T) {
	dir := t.TempDir()
	all := fortioResults(t, dir, tiny(t))
	address := fortioReport(t, dir)
	get := func(path string) string {
		t.Helper()
		resp, err := http.Get(address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		return string(body)
	}
	index, page := get("/data/"), get("/")
	for labels, want := range all {
		if !strings.Contains(index, want.RunnerResults.ID+".json") || !strings.Contains(page, want.RunnerResults.ID) {
			t.Errorf("%s is not in the lists", want.RunnerResults.ID)
		}
		var res fhttp.HTTPRunnerResults
		if err := json.Unmarshal([]byte(get("/data/"+want.RunnerResults.ID+".json")), &res); err != nil {
			t.Fatal(err)
		}
		if res.Labels != labels || res.DurationHistogram.Count != want.DurationHistogram.Count {
			t.Errorf("%s: %+v", want.RunnerResults.ID, res)
		}
		if !strings.Contains(get(fmt.Sprintf("/?url=%s.json", want.RunnerResults.ID)), want.RunnerResults.ID) {
			t.Errorf("the page of %s does not name it", want.RunnerResults.ID)
		}
	}
}
