package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// Health is the answer of GET /healthz, with status 200 when OK and 503 when
// not.
type Health struct {
	OK        bool             `json:"ok"`       // there is a snapshot, and every datapath is in sync with it
	Snapshot  uint64           `json:"snapshot"` // serial number of the latest; 0: none yet
	Datapaths []DatapathHealth `json:"datapaths"`
	Warnings  []string         `json:"warnings,omitempty"` // parts of the snapshot that are not honoured
}

// DatapathHealth tells of one switch.
type DatapathHealth struct {
	Name      string  `json:"name"`
	Connected bool    `json:"connected"`
	InSync    bool    `json:"in_sync"` // it has confirmed the latest snapshot
	Flows     int     `json:"flows"`   // that it should hold
	Groups    int     `json:"groups"`
	SyncMS    float64 `json:"sync_ms"` // from the last snapshot to its confirmation; 0: it is older than the connection
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

// GroupInfo is one group, in the syntax of ovs-ofctl.
type GroupInfo struct {
	ID     uint32 `json:"id"`
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

// status answers questions about a running controller.
type status struct {
	target  *target
	workers []*worker
}

func (s *status) health() Health {
	goal, _ := s.target.load()
	h := Health{OK: goal.serial > 0, Snapshot: goal.serial}
	seen := map[string]bool{}
	for _, w := range s.workers {
		sw, st := w.look()
		d := DatapathHealth{
			Name: w.dp.Name, Connected: sw != nil, Flows: len(st.program.Flows), Groups: len(st.program.Groups),
			InSync: sw != nil && !st.applied.IsZero() && st.serial == goal.serial,
			SyncMS: float64(st.took) / float64(time.Millisecond),
		}
		if st.err != nil {
			d.Error = st.err.Error()
		}
		h.OK = h.OK && d.InSync
		h.Datapaths = append(h.Datapaths, d)
		for _, warning := range st.program.Warnings {
			if !seen[warning] {
				h.Warnings = append(h.Warnings, warning)
			}
			seen[warning] = true
		}
	}
	return h
}

func (s *status) flows(ctx context.Context) Flows {
	out := Flows{Datapaths: make([]DatapathFlows, len(s.workers))}
	var all sync.WaitGroup
	for i, w := range s.workers {
		all.Go(func() { out.Datapaths[i] = w.describe(ctx) })
	}
	all.Wait()
	return out
}

// describe joins the program with the counters of the switch.
func (w *worker) describe(ctx context.Context) DatapathFlows {
	sw, st := w.look()
	d := DatapathFlows{Name: w.dp.Name}
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
	for _, f := range st.program.Flows {
		_, actions, _ := strings.Cut(f.String(), "actions=")
		c, ok := stats[f.Cookie]
		d.Flows = append(d.Flows, FlowInfo{
			Table: f.Table, TableName: pipeline.TableName(f.Table), Priority: f.Priority,
			Match: f.Match.String(), Actions: actions, Reason: f.Reason,
			Present: ok, Packets: c.Packets, Bytes: c.Bytes,
		})
	}
	for _, g := range st.program.Groups {
		d.Groups = append(d.Groups, GroupInfo{ID: g.ID, Text: g.String(), Reason: g.Reason})
	}
	return d
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
		h := s.health()
		code := http.StatusOK
		if !h.OK {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, h)
	})
	mux.HandleFunc("GET /flows", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, s.flows(r.Context())) })
	mux.HandleFunc("GET /snapshot", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.snapshot()) })
	return mux
}

// listenStatus listens at a unix socket, in place of one that a dead process
// has left behind.
func listenStatus(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("listen for status at %s: another controller answers there; stop it or choose another path", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the stale status socket: %w", err)
		}
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for status: %w", err)
	}
	return ln, nil
}

func serveStatus(ctx context.Context, ln net.Listener, s *status) error {
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}
