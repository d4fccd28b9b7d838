package shape

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Config says how a shaper is run as a process of its own.
type Config struct {
	Plan   string // file with the links, JSON; it need not be there
	Socket string // HTTP: PUT /links replaces them, GET /links reports
	Logger *slog.Logger
}

// maxPlan bounds the plan, in bytes.
const maxPlan = 16 << 20

// Run shapes links until ctx ends: then those that are left are cut. It begins
// with the links of the plan, so that a process that was started again goes on
// where its predecessor was.
func Run(ctx context.Context, cfg Config) error {
	links, err := readPlan(cfg.Plan)
	if err != nil {
		return err
	}
	if err := os.Remove(cfg.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of a predecessor: %w", err)
	}
	ln, err := net.Listen("unix", cfg.Socket)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := prioritiseProcess(); err != nil {
		cfg.Logger.Info("frames may leave late while other processes are busy; `meshlab link list` tells how late", "error", err)
	}
	s := NewShaper(cfg.Logger)
	if err := s.Apply(links); err != nil {
		cfg.Logger.Warn("not all links have their character; trying again", "error", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /links", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s.Reports()) })
	mux.HandleFunc("PUT /links", func(w http.ResponseWriter, r *http.Request) {
		var links []Link
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPlan)).Decode(&links)
		if err == nil {
			err = s.Apply(links)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	watched := make(chan struct{})
	go func() { defer close(watched); s.Watch(ctx) }()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err = <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	<-watched
	_ = server.Close() // whoever asks just now finds it gone
	return nil
}

func readPlan(path string) ([]Link, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	var links []Link
	if err := json.Unmarshal(text, &links); err != nil {
		return nil, fmt.Errorf("read plan %s: %w", path, err)
	}
	return links, nil
}

// ErrUnreachable says that there is no shaper to ask, or not yet.
var ErrUnreachable = errors.New("the shaper does not answer")

// Client asks a shaper in another process.
type Client struct{ http *http.Client }

// NewClient makes a client for the socket of a shaper.
func NewClient(socket string) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true, // the process may be another one next time
	}}}
}

// Apply replaces the links; see Shaper.Apply.
func (c *Client) Apply(ctx context.Context, links []Link) error {
	body, err := json.Marshal(links)
	if err != nil {
		return fmt.Errorf("encode links: %w", err)
	}
	return c.do(ctx, http.MethodPut, body, nil)
}

// Reports asks what the links have done.
func (c *Client) Reports(ctx context.Context) (all []Report, err error) {
	err = c.do(ctx, http.MethodGet, nil, &all)
	return all, err
}

func (c *Client) do(ctx context.Context, method string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://shape/links", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var text bytes.Buffer
		_, _ = text.ReadFrom(http.MaxBytesReader(nil, resp.Body, 1<<16))
		return errors.New(string(bytes.TrimSpace(text.Bytes())))
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read answer of the shaper: %w", err)
	}
	return nil
}
