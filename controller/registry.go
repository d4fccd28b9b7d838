package controller

import (
	"context"
	"time"

	"meshlab.dev/meshlab/controller/eject"
	"meshlab.dev/meshlab/controller/mesh"
)

// sign tells that an instance has refused or not answered a connection.
type sign struct {
	eject.Sign
	at time.Time
}

// watch feeds the target from the registry until ctx ends or the registry
// gives up. What the registry says is changed in two steps: instances that it
// no longer lists stay for a while as unhealthy ones, and of those that are
// healthy the ones that fail get no new connections.
func (c *Controller) watch(ctx context.Context) error {
	if c.cfg.Watch == nil {
		c.target.store(mesh.Snapshot{}, c.cfg.Now())
		<-ctx.Done()
		return ctx.Err()
	}
	snaps, ended := make(chan mesh.Snapshot), make(chan error, 1)
	go func() {
		ended <- c.cfg.Watch(ctx, func(s mesh.Snapshot) {
			select {
			case snaps <- s:
			case <-ctx.Done():
			}
		})
	}()
	drain, ejector := newDrainer(c.cfg.Drain), eject.New()
	known := false // there has been a snapshot
	alarm := time.NewTimer(time.Hour)
	alarm.Stop()
	progress := time.NewTicker(pollEvery)
	defer progress.Stop()
	for {
		since := c.cfg.Now()
		select {
		case err := <-ended:
			return err
		case s := <-snaps:
			since = c.cfg.Now()
			drain.take(s, since)
			if !s.Since.IsZero() && s.Since.Before(since) {
				since = s.Since
			}
			known = true
		case s := <-c.signs:
			ejector.Failed(s.Sign, s.at)
		case <-progress.C:
			if c.cfg.Metrics == nil || !c.progress(ejector) {
				continue
			}
		case <-alarm.C:
		}
		if !known {
			continue
		}
		now := c.cfg.Now()
		drained, next := drain.snapshot(now)
		snap, change := ejector.Apply(drained, now)
		if next.IsZero() || !change.IsZero() && change.Before(next) {
			next = change
		}
		c.note(ejector.Ejected())
		if last, _ := c.target.load(); last.serial == 0 || !same(last.snap, snap) {
			c.target.store(snap, since)
		}
		alarm.Stop()
		if !next.IsZero() {
			alarm.Reset(next.Sub(now))
		}
	}
}

// same tells whether two snapshots are one, by what they point to.
func same(a, b mesh.Snapshot) bool {
	return one(a.Services, b.Services) && one(a.Upstreams, b.Upstreams) && one(a.Intentions, b.Intentions) &&
		one(a.Warnings, b.Warnings) && a.DefaultDeny == b.DefaultDeny
}

func one[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// progress tells the ejector which instances answer their clients, and tells
// whether that changes who is out.
func (c *Controller) progress(e *eject.Ejector) bool {
	type key struct{ service, id string }
	if !e.Watching() { // counters are not for free
		return false
	}
	counts := map[key]eject.Counts{}
	for _, i := range c.cfg.Metrics.Traffic().Instances {
		counts[key{i.Service, i.ID}] = eject.Counts{Opened: i.Connections.Total, Packets: i.Packets.Total, Bytes: i.Bytes.Total}
	}
	return e.Poll(func(service, id string) (eject.Counts, bool) {
		n, ok := counts[key{service, id}]
		return n, ok
	}, c.cfg.Now())
}

// note keeps what is ejected for those who ask, and logs what is new.
func (c *Controller) note(all []eject.Ejected) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := map[eject.Ejected]bool{}
	for _, e := range c.ejected {
		known[e] = true
	}
	c.ejected = all
	for _, e := range all {
		if !known[e] {
			c.cfg.Logger.Warn("instance ejected", "service", e.Service, "instance", e.Instance, "until", e.Until,
				"refused", e.Refused, "unanswered", e.Unanswered, "times", e.Times)
		}
	}
}
