package export

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"fortio.org/fortio/jrpc"
	"fortio.org/fortio/periodic"
	fstats "fortio.org/fortio/stats"

	"meshlab.dev/meshlab/scenarios"
)

// fortioResolution is the width of the narrowest buckets of a histogram that
// is made here, in seconds; the scale of Fortio ends at 100,000 times that.
const fortioResolution = 0.00002

// fortioRun is what Fortio's pages read of a saved HTTP run: the part of its
// fhttp.HTTPRunnerResults that we know.
type fortioRun struct {
	periodic.RunnerResults
	RetCodes map[int]int
	URL      string
}

// fortioFiles makes a file for each attempt of a cell, and for each side of a
// duet, all trials together, two: one from the intended starts, one from the
// moments of sending. Ramps are left out. The names begin with the time, by
// which Fortio's list is ordered.
func fortioFiles(runs []run) ([]file, error) {
	var files []file
	taken := make(map[string]bool)
	add := func(r run, s series, points []point, what string, of func(point) *scenarios.Distribution) error {
		result, err := newFortioRun(r, s, points, of)
		if err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
		result.Labels = strings.Join(slices.DeleteFunc([]string{
			s.name(), s.variant, string(s.pods), what, failures(points),
		}, func(s string) bool { return s == "" }), ", ")
		stem := fmt.Sprintf("%s_%s_%s_%s_%dc_%s", result.StartTime.Format("2006-01-02-150405"),
			word(s.name()), s.pods, word(s.variant), s.connections, word(what))
		id := stem
		for n := 2; taken[id]; n++ {
			id = fmt.Sprintf("%s_%d", stem, n)
		}
		taken[id] = true
		result.ID = id
		body, err := json.MarshalIndent(result, "", " ")
		if err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
		files = append(files, file{id + ".json", append(body, '\n')})
		return nil
	}
	for _, r := range runs {
		for _, s := range r.series {
			switch s.loop {
			case closedLoop:
				for i, p := range s.points {
					if err := add(r, s, s.points[i:i+1], fmt.Sprintf("attempt %d", p.number), latencyOf); err != nil {
						return nil, err
					}
				}
			case openLoop:
				if err := add(r, s, s.points, "latency from the intended start", latencyOf); err != nil {
					return nil, err
				}
				if err := add(r, s, s.points, "service time", serviceOf); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: there are neither cells nor duets", ErrNothing)
	}
	return files, nil
}

// failures says how many requests failed, because Fortio's page would compute
// it from durations of failed requests, which are not known.
func failures(points []point) string {
	requests, errors := 0, 0
	for _, p := range points {
		requests, errors = requests+p.requests, errors+p.errors
	}
	if errors == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d failed", errors, requests)
}

func newFortioRun(r run, s series, points []point, of func(point) *scenarios.Distribution) (*fortioRun, error) {
	out := &fortioRun{RetCodes: make(map[int]int), URL: s.name()}
	if targets := r.targets(s); len(targets) == 1 {
		out.URL = targets[0].URL
	}
	out.RunType = "HTTP"
	out.Version = "meshlab " + r.Environment.Meshlab
	out.StartTime = points[0].started.UTC()
	out.NumThreads = s.connections
	out.RequestedQPS = "max"
	if s.loop == openLoop {
		out.RequestedQPS = number(s.rate)
		out.NoCatchUp = true
	}
	requests, successes, seconds := 0, 0, 0.0
	for _, p := range points {
		requests, successes, seconds = requests+p.requests, successes+p.successes(), seconds+p.seconds
	}
	out.RequestedDuration = fmt.Sprintf("exactly %d calls", requests)
	out.Exactly = int64(requests)
	out.ActualDuration = time.Duration(seconds * float64(time.Second))
	if seconds > 0 {
		out.ActualQPS = float64(successes) / seconds
	}
	if successes > 0 {
		out.RetCodes[http.StatusOK] = successes
	}
	if requests > successes {
		out.RetCodes[-1] = requests - successes // as Fortio counts failures of the connection
	}
	m, ok, err := merge(points, of)
	if err != nil {
		return nil, err
	}
	if !ok {
		out.DurationHistogram = &fstats.HistogramData{Data: []fstats.Bucket{}}
		out.ServerReply = jrpc.ServerReply{Error: true, Message: fmt.Sprintf("all %d requests failed", requests)}
		return out, nil
	}
	out.DurationHistogram = fortioHistogram(m)
	// The percentiles of which Fortio draws lines. Its own are interpolated
	// between its buckets; the document knows better.
	for _, p := range []float64{50, 75, 90, 99, 99.9} {
		out.DurationHistogram.Percentiles = append(out.DurationHistogram.Percentiles, fstats.Percentile{Percentile: p, Value: m.at(p) / 1000})
	}
	return out, nil
}

// fortioHistogram puts the values into Fortio's buckets one by one: its
// RecordN sums up the square of a value once, not once for each.
func fortioHistogram(m merged) *fstats.HistogramData {
	h := fstats.NewHistogram(0, fortioResolution)
	for i, b := range m.bars {
		for j := range b.count {
			v := (b.from + b.to) / 2
			switch {
			case i == 0 && j == 0:
				v = m.min
			case i == len(m.bars)-1 && j == b.count-1:
				v = m.max
			}
			h.Record(min(max(v, m.min), m.max) / 1000)
		}
	}
	data := h.Export()
	// These are known better than to the width of a bar.
	data.Sum, data.Avg = m.sum/1000, m.sum/1000/float64(m.count)
	return data
}
