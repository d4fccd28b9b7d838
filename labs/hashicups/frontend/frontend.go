// Package frontend is the shop window of HashiCups: a page with its style,
// script and pictures, embedded, and a way on to public-api under /api, so that
// a browser needs one address only. All of its content is drawn and written for
// this project.
package frontend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"time"

	"meshlab.dev/meshlab/labs/builtin/service"
)

//go:embed site
var site embed.FS

// Run serves until ctx ends. It reads BIND_ADDRESS and PUBLIC_API_URI.
func Run(ctx context.Context, env func(string) string, log *slog.Logger) error {
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	publicAPI := s.URL("PUBLIC_API_URI")
	if err := s.Err(); err != nil {
		return err
	}
	handler, err := NewHandler(publicAPI, log)
	if err != nil {
		return err
	}
	return service.Server{Address: address, Handler: handler, Log: log}.Run(ctx)
}

// NewHandler serves the site, and passes /api on to publicAPI.
func NewHandler(publicAPI *url.URL, log *slog.Logger) (http.Handler, error) {
	files, err := load(site)
	if err != nil {
		return nil, err
	}
	proxy := newProxy(publicAPI, log)
	mux := http.NewServeMux()
	mux.Handle("/api", proxy)
	mux.Handle("/api/", proxy)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { service.ReplyText(w, "ok") })
	mux.Handle("/", files)
	return mux, nil
}

// newProxy passes requests on with their path. An upstream that does not answer
// is a GraphQL error with status 502, which the page shows.
func newProxy(target *url.URL, log *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		Transport: service.NewTransport(),
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the browser went away
			}
			log.Warn("public-api does not answer", "error", err)
			service.ReplyJSON(w, http.StatusBadGateway, map[string]any{
				"errors": []map[string]string{{"message": "public-api does not answer: " + err.Error()}},
			})
		},
	}
}

// file is one file of the site, with the headers that go with it.
type file struct {
	name         string
	content      []byte
	contentType  string
	etag         string
	cacheControl string
}

// files is the site by URL path.
type files map[string]file

// load reads the site once. The page is asked for again each time (and answered
// with 304 when it is the same); what it refers to is kept for a while.
func load(fsys fs.FS) (files, error) {
	all := files{}
	err := fs.WalkDir(fsys, "site", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		f := file{
			name:         path.Base(name),
			content:      content,
			contentType:  contentType(name),
			etag:         `"` + hex.EncodeToString(sum[:8]) + `"`,
			cacheControl: "public, max-age=300",
		}
		if path.Ext(name) == ".html" {
			f.cacheControl = "no-cache"
		}
		all["/"+strings.TrimPrefix(name, "site/")] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded site: %w", err)
	}
	page, ok := all["/index.html"]
	if !ok {
		return nil, fmt.Errorf("read the embedded site: %w: index.html", fs.ErrNotExist)
	}
	all["/"] = page
	return all, nil
}

// contentType does not ask the machine's own table of types, which differs from
// machine to machine, for the types of this site.
func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}

// contentPolicy lets the page load from where it came from, and nothing else.
const contentPolicy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

func (f files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	found, ok := f[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", found.contentType)
	h.Set("ETag", found.etag)
	h.Set("Cache-Control", found.cacheControl)
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, found.name, time.Time{}, bytes.NewReader(found.content))
}
