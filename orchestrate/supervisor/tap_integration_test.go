//go:build integration

package supervisor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/attribution"
	"meshlab.dev/meshlab/topo"
)

// Taps in a real lab, of root and of an ordinary user.
func TestTaps(t *testing.T) {
	dir := programs(t)
	t.Run("this user", func(t *testing.T) { tapped(t, dir) })
	asOrdinaryUser(t, dir)
}

func tapped(t *testing.T, dir string) {
	name, _, err := launch(t, dir, filepath.Join(dir, "meshlab"))
	if err != nil {
		t.Fatal(err)
	}
	state := orchestrate.StateOf(name)
	ctl := NewClient(state.Control())
	lab, err := topo.Parse("measured.yaml", []byte(labSource), topo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := packetSockets(t, state)

	// The service takes five milliseconds, and that is where they are found.
	const delay, requests = 5 * time.Millisecond, 20
	spec, err := Spec(lab, orchestrate.Direct, "web")
	if err != nil {
		t.Fatal(err)
	}
	spec.Headers = map[string]string{"Meshlab-Delay": delay.String()}
	load := func(ctx context.Context) error {
		a, err := ctl.Load(ctx, scenarios.LoadSpec{RequestSpec: spec, Connections: 1, Requests: requests, Timeout: 10 * time.Second, Limit: time.Minute})
		if err == nil && a.Errors > 0 {
			err = errors.New("requests failed")
		}
		return err
	}
	c, err := ctl.Tap(t.Context(), load)
	if err != nil {
		t.Fatal(err)
	}
	if c.Dropped != 0 {
		t.Errorf("%d packets dropped", c.Dropped)
	}
	r, err := attribution.Attribute(attribution.Way{Lab: lab, To: "web"}, []attribution.Capture{c}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests < requests-3 {
		t.Errorf("%d of %d requests, lost %v", r.Requests, requests-1, r.Lost)
	}
	rest := 0.0
	for _, s := range r.Spans {
		if s.Kind != scenarios.SpanService {
			rest += s.Duration
		} else if s.Duration < 5 || s.Duration > 50 || s.Where != "h1" || s.What != "web" {
			t.Errorf("the service: %+v", s)
		}
	}
	if len(r.Spans) != 4 || rest > 50 {
		t.Errorf("spans %+v", r.Spans)
	}
	gone(t, state, before, "they were turned off")

	// One set of taps at a time; none is left when fn fails, nor when the
	// caller is gone.
	_, err = ctl.Tap(t.Context(), func(ctx context.Context) error {
		if during := packetSockets(t, state); during <= before {
			t.Errorf("%d packet sockets while taps are on, %d before", during, before)
		}
		_, err := ctl.Tap(ctx, func(context.Context) error { return nil })
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "on already") {
		t.Errorf("taps upon taps: %v", err)
	}
	gone(t, state, before, "what they were for failed")

	stopped, stop := context.WithCancel(t.Context())
	if _, err := ctl.Tap(stopped, func(ctx context.Context) error { stop(); <-ctx.Done(); return ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who stops: %v", err)
	}
	gone(t, state, before, "the caller has gone")

	if _, err := ctl.do(t.Context(), http.MethodDelete, "/taps", nil); err == nil || !strings.Contains(err.Error(), "no taps are on") {
		t.Errorf("taps that are not on are turned off: %v", err)
	}
	if _, err := ctl.do(t.Context(), http.MethodPut, "/taps", nil); err == nil || !strings.Contains(err.Error(), "POST") {
		t.Errorf("PUT: %v", err)
	}
}

// gone waits until no more packet sockets are in the lab than before.
func gone(t *testing.T, state orchestrate.State, before int, when string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		now := packetSockets(t, state)
		if now == before {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d packet sockets more than before, after %s", now-before, when)
			return
		}
	}
}

// packetSockets counts the packet sockets of the lab: those of Open vSwitch,
// and taps (/proc/net/packet has one line for each, and a head).
func packetSockets(t *testing.T, state orchestrate.State) (n int) {
	t.Helper()
	for _, node := range []string{"", "h1", "client"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		text := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(r)
			text <- b
		}()
		code, err := Exec(state.Exec(), Command{Node: node, Args: []string{"cat", "/proc/net/packet"}}, Stdio{In: r, Out: w, Err: os.Stderr}, nil)
		w.Close()
		if err != nil || code != 0 {
			t.Fatalf("list packet sockets of %q: %d, %v", node, code, err)
		}
		n += bytes.Count(<-text, []byte("\n")) - 1
		r.Close()
	}
	return n
}
