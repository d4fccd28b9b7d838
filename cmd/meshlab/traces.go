package main

import (
	"hash/fnv"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/spans"
)

// tracer turns the ends of traced connections into spans. The loop tells
// names with each end, the recorder asks for them when it has both halves: in
// between, the tracer remembers them.
type tracer struct {
	recorder *spans.Recorder

	mu         sync.Mutex
	young, old map[call]spans.Names // of this period, and of the one before
	youngSince time.Time
}

// call is what a recorder asks for names by.
type call struct {
	client   netip.Addr
	bindPort uint16
	instance uint32
}

// namesKept is longer than a half waits for the other one.
const namesKept = time.Minute

func newTracer(cfg controller.FileConfig, log *slog.Logger) (*tracer, error) {
	t := &tracer{young: map[call]spans.Names{}, youngSince: time.Now()}
	var err error
	t.recorder, err = spans.New(spans.Config{Endpoint: cfg.Traces.Endpoint, Names: t.names, Logger: log, Now: time.Now})
	return t, err
}

// traced takes the end of one half of a connection.
func (t *tracer) traced(e controller.End) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(e.Service + "\x00" + e.Instance.ID)) // a hash takes all
	c := call{e.Client.Addr(), e.Call.BindPort, h.Sum32()}
	n := spans.Names{
		Source: e.Call.Source, Destination: e.Call.Destination, Host: e.Host,
		InstanceID: e.Instance.ID, InstanceService: e.Service, InstanceAddr: e.Instance.Addr,
	}
	t.mu.Lock()
	if time.Since(t.youngSince) > namesKept {
		t.young, t.old, t.youngSince = map[call]spans.Names{}, t.young, time.Now()
	}
	t.young[c] = n
	t.mu.Unlock()
	t.recorder.Removed(e.Datapath, spans.Event{
		Reply: e.Reply, Client: e.Client, BindPort: c.bindPort, Instance: c.instance,
		Duration: time.Since(e.Started), Idle: time.Since(e.Last), Packets: e.Packets, Bytes: e.Bytes,
	})
}

func (t *tracer) names(client netip.Addr, bindPort uint16, instance uint32) spans.Names {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := call{client, bindPort, instance}
	if n, ok := t.young[c]; ok {
		return n
	}
	return t.old[c]
}
