package service

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listening is a log writer that tells the address the server logs.
type listening chan string

func (l listening) Write(p []byte) (int, error) {
	if _, rest, ok := strings.Cut(string(p), "address="); ok {
		l <- strings.TrimSpace(rest)
	}
	return len(p), nil
}

func start(t *testing.T, ctx context.Context, h http.Handler) (url string, done <-chan error) {
	t.Helper()
	address := make(listening, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- Server{Address: "127.0.0.1:0", Handler: h, Log: slog.New(slog.NewTextHandler(address, nil))}.Run(ctx)
	}()
	select {
	case a := <-address:
		return "http://" + a, ended
	case err := <-ended:
		t.Fatalf("the server ended: %v", err)
	case <-time.After(5 * time.Second):
		t.Fatal("the server does not listen")
	}
	return "", nil
}

// TestRunFinishesRequests holds that a request that runs when the context ends
// still gets its answer, and that Run returns nil after it.
func TestRunFinishesRequests(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	entered, leave := make(chan struct{}), make(chan struct{})
	url, done := start(t, ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		ReplyText(w, "late")
	}))
	body := make(chan string, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			body <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body)
		body <- string(text)
	}()
	<-entered
	cancel()
	// The listener closes before requests are waited for.
	deadline := time.Now().Add(5 * time.Second)
	for {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			break
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still accepts connections after its context ended")
		}
	}
	close(leave)
	if got := <-body; got != "late" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunBoundsBodies(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, done := start(t, ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		}
	}))
	for size, want := range map[int]int{MaxBodyBytes: 200, MaxBodyBytes + 1: 413} {
		resp, err := http.Post(url, "text/plain", bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d bytes: status %d, want %d", size, resp.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestRunSpeaksBoth holds that one port answers HTTP/1.1 and, to those who know
// it, HTTP/2, and that the delay works with both.
func TestRunSpeaksBoth(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, done := start(t, ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ReplyText(w, r.Proto) }))
	for want, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2.0": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		set(transport.Protocols)
		for _, delay := range []string{"5ms", "never"} {
			req, err := http.NewRequest(http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(DelayHeader, delay)
			begin := time.Now()
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s: %v", want, err)
			}
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			took := time.Since(begin)
			if delay == "never" && resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: status %s of a bad delay", want, resp.Status)
			}
			if delay != "never" && (string(text) != want || resp.Proto != want || took < 5*time.Millisecond) {
				t.Errorf("%s: %q by %s in %v", want, text, resp.Proto, took)
			}
		}
		transport.CloseIdleConnections()
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	err = Server{Address: ln.Addr().String(), Handler: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler)}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "another process has this port") {
		t.Errorf("got %v", err)
	}
}

// TestTransport holds the limits that load scenarios of 200 connections rely on.
func TestTransport(t *testing.T) {
	transport := NewTransport()
	if transport.MaxIdleConnsPerHost < 200 || transport.MaxIdleConns != 0 {
		t.Errorf("idle connections kept: %d for a host, %d in all", transport.MaxIdleConnsPerHost, transport.MaxIdleConns)
	}
	if transport.IdleConnTimeout >= serverIdleTimeout {
		t.Error("the server closes idle connections before the client does")
	}
	if transport.Proxy != nil {
		t.Error("a proxy variable of the user's is heeded")
	}
}
