package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/tap"
	"meshlab.dev/meshlab/scenarios/attribution"
	"meshlab.dev/meshlab/topo"
)

// What taps may take: a lab must not run out of memory for somebody who forgot
// them.
const (
	maxTapTime    = 5 * time.Minute
	maxTapPackets = 500_000 // some 50 MB
)

// tapLine is one line of the answer to POST /taps. The first has Ports: the
// taps are on. Then, when they are off again, come the packets, and End.
type tapLine struct {
	Ports  []attribution.Port  `json:"ports,omitempty"`
	Packet *attribution.Packet `json:"packet,omitempty"`
	End    *tapEnd             `json:"end,omitempty"`
}

type tapEnd struct {
	Packets int    `json:"packets"`
	Dropped int    `json:"dropped"`
	Error   string `json:"error,omitempty"`
}

// taps answers /taps: POST turns taps on, until DELETE, or until the caller
// goes away. There is one set of them at a time.
type taps struct {
	supervisor *Supervisor

	mu  sync.Mutex
	now *tapping // nil: they are off
}

// tapping is one set of taps.
type tapping struct {
	ctx  context.Context // done: they are being turned off
	stop context.CancelFunc
	off  chan struct{} // closed when they are
}

func (t *taps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		t.serveStart(w, r)
	case http.MethodDelete:
		t.serveStop(w)
	default:
		fail(w, http.StatusMethodNotAllowed, errors.New("taps are turned on by POST and off by DELETE"))
	}
}

func (t *taps) serveStop(w http.ResponseWriter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil || t.now.ctx.Err() != nil {
		fail(w, http.StatusNotFound, errors.New("no taps are on"))
		return
	}
	t.now.stop()
	w.WriteHeader(http.StatusOK)
}

// begin takes the place of the one set of taps. It waits for one that is being
// turned off, and refuses when one is on.
func (t *taps) begin(ctx context.Context) (*tapping, error) {
	own := &tapping{off: make(chan struct{})}
	own.ctx, own.stop = context.WithCancel(ctx)
	for {
		t.mu.Lock()
		before := t.now
		if before == nil {
			t.now = own
			t.mu.Unlock()
			return own, nil
		}
		t.mu.Unlock()
		if before.ctx.Err() == nil {
			own.stop()
			return nil, errors.New("taps are on already, for somebody else")
		}
		select {
		case <-before.off:
		case <-ctx.Done():
			own.stop()
			return nil, ctx.Err()
		}
	}
}

// end gives the place back.
func (t *taps) end(own *tapping) {
	own.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = nil
	close(own.off)
}

func (t *taps) serveStart(w http.ResponseWriter, r *http.Request) {
	t.supervisor.mu.Lock()
	lab, ready := t.supervisor.lab, t.supervisor.status.Ready
	t.supervisor.mu.Unlock()
	if !ready {
		fail(w, http.StatusServiceUnavailable, errors.New("the lab is not ready"))
		return
	}
	own, err := t.begin(r.Context())
	if err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	ctx := own.ctx
	limited, cancelLimited := context.WithTimeout(ctx, maxTapTime)
	defer cancelLimited()

	out := json.NewEncoder(w)
	ports, at := tapPorts(lab)
	on := false
	c, err := tap.Listen(limited, tap.Config{Ports: at, MaxPackets: maxTapPackets}, func() {
		on = true
		_ = out.Encode(tapLine{Ports: ports}) // a caller who is gone ends ctx
		_ = http.NewResponseController(w).Flush()
	})
	ended := ctx.Err() != nil
	t.end(own)
	if err == nil && !ended {
		err = fmt.Errorf("taps were on for %s, the most there is", maxTapTime)
	}
	if err != nil && !on {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	end := tapEnd{Packets: len(c.Packets), Dropped: c.Dropped}
	if err != nil {
		end = tapEnd{Error: err.Error()}
		c.Packets = nil
	}
	for _, p := range c.Packets {
		if r.Context().Err() != nil {
			return
		}
		packet := attribution.Packet(p)
		_ = out.Encode(tapLine{Packet: &packet})
	}
	_ = out.Encode(tapLine{End: &end})
}

// tapPorts returns where to listen: at both directions of the cable of each
// host where a service or the client runs, at the switch's end, and at what
// the processes of the host say to each other. The loopback device shows each
// packet twice, going out and coming in; once is enough.
func tapPorts(lab *topo.Lab) (ports []attribution.Port, at []tap.Port) {
	busy := map[string]bool{}
	for _, s := range lab.Services {
		busy[s.Node] = true
	}
	if lab.Client != nil {
		busy[lab.Client.Node] = true
	}
	cable := map[string]link.Veth{}
	for _, v := range cables(lab, false) {
		cable[v.Host] = v
	}
	for _, n := range lab.Nodes {
		if !busy[n.Name] {
			continue
		}
		v := cable[n.Name]
		ports = append(ports,
			attribution.Port{Host: n.Name, Side: attribution.Sent},
			attribution.Port{Host: n.Name, Side: attribution.Delivered},
			attribution.Port{Host: n.Name, Side: attribution.Loopback})
		at = append(at,
			tap.Port{NetNS: v.Switch, Device: v.Peer, Direction: tap.In},
			tap.Port{NetNS: v.Switch, Device: v.Peer, Direction: tap.Out},
			tap.Port{NetNS: n.Name, Device: "lo", Direction: tap.Out})
	}
	return ports, at
}
