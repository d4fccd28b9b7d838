package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/orchestrate/ovs"
)

// tuneSwitch sets what a switch in user space forgets when it ends: room for
// bursts at its ports, and how it tracks connections. It waits for the ports.
// The kernel's datapath keeps nothing of this in the process.
func (r *raising) tuneSwitch(ctx context.Context, v *vswitch, pid int) error {
	if r.env.Datapath != ovs.DatapathUserspace {
		return nil
	}
	size, err := ovs.EnlargeReceiveBuffers(ctx, pid, v.devices, ovs.ReceiveBuffer)
	if err != nil {
		return err
	}
	if err := v.DisableSequenceCheck(ctx, pid); err != nil {
		return err
	}
	r.noteBuffer(v, size)
	return nil
}

// noteBuffer notes the receive buffer of an instance's ports, in bytes; 0:
// the kernel's own. The lab's is the smallest of them.
func (r *raising) noteBuffer(v *vswitch, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v.buffer = size
	smallest := size
	for _, other := range r.switches {
		smallest = min(smallest, other.buffer)
	}
	r.status.Environment.SwitchBufferBytes = smallest
}

const (
	// restoreLimit is how long a switch that was started again may keep packets
	// back. It is the time for a busy machine; the usual is a tenth of that.
	restoreLimit = 3 * time.Second
	// releaseLimit bounds the end of that wait, which nothing should hinder.
	releaseLimit = 10 * time.Second
	// restorePause is what passes before a restoration that failed is tried
	// again.
	restorePause = time.Second
)

// keepSwitch restores an Open vSwitch each time it has been started again, for
// as long as the lab lives.
func (r *raising) keepSwitch(v *vswitch) {
	for range v.restarted {
		for {
			pid := r.pidOf(v.SwitchName())
			if pid == 0 {
				break // it has ended again, and its next start will be told
			}
			begin := time.Now()
			err := r.restoreSwitch(v, pid)
			if err == nil {
				r.log.Info("restored the switch", "process", v.SwitchName(), "pid", pid, "took", time.Since(begin))
				break
			}
			r.log.Warn("restore the switch", "process", v.SwitchName(), "pid", pid, "error", err)
			time.Sleep(restorePause)
		}
	}
}

// restoreSwitch brings a switch that has just been started to where its
// predecessor was, and then lets packets through. When that is not possible
// within restoreLimit, for example because the controller is gone, they are
// let through all the same: much of a lab works without the rest.
//
// An isolated switch lets packets through once it is tuned, because until then
// it takes no controller's connection by TCP (ovs-vswitchd.conf.db(5),
// flow-restore-wait). It drops what comes until the controller has written its
// flows, which is one bundle: no packet meets half of them there either.
func (r *raising) restoreSwitch(v *vswitch, pid int) error {
	r.noteBuffer(v, 0)
	ctx, cancel := context.WithTimeout(context.Background(), restoreLimit)
	defer cancel()
	err := r.tuneSwitch(ctx, v, pid)
	// Not before: when the new ports are there, the controller has seen the end
	// of its connections to the old process, and is not taken for in sync.
	if v.Name == "" {
		if late := inSync(ctx); late != nil {
			r.log.Warn("let packets through before the flows are restored", "pid", pid, "error", late)
		}
	}
	if r.pidOf(v.SwitchName()) != pid {
		return errors.Join(err, errors.New("it has ended"))
	}
	ctx, cancel = context.WithTimeout(context.Background(), releaseLimit)
	defer cancel()
	db, failed := v.Open(ctx)
	if failed != nil {
		return errors.Join(err, failed)
	}
	defer db.Close()
	return errors.Join(err, db.LetThrough(ctx))
}

// inSync waits until the controller knows the mesh and every switch has all
// flows of it.
func inSync(ctx context.Context) error {
	client := controller.NewClient(controllerSocket)
	defer client.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		h, err := client.Health(ctx)
		if err == nil && h.OK {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the controller to restore the flows: %w: %+v, %v", context.Cause(ctx), h.Datapaths, err)
		case <-tick.C:
		}
	}
}
