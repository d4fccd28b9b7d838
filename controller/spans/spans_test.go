package spans

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

var epoch = time.Unix(1_700_000_000, 0)

// clock is moved by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(seconds float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = epoch.Add(time.Duration(seconds * float64(time.Second)))
}

// receiver is an OTLP receiver over HTTP (opentelemetry-proto, "OTLP/HTTP").
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	headers http.Header
	path    string
	spans   []string // as text
	ids     map[string]bool
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{ids: map[string]bool{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s: %v", req.Method, req.Header.Get("Content-Type"), err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.headers, r.path = req.Header, req.URL.Path
		for _, rs := range export.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					r.spans = append(r.spans, text(rs, s))
					r.ids[string(s.TraceId)] = true
					if len(s.TraceId) != 16 || len(s.SpanId) != 8 || len(s.ParentSpanId) != 0 {
						t.Errorf("ids %x %x, parent %x", s.TraceId, s.SpanId, s.ParentSpanId)
					}
				}
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// text is resource, kind, name, begin and end in seconds after epoch, and
// attributes, sorted.
func text(rs *tracepb.ResourceSpans, s *tracepb.Span) string {
	second := func(ns uint64) float64 { return float64(int64(ns)-epoch.UnixNano()) / 1e9 }
	return fmt.Sprintf("[%s] %s %q %.3f-%.3f %s", attributes(rs.Resource.Attributes), strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"),
		s.Name, second(s.StartTimeUnixNano), second(s.EndTimeUnixNano), attributes(s.Attributes))
}

func attributes(kvs []*v1.KeyValue) string {
	var all []string
	for _, kv := range kvs {
		switch v := kv.Value.Value.(type) {
		case *v1.AnyValue_StringValue:
			all = append(all, kv.Key+"="+v.StringValue)
		case *v1.AnyValue_IntValue:
			all = append(all, fmt.Sprintf("%s=%d", kv.Key, v.IntValue))
		default:
			all = append(all, fmt.Sprintf("%s=?%T", kv.Key, v))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

var (
	webClient = netip.MustParseAddrPort("192.168.1.11:40000")
	apiAddr   = netip.MustParseAddrPort("192.168.1.12:19572")
)

func names(client netip.Addr, bindPort uint16, instance uint32) Names {
	var n Names
	if client == webClient.Addr() {
		n.Host = "h1"
		if bindPort == 9341 {
			n.Source, n.Destination = "web", "api"
		}
	}
	if instance == 7 {
		n.InstanceID, n.InstanceService, n.InstanceAddr = "h2/api", "api", apiAddr
	}
	return n
}

func config(endpoint string, c *clock) Config {
	return Config{Endpoint: endpoint, Names: names, Logger: slog.New(slog.DiscardHandler), Now: c.Now}
}

func forward(duration, idle float64) Event {
	return Event{Client: webClient, BindPort: 9341, Instance: 7, Duration: seconds(duration), Idle: seconds(idle), Packets: 6, Bytes: 600}
}

func reply(duration, idle float64) Event {
	return Event{Reply: true, Client: webClient, Instance: 7, Duration: seconds(duration), Idle: seconds(idle), Packets: 5, Bytes: 15500}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func closeNow(t testing.TB, r *Recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestReceiverSeesTheConnection(t *testing.T) {
	rec, c := newReceiver(t), &clock{}
	cfg := config(rec.URL, c)
	cfg.Headers = map[string]string{"Authorization": "Bearer x"}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.set(10)
	r.Removed("s1", forward(3.25, 1))
	c.set(10.5)
	r.Removed("s1", reply(3.7, 1))
	if s := r.Stats(); s.Waiting != 0 {
		t.Errorf("%d halves wait for another", s.Waiting)
	}
	closeNow(t, r)
	closeNow(t, r)
	r.Removed("s1", forward(1, 1)) // too late
	want := []string{`[host.name=h1 service.name=web] CLIENT "TCP api" 6.750-9.500 ` +
		"client.address=192.168.1.11 client.port=40000 meshlab.bind_port=9341 meshlab.bytes.received=15500 meshlab.bytes.sent=600 " +
		"meshlab.datapath=s1 meshlab.instance.id=h2/api meshlab.instance.service=api meshlab.packets.received=5 meshlab.packets.sent=6 " +
		"meshlab.source.host=h1 meshlab.source.service=web network.transport=tcp network.type=ipv4 " +
		"server.address=192.168.1.12 server.port=19572 service.peer.name=api"}
	if !reflect.DeepEqual(rec.spans, want) {
		t.Errorf("the receiver sees\n%s\nwant\n%s", strings.Join(rec.spans, "\n"), want[0])
	}
	if rec.path != "/v1/traces" || rec.headers.Get("Authorization") != "Bearer x" {
		t.Errorf("path %s, headers %v", rec.path, rec.headers)
	}
	if s := r.Stats(); s != (Stats{Exported: 1}) {
		t.Errorf("%+v, want one exported", s)
	}
}

func TestJoin(t *testing.T) {
	type step struct {
		at       float64
		datapath string
		ev       Event
	}
	other := forward(1, 1)
	other.Client = netip.AddrPortFrom(webClient.Addr(), 40001)
	nobody := Event{Client: netip.MustParseAddrPort("10.0.0.1:1"), BindPort: 1, Instance: 1, Duration: seconds(2), Idle: seconds(1)}
	for _, c := range []struct {
		name  string
		steps []step
		want  []string // "begin-end bytes sent/received", "-" for a half that is not there
	}{
		{"forward first", []step{{10, "s1", forward(5, 1)}, {12, "s1", reply(7, 1)}}, []string{"5.000-11.000 600/15500"}},
		{"reply first", []step{{10, "s1", reply(5, 1)}, {12, "s1", forward(7, 1)}}, []string{"5.000-11.000 600/15500"}},
		{"a reset: the other direction ends 30 s later", []step{{10, "s1", forward(5, 1)}, {39, "s1", reply(34, 30)}}, []string{"5.000-9.000 600/15500"}},
		{"a reset: the other direction ended before", []step{{10.5, "s1", reply(5.5, 1)}, {39, "s1", forward(34, 30)}}, []string{"5.000-9.500 600/15500"}},
		{"forward alone", []step{{10, "s1", forward(5, 1)}}, []string{"5.000-9.000 600/-"}},
		{"reply alone", []step{{10, "s1", reply(5, 1)}}, []string{"5.000-9.000 -/15500"}},
		{"too late", []step{{10, "s1", forward(5, 1)}, {45.1, "s1", reply(40, 1)}}, []string{"5.000-9.000 600/-", "5.100-44.100 -/15500"}},
		{"never ends before it begins", []step{{10, "s1", forward(.2, 1)}, {10, "s1", reply(.1, 1)}}, []string{"9.800-9.900 600/15500"}},
		{"negative times", []step{{10, "s1", forward(-5, -1)}}, []string{"10.000-10.000 600/-"}},
		{"older than time itself", []step{{10, "s1", forward(4e9, 1)}}, []string{"-1700000000.000-9.000 600/-"}},
		{"another port", []step{{10, "s1", other}, {10, "s1", reply(1, 1)}}, []string{"9.000-9.000 -/15500", "9.000-9.000 600/-"}},
		{"another switch", []step{{10, "s1", forward(1, 1)}, {10, "s2", reply(1, 1)}}, []string{"9.000-9.000 -/15500", "9.000-9.000 600/-"}},
		{"the same port again", []step{{10, "s1", forward(1, 1)}, {14, "s1", forward(2, 1)}, {14, "s1", reply(2, 1)}}, []string{"12.000-13.000 600/15500", "9.000-9.000 600/-"}},
		{"the same port again, other half", []step{{10, "s1", reply(1, 1)}, {14, "s1", forward(2, 1)}}, []string{"12.000-13.000 600/-", "9.000-9.000 -/15500"}},
		{"nothing is known", []step{{10, "s1", nobody}}, []string{"8.000-9.000 0/-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec, now := newReceiver(t), &clock{}
			now.set(0)
			r, err := New(config(rec.URL+"/", now))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.steps {
				now.set(s.at)
				r.Removed(s.datapath, s.ev)
			}
			closeNow(t, r)
			var got []string
			for _, s := range rec.spans {
				field := func(key string) string {
					for _, f := range strings.Fields(s) {
						if v, ok := strings.CutPrefix(f, key+"="); ok {
							return v
						}
					}
					return "-"
				}
				_, rest, _ := strings.Cut(s, `" `)
				got = append(got, strings.Fields(rest)[0]+" "+field("meshlab.bytes.sent")+"/"+field("meshlab.bytes.received"))
			}
			slices.Sort(got)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if len(rec.ids) != len(got) {
				t.Errorf("%d traces of %d connections", len(rec.ids), len(got))
			}
		})
	}
}

func TestUnknownNames(t *testing.T) {
	rec, now := newReceiver(t), &clock{}
	now.set(0)
	r, err := New(config(rec.URL, now))
	if err != nil {
		t.Fatal(err)
	}
	r.Removed("s1", Event{Client: netip.MustParseAddrPort("10.0.0.1:1"), BindPort: 2, Instance: 3, Bytes: 1 << 63})
	r.Removed("s1", reply(1, 1))
	closeNow(t, r)
	slices.Sort(rec.spans)
	want := []string{
		`[host.name=h1 service.name=unknown_service] CLIENT "TCP api" -1.000--1.000 client.address=192.168.1.11 client.port=40000 meshlab.bytes.received=15500 ` +
			"meshlab.datapath=s1 meshlab.instance.id=h2/api meshlab.instance.service=api meshlab.packets.received=5 meshlab.source.host=h1 " +
			"network.transport=tcp network.type=ipv4 server.address=192.168.1.12 server.port=19572 service.peer.name=api",
		`[service.name=unknown_service] CLIENT "TCP" 0.000-0.000 client.address=10.0.0.1 client.port=1 meshlab.bind_port=2 ` +
			"meshlab.bytes.sent=9223372036854775807 meshlab.datapath=s1 meshlab.packets.sent=0 network.transport=tcp network.type=ipv4",
	}
	if !reflect.DeepEqual(rec.spans, want) {
		t.Errorf("the receiver sees\n%s\nwant\n%s", strings.Join(rec.spans, "\n"), strings.Join(want, "\n"))
	}
}

// A half is exported alone without any further event.
func TestWaitingEndsByItself(t *testing.T) {
	now := &clock{}
	now.set(0)
	r := start(config("", now), &sink{})
	defer closeNow(t, r)
	r.Removed("s1", forward(1, 1))
	now.set(36)
	deadline, tick := time.After(10*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for r.Stats().Waiting > 0 {
		select {
		case <-deadline:
			t.Fatal("it still waits")
		case <-tick.C:
		}
	}
}

// sink takes spans and checks what holds for all.
type sink struct {
	block chan struct{} // nil: does not
	bad   atomic.Pointer[string]
}

func (s *sink) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, span := range spans {
		if span.EndTime().Before(span.StartTime()) || span.Resource() == nil {
			bad := fmt.Sprintf("span from %v to %v of %v", span.StartTime(), span.EndTime(), span.Resource())
			s.bad.Store(&bad)
		}
	}
	return nil
}

func (s *sink) Shutdown(context.Context) error { return nil }

// TestBounds floods a Recorder whose receiver hangs. It must neither block
// nor grow, and account for every connection.
func TestBounds(t *testing.T) {
	now := &clock{}
	now.set(0)
	hang := &sink{block: make(chan struct{})}
	r := start(config("", now), hang)
	const n = mostWaiting + 3*mostPending
	for i := range n {
		r.Removed("s1", Event{Client: netip.AddrPortFrom(webClient.Addr(), uint16(i)), Instance: uint32(i)})
	}
	s := r.Stats()
	if s.Waiting != mostWaiting || len(r.waiting) != mostWaiting || s.Dropped != 2*mostPending {
		t.Errorf("%+v, %d in the map; want %d waiting and %d dropped", s, len(r.waiting), mostWaiting, 2*mostPending)
	}
	close(hang.block)
	closeNow(t, r)
	s = r.Stats()
	if got := s.Exported + s.Dropped; got != n || s.Failed != 0 || s.Waiting != 0 || r.exporter.pending.Load() != 0 {
		t.Errorf("%+v, %d pending; want the sum %d", s, r.exporter.pending.Load(), n)
	}
}

func TestReceiverFails(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer srv.Close()
	now := &clock{}
	now.set(0)
	var log bytes.Buffer
	cfg := config(srv.URL, now)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1100 { // three batches
		r.Removed("s1", Event{Client: netip.AddrPortFrom(webClient.Addr(), uint16(i))})
	}
	closeNow(t, r)
	if s := r.Stats(); s != (Stats{Failed: 1100}) {
		t.Errorf("%+v, want 1100 failed", s)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "403") {
		t.Errorf("log: %s; want one line with the status", got)
	}
}

func TestNewRefuses(t *testing.T) {
	now := &clock{}
	for name, change := range map[string]func(*Config){
		"no endpoint":   func(c *Config) { c.Endpoint = "" },
		"no scheme":     func(c *Config) { c.Endpoint = "localhost:4318" },
		"gRPC":          func(c *Config) { c.Endpoint = "grpc://localhost:4317" },
		"no host":       func(c *Config) { c.Endpoint = "http://" },
		"no URL":        func(c *Config) { c.Endpoint = "http://a b" },
		"no lookup":     func(c *Config) { c.Names = nil },
		"no logger":     func(c *Config) { c.Logger = nil },
		"without clock": func(c *Config) { c.Now = nil },
	} {
		cfg := config("http://localhost:4318", now)
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzRemoved takes 24 bytes for an event; few ports and instances, so that
// halves meet.
func FuzzRemoved(f *testing.F) {
	f.Add(make([]byte, 24))
	f.Add(append(make([]byte, 24), bytes.Repeat([]byte{0xff}, 24)...))
	f.Add(bytes.Repeat([]byte{0x80, 1, 0, 7}, 30))
	now := &clock{}
	now.set(0)
	check := &sink{}
	r := start(config("", now), check)
	f.Cleanup(func() { closeNow(f, r) })
	f.Fuzz(func(t *testing.T, in []byte) {
		for ; len(in) >= 24; in = in[24:] {
			n := binary.LittleEndian.Uint64
			r.Removed("s1", Event{
				Reply: in[0]&1 != 0, Client: netip.AddrPortFrom(webClient.Addr(), uint16(in[1]&3)),
				BindPort: uint16(in[2]), Instance: uint32(in[3] & 3),
				Duration: time.Duration(n(in[8:])), Idle: time.Duration(n(in[16:])), Packets: n(in[8:]), Bytes: n(in[16:]),
			})
			now.set(float64(n(in)>>8&0xffff) / 100)
			if s := r.Stats(); s.Waiting > mostWaiting || s.Waiting > 32 || r.exporter.pending.Load() > mostPending {
				t.Fatalf("%+v", s)
			}
		}
		r.mu.Lock()
		halves, order := len(r.waiting), r.order.Len()
		r.mu.Unlock()
		if halves != order {
			t.Fatalf("%d halves, %d in order", halves, order)
		}
		if bad := check.bad.Load(); bad != nil {
			t.Fatal(*bad)
		}
	})
}
