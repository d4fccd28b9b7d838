package topo

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

func (b *builder) clientSection(f *fileLab) {
	if f.Client == nil {
		return
	}
	b.lab.Client.Upstreams = b.upstreams(f.Client.Upstreams, b.lab.Client.Node, "the client", "")
}

func (b *builder) requestSection(f *fileLab) {
	if len(f.Requests) > 0 && f.Client == nil {
		b.addf(f.Requests[0].Key.place, "the lab has requests and no client; add client: with upstreams")
		return
	}
	for _, r := range f.Requests {
		if !dnsLabel.MatchString(r.Key.val) {
			b.addf(r.Key.place, "the request's name %s must be 1 to 63 of a-z, 0-9 and -, no - at an end", quote(r.Key.val))
		}
		b.lab.Requests[r.Key.val] = b.request(f, r.Value)
	}
}

func (b *builder) request(f *fileLab, v fileRequest) Request {
	r := Request{To: v.To.val, Protocol: b.protocol(v), Headers: map[string]string{}, Body: v.Body.val}
	if v.To.set {
		b.target(f, v.To)
	}
	if r.Protocol.isHTTP() {
		r.Method, r.Path = http.MethodGet, "/"
	}
	if v.Method.set {
		r.Method = v.Method.val
		known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
		if !slices.Contains(known, r.Method) {
			near := Nearest(strings.ToUpper(r.Method), known)
			if near == "" {
				near = strings.Join(known, ", ")
			}
			b.addf(v.Method.place, "unknown method %s; use %s", quote(r.Method), near)
		}
	}
	if v.Path.set {
		r.Path = v.Path.val
		b.checkPath(v.Path, "path")
	}
	for _, h := range v.Headers {
		if !headerName.MatchString(h.Key.val) {
			b.addf(h.Key.place, "%s is no name of an HTTP header", quote(h.Key.val))
		}
		if strings.ContainsFunc(string(h.Value.val), control) {
			b.addf(h.Value.place, "header %s has a control character in its value", quote(h.Key.val))
		}
		r.Headers[h.Key.val] = string(h.Value.val)
	}
	r.Expect = b.expect(v.Expect, r.Protocol)
	return r
}

func (p Protocol) isHTTP() bool {
	return p == ProtocolHTTP1 || p == ProtocolHTTP1Close || p == ProtocolHTTP2
}

func (p Protocol) isEcho() bool { return p == ProtocolTCP || p == ProtocolUDP }

// maxEcho is the longest body of an echo in bytes: what one datagram holds,
// 65,535 less 8 of UDP (RFC 768) and 20 of IPv4 (RFC 791).
const maxEcho = 65_507

// protocol reads the protocol of a request, and checks that the request has
// nothing that its protocol does not have.
func (b *builder) protocol(v fileRequest) Protocol {
	if !v.Protocol.set {
		return ProtocolHTTP1
	}
	p := Protocol(v.Protocol.val)
	if !slices.Contains(Protocols(), p) {
		known := make([]string, len(Protocols()))
		for i, k := range Protocols() {
			known[i] = string(k)
		}
		near := Nearest(v.Protocol.val, known)
		if near == "" {
			near = strings.Join(known, ", ")
		}
		b.addf(v.Protocol.place, "unknown protocol %s; use %s", quote(v.Protocol.val), near)
		return ProtocolHTTP1
	}
	if p.isHTTP() {
		return p
	}
	without := func(stated bool, at place, key string) {
		if stated {
			b.addf(at, "protocol %s has no %s", p, key)
		}
	}
	without(v.Method.set, v.Method.place, "method")
	without(v.Path.set, v.Path.place, "path")
	without(v.Expect.Status.set, v.Expect.Status.place, "status")
	if !p.isEcho() {
		return p
	}
	if len(v.Headers) > 0 {
		without(true, v.Headers[0].Key.place, "headers")
	}
	if len(v.Expect.Contains) > 0 {
		b.addf(v.Expect.Contains[0].place, "the answer of protocol %s must be the body; expect nothing else", p)
	}
	if v.Expect.Matches.set {
		b.addf(v.Expect.Matches.place, "the answer of protocol %s must be the body; expect nothing else", p)
	}
	switch n := len(v.Body.val); {
	case n == 0:
		b.addf(v.Protocol.place, "protocol %s needs a body: it is sent, and must come back", p)
	case n > maxEcho:
		b.addf(v.Body.place, "the body has %d bytes; protocol %s takes at most %d", n, p, maxEcho)
	}
	return p
}

// target checks that a request goes to one of the client's upstreams.
func (b *builder) target(f *fileLab, to text) {
	var known []string
	for _, u := range f.Client.Upstreams {
		known = append(known, u.Key.val)
	}
	if slices.Contains(known, to.val) {
		return
	}
	if slices.Contains(b.services, to.val) {
		b.addf(to.place, "service %s is no upstream of the client; add it to the client's upstreams", quote(to.val))
		return
	}
	b.unknown(to.place, "upstream of the client", to.val, known)
}

func (b *builder) expect(v fileExpect, p Protocol) Expect {
	e := Expect{Matches: v.Matches.val}
	if p.isHTTP() {
		e.Status = http.StatusOK
	}
	if v.Status.set {
		e.Status = int(v.Status.val)
		if v.Status.val < 200 || v.Status.val > 599 { // RFC 9110, section 15; 1xx are no final answers
			b.addf(v.Status.place, "status %d must be 200 to 599", v.Status.val)
		}
	}
	if _, err := regexp.Compile(e.Matches); err != nil {
		b.addf(v.Matches.place, "matches: %v", err)
	}
	for _, c := range v.Contains {
		e.Contains = append(e.Contains, string(c.val))
	}
	return e
}

// checkPath checks the path and query of an HTTP request.
func (b *builder) checkPath(t text, what string) {
	bad := func(r rune) bool { return control(r) || r == ' ' || r == '#' }
	if _, err := url.ParseRequestURI(t.val); err != nil || !strings.HasPrefix(t.val, "/") || strings.ContainsFunc(t.val, bad) {
		b.addf(t.place, "%s %s must be a path that begins with /, with no space or # in it", what, quote(t.val))
	}
}

func control(r rune) bool { return r < ' ' || r == 0x7f }
