package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"meshlab.dev/meshlab/controller/mesh"
)

// Client asks a running controller through its status socket.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient is a client of the status socket at a path. It connects with the
// first question.
func NewClient(socket string) *Client {
	var d net.Dialer
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}}}
}

// Health tells whether the datapaths are in sync. That they are not is no
// error: it is in Health.OK.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	return h, c.ask(ctx, "/healthz", &h)
}

// Flows tells what the switches should hold, with their counters.
func (c *Client) Flows(ctx context.Context) (Flows, error) {
	var f Flows
	return f, c.ask(ctx, "/flows", &f)
}

// Snapshot is the state of the mesh that the controller follows, with the
// instances that are draining as unhealthy ones.
func (c *Client) Snapshot(ctx context.Context) (mesh.Snapshot, error) {
	var s mesh.Snapshot
	return s, c.ask(ctx, "/snapshot", &s)
}

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) ask(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://controller"+path, nil)
	if err != nil {
		return fmt.Errorf("ask the controller for %s: %w", path, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the controller at %s for %s (is it running?): %w", c.socket, path, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // what came is enough for the message
		return fmt.Errorf("ask the controller at %s for %s: %s: %s", c.socket, path, res.Status, text)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("read the controller's answer to %s: %w", path, err)
	}
	return nil
}
