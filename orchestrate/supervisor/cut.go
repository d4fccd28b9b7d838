package supervisor

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/orchestrate/fault"
	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// links cuts or degrades the links that a fault strikes.
func (b breaker) links(ctx context.Context, s fault.Strike) (undo func(context.Context) error, err error) {
	if len(s.Links) == 0 {
		return nil, nil //nolint:nilnil // there is nothing to undo
	}
	if s.Fault.Kind == scenarios.Degrade {
		return b.degrade(ctx, s)
	}
	var done []fault.Link
	undo = func(ctx context.Context) error {
		var errs []error
		for _, l := range done {
			errs = append(errs, b.setLink(ctx, l, true))
		}
		return errors.Join(errs...)
	}
	for _, l := range s.Links {
		if err := b.setLink(ctx, l, false); err != nil {
			return undo, err
		}
		done = append(done, l)
	}
	return undo, nil
}

// degrade gives links another character: what the fault does not state stays.
func (b breaker) degrade(ctx context.Context, s fault.Strike) (undo func(context.Context) error, err error) {
	before := map[int]topo.Character{}
	undo = func(ctx context.Context) error {
		var errs []error
		for i, c := range before {
			_, err := b.SetCharacter(ctx, i, c)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	for _, l := range s.Links {
		b.shaping.mu.Lock()
		to := s.Fault.On(b.shaping.now[l.Index])
		b.shaping.mu.Unlock()
		if err := to.Check(); err != nil {
			return undo, fmt.Errorf("link %s: %w", l.Name, err)
		}
		was, err := b.SetCharacter(ctx, l.Index, to)
		if err != nil {
			return undo, err
		}
		before[l.Index] = was
	}
	return undo, nil
}

// setLink makes a link carry nothing, or frames again. The host at the end of
// a cable keeps its addresses and sees no carrier. Where a link ends in a
// device at its switch, one end is enough.
func (b breaker) setLink(ctx context.Context, at fault.Link, carries bool) error {
	b.mu.Lock()
	lab := b.lab
	b.mu.Unlock()
	l := lab.Links[at.Index]
	for _, ends := range [][2]topo.Endpoint{{l.A, l.B}, {l.B, l.A}} {
		if host, sw := ends[0], ends[1]; host.Port == 0 { // its switch's end has its name
			return setDevice(link.End{NetNS: instanceOf(lab, sw.Node).Name, Device: host.Node}, carries)
		}
	}
	if lab.Switches == topo.SwitchesIsolated || b.isWired(at.Index) {
		return setDevice(link.End{NetNS: instanceOf(lab, l.A.Node).Name, Device: patchName(l.A)}, carries)
	}
	db, err := ovs.Shared().Open(ctx)
	if err != nil {
		return fmt.Errorf("link %s: %w", at.Name, err)
	}
	defer db.Close()
	set := db.CutPatch
	if carries {
		set = db.JoinPatch
	}
	if err := set(ctx, patchName(l.A), patchName(l.B)); err != nil {
		return fmt.Errorf("link %s: %w", at.Name, err)
	}
	return nil
}

func setDevice(at link.End, up bool) error {
	return netns.Do(at.NetNS, func() error {
		device, err := netlink.LinkByName(at.Device)
		if err != nil {
			return fmt.Errorf("find network device %s: %w", at.Device, err)
		}
		set, what := netlink.LinkSetDown, "down"
		if up {
			set, what = netlink.LinkSetUp, "up"
		}
		if err := set(device); err != nil {
			return fmt.Errorf("set network device %s %s: %w", at.Device, what, err)
		}
		return nil
	})
}
