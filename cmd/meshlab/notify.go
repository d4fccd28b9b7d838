package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/standby"
)

// States that systemd knows (sd_notify(3)).
const (
	notifyReady    = systemd.SdNotifyReady
	notifyStopping = systemd.SdNotifyStopping
	notifyAlive    = systemd.SdNotifyWatchdog
)

// notifier tells systemd, when it started this process, how it is.
type notifier struct{ log *slog.Logger }

func (n notifier) send(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		n.log.Debug("systemd was not told", "state", state, "error", err)
	}
}

// reloading says that the next notifyReady ends a reload.
func (n notifier) reloading() {
	n.send(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
}

const (
	startLimit  = 10 * time.Second // after which a start counts as done, in sync or not
	statusEvery = time.Second
	startEvery  = 20 * time.Millisecond
)

// tell keeps systemd informed until ctx ends: of the start, which is done once
// the bridges are in sync, or the standby could take over, or startLimit has
// passed, as a Consul that is away is no reason to be killed; of the state;
// and, as long as the loop answers, that it is alive.
func (d *daemon) tell(ctx context.Context, c *controller.Controller, lock string) error {
	begun, ready, last := time.Now(), false, ""
	alive, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("the watchdog of systemd is not served", "error", err)
	}
	every := startEvery
	told := time.Time{}
	for {
		h := c.Health()
		if text := describe(h, d.placed.Load(), lock, d.registryName()); text != last {
			d.notify.send("STATUS=" + text)
			last = text
		}
		if !ready && (h.OK && d.placed.Load() || time.Since(begun) > startLimit) {
			d.notify.send(notifyReady)
			d.log.Info("started", "state", last, "took", time.Since(begun))
			ready, every = true, statusEvery
		}
		if alive > 0 {
			every = min(every, alive/3)
			if time.Since(told) >= every {
				d.notify.send(notifyAlive)
				told = time.Now()
			}
		}
		t := time.NewTimer(every)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// registryName is where services come from, for people.
func (d *daemon) registryName() string {
	cfg, _ := d.settings()
	switch {
	case d.cluster != nil && cfg.Kubernetes.Registry == controller.RegistryKubernetes:
		return "the Kubernetes API"
	case d.cluster != nil:
		return "Consul or the Kubernetes API"
	}
	return "Consul"
}

// describe is the state in a line.
func describe(h controller.Health, placed bool, lock, registry string) string {
	synced := 0
	for _, dp := range h.Datapaths {
		if dp.InSync {
			synced++
		}
	}
	switch {
	case !placed:
		return "waiting for Open vSwitch"
	case h.Role == "standby" && h.OK:
		return fmt.Sprintf("standby, ready to take over %d bridges from process %d", len(h.Datapaths), standby.Holder(lock))
	case h.Role == "standby":
		return fmt.Sprintf("standby, not ready: waiting for %s and Open vSwitch; process %d works", registry, standby.Holder(lock))
	case h.Snapshot == 0:
		return fmt.Sprintf("waiting for %s; %d of %d bridges carry what is known", registry, synced, len(h.Datapaths))
	default:
		return fmt.Sprintf("%d of %d bridges in sync with snapshot %d", synced, len(h.Datapaths), h.Snapshot)
	}
}
