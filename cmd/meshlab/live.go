package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/scenarios"
)

// liveRefresh is how often the page of a run loads itself again. Drawing it
// takes processor time from what is measured, so it is rare.
const liveRefresh = 10 * time.Second

// live is the page of a run that is going on, on a loopback port.
type live struct {
	mu       sync.Mutex
	document []byte // the result so far, as JSON
	progress string
}

// serveLive serves the report of what has been measured so far, and returns a
// function that ends that.
func (r *measurement) serveLive(ctx context.Context) (func(), error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for --watch: %w", err)
	}
	r.live = &live{progress: "the labs come up"}
	server := &http.Server{Handler: r.live, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // until Close
	r.p.line("  watch it at http://%s/", listener.Addr())
	return func() { _ = server.Close() }, nil
}

// report shows how far a run is, on the terminal and to whoever watches.
func (r *measurement) report(text string) {
	r.p.report(text)
	if r.live != nil {
		r.live.mu.Lock()
		defer r.live.mu.Unlock()
		r.live.progress = text
	}
}

// publish makes what has been measured so far visible to whoever watches.
func (r *measurement) publish() {
	if r.live == nil {
		return
	}
	body, err := json.Marshal(r.res)
	if err != nil {
		return // the page stays as it was; the end of the run tells why
	}
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	r.live.document = body
}

func (l *live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	document, progress := l.document, l.progress
	l.mu.Unlock()
	res := &scenarios.Result{SchemaVersion: scenarios.SchemaVersion, ID: "running"}
	if document != nil {
		if err := json.Unmarshal(document, res); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	var page bytes.Buffer
	err := reports.Page(r.Context(), &page, []*scenarios.Result{res}, reports.Options{Live: &reports.Live{Progress: progress, Refresh: liveRefresh}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(page.Bytes()) // a reader that has gone
}
