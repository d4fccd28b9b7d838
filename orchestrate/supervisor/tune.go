package supervisor

import (
	"context"
	"time"

	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/orchestrate/process"
)

// switchPID is the number of the process that the switches run in, 0 while
// there is none.
func (s *Supervisor) switchPID() int {
	procs, err := s.running()
	if err != nil {
		return 0
	}
	for _, p := range procs.List() {
		if p.Name == ovs.SwitchName && p.State == process.Running {
			return p.PID
		}
	}
	return 0
}

// tuneSwitch sets what a switch in user space forgets when it ends: how it
// tracks connections, and room for bursts at its ports. The kernel's datapath
// keeps nothing of this in the process.
func (r *raising) tuneSwitch(ctx context.Context) error {
	if r.env.Datapath != ovs.DatapathUserspace {
		return nil
	}
	pid := r.switchPID()
	if err := ovs.DisableSequenceCheck(ctx); err != nil {
		return err
	}
	size, err := ovs.EnlargeReceiveBuffers(ctx, pid, len(cables(r.lab, false)), ovs.ReceiveBuffer)
	if err != nil {
		return err
	}
	r.buffer, r.tuned = size, pid
	return nil
}

// keepTuned sets it again whenever the switch has been started anew, for as
// long as the lab lives.
func (r *raising) keepTuned() {
	if r.env.Datapath != ovs.DatapathUserspace {
		return
	}
	for range time.Tick(time.Second) {
		if pid := r.switchPID(); pid == 0 || pid == r.tuned {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := r.tuneSwitch(ctx); err != nil { // it may not have read its database yet
			r.log.Warn("tune the restarted switch", "error", err)
		}
		cancel()
	}
}
