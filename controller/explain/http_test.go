package explain

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve answers at a unix socket.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "trace") // not t.TempDir: a socket's path has at most 107 bytes (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(ln) //nolint:errcheck // ends with Close
	t.Cleanup(func() { srv.Close() })
	return socket
}

func TestAsk(t *testing.T) {
	n := compiled(t, nil)
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, Handler(func() (Network, error) { return n, nil }))
	socket := serve(t, mux)
	q := Question{From: "frontend", To: "api", Protocol: "tcp", Flags: "syn", SourcePort: 5001}
	got, err := Ask(t.Context(), socket, q)
	if err != nil {
		t.Fatal(err)
	}
	want := mustTrace(t, n, q)
	if got.There.Verdict != want.There.Verdict || got.Packet != want.Packet || len(got.There.Hops) != len(want.There.Hops) || got.Back == nil {
		t.Errorf("over the socket %+v, directly %+v", got.There.Verdict, want.There.Verdict)
	}
	if !strings.Contains(got.Packet, ":5001 >") {
		t.Errorf("packet %s is not from port 5001", got.Packet)
	}
	var wrong *QuestionError
	if _, err := Ask(t.Context(), socket, Question{From: "nobody", To: "api"}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("error %v", err)
	}
	if _, err := Ask(t.Context(), socket, Question{From: "h1"}); !errors.As(err, &wrong) {
		t.Errorf("without a destination: error %v", err)
	}
}

func TestForward(t *testing.T) {
	n := compiled(t, nil)
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, Handler(func() (Network, error) { return n, nil }))
	between := serve(t, Forward(serve(t, mux)))
	got, err := Ask(t.Context(), between, Question{From: "frontend", To: "api", SourcePort: 5001})
	if err != nil {
		t.Fatal(err)
	}
	if got.There.Verdict.Outcome != Reaches || !strings.Contains(got.Packet, ":5001 >") {
		t.Errorf("%s: %+v", got.Packet, got.There.Verdict)
	}
	var wrong *QuestionError
	if _, err := Ask(t.Context(), between, Question{From: "nobody", To: "api"}); !errors.As(err, &wrong) {
		t.Errorf("error %v, want a QuestionError", err)
	}
	nobody := serve(t, Forward(filepath.Join(t.TempDir(), "none")))
	if _, err := Ask(t.Context(), nobody, Question{From: "frontend", To: "api"}); err == nil || !strings.Contains(err.Error(), "ask the controller for a trace") {
		t.Errorf("error %v", err)
	}
}

func TestAskFails(t *testing.T) {
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"no network yet", Handler(func() (Network, error) { return Network{}, errors.New("no snapshot yet") }).ServeHTTP, "no snapshot yet"},
		{"not a trace", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{")) }, "read the trace"},
		{"an older controller", http.NotFound, "404"},
	} {
		if _, err := Ask(t.Context(), serve(t, c.h), Question{From: "h1", To: "h2:1"}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Ask(ctx, filepath.Join(t.TempDir(), "none"), Question{From: "h1", To: "h2:1"}); err == nil {
		t.Error("nobody listens, and there is no error")
	}
}

func FuzzParseQuery(f *testing.F) {
	n := compiled(f, nil)
	f.Add("h1", "h3:80", "tcp", "syn", uint16(1))
	f.Add("web@h2", "api", "", "", uint16(0))
	f.Add("192.168.1.11", "192.168.1.250", "arp", "", uint16(0))
	f.Fuzz(func(t *testing.T, from, to, proto, flags string, port uint16) {
		q, err := parseQuery(Question{from, to, proto, flags, port}.query())
		if err != nil {
			return
		}
		_, err = TraceOf(n, q)
		var wrong *QuestionError
		if err != nil && !errors.As(err, &wrong) {
			t.Fatal(err)
		}
	})
}
