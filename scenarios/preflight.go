package scenarios

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// Preflight is how busy the machine was before anything of the run was.
type Preflight struct {
	Busy  float64 `json:"busy_ratio"`  // of processor time, used by anything
	Steal float64 `json:"steal_ratio"` // of processor time, taken by the hypervisor
	Load1 float64 `json:"load1"`       // load average of the last minute
}

// preflightTime is how long the machine is looked at.
const preflightTime = time.Second

// What a machine may do beside a measurement without a warning.
const (
	preflightBusy  = 0.10
	preflightSteal = 0.02
)

// LookAtMachine looks for a second at how busy the machine is. It returns an
// error when /proc cannot be read, and when ctx is done.
func LookAtMachine(ctx context.Context) (*Preflight, error) {
	before, err := readCPUTimes()
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(preflightTime):
	}
	after, err := readCPUTimes()
	if err != nil {
		return nil, err
	}
	p := &Preflight{}
	p.Steal, p.Busy = after.minus(before).ratios()
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("read load: %w", err)
	}
	load, err := fs.LoadAvg()
	if err != nil {
		return nil, fmt.Errorf("read load: %w", err)
	}
	p.Load1 = load.Load1
	return p, nil
}

// Warning says what may disturb a measurement; empty: nothing.
func (p *Preflight) Warning() string {
	switch {
	case p == nil:
		return ""
	case p.Busy > preflightBusy:
		return fmt.Sprintf("other work used %.0f %% of the processors before the labs came up (load average %.1f): trials will be disturbed", 100*p.Busy, p.Load1)
	case p.Steal > preflightSteal:
		return fmt.Sprintf("the hypervisor took %.1f %% of the processor time before the labs came up: trials will be disturbed", 100*p.Steal)
	}
	return ""
}

func (p *Preflight) validate() error {
	if p == nil {
		return nil
	}
	for _, err := range []error{share("busy_ratio", p.Busy), share("steal_ratio", p.Steal), number("load1", p.Load1)} {
		if err != nil {
			return err
		}
	}
	return nil
}
