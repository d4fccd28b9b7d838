package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"meshlab.dev/meshlab/scenarios"
)

// requestLog is the log of every request of a run's paired trials: CSV,
// compressed, one row a request. It appears under its name when the run has
// ended well. A nil log takes nothing.
type requestLog struct {
	path string
	file *os.File
	buf  *bufio.Writer
	gz   *gzip.Writer
	rows *csv.Writer
	kept bool
}

// newRequestLog opens the log of a run, or returns nil when none is wanted.
func newRequestLog(wanted bool, dir, id string) (*requestLog, error) {
	if !wanted {
		return nil, nil //nolint:nilnil // a nil log takes nothing
	}
	path := filepath.Join(dir, id+".requests.csv.gz")
	f, err := scenarios.Unfinished(path)
	if err != nil {
		return nil, fmt.Errorf("create log of requests: %w", err)
	}
	l := &requestLog{path: path, file: f, buf: bufio.NewWriter(f)}
	l.gz = gzip.NewWriter(l.buf)
	l.rows = csv.NewWriter(l.gz)
	err = l.rows.Write([]string{"lab", "scenario", "request", "trial", "variant", "start_ms", "late_ms", "service_ms", "step", "error"})
	if err != nil {
		l.discard()
		return nil, fmt.Errorf("write log of requests: %w", err)
	}
	return l, nil
}

// write adds the requests of one trial.
func (l *requestLog) write(c scenarios.DuetConfig, trial int, o scenarios.TrialOutcome) error {
	ms := func(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }
	for i, s := range o.Sides {
		for _, r := range s.Log {
			err := l.rows.Write([]string{c.Lab, c.Scenario, c.Request, strconv.Itoa(trial), c.Variants[i].Name,
				ms(r.At), ms(r.Late), ms(r.Service), strconv.Itoa(r.Step), r.Error})
			if err != nil {
				return fmt.Errorf("write log of requests: %w", err)
			}
		}
	}
	l.rows.Flush()
	if err := l.rows.Error(); err != nil {
		return fmt.Errorf("write log of requests: %w", err)
	}
	return nil
}

// keep gives the log its name.
func (l *requestLog) keep() error {
	if l == nil {
		return nil
	}
	l.rows.Flush()
	for _, step := range []func() error{
		l.rows.Error, l.gz.Close, l.buf.Flush, func() error { return l.file.Chmod(0o644) }, l.file.Sync, l.file.Close,
		func() error { return os.Rename(l.file.Name(), l.path) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("write log of requests to %s: %w", l.path, err)
		}
	}
	l.kept = true
	return nil
}

// discard removes a log that was not kept.
func (l *requestLog) discard() {
	if l == nil || l.kept {
		return
	}
	_ = l.file.Close()
	_ = os.Remove(l.file.Name())
}
