package scenarios

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/procfs"

	"meshlab.dev/meshlab/scenarios/stats"
)

// cpuTimes is processor time of the whole machine, in seconds since it
// started.
type cpuTimes struct{ total, idle, steal float64 }

// readCPUTimes reads /proc/stat (proc_stat(5)). Time of guests is in user time
// already.
func readCPUTimes() (cpuTimes, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return cpuTimes{}, fmt.Errorf("read processor times: %w", err)
	}
	s, err := fs.Stat()
	if err != nil {
		return cpuTimes{}, fmt.Errorf("read processor times: %w", err)
	}
	c := s.CPUTotal
	idle := c.Idle + c.Iowait
	return cpuTimes{total: idle + c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal, idle: idle, steal: c.Steal}, nil
}

func (c cpuTimes) minus(o cpuTimes) cpuTimes {
	return cpuTimes{c.total - o.total, c.idle - o.idle, c.steal - o.steal}
}

func (c cpuTimes) plus(o cpuTimes) cpuTimes {
	return cpuTimes{c.total + o.total, c.idle + o.idle, c.steal + o.steal}
}

// ratios returns the shares of a stretch of time that the hypervisor took, and
// in which the processors worked. The kernel's counters may run back a little
// (proc_stat(5), on iowait), so both are held between 0 and 1.
func (c cpuTimes) ratios() (steal, busy float64) {
	if c.total <= 0 {
		return 0, 0
	}
	share := func(v float64) float64 { return min(max(v/c.total, 0), 1) }
	return share(c.steal), share(c.total - c.idle - c.steal)
}

// readCosts reads the counters of the active variants, by variant. Those that
// cannot be read are nil: a measurement does not end because a cost is
// unknown.
func (r *duetRun) readCosts(ctx context.Context, active []int) [][]Cost {
	costs := make([][]Cost, len(r.c.Variants))
	if r.h.Costs == nil {
		return costs
	}
	for _, v := range active {
		if c, err := r.h.Costs(ctx, v); err == nil {
			costs[v] = c
		}
	}
	return costs
}

// costsBetween returns what was used between two readings: of each part that
// both have, and whose counter did not start anew. It is nil when there is
// nothing.
func costsBetween(before, after [][]Cost) [][]Cost {
	used := make([][]Cost, len(after))
	found := false
	for v := range after {
		since := make(map[string]float64)
		for _, c := range before[v] {
			since[c.Part] = c.CPUSeconds
		}
		for _, c := range after[v] {
			start, ok := since[c.Part]
			if !ok || !(c.CPUSeconds >= start) {
				continue
			}
			used[v] = append(used[v], Cost{Part: c.Part, CPUSeconds: c.CPUSeconds - start, MemoryBytes: c.MemoryBytes})
			found = true
		}
	}
	if !found {
		return nil
	}
	return used
}

// mergeDistributions makes one distribution of two. Its percentiles come from
// the histograms, so they are as exact as these.
func mergeDistributions(a, b Distribution) (Distribution, error) {
	h, err := stats.MergeHDR(a.HDR, b.HDR)
	if errors.Is(err, stats.ErrNoHistogram) {
		return Distribution{}, nil
	}
	if err != nil {
		return Distribution{}, err
	}
	if a.HDR == "" {
		return b, nil
	}
	if b.HDR == "" {
		return a, nil
	}
	ha, err := stats.DecodeHDR(a.HDR)
	if err != nil {
		return Distribution{}, err
	}
	share := float64(ha.TotalCount()) / float64(h.TotalCount())
	d := Distribution{
		Min: min(a.Min, b.Min), Max: max(a.Max, b.Max), Avg: a.Avg*share + b.Avg*(1-share),
	}
	at := func(p float64) float64 {
		return min(max(float64(h.ValueAtPercentile(p))/1000, d.Min), d.Max)
	}
	d.P50, d.P90, d.P99 = at(50), at(90), at(99)
	d.HDR, err = stats.EncodeHDR(h)
	return d, err
}
