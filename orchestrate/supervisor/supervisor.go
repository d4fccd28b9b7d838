// Package supervisor is the inside of a lab: it brings the lab's parts to
// life in the right order, watches over them, and answers the verbs. It is
// where the mechanisms below orchestrate meet.
package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/controller/explain"
	"meshlab.dev/meshlab/orchestrate/fault"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/topo"
)

// Config is what a supervisor inherits from the verb that started it.
type Config struct {
	Control   *net.UnixListener // HTTP: the verbs
	Exec      *net.UnixListener // commands, with their standard files
	Published []net.Listener    // loopback ports of the user, in the order of UpRequest.Publish
	Hangup    io.ReadCloser     // ends when the verb does
	Parse     func(name string, source []byte) (*topo.Lab, error)
	Logger    *slog.Logger
}

// Supervisor is a lab from the inside.
type Supervisor struct {
	cfg    Config
	log    *slog.Logger
	faults *fault.Book

	mu         sync.Mutex
	req        UpRequest
	lab        *topo.Lab
	procs      *process.Manager
	status     Status
	containers *containers // nil: the hosts are none
	switches   []*vswitch
	started    bool

	shaping characters
}

// errRolledBack ends the supervisor, and with it the lab.
var errRolledBack = errors.New("the lab did not come up")

// Run serves until ctx ends, or until bringing the lab up has failed: then
// it returns an error, and the sandbox that it is in must end.
func Run(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &Supervisor{cfg: cfg, log: cfg.Logger}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /up", func(w http.ResponseWriter, r *http.Request) {
		if err := s.serveUp(w, r); err != nil {
			s.log.Error("lab did not come up", "error", err)
			cancel(errRolledBack)
		}
	})
	mux.HandleFunc("GET /status", s.serveStatus)
	mux.HandleFunc("GET /logs", s.serveLogs)
	mux.HandleFunc("GET /flows", s.serveFlows)
	mux.HandleFunc("GET /cost", s.serveCost)
	mux.HandleFunc("GET /links", s.serveLinks)
	mux.HandleFunc("POST /links", s.serveSetLink)
	for _, path := range []string{explain.Path, "/traffic", "/metrics", "/healthz"} { // the controller's own
		mux.Handle("GET "+path, explain.Forward(controllerSocket))
	}
	mux.HandleFunc("POST /load", s.serveLoad)
	s.handleFaults(mux)
	mux.Handle("/taps", &taps{supervisor: s})
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	go s.serveExec(cfg.Exec)
	go func() { cancel(server.Serve(cfg.Control)) }()
	// Whoever started the supervisor asks for the lab at once. If it has been
	// killed before that, nobody will, and nothing may stay.
	go func() {
		_, _ = io.Copy(io.Discard, cfg.Hangup)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.started {
			cancel(errors.New("nobody asked for the lab"))
		}
	}()
	<-ctx.Done()
	stop, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	_ = server.Shutdown(stop) // lets the last event of /up reach its reader
	s.removeOwn()
	return context.Cause(ctx)
}

func (s *Supervisor) serveUp(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	if s.started {
		s.mu.Unlock()
		fail(w, http.StatusConflict, errors.New("the lab is up already"))
		return nil
	}
	s.started = true
	s.mu.Unlock()

	out := json.NewEncoder(w)
	var sending sync.Mutex
	send := func(e Event) {
		sending.Lock()
		defer sending.Unlock()
		_ = out.Encode(e) // a reader that is gone cancels r.Context
		_ = http.NewResponseController(w).Flush()
	}
	var req UpRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 8<<20)).Decode(&req); err != nil {
		send(Event{Error: fmt.Sprintf("read request: %v", err)})
		return err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	st, err := s.up(ctx, req, send)
	if err == nil && r.Context().Err() != nil {
		err = r.Context().Err() // the caller has gone: nobody knows of this lab
	}
	if err != nil {
		send(Event{Error: err.Error()})
		return err
	}
	send(Event{Ready: &st})
	if req.Hold {
		<-r.Context().Done()
		return errors.New("the program that held the lab has ended")
	}
	return nil
}

func (s *Supervisor) serveStatus(w http.ResponseWriter, r *http.Request) {
	st, err := s.currentStatus(r.Context())
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	_ = json.NewEncoder(w).Encode(st)
}

func (s *Supervisor) serveLogs(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || n < 1 {
		fail(w, http.StatusBadRequest, errors.New("number of lines must be a positive number"))
		return
	}
	procs, err := s.running()
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	text, err := procs.Tail(r.URL.Query().Get("name"), n)
	if err != nil {
		fail(w, http.StatusNotFound, err)
		return
	}
	_, _ = w.Write([]byte(text))
}

// running returns the processes of a lab that is coming up or is up.
func (s *Supervisor) running() (*process.Manager, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.procs == nil {
		return nil, errors.New("the lab is not up yet")
	}
	return s.procs, nil
}

// instanceFor is the Open vSwitch that commands for a node are meant for: that
// of a switch, or that of all switches. false: none is.
func (s *Supervisor) instanceFor(node string) (ovs.Instance, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lab == nil || s.lab.Switches == topo.SwitchesIsolated && !slices.ContainsFunc(s.lab.Nodes, func(n topo.Node) bool { return n.Name == node && isSwitch(n) }) {
		return ovs.Instance{}, false
	}
	return instanceOf(s.lab, node), true
}

// namespaceOf is the network namespace in which commands for a node run.
func (s *Supervisor) namespaceOf(node string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if node == "" {
		return "", nil
	}
	if s.lab == nil {
		return "", errors.New("the lab is not up yet")
	}
	var names []string
	for _, n := range s.lab.Nodes {
		if n.Name == node {
			if isSwitch(n) {
				return instanceOf(s.lab, n.Name).Name, nil
			}
			return n.Name, nil
		}
		names = append(names, n.Name)
	}
	return "", fmt.Errorf("no node %q in lab %s: it has %v", node, s.lab.Name, names)
}

func fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(problem{err.Error()})
}

// Inherit turns the file descriptors that Launch hands on, from 3 on, back
// into a pipe and listeners: control, exec, and n published ports.
func Inherit(n int) (Config, error) {
	cfg := Config{Hangup: os.NewFile(3, "hangup")}
	unix.CloseOnExec(3)
	all := make([]net.Listener, 0, n+2)
	for i := range n + 2 {
		f := os.NewFile(uintptr(4+i), "listener")
		l, err := net.FileListener(f)
		if err != nil {
			return cfg, fmt.Errorf("inherit listener %d: %w", i, err)
		}
		f.Close()
		all = append(all, l)
	}
	var ok, ok2 bool
	cfg.Control, ok = all[0].(*net.UnixListener)
	cfg.Exec, ok2 = all[1].(*net.UnixListener)
	if !ok || !ok2 {
		return cfg, errors.New("inherit listeners: not unix sockets")
	}
	cfg.Control.SetUnlinkOnClose(false)
	cfg.Exec.SetUnlinkOnClose(false)
	cfg.Published = all[2:]
	return cfg, nil
}
