// Package spans makes an OpenTelemetry span of each traced connection
// through the mesh, and exports it by OTLP over HTTP. A connection is known by
// the last counters of its two learned flows, one per direction. Which
// connections are traced, the switch decides; what the numbers in the flows
// mean, the lookup does.
package spans

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The bounds of what is held. A span takes about 2 KiB.
const (
	mostWaiting = 16384 // halves whose other half has not come
	mostPending = 4096  // spans that have not been exported
)

// longestWait is how long a half waits for the other: when one side resets
// the connection, the flow of the other direction ends 30 s later, and the
// switch looks every second.
const longestWait = 35 * time.Second

// Event tells that a learned flow has gone.
type Event struct {
	Reply    bool           // packets of the instance; else of the client
	Client   netip.AddrPort // IPv4
	BindPort uint16         // 0 when Reply
	Instance uint32         // number
	Duration time.Duration  // from the flow's beginning until it went
	Idle     time.Duration  // its idle timeout when it went: so old is its last packet
	Packets  uint64
	Bytes    uint64 // with Ethernet headers
}

// Names say what the numbers in an event mean. What is not known is zero.
type Names struct {
	Source      string // calling service
	Destination string // service called
	Host        string // of the client

	InstanceID      string
	InstanceService string // another than Destination when a rollout or a failover chose it
	InstanceAddr    netip.AddrPort
}

// Lookup finds names; bindPort is 0 when it is not known. It is called from
// Removed and from a goroutine of the Recorder, and must not block.
type Lookup func(client netip.Addr, bindPort uint16, instance uint32) Names

// Config is what New needs.
type Config struct {
	Endpoint string            // of the OTLP receiver: http://HOST:4318; without a path, /v1/traces is meant
	Headers  map[string]string // sent with each request, as for authorization
	Names    Lookup
	Logger   *slog.Logger
	Now      func() time.Time
}

// Stats are counted since New.
type Stats struct {
	Exported uint64 // spans that the receiver took
	Dropped  uint64 // spans for which there was no room
	Failed   uint64 // spans that the receiver did not take, after all repeats
	Waiting  int    // halves that wait for the other one
}

// Recorder joins the halves of connections. Its methods may be called at the
// same time; none but Close waits for the receiver.
type Recorder struct {
	names    Lookup
	now      func() time.Time
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	exporter *exporter
	dropped  atomic.Uint64
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	waiting map[key]*list.Element
	order   *list.List // of *half, the one that came first in front
}

type key struct {
	datapath string
	client   netip.AddrPort
	instance uint32
	reply    bool
}

// half is one direction of a connection.
type half struct {
	key
	bindPort   uint16
	start, end time.Time
	came       time.Time
	packets    uint64
	bytes      uint64
}

// New makes a Recorder. It does not connect: a receiver that is away costs
// spans, not the controller. The caller must Close it.
func New(c Config) (*Recorder, error) {
	if c.Names == nil || c.Logger == nil || c.Now == nil {
		return nil, errors.New("make recorder of spans: Names, Logger and Now are needed")
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("make recorder of spans: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("make recorder of spans: endpoint %q: want http://HOST:PORT or https://HOST:PORT", c.Endpoint)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces" // OTLP 1.x, "OTLP/HTTP Request"
	}
	client, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHeaders(c.Headers))
	if err != nil {
		return nil, fmt.Errorf("make exporter of spans: %w", err)
	}
	return start(c, client), nil
}

// start makes a Recorder that exports to anything.
func start(c Config, to sdktrace.SpanExporter) *Recorder {
	r := &Recorder{
		names: c.Names, now: c.Now,
		exporter: &exporter{to: to, log: c.Logger},
		stop:     make(chan struct{}),
		waiting:  map[key]*list.Element{},
		order:    list.New(),
	}
	r.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // the switch has sampled
		sdktrace.WithBatcher(r.exporter, sdktrace.WithMaxQueueSize(mostPending)),
	)
	r.tracer = r.provider.Tracer("meshlab.dev/meshlab/controller/spans")
	r.stopped.Go(r.expireAll)
	return r
}

// expireAll exports halves that have waited too long.
func (r *Recorder) expireAll() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
			r.mu.Lock()
			r.expire(r.now())
			r.mu.Unlock()
		}
	}
}

// Removed takes the end of a learned flow of a datapath. It does not block.
// Events after Close are ignored.
func (r *Recorder) Removed(datapath string, ev Event) {
	now := r.now()
	h := &half{
		key:      key{datapath, ev.Client, ev.Instance, ev.Reply},
		bindPort: ev.BindPort,
		came:     now,
		start:    now.Add(-max(0, ev.Duration)),
		packets:  ev.Packets, bytes: ev.Bytes,
	}
	h.end = now.Add(-max(0, ev.Idle))
	if h.end.Before(h.start) {
		h.end = h.start
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.expire(now)
	other := h.key
	other.reply = !h.reply
	if e, ok := r.waiting[other]; ok {
		w := r.take(e)
		if related(h, w) {
			r.emit(h, w)
			return
		}
		r.emit(w, nil)
	}
	// The same half again: the port has a new connection.
	if e, ok := r.waiting[h.key]; ok {
		r.emit(r.take(e), nil)
	}
	if r.order.Len() >= mostWaiting {
		r.emit(r.take(r.order.Front()), nil)
	}
	r.waiting[h.key] = r.order.PushBack(h)
}

// related tells whether two halves may be of one connection: no second lies
// between them.
func related(a, b *half) bool {
	return !a.start.After(b.end.Add(time.Second)) && !b.start.After(a.end.Add(time.Second))
}

// take removes a half from those that wait.
func (r *Recorder) take(e *list.Element) *half {
	h := r.order.Remove(e).(*half)
	delete(r.waiting, h.key)
	return h
}

// expire exports, alone, the halves that have waited too long.
func (r *Recorder) expire(now time.Time) {
	for e := r.order.Front(); e != nil && now.Sub(e.Value.(*half).came) >= longestWait; e = r.order.Front() {
		r.emit(r.take(e), nil)
	}
}

// Stats may be read at any time.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	waiting := r.order.Len()
	r.mu.Unlock()
	return Stats{
		Exported: r.exporter.exported.Load(),
		Dropped:  r.dropped.Load(),
		Failed:   r.exporter.failed.Load(),
		Waiting:  waiting,
	}
}

// Close exports all that is there, the waiting halves alone, and waits for it
// until ctx ends. Close again does nothing.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	for e := r.order.Front(); e != nil; e = r.order.Front() {
		r.emit(r.take(e), nil)
	}
	r.mu.Unlock()
	close(r.stop)
	r.stopped.Wait()
	if err := r.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("export the last spans: %w", err)
	}
	return nil
}
