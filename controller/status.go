package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/eject"
	"meshlab.dev/meshlab/controller/explain"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// Health is the answer of GET /healthz, with status 200 when OK and 503 when
// not.
type Health struct {
	OK       bool   `json:"ok"`       // there is a snapshot, and every datapath is in sync with it
	Role     string `json:"role"`     // active; or standby, which is OK when it could take over
	Snapshot uint64 `json:"snapshot"` // serial number of the latest; 0: none yet
	Registry bool   `json:"registry"` // it answered the last question
	// Away are sources that do not answer, and what mends that; what they said
	// last stands.
	Away      []string         `json:"away,omitempty"`
	Datapaths []DatapathHealth `json:"datapaths"`
	Warnings  []string         `json:"warnings,omitempty"` // parts of the snapshot that are not honoured
	Ejected   []eject.Ejected  `json:"ejected,omitempty"`  // instances that failed and get no new connections for a while
}

// DatapathHealth tells of one switch.
type DatapathHealth struct {
	Name      string  `json:"name"`
	Connected bool    `json:"connected"`
	InSync    bool    `json:"in_sync"` // it has confirmed the latest snapshot
	Flows     int     `json:"flows"`   // that it should hold
	Groups    int     `json:"groups"`
	Meters    int     `json:"meters"`
	Dropped   uint64  `json:"dropped_packet_ins"` // by this controller, which did not keep up
	SyncMS    float64 `json:"sync_ms"`            // from the last snapshot to its confirmation; 0: it is older than the connection
	Error     string  `json:"error,omitempty"`
}

// Flows is the answer of GET /flows.
type Flows struct {
	Datapaths []DatapathFlows `json:"datapaths"`
}

// DatapathFlows is what one switch should hold, with its counters.
type DatapathFlows struct {
	Name   string      `json:"name"`
	Flows  []FlowInfo  `json:"flows"`
	Groups []GroupInfo `json:"groups"`
	Error  string      `json:"error,omitempty"` // why there are no counters
}

// FlowInfo is one flow. Match and Actions are in the syntax of ovs-ofctl.
type FlowInfo struct {
	Table     uint8  `json:"table"`
	TableName string `json:"table_name"`
	Priority  uint16 `json:"priority"`
	Match     string `json:"match"`
	Actions   string `json:"actions"`
	Reason    string `json:"reason"`
	Present   bool   `json:"present"` // the switch has it
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"`
}

// GroupInfo is one group, much as ovs-ofctl writes it, with equal buckets
// counted.
type GroupInfo struct {
	ID     uint32 `json:"id"`
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

// status answers questions about a running controller.
type status struct{ *Controller }

// Health tells whether the datapaths are in sync. It waits for no switch.
func (c *Controller) Health() Health {
	goal, _ := c.target.load()
	h := Health{OK: goal.serial > 0, Snapshot: goal.serial, Role: "active", Registry: c.cfg.RegistryUp == nil || c.cfg.RegistryUp()}
	if !c.active() {
		h.Role = "standby"
	}
	if c.cfg.Away != nil {
		h.Away = c.cfg.Away()
	}
	c.mu.Lock()
	h.OK = h.OK && c.workers != nil
	h.Ejected = c.ejected
	limitWarning := c.limitWarning
	c.mu.Unlock()
	seen := map[string]bool{}
	for _, w := range c.each() {
		sw, st := w.look()
		where, _ := w.placement()
		d := DatapathHealth{
			Name: w.name, Connected: sw != nil, Flows: st.flows, Groups: st.groups, Meters: st.meters,
			InSync: sw != nil && !st.applied.IsZero() && st.serial == goal.serial && st.place == where.serial,
			SyncMS: float64(st.took) / float64(time.Millisecond),
		}
		if st.err != nil {
			d.Error = st.err.Error()
		}
		if l, ok := sw.(lossy); ok {
			d.Dropped = l.DroppedPacketIns()
		}
		h.OK = h.OK && (d.InSync || h.Role == "standby")
		h.Datapaths = append(h.Datapaths, d)
		for _, warning := range st.warnings {
			if !seen[warning] {
				h.Warnings = append(h.Warnings, warning)
			}
			seen[warning] = true
		}
	}
	if limitWarning != "" {
		h.Warnings = append(h.Warnings, limitWarning)
	}
	return h
}

// lossy is a switch that counts the packets that found no reader.
type lossy interface{ DroppedPacketIns() uint64 }

func (s *status) flows(ctx context.Context) Flows {
	workers := s.each()
	out := Flows{Datapaths: make([]DatapathFlows, len(workers))}
	var all sync.WaitGroup
	for i, w := range workers {
		all.Go(func() { out.Datapaths[i] = w.describe(ctx) })
	}
	all.Wait()
	return out
}

// describe joins the program with the counters of the switch.
func (w *worker) describe(ctx context.Context) DatapathFlows {
	sw, st := w.look()
	d := DatapathFlows{Name: w.name}
	stats := map[uint64]FlowStats{}
	if sw == nil {
		d.Error = "not connected"
		if st.err != nil {
			d.Error = st.err.Error()
		}
	} else if flows, err := sw.Flows(ctx); err != nil {
		d.Error = err.Error()
	} else {
		for _, f := range flows {
			stats[f.Cookie] = f
		}
	}
	program := w.program()
	for _, f := range program.Flows {
		_, actions, _ := strings.Cut(f.String(), "actions=")
		c, ok := stats[f.Cookie]
		d.Flows = append(d.Flows, FlowInfo{
			Table: f.Table, TableName: pipeline.TableName(f.Table), Priority: f.Priority,
			Match: f.Match.String(), Actions: actions, Reason: f.Reason,
			Present: ok, Packets: c.Packets, Bytes: c.Bytes,
		})
	}
	for _, g := range program.Groups {
		d.Groups = append(d.Groups, GroupInfo{ID: g.ID, Text: g.Summary(), Reason: g.Reason})
	}
	return d
}

// program is what the switch should hold.
func (w *worker) program() pipeline.Program {
	var p pipeline.Program
	w.with(func(c *pipeline.Compiler) { p = c.Program() })
	return p
}

// network is all that the way of a packet follows from.
func (s *status) network() (explain.Network, error) {
	n := explain.Network{Snapshot: s.snapshot(), Programs: map[string]pipeline.Program{}}
	for _, w := range s.each() {
		where, _ := w.placement()
		n.Fabric = where.fabric
		n.Datapaths = append(n.Datapaths, where.dp)
		n.Programs[w.name] = w.program()
	}
	if len(n.Datapaths) == 0 {
		return n, errors.New("the network is not known yet")
	}
	return n, nil
}

func (s *status) snapshot() mesh.Snapshot {
	goal, _ := s.target.load()
	return goal.snap
}

func (s *status) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, code int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v) // the reader has gone; there is nobody to tell
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		h := s.Health()
		code := http.StatusOK
		if !h.OK {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, h)
	})
	mux.HandleFunc("GET /flows", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, s.flows(r.Context())) })
	mux.HandleFunc("GET /traffic", func(w http.ResponseWriter, _ *http.Request) {
		if s.cfg.Metrics == nil {
			http.Error(w, "this controller counts nothing", http.StatusNotFound)
			return
		}
		answer(w, http.StatusOK, s.cfg.Metrics.Traffic())
	})
	mux.Handle("GET "+explain.Path, explain.Handler(s.network))
	mux.HandleFunc("GET /snapshot", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.snapshot()) })
	return mux
}

// Listen listens at a unix socket, in place of one that a dead process has
// left behind. It makes the folder when it is missing.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder of socket: %w", err)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another controller answers at %s; stop it, or choose another path", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove stale socket: %w", err)
		}
	}
	return net.Listen("unix", path)
}

// Serve answers at a listener until ctx ends, and returns ctx's error then.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return ctx.Err()
}
