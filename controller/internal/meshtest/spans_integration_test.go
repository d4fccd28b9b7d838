//go:build integration

package meshtest_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
	"meshlab.dev/meshlab/controller/spans"
)

// span is what an OTLP receiver was told of a connection.
type span struct {
	caller, host, name string
	start              time.Time
	took               time.Duration
	attrs              map[string]string
}

// receiver is an OTLP receiver over HTTP (opentelemetry-proto, "OTLP/HTTP").
func receiver(t *testing.T) (endpoint string, all func() []span) {
	t.Helper()
	var mu sync.Mutex
	var got []span
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var export otlp.ExportTraceServiceRequest
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil {
			t.Errorf("spans: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range export.ResourceSpans {
			of := map[string]string{}
			for _, kv := range rs.Resource.Attributes {
				of[kv.Key] = kv.Value.GetStringValue()
			}
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					start := time.Unix(0, int64(s.StartTimeUnixNano))
					one := span{of["service.name"], of["host.name"], s.Name, start, time.Unix(0, int64(s.EndTimeUnixNano)).Sub(start), map[string]string{}}
					for _, kv := range s.Attributes {
						one.attrs[kv.Key] = kv.Value.GetStringValue()
						if one.attrs[kv.Key] == "" {
							one.attrs[kv.Key] = fmt.Sprint(kv.Value.GetIntValue())
						}
					}
					got = append(got, one)
				}
			}
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []span {
		mu.Lock()
		defer mu.Unlock()
		return append([]span{}, got...)
	}
}

// traced records the connections of the controller to be started.
func (r *rig) traced(endpoint string) *spans.Recorder {
	r.t.Helper()
	names := func(client netip.Addr, bindPort uint16, number uint32) spans.Names {
		n := r.ctl.Names(client, bindPort, number)
		return spans.Names{Source: n.Call.Source, Destination: n.Call.Destination, Host: n.Host,
			InstanceID: n.Instance.ID, InstanceService: n.Service, InstanceAddr: n.Instance.Addr}
	}
	rec, err := spans.New(spans.Config{Endpoint: endpoint, Names: names, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		r.t.Fatal(err)
	}
	r.config.Traced = func(dp string, e controller.FlowRemoved) {
		ev := spans.Event{Reply: e.Table == pipeline.TableReplySpans, BindPort: uint16(e.Fields[flow.Reg5]), Instance: uint32(e.Fields[flow.Reg6]),
			Duration: e.Duration, Idle: e.Idle, Packets: e.Packets, Bytes: e.Bytes}
		addr, port := e.Fields[flow.IPv4Src], e.Fields[flow.TCPSrc]
		if ev.Reply {
			addr, port = e.Fields[flow.IPv4Dst], e.Fields[flow.TCPDst]
		}
		ev.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}), uint16(port))
		rec.Removed(dp, ev)
	}
	return rec
}

// TestSpansOfConnections traces each connection, and compares the spans with
// what was captured at the client.
func TestSpansOfConnections(t *testing.T) {
	r := newRig(t, func(f *pipeline.Fabric) { f.TraceEvery = 1 })
	near, far := r.serve("h2", h2+":8001"), r.serve("h3", h3+":8002")
	snap := mesh.Snapshot{
		Services: []*mesh.Service{
			{Name: "far", Instances: []mesh.Instance{far.Instance}}, {Name: "near", Instances: []mesh.Instance{near.Instance}},
		},
		Upstreams: []mesh.Upstream{calls(t, "web@"+h1+" -> near:9001"), calls(t, "shop@"+h1+" -> far:9002")},
	}
	endpoint, all := receiver(t)
	recorder := r.traced(endpoint)
	defer recorder.Close(t.Context())
	r.begin(snap)

	var mu sync.Mutex
	sent, received := map[string]uint64{}, map[string]uint64{} // bytes by the client's port
	stop := r.raw("h1").listen(func(h heard) {
		if len(h.frame) < 54 || h.frame[12] != 8 || h.frame[13] != 0 || h.frame[23] != 6 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		src, dst := int(h.frame[34])<<8|int(h.frame[35]), int(h.frame[36])<<8|int(h.frame[37])
		switch {
		case h.frame[47]&2 != 0 && h.outgoing:
			// The SYN makes the flow that counts, and is not counted by it.
		case h.outgoing:
			sent[fmt.Sprint(src)] += uint64(len(h.frame))
		default:
			received[fmt.Sprint(dst)] += uint64(len(h.frame))
		}
	})
	type connection struct {
		to       string
		began    time.Time
		took     time.Duration
		instance string
	}
	made := map[string]connection{}
	for i := range 8 {
		to, id := vip+":9001", near.ID
		if i%2 == 1 {
			to, id = vip+":9002", far.ID
		}
		began := time.Now()
		c := r.mustOpen("h1", 0, to)
		// A line that the server reads and answers once.
		if _, err := fmt.Fprintln(c, strings.Repeat("x", i*20_000)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(c.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		made[port] = connection{to, began, time.Since(began), id}
	}
	r.until("a span of each connection", func() bool { return len(all()) >= len(made) })
	for _, s := range all() {
		port := s.attrs["client.port"]
		m, ok := made[port]
		delete(made, port)
		caller, called, bind := "web", "near", "9001"
		if m.instance == far.ID {
			caller, called, bind = "shop", "far", "9002"
		}
		want := map[string]string{
			"client.address": h1, "meshlab.instance.id": m.instance, "meshlab.bind_port": bind,
			"service.peer.name": called, "meshlab.source.service": caller, "meshlab.datapath": "s1",
		}
		if !ok || s.name != "TCP "+called || s.caller != caller || s.host != "h1" {
			t.Errorf("a span of %q on %q at port %s: %q", s.caller, s.host, port, s.name)
		}
		for k, v := range want {
			if s.attrs[k] != v {
				t.Errorf("span of port %s: %s is %q, want %q", port, k, s.attrs[k], v)
			}
		}
		mu.Lock()
		wantSent, wantReceived := fmt.Sprint(sent[port]), fmt.Sprint(received[port])
		mu.Unlock()
		if s.attrs["meshlab.bytes.sent"] != wantSent || s.attrs["meshlab.bytes.received"] != wantReceived {
			t.Errorf("span of port %s: %s bytes sent and %s received, the client counts %s and %s",
				port, s.attrs["meshlab.bytes.sent"], s.attrs["meshlab.bytes.received"], wantSent, wantReceived)
		}
		if off := s.start.Sub(m.began); off < -50*time.Millisecond || off > 500*time.Millisecond {
			t.Errorf("span of port %s begins %v after the connection", port, off)
		}
		// docs/tracing.md: up to a second too long.
		if more := s.took - m.took; more < -100*time.Millisecond || more > 1500*time.Millisecond {
			t.Errorf("span of port %s: %v, but the connection took %v", port, s.took, m.took)
		}
	}
	if len(made) > 0 {
		t.Errorf("no spans of %v", made)
	}
	if lost := stop(); lost > 0 {
		t.Fatalf("the capture lost %d frames", lost)
	}
}
