// Package fortio makes closed-loop attempts with Fortio's periodic runner and
// histogram. It measures; what is measured and in which order is decided in
// package scenarios.
//
// Requests go over connections of package client, not over Fortio's own: why
// is said there.
package fortio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"fortio.org/fortio/periodic"
	fstats "fortio.org/fortio/stats"
	"fortio.org/log"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/client"
	"meshlab.dev/meshlab/scenarios/stats"
)

// resolution is the width of the narrowest buckets of Fortio's histogram, in
// seconds. Its scale ends at 100,000 times that, 2 s; what is above shares
// one bucket.
const resolution = 0.00002

// Run makes one attempt: spec.Requests requests over spec.Connections
// connections, each of which sends its next request as soon as it has read
// the whole answer to the last (a closed loop).
//
// Every connection is opened inside the attempt, by its first request, whose
// latency includes the time to connect; so does that of a request after one
// that broke its connection, or after an answer that asked to close it. The
// clock of a request stops when the last byte of the answer is read; status
// and content are checked after that, outside the measured time. A connection
// that the server closes without having said so is an error of the request
// that meets it, and nothing is sent twice.
//
// Failed requests are counted in the Attempt by kind, and their times are
// part of no figure. When spec.Limit has passed, the requests not yet sent
// are counted as errors too. Run returns an error when the spec makes no
// sense and when ctx is done.
func Run(ctx context.Context, spec scenarios.LoadSpec) (scenarios.Attempt, error) {
	request, err := client.Prepare(spec.RequestSpec)
	if err = errors.Join(check(spec), err); err != nil {
		return scenarios.Attempt{}, fmt.Errorf("prepare the load on %s: %w", spec.URL, err)
	}
	quiet()

	limited, cancel := context.WithTimeout(ctx, spec.Limit)
	defer cancel()
	workers := make([]*worker, spec.Connections)
	for i := range workers {
		workers[i] = newWorker(limited, spec, request)
		defer workers[i].client.Close()
	}

	// With an aborter of our own, Fortio does not catch the user's Ctrl-C.
	aborter := periodic.NewAborter()
	stop := context.AfterFunc(limited, func() { aborter.Abort(false) })
	defer stop()
	runner := periodic.NewPeriodicRunner(&periodic.RunnerOptions{
		RunType:    string(request.Protocol()),
		QPS:        -1, // as fast as the answers come
		NumThreads: spec.Connections,
		Exactly:    int64(spec.Requests),
		Resolution: resolution,
		Out:        io.Discard,
		Stop:       aborter,
	})
	for i, w := range workers { // only now: NewPeriodicRunner clears what it is given
		runner.Options().Runners[i] = w
	}
	done := runner.Run()
	if err := ctx.Err(); err != nil {
		return scenarios.Attempt{}, fmt.Errorf("load %s: stopped: %w", spec.URL, err)
	}
	return collect(spec, workers, done.StartTime, done.ActualDuration)
}

func check(spec scenarios.LoadSpec) error {
	var errs []error
	if spec.Connections < 1 || spec.Connections > scenarios.MaxConnections {
		errs = append(errs, fmt.Errorf("connections %d: want 1 to %d", spec.Connections, scenarios.MaxConnections))
	}
	if spec.Requests < spec.Connections || spec.Requests > scenarios.MaxCount {
		errs = append(errs, fmt.Errorf("requests %d: want %d (one per connection) to %d", spec.Requests, spec.Connections, scenarios.MaxCount))
	}
	if spec.Timeout <= 0 || spec.Timeout > scenarios.MaxTimeout {
		errs = append(errs, fmt.Errorf("timeout %v: want more than 0 and at most %v", spec.Timeout, scenarios.MaxTimeout))
	}
	if spec.Limit <= 0 {
		errs = append(errs, fmt.Errorf("limit %v of the attempt: want more than 0", spec.Limit))
	}
	return errors.Join(errs...)
}

// quiet silences Fortio's log, which is global to the process. Its Fatalf
// still ends the process; periodic and stats call it for an empty array of
// runners and for a value that fits no bucket, neither of which Run makes.
func quiet() { log.SetLogLevelQuiet(log.Critical) }

func collect(spec scenarios.LoadSpec, workers []*worker, started time.Time, took time.Duration) (scenarios.Attempt, error) {
	a := scenarios.Attempt{
		Started:   started.UTC(),
		Seconds:   took.Seconds(),
		Requests:  spec.Requests,
		ErrorKind: make(map[string]int),
	}
	hdr := stats.NewHDR()
	histogram := fstats.NewHistogram(0, resolution)
	latencies := make([]float64, 0, spec.Requests) // milliseconds
	sent := 0
	for _, w := range workers {
		sent += w.sent
		for kind, n := range w.errors {
			a.ErrorKind[kind] += n
			a.Errors += n
		}
		for _, d := range w.latencies {
			latencies = append(latencies, float64(d)/float64(time.Millisecond))
			histogram.Record(d.Seconds())
			micros := int64(math.Round(float64(d) / float64(time.Microsecond)))
			micros = min(max(micros, stats.HDRLowestMicros), stats.HDRHighestMicros)
			if err := hdr.RecordValue(micros); err != nil {
				return scenarios.Attempt{}, fmt.Errorf("record a latency of %v: %w", d, err)
			}
		}
	}
	if missing := spec.Requests - sent; missing > 0 {
		a.ErrorKind[notSent(spec.Limit)] += missing
		a.Errors += missing
	}

	s := stats.Summarize(latencies)
	a.Min, a.Avg, a.P50, a.P90, a.P99, a.Max = s.Min, s.Avg, s.P50, s.P90, s.P99, s.Max
	var err error
	if len(latencies) > 0 {
		a.RequestsPerSecond = float64(len(latencies)) / took.Seconds()
		if a.HDR, err = stats.EncodeHDR(hdr); err != nil {
			return scenarios.Attempt{}, err
		}
	}
	if a.Fortio, err = json.Marshal(histogram.Export().CalcPercentiles([]float64{50, 90, 99})); err != nil {
		return scenarios.Attempt{}, fmt.Errorf("encode Fortio's histogram: %w", err)
	}
	return a, nil
}

// Main reads a LoadSpec as JSON from stdin, makes the attempt and writes the
// Attempt as JSON to stdout: what `meshlab load` does in the client host's
// network namespace. Nothing is written when it returns an error.
func Main(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	in := json.NewDecoder(stdin)
	in.DisallowUnknownFields()
	var spec scenarios.LoadSpec
	if err := in.Decode(&spec); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("standard input is empty; it takes one load spec as JSON")
		}
		return fmt.Errorf("read the load spec: %w", err)
	}
	a, err := Run(ctx, spec)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(stdout).Encode(a); err != nil {
		return fmt.Errorf("write the attempt: %w", err)
	}
	return nil
}
