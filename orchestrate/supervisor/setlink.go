package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"meshlab.dev/meshlab/orchestrate/shape"
	"meshlab.dev/meshlab/topo"
)

// Character is what a link does to frames, as in a lab file; "" is none.
type Character struct {
	Bandwidth string `json:"bandwidth,omitempty"` // as in 100Mbit
	Delay     string `json:"delay,omitempty"`     // one way, as in 5ms
	Jitter    string `json:"jitter,omitempty"`
	Loss      string `json:"loss,omitempty"` // as in 1%
}

func textOf(c topo.Character) *Character {
	var t Character
	if c.Bandwidth > 0 {
		t.Bandwidth = topo.FormatBandwidth(c.Bandwidth)
	}
	if c.Delay > 0 {
		t.Delay = c.Delay.String()
	}
	if c.Jitter > 0 {
		t.Jitter = c.Jitter.String()
	}
	if c.Loss > 0 {
		t.Loss = topo.FormatLoss(c.Loss)
	}
	return &t
}

// over returns c with what the text says in its place; what the text leaves
// out stays.
func (t Character) over(c topo.Character) (topo.Character, error) {
	var err error
	if t.Bandwidth != "" {
		if c.Bandwidth, err = topo.ParseBandwidth(t.Bandwidth); err != nil {
			return c, err
		}
	}
	if t.Delay != "" {
		if c.Delay, err = topo.ParseDelay(t.Delay); err != nil {
			return c, fmt.Errorf("delay %w", err)
		}
	}
	if t.Jitter != "" {
		if c.Jitter, err = topo.ParseDelay(t.Jitter); err != nil {
			return c, fmt.Errorf("jitter %w", err)
		}
	}
	if t.Loss != "" {
		if c.Loss, err = topo.ParseLoss(t.Loss); err != nil {
			return c, err
		}
	}
	return c, c.Check()
}

// LinkChange is the body of POST /links.
type LinkChange struct {
	Link string `json:"link"` // as topo.Lab.FindLink takes it
	// Reset gives the link the character of the lab file first.
	Reset bool `json:"reset,omitempty"`
	Character
}

// LinkChanged is the answer to it.
type LinkChanged struct {
	Link   string      `json:"link"`
	Before Character   `json:"before"`
	Now    Character   `json:"now"`
	Means  shape.Means `json:"means,omitempty"`
}

// SetLink changes what a link does to frames while the lab runs.
func (c *Client) SetLink(ctx context.Context, change LinkChange) (LinkChanged, error) {
	var done LinkChanged
	body, err := json.Marshal(change)
	if err != nil {
		return done, fmt.Errorf("encode change of link: %w", err)
	}
	err = c.json(ctx, http.MethodPost, "/links", body, &done)
	return done, err
}

// maxChange bounds a change, in bytes.
const maxChange = 64 << 10

func (s *Supervisor) serveSetLink(w http.ResponseWriter, r *http.Request) {
	var change LinkChange
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxChange)).Decode(&change); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("read change of link: %w", err))
		return
	}
	s.mu.Lock()
	lab, ready := s.lab, s.status.Ready
	s.mu.Unlock()
	if !ready {
		fail(w, http.StatusServiceUnavailable, errors.New("the lab is not up yet"))
		return
	}
	index, err := lab.FindLink(change.Link)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	name := lab.LinkNames()[index]
	var before, to topo.Character
	status := http.StatusConflict // under a fault, whose end would not be what it was before
	err = s.faults.Change(name, func() error {
		status = http.StatusBadRequest
		var err error
		if to, err = s.changed(lab, index, change); err != nil {
			return err
		}
		status = http.StatusInternalServerError
		// Whoever asked may go: half a change is none.
		before, err = s.SetCharacter(context.WithoutCancel(r.Context()), index, to)
		return err
	})
	if err != nil {
		fail(w, status, err)
		return
	}
	done := LinkChanged{Link: name, Before: *textOf(before), Now: *textOf(to)}
	if to != (topo.Character{}) {
		s.shaping.mu.Lock()
		done.Means = s.shaping.means
		s.shaping.mu.Unlock()
	}
	_ = json.NewEncoder(w).Encode(done)
}

// changed is what a change makes of a link.
func (s *Supervisor) changed(lab *topo.Lab, index int, change LinkChange) (topo.Character, error) {
	s.shaping.mu.Lock()
	now := s.shaping.now[index]
	s.shaping.mu.Unlock()
	if change.Reset {
		now = lab.Links[index].Character
	}
	to, err := change.over(now)
	if err != nil {
		return topo.Character{}, fmt.Errorf("link %s: %w", lab.LinkNames()[index], err)
	}
	return to, nil
}

// describeLinks adds the characters of links, and what they have done, in the
// order of the lab file. What cannot be asked now is left out: the counters of
// the rest do not depend on it.
func (s *Supervisor) describeLinks(ctx context.Context, all []LinkCounters) {
	s.shaping.mu.Lock()
	means := s.shaping.means
	var shaped []shape.Link
	for i := range all {
		if now, ok := s.shaping.now[i]; ok {
			all[i].Character, all[i].Means = textOf(now), means
			shaped = append(shaped, s.shaped(i))
		}
	}
	s.shaping.mu.Unlock()
	if len(shaped) == 0 {
		return
	}
	var reports []shape.Report
	var err error
	if means == shape.Netem {
		reports, err = shape.NetemReports(shaped)
	} else {
		reports, err = shape.NewClient(shaperSocket).Reports(ctx)
	}
	if err != nil {
		s.log.Warn("ask what links have done", "error", err)
		return
	}
	for i := range all {
		for k := range reports {
			if reports[k].Name == all[i].Name {
				all[i].Shaped = &reports[k]
			}
		}
	}
}
