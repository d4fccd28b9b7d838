package echo

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func get(t *testing.T, h http.Handler, method, path string) (int, Reply) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	var r Reply
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	return w.Code, r
}

func TestEcho(t *testing.T) {
	status, r := get(t, NewHandler("one", nil), "PUT", "/a/b")
	if status != 200 || r.Name != "one" || r.Method != "PUT" || r.Path != "/a/b" || r.Host != "example.com" || r.Upstream != nil {
		t.Errorf("got %d %+v", status, r)
	}
}

func TestEchoUpstream(t *testing.T) {
	tests := []struct {
		name     string
		upstream http.HandlerFunc
		status   int
		answer   string // of the upstream, as JSON
		err      string
	}{
		{"another echo", NewHandler("two", nil).ServeHTTP, 200, `{"name":"two","method":"GET","path":"/p"`, ""},
		{"plain text", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hi")) }, 200, `"hi"`, ""},
		{"a failing one", http.NotFound, 502, "", "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(tt.upstream)
			t.Cleanup(srv.Close)
			u, err := url.Parse(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			status, r := get(t, NewHandler("one", u), "GET", "/p")
			if status != tt.status || !strings.HasPrefix(string(r.Upstream), tt.answer) || !strings.Contains(r.Error, tt.err) {
				t.Errorf("got %d %s %q", status, r.Upstream, r.Error)
			}
		})
	}
}

func TestEchoUpstreamDown(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	srv.Close()
	if status, r := get(t, NewHandler("one", u), "GET", "/"); status != 502 || !strings.Contains(r.Error, "refused") {
		t.Errorf("got %d %+v", status, r)
	}
}
