package client

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	"google.golang.org/grpc/metadata"

	"meshlab.dev/meshlab/scenarios"
)

// maxEcho is the longest body of an echo, in bytes: what a UDP datagram holds
// (65,535 less 8 of UDP, RFC 768, and 20 of IPv4, RFC 791). A TCP echo has the
// same bound, so that the whole body fits into the buffers of two sockets
// before anything of it is read back.
const maxEcho = 65_507

// Request is a request as it is sent, the same for every connection. It may be
// used by several Clients at the same time.
type Request struct {
	target
	wire     []byte        // HTTP/1.1: head and body; echo: the body
	http     *http.Request // HTTP: without body
	body     []byte
	metadata metadata.MD // gRPC

	status   int // HTTP
	contains [][]byte
	matches  *regexp.Regexp // nil: anything does
}

// Prepare checks the spec and renders its request once. It returns an error
// when no request can be made of it. Method and status are those of HTTP: other
// protocols have none, and do not look at them.
func Prepare(spec scenarios.RequestSpec) (*Request, error) {
	protocol := cmp.Or(spec.Protocol, scenarios.HTTP1)
	if !slices.Contains(scenarios.Protocols(), protocol) {
		return nil, fmt.Errorf("unknown protocol %q: there are %v", protocol, scenarios.Protocols())
	}
	u, err := url.Parse(spec.URL)
	if err != nil {
		return nil, fmt.Errorf("parse the URL: %w", err)
	}
	if u.Scheme != "http" || u.Hostname() == "" {
		return nil, fmt.Errorf("URL %q: want http://HOST[:PORT]/PATH; encryption is the mesh's task", spec.URL)
	}
	r := &Request{
		target: target{protocol, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))},
		body:   []byte(spec.Body),
		status: spec.Status,
	}
	for _, s := range spec.Contains {
		r.contains = append(r.contains, []byte(s))
	}
	for name, value := range spec.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("header %q: %q: not allowed in HTTP (RFC 9110, section 5.5)", name, value)
		}
	}
	if spec.Matches != "" {
		if r.matches, err = regexp.Compile(spec.Matches); err != nil {
			return nil, fmt.Errorf("compile the pattern of the body: %w", err)
		}
	}
	switch protocol {
	case scenarios.GRPC:
		r.status, r.metadata = 0, metadata.New(spec.Headers)
	case scenarios.TCPEcho, scenarios.UDPEcho:
		err = r.prepareEcho(spec)
	default:
		err = r.prepareHTTP(spec)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Address returns the host and port that the request is sent to.
func (r *Request) Address() string { return r.address }

// Protocol returns how the request travels.
func (r *Request) Protocol() scenarios.Protocol { return r.protocol }

func (r *Request) prepareHTTP(spec scenarios.RequestSpec) error {
	if spec.Status < 200 || spec.Status > 599 {
		return fmt.Errorf("expected status %d: want 200 to 599", spec.Status)
	}
	req, err := http.NewRequest(spec.Method, spec.URL, strings.NewReader(spec.Body))
	if err != nil {
		return err
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
	req.Close = r.protocol == scenarios.HTTP1Close
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return fmt.Errorf("render the request: %w", err)
	}
	r.wire, r.http = wire.Bytes(), req
	return nil
}

func (r *Request) prepareEcho(spec scenarios.RequestSpec) error {
	if len(spec.Headers) > 0 || len(spec.Contains) > 0 || spec.Matches != "" {
		return fmt.Errorf("protocol %s has no headers and nothing else to expect: the body is sent, and must come back", r.protocol)
	}
	if len(r.body) < 1 || len(r.body) > maxEcho {
		return fmt.Errorf("body of %d bytes: an echo has 1 to %d", len(r.body), maxEcho)
	}
	r.wire, r.status = r.body, 0
	return nil
}

// verdict returns what is wrong with a complete answer, or nothing.
func (r *Request) verdict(status int, body []byte) string {
	if status != r.status {
		return fmt.Sprintf("status %d", status)
	}
	for _, want := range r.contains {
		if !bytes.Contains(body, want) {
			return fmt.Sprintf("body without %s", excerpt(want))
		}
	}
	if r.matches != nil && !r.matches.Match(body) {
		return fmt.Sprintf("body does not match %s", excerpt([]byte(r.matches.String())))
	}
	return ""
}

// excerpt quotes at most 40 bytes of an expected text.
func excerpt(b []byte) string {
	const most = 40
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
