package shape

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/topo"
)

// Shaper gives links a character in this process. A link keeps it for as long
// as the process lives, and is cut when it ends without Close.
//
// One process serves all links of a lab, with a thread for each link: a process
// of Go's takes some 10 MB of memory, a thread some 100 kB.
type Shaper struct {
	log *slog.Logger

	mu    sync.Mutex
	marks uint32
	links map[string]*shaped
}

// shaped is a link of a Shaper's.
type shaped struct {
	link   Link
	runner *runner // nil: it could not be set up, and is tried again
	err    error
}

// NewShaper makes a shaper without links.
func NewShaper(log *slog.Logger) *Shaper {
	return &Shaper{log: log, links: map[string]*shaped{}}
}

// Apply gives exactly these links their characters: those that have one
// already, by another character or anew, and all others pass frames by
// themselves again. No frame is lost by it. On an error the rest is in force,
// and the links that it names are tried again by Watch.
func (s *Shaper) Apply(links []Link) error {
	wanted := map[string]Link{}
	for _, l := range links {
		if err := l.Check(); err != nil {
			return err
		}
		if _, twice := wanted[l.Name]; twice {
			return fmt.Errorf("link %s: it is there twice", l.Name)
		}
		if l.Character != (topo.Character{}) {
			wanted[l.Name] = l
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, have := range s.links {
		want, ok := wanted[name]
		if ok && want.A == have.link.A && want.B == have.link.B {
			continue
		}
		errs = append(errs, have.release())
		delete(s.links, name)
	}
	s.makeRoom(len(wanted))
	for _, l := range links {
		if _, ok := wanted[l.Name]; ok {
			errs = append(errs, s.put(l))
		}
	}
	return errors.Join(errs...)
}

// makeRoom lets all threads that wait for frames go on at once when one comes:
// each needs one of the processors that Go's scheduler counts on.
func (s *Shaper) makeRoom(links int) {
	const most = 256
	if n := min(links+2, most); n > runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(n)
	}
}

// put gives one link its character.
func (s *Shaper) put(l Link) error {
	have, known := s.links[l.Name]
	if !known {
		have = &shaped{}
		s.links[l.Name] = have
	}
	have.link = l
	if have.runner != nil {
		have.runner.set(l.Character)
		return nil
	}
	have.runner, have.err = s.start(l)
	if have.err != nil && !known {
		_ = letGo(l) // the error says that it has no character: it need not be cut
	}
	return have.err
}

// letGo lets the devices of a link that has no runner pass frames by
// themselves.
func letGo(l Link) error {
	var errs []error
	for _, e := range []End{l.A, l.B} {
		errs = append(errs, netns.Do(e.NetNS, func() error {
			device, err := netlink.LinkByName(e.Device)
			if err != nil {
				return nil // it is gone, with its filter
			}
			return removeClsact(device.Attrs().Index)
		}))
	}
	return errors.Join(errs...)
}

// start sets up both directions.
func (s *Shaper) start(l Link) (*runner, error) {
	var directions [2]*direction
	for i, end := range []End{l.A, l.B} {
		s.marks = (s.marks + 1) & 0xffff
		tapped, err := openCapture(end, markBase|s.marks)
		var mtu int
		if err == nil {
			mtu, err = mtuOf(end)
		}
		if err != nil {
			for _, d := range directions[:i] {
				d.tapped.close()
			}
			return nil, fmt.Errorf("link %s: %w", l.Name, err)
		}
		directions[i] = newDirection(tapped, l.Character, rand.Uint64(), mtu)
	}
	r, err := startRunner(directions[0], directions[1])
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", l.Name, err)
	}
	return r, nil
}

func mtuOf(e End) (mtu int, err error) {
	err = netns.Do(e.NetNS, func() error {
		device, err := netlink.LinkByName(e.Device)
		if err == nil {
			mtu = device.Attrs().MTU
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", e, err)
	}
	return mtu, nil
}

func (h *shaped) release() error {
	var err error
	if r := h.runner; r != nil {
		h.runner = nil
		err = r.release()
	} else {
		err = letGo(h.link)
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", h.link.Name, err)
	}
	return nil
}

// Close lets all links pass frames by themselves again.
func (s *Shaper) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, h := range s.links {
		errs = append(errs, h.release())
		delete(s.links, name)
	}
	return errors.Join(errs...)
}

// watchEvery is how soon a device that was replaced, as that of a container
// that was started again, gets the character of its link.
const watchEvery = time.Second

// Watch sets links up again whose devices were replaced, or that could not be
// set up, until ctx ends.
func (s *Shaper) Watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look()
		}
	}
}

func (s *Shaper) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.links {
		if h.runner != nil && h.runner.intact() {
			continue
		}
		if h.runner != nil {
			h.runner.end() // one of its devices may be there still: it stays cut until both are
			h.runner = nil
			s.log.Warn("the devices of a link were replaced", "link", name)
		}
		before := h.err
		if err := s.put(h.link); err == nil {
			s.log.Info("the link has its character again", "link", name)
		} else if before == nil || before.Error() != err.Error() {
			s.log.Warn("a link cannot get its character; trying again", "error", err)
		}
	}
}

// Report is what a link with a character has done.
type Report struct {
	Name      string         `json:"name"`
	Character topo.Character `json:"character"`
	AToB      Counters       `json:"a_to_b"`
	BToA      Counters       `json:"b_to_a"`
	Error     string         `json:"error,omitempty"` // why the link is cut
}

// Reports tells what each link has done, sorted by name.
func (s *Shaper) Reports() []Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Report, 0, len(s.links))
	for _, name := range slices.Sorted(maps.Keys(s.links)) {
		h := s.links[name]
		r := Report{Name: name, Character: h.link.Character}
		if h.runner != nil {
			r.AToB, r.BToA = h.runner.read()
		} else if h.err != nil {
			r.Error = h.err.Error()
		}
		all = append(all, r)
	}
	return all
}
