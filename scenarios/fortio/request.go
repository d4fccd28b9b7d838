package fortio

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"meshlab.dev/meshlab/scenarios"
)

// prepared is a request as it goes over the wire, the same for every
// connection.
type prepared struct {
	address  string // host:port to connect to
	wire     []byte
	request  *http.Request // tells the parser of answers which method was used
	status   int
	contains [][]byte
}

// prepare validates the spec and renders its request once.
func prepare(spec scenarios.LoadSpec) (*prepared, error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	u, err := url.Parse(spec.URL)
	if err != nil {
		return nil, fmt.Errorf("parse the URL: %w", err)
	}
	if u.Scheme != "http" || u.Hostname() == "" {
		return nil, fmt.Errorf("URL %q: want http://HOST[:PORT]/PATH; encryption is the mesh's task", spec.URL)
	}
	req, err := http.NewRequest(spec.Method, spec.URL, strings.NewReader(spec.Body))
	if err != nil {
		return nil, err
	}
	for name, value := range spec.Headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "meshlab")
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, fmt.Errorf("render the request: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	p := &prepared{
		address: net.JoinHostPort(u.Hostname(), port),
		wire:    wire.Bytes(),
		request: req,
		status:  spec.Status,
	}
	for _, s := range spec.Contains {
		p.contains = append(p.contains, []byte(s))
	}
	return p, nil
}

func check(spec scenarios.LoadSpec) error {
	var errs []error
	if spec.Connections < 1 || spec.Connections > scenarios.MaxConnections {
		errs = append(errs, fmt.Errorf("connections %d: want 1 to %d", spec.Connections, scenarios.MaxConnections))
	}
	if spec.Requests < spec.Connections || spec.Requests > scenarios.MaxCount {
		errs = append(errs, fmt.Errorf("requests %d: want %d (one per connection) to %d", spec.Requests, spec.Connections, scenarios.MaxCount))
	}
	if spec.Status < 200 || spec.Status > 599 {
		errs = append(errs, fmt.Errorf("expected status %d: want 200 to 599", spec.Status))
	}
	if spec.Timeout <= 0 || spec.Timeout > scenarios.MaxTimeout {
		errs = append(errs, fmt.Errorf("timeout %v: want more than 0 and at most %v", spec.Timeout, scenarios.MaxTimeout))
	}
	if spec.Limit <= 0 {
		errs = append(errs, fmt.Errorf("limit %v of the attempt: want more than 0", spec.Limit))
	}
	return errors.Join(errs...)
}
