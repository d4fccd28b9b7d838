package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
)

// Client speaks to the supervisor of a lab.
type Client struct {
	http   *http.Client
	socket string
}

// NewClient makes a client for the control socket at path.
func NewClient(path string) *Client {
	return &Client{socket: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// broughtUpBy names the meshlab that brought the lab up, and what mends it when
// that one is too old; "" when nobody knows.
func (c *Client) broughtUpBy() string {
	state := orchestrate.State{Dir: filepath.Dir(c.socket)}
	rec, err := state.Read()
	if err != nil {
		return ""
	}
	name := filepath.Base(state.Dir)
	return fmt.Sprintf("; lab %s was brought up by meshlab %s: `meshlab down %s`, then `meshlab up`, brings it up with this one", name, rec.Version, name)
}

// Up brings the lab to life and reports each step. It returns when a real
// request through the lab has succeeded, or with the error after which the
// supervisor has begun to remove everything; it matches errEnded when the
// supervisor has gone without a word. When ctx ends first, the supervisor
// removes everything too, and that of a lab to hold also later.
func (c *Client) Up(ctx context.Context, req UpRequest, report func(Event)) (Status, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return Status{}, fmt.Errorf("encode request: %w", err)
	}
	resp, err := c.do(ctx, http.MethodPost, "/up", body)
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EPIPE) {
		return Status{}, fmt.Errorf("%w (%w)", errEnded, err)
	}
	if err != nil {
		return Status{}, err
	}
	held := false
	defer func() {
		if !held {
			resp.Body.Close()
		}
	}()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return Status{}, fmt.Errorf("read progress of lab: %w", err)
		}
		switch {
		case e.Error != "":
			return Status{}, errors.New(e.Error)
		case e.Ready != nil:
			held = req.Hold // by the connection: ctx or the end of this program closes it
			return *e.Ready, nil
		default:
			report(e)
		}
	}
	if ctx.Err() != nil {
		return Status{}, context.Cause(ctx)
	}
	if err := lines.Err(); err != nil {
		return Status{}, fmt.Errorf("%w (%w)", errEnded, err)
	}
	return Status{}, errEnded
}

// Status asks how the lab is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.json(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Logs returns the last n lines that a process has printed.
func (c *Client) Logs(ctx context.Context, name string, n int) (string, error) {
	q := url.Values{"name": {name}, "n": {fmt.Sprint(n)}}
	resp, err := c.do(ctx, http.MethodGet, "/logs?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("read log of %s: %w", name, err)
	}
	return string(text), nil
}

// Flows returns the flows of all bridges, as the controller's status gives
// them.
func (c *Client) Flows(ctx context.Context) (controller.Flows, error) {
	var f controller.Flows
	err := c.json(ctx, http.MethodGet, "/flows", nil, &f)
	return f, err
}

// Traffic returns what the mesh carries, as the switches count it.
func (c *Client) Traffic(ctx context.Context) (metrics.Traffic, error) {
	var t metrics.Traffic
	err := c.json(ctx, http.MethodGet, "/traffic", nil, &t)
	return t, err
}

// Load makes one attempt from the client host. The URL of spec is relative:
// request is the name of a request of the lab file, which fills in the rest.
func (c *Client) Load(ctx context.Context, spec scenarios.LoadSpec) (scenarios.Attempt, error) {
	var a scenarios.Attempt
	body, err := json.Marshal(spec)
	if err != nil {
		return a, fmt.Errorf("encode load: %w", err)
	}
	err = c.json(ctx, http.MethodPost, "/load", body, &a)
	return a, err
}

func (c *Client) json(ctx context.Context, method, path string, body []byte, into any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read answer of supervisor: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("speak to the lab's supervisor: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		var p problem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Error == "" {
			if resp.StatusCode == http.StatusNotFound { // of no handler: those say why
				return nil, fmt.Errorf("%w: it does not know %s%s", ErrTooOld, path, c.broughtUpBy())
			}
			return nil, fmt.Errorf("speak to the lab's supervisor: %s", resp.Status)
		}
		if resp.StatusCode == http.StatusBadRequest {
			return nil, &RequestError{p.Error}
		}
		return nil, errors.New(p.Error)
	}
	return resp, nil
}

// RequestError says that what was asked cannot be, however the lab is doing.
type RequestError struct{ text string }

func (e *RequestError) Error() string { return e.text }
