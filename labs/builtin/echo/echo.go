// Package echo is the smallest service of a lab: it says who answered and what
// was asked, and can ask one upstream in turn. It serves for trying a mesh out,
// and for seeing which instance a request reached.
package echo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"meshlab.dev/meshlab/labs/builtin/service"
)

// maxUpstreamBytes bounds what is repeated of an upstream's answer.
const maxUpstreamBytes = 1 << 20

// Reply is the JSON answer.
type Reply struct {
	Name   string `json:"name"` // NAME, else the host's name
	Method string `json:"method"`
	Path   string `json:"path"`
	Host   string `json:"host,omitempty"` // as the client wrote it
	// Upstream is the upstream's answer: its JSON, or its text as a JSON string.
	Upstream json.RawMessage `json:"upstream,omitempty"`
	Error    string          `json:"error,omitempty"` // why there is no Upstream
}

// Run serves until ctx ends. It reads BIND_ADDRESS, and optionally NAME and
// UPSTREAM_URI.
func Run(ctx context.Context, env func(string) string, log *slog.Logger) error {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "echo"
	}
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	name := s.String("NAME", hostname)
	upstream := s.OptionalURL("UPSTREAM_URI")
	if err := s.Err(); err != nil {
		return err
	}
	server := service.Server{Address: address, Handler: NewHandler(name, upstream), Log: log}
	return server.Run(ctx)
}

// NewHandler answers every request as name. With an upstream it first passes
// method GET and the request's path on to it; an upstream that does not answer
// makes the status 502. A nil upstream is none.
func NewHandler(name string, upstream *url.URL) http.Handler {
	client := service.NewClient()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply := Reply{Name: name, Method: r.Method, Path: r.URL.Path, Host: r.Host}
		status := http.StatusOK
		if upstream != nil {
			answer, err := ask(r.Context(), client, upstream.JoinPath(r.URL.Path))
			if err != nil {
				status = http.StatusBadGateway
				reply.Error = err.Error()
			}
			reply.Upstream = answer
		}
		service.ReplyJSON(w, status, reply)
	})
}

func ask(ctx context.Context, client *http.Client, target *url.URL) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("make the request to upstream %s: %w", target, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the upstream: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxUpstreamBytes))
	if err != nil {
		return nil, fmt.Errorf("read the answer of upstream %s: %w", target, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask upstream %s: it answered %s", target, resp.Status)
	}
	if !json.Valid(body) {
		return json.Marshal(string(body))
	}
	return body, nil
}
