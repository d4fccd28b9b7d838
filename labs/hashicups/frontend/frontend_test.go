package frontend

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func newSite(t *testing.T, upstream http.HandlerFunc) http.Handler {
	t.Helper()
	srv := httptest.NewServer(upstream)
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHandler(u, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func do(h http.Handler, method, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestSite(t *testing.T) {
	h := newSite(t, http.NotFound)
	tests := []struct {
		name, method, path string
		status             int
		contentType, cache string
	}{
		{"the page", "GET", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"the page's head", "HEAD", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"style", "GET", "/app.css", 200, "text/css; charset=utf-8", "public, max-age=300"},
		{"script", "GET", "/app.js", 200, "text/javascript; charset=utf-8", "public, max-age=300"},
		{"a picture", "GET", "/images/packer.svg", 200, "image/svg+xml", "public, max-age=300"},
		{"nothing", "GET", "/tea", 404, "", ""},
		{"the source's folder", "GET", "/images/", 404, "", ""},
		{"wrong method", "POST", "/", 405, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := do(h, tt.method, tt.path, nil)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d", w.Code, tt.status)
			}
			if tt.status != 200 {
				return
			}
			if got := w.Header().Get("Content-Type"); got != tt.contentType {
				t.Errorf("Content-Type %q", got)
			}
			if got := w.Header().Get("Cache-Control"); got != tt.cache {
				t.Errorf("Cache-Control %q", got)
			}
			etag := w.Header().Get("ETag")
			if again := do(h, tt.method, tt.path, http.Header{"If-None-Match": {etag}}); again.Code != 304 || again.Body.Len() != 0 {
				t.Errorf("with ETag %s: status %d, %d bytes", etag, again.Code, again.Body.Len())
			}
		})
	}
}

// TestPage holds the size of the page that load is driven at, its nine coffees,
// and that everything it refers to is there.
func TestPage(t *testing.T) {
	h := newSite(t, http.NotFound)
	body := do(h, "GET", "/", nil).Body.String()
	if n := len(body); n < 10_000 || n > 20_000 {
		t.Errorf("the page has %d bytes, want 10000 to 20000", n)
	}
	if n := strings.Count(body, `class="card" data-id=`); n != 9 || !strings.Contains(body, "HashiCups") {
		t.Errorf("%d coffees on the page", n)
	}
	refs := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(body, -1)
	if len(refs) < 14 {
		t.Errorf("only %d references found", len(refs))
	}
	for _, ref := range refs {
		if w := do(h, "GET", ref[1], nil); w.Code != 200 {
			t.Errorf("%s: status %d", ref[1], w.Code)
		}
	}
}

func TestProxy(t *testing.T) {
	h := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+string(body))
	})
	r := httptest.NewRequest("POST", "/api", strings.NewReader("question"))
	r.Header.Set("Authorization", "token")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Body.String(); got != "POST /api token question" {
		t.Errorf("upstream saw %q", got)
	}
}

func TestProxyUpstreamDown(t *testing.T) {
	h, err := NewHandler(&url.URL{Scheme: "http", Host: "127.0.0.1:1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := do(h, "POST", "/api", nil)
	if w.Code != 502 || !strings.Contains(w.Body.String(), `{"errors":[{"message":"public-api does not answer`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
