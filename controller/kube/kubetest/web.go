package kubetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
)

// The directives of nginx that the stand-in heeds: upstream with one server,
// and location with proxy_pass to an address without a path
// (ngx_http_upstream_module, ngx_http_proxy_module).
var (
	upstreamPattern = regexp.MustCompile(`(?s)upstream\s+(\S+)\s*\{[^}]*?server\s+([^;\s]+)\s*;`)
	locationPattern = regexp.MustCompile(`(?s)location\s+(/\S*)\s*\{[^}]*?proxy_pass\s+([^;\s]+)\s*;`)
	commentPattern  = regexp.MustCompile(`#[^\n]*`)
)

// standInNginx passes requests on as an nginx configuration says.
func standInNginx(config string) (http.Handler, error) {
	config = commentPattern.ReplaceAllString(config, "")
	upstreams := map[string]string{}
	for _, m := range upstreamPattern.FindAllStringSubmatch(config, -1) {
		upstreams[m[1]] = m[2]
	}
	locations := map[string]http.Handler{}
	for _, m := range locationPattern.FindAllStringSubmatch(config, -1) {
		to, err := url.Parse(m[2])
		if err != nil || to.Host == "" || to.Path != "" {
			return nil, fmt.Errorf("nginx: location %s: cannot pass to %q", m[1], m[2])
		}
		to.Host = cmp.Or(upstreams[to.Host], to.Host)
		locations[m[1]] = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	}
	if len(locations) == 0 {
		return nil, errors.New("nginx: no location passes anything on")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		longest := ""
		for prefix := range locations {
			if strings.HasPrefix(r.URL.Path, prefix) && len(prefix) > len(longest) {
				longest = prefix
			}
		}
		if longest == "" {
			http.NotFound(w, r)
			return
		}
		locations[longest].ServeHTTP(w, r)
	}), nil
}

// standInEcho answers as hashicorp/http-echo does, by its arguments.
func standInEcho(args []string) (address string, handler http.Handler) {
	address, text := ":5678", ""
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch name {
		case "listen":
			address = value
		case "text":
			text = value
		}
	}
	return address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text+"\n") })
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, address string, handler http.Handler) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: handler}
	defer context.AfterFunc(ctx, func() { _ = s.Shutdown(context.WithoutCancel(ctx)) })()
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
