package topo

import (
	"net/http"
	"net/url"
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
	r := Request{To: v.To.val, Method: http.MethodGet, Path: "/", Headers: map[string]string{}, Body: v.Body.val}
	if v.To.set {
		b.target(f, v.To)
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
	r.Expect = b.expect(v.Expect)
	return r
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

func (b *builder) expect(v fileExpect) Expect {
	e := Expect{Status: http.StatusOK}
	if v.Status.set {
		e.Status = int(v.Status.val)
		if v.Status.val < 200 || v.Status.val > 599 { // RFC 9110, section 15; 1xx are no final answers
			b.addf(v.Status.place, "status %d must be 200 to 599", v.Status.val)
		}
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
