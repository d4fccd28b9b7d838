package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/orchestrate/shape"
	"meshlab.dev/meshlab/topo"
)

// The shaper of a lab, if it has one.
const (
	shaperName   = "shaper"
	shaperSocket = stateDir + "/shaper.sock"
	shaperPlan   = stateDir + "/shaper.json"
)

// shaperLimit is how long the shaper may take to start, or to do as it is told.
const shaperLimit = 10 * time.Second

// characters are those that the links of the lab have now.
type characters struct {
	mu    sync.Mutex // held while they change
	means shape.Means
	now   map[int]topo.Character // by index of the link; not there: none
	wired map[int]bool           // links between bridges of one Open vSwitch that are no patch ports any more
	runs  bool                   // the shaper does
}

// betweenBridges tells whether a link joins two bridges of one Open vSwitch.
func betweenBridges(lab *topo.Lab, l topo.Link) bool {
	return lab.Switches != topo.SwitchesIsolated && l.A.Port != 0 && l.B.Port != 0
}

// ends are the devices that a link's frames are sent by. A link between bridges
// of one Open vSwitch has them only once it is wired.
func ends(lab *topo.Lab, l topo.Link) (a, b shape.End) {
	at := func(e, other topo.Endpoint) shape.End {
		switch {
		case e.Port == 0: // a host
			return shape.End{NetNS: e.Node, Device: e.Interface}
		case other.Port == 0: // the cable of a host
			return shape.End{NetNS: instanceOf(lab, e.Node).Name, Device: other.Node}
		default:
			return shape.End{NetNS: instanceOf(lab, e.Node).Name, Device: patchName(e)}
		}
	}
	return at(l.A, l.B), at(l.B, l.A)
}

// layTrunks lays the cables of links between bridges of one Open vSwitch that
// have one from the start. The others are patch ports, without a device that
// anything could be done to.
func (r *raising) layTrunks() error {
	for i := range cabled(r.lab) {
		l := r.lab.Links[i]
		if err := link.Pair(patchName(l.A), patchName(l.B), l.MTU); err != nil {
			return err
		}
		r.shaping.mu.Lock()
		r.shaping.wire(i)
		r.shaping.mu.Unlock()
	}
	return nil
}

func (c *characters) wire(i int) {
	if c.wired == nil {
		c.wired = map[int]bool{}
	}
	c.wired[i] = true
}

// isWired tells whether a link between bridges of one Open vSwitch is a cable.
func (s *Supervisor) isWired(index int) bool {
	s.shaping.mu.Lock()
	defer s.shaping.mu.Unlock()
	return s.shaping.wired[index]
}

// hasCharacters tells whether the lab file gives any link a character.
func hasCharacters(lab *topo.Lab) bool {
	for _, l := range lab.Links {
		if l.Character != (topo.Character{}) {
			return true
		}
	}
	return false
}

// characters gives links the characters of the lab file.
func (r *raising) characters(ctx context.Context) (string, error) {
	c := &r.shaping
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = map[int]topo.Character{}
	for i, l := range r.lab.Links {
		if l.Character != (topo.Character{}) {
			c.now[i] = l.Character
		}
	}
	if err := r.applyCharacters(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d with a character, by %s", len(c.now), c.means), nil
}

// SetCharacter gives a link another character while the lab runs, the zero one
// for none, and returns the one that it had: giving that back undoes it. On an
// error nothing has changed. index is as in topo.Lab.Links.
//
// A link between bridges of one Open vSwitch becomes a cable by it, and stays
// one; what is on its way over it in that moment is lost.
func (s *Supervisor) SetCharacter(ctx context.Context, index int, to topo.Character) (before topo.Character, err error) {
	s.mu.Lock()
	lab := s.lab
	s.mu.Unlock()
	if lab == nil || index < 0 || index >= len(lab.Links) {
		return before, errors.New("set what a link does to frames: the lab has no such link")
	}
	name := lab.LinkNames()[index]
	if err := shape.CheckCharacter(to); err != nil {
		return before, fmt.Errorf("link %s: %w", name, err)
	}
	c := &s.shaping
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.now[index]
	if before == to {
		return before, nil
	}
	if c.now == nil {
		c.now = map[int]topo.Character{}
	}
	put := func(v topo.Character) {
		if v == (topo.Character{}) {
			delete(c.now, index)
			return
		}
		c.now[index] = v
	}
	if betweenBridges(lab, lab.Links[index]) && !c.wired[index] {
		if err := s.findMeans(); err != nil {
			return before, fmt.Errorf("link %s: %w", name, err)
		}
		if err := s.wire(ctx, lab, index); err != nil {
			return before, fmt.Errorf("link %s: %w", name, err)
		}
	}
	put(to)
	if err := s.applyCharacters(ctx); err != nil {
		put(before)
		return before, errors.Join(err, s.applyCharacters(context.WithoutCancel(ctx)))
	}
	s.log.Info("a link has another character", "link", name, "character", to.String(), "before", before.String())
	return before, nil
}

// findMeans finds out once by what links get a character. The caller holds the
// lock of s.shaping.
func (s *Supervisor) findMeans() error {
	if s.shaping.means != "" {
		return nil
	}
	means, err := shape.Probe()
	if err == nil {
		s.shaping.means = means
	}
	return err
}

// applyCharacters makes the links what s.shaping says. The caller holds its lock.
func (s *Supervisor) applyCharacters(ctx context.Context) error {
	c := &s.shaping
	if len(c.now) == 0 && c.means == "" {
		return nil
	}
	if err := s.findMeans(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, shaperLimit)
	defer cancel()
	if c.means == shape.Netem {
		for i, l := range s.lab.Links {
			if betweenBridges(s.lab, l) && !c.wired[i] {
				continue
			}
			if err := shape.SetNetem(s.shaped(i)); err != nil {
				return err
			}
		}
		return nil
	}
	return s.applyByShaper(ctx)
}

// shaped is a link as package shape knows it. The caller holds the lock of
// s.shaping.
func (s *Supervisor) shaped(i int) shape.Link {
	a, b := ends(s.lab, s.lab.Links[i])
	return shape.Link{Name: s.lab.LinkNames()[i], A: a, B: b, Character: s.shaping.now[i]}
}

// applyByShaper tells the shaper, and starts it when there is none.
func (s *Supervisor) applyByShaper(ctx context.Context) error {
	c := &s.shaping
	plan := make([]shape.Link, 0, len(c.now))
	for i := range s.lab.Links {
		if _, ok := c.now[i]; ok {
			plan = append(plan, s.shaped(i))
		}
	}
	if len(plan) == 0 && !c.runs {
		return nil
	}
	// First the file: a shaper that dies now must not bring back the old ones.
	text, err := json.Marshal(plan)
	if err == nil {
		err = replaceFile(shaperPlan, text)
	}
	if err != nil {
		return fmt.Errorf("write the plan of the shaper: %w", err)
	}
	if !c.runs {
		err := s.procs.Start(process.Spec{
			Name: shaperName, Part: process.PartLink, Path: self,
			Args: []string{"shape", "--plan", shaperPlan, "--socket", shaperSocket},
			Env:  baseEnv(stateDir), KeepRunning: true,
		})
		if err != nil {
			return err
		}
		c.runs = true
	}
	return s.tellShaper(ctx, plan)
}

// tellShaper hands over the plan, to a shaper that may just be starting.
func (s *Supervisor) tellShaper(ctx context.Context, plan []shape.Link) error {
	client := shape.NewClient(shaperSocket)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := client.Apply(ctx, plan)
		if !errors.Is(err, shape.ErrUnreachable) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; `meshlab logs %s` may say why", err, shaperName)
		case <-tick.C:
		}
	}
}

// replaceFile writes a file so that a reader finds the old one or the new one.
func replaceFile(path string, text []byte) error {
	next := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// wire makes a cable of a link between bridges of one Open vSwitch. The caller
// holds the lock of s.shaping.
func (s *Supervisor) wire(ctx context.Context, lab *topo.Lab, index int) error {
	l := lab.Links[index]
	s.mu.Lock()
	v := s.switches[0] // bridges of one Open vSwitch: there is one
	s.mu.Unlock()
	// It is there already when an attempt before has failed half-way.
	if err := link.Pair(patchName(l.A), patchName(l.B), l.MTU); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	db, err := v.Open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	err = db.TurnIntoDevices(ctx, map[string]uint32{patchName(l.A): l.A.Port, patchName(l.B): l.B.Port})
	if err != nil {
		return err
	}
	s.shaping.wire(index)
	s.mu.Lock()
	v.devices += 2
	env := s.status.Environment
	s.mu.Unlock()
	return (&raising{Supervisor: s, lab: lab, env: env}).tuneSwitch(ctx, v, s.pidOf(v.SwitchName()))
}
