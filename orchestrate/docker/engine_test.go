package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeEngine answers what Open asks, as an engine would that is like this. It
// has no containers.
type fakeEngine struct {
	API      string // highest version of the API
	Version  string
	System   string // what it runs on
	Security string // one of its security options
}

func (f fakeEngine) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Api-Version", f.API)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(req.URL.Path, "/_ping"):
		fmt.Fprint(w, "OK")
	case strings.HasSuffix(req.URL.Path, "/version"):
		fmt.Fprintf(w, `{"Version":%q,"ApiVersion":%q,"Os":"linux","Arch":"amd64"}`, f.Version, f.API)
	case strings.HasSuffix(req.URL.Path, "/info"):
		fmt.Fprintf(w, `{"OperatingSystem":%q,"SecurityOptions":[%q],"NCPU":2}`, f.System, f.Security)
	default:
		http.NotFound(w, req)
	}
}

// serve listens at a unix socket until the test ends, and returns its path.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "docker") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // says that it was closed
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	deaf := filepath.Join(dir, "deaf.sock")
	l, err := net.Listen("unix", deaf)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	good := fakeEngine{API: "1.41", Version: "20.10.24", System: "Debian", Security: "name=seccomp"}
	with := func(change func(*fakeEngine)) http.Handler {
		f := good
		change(&f)
		return f
	}
	forbidden := func(context.Context, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: fs.ErrPermission}
	}
	for name, tc := range map[string]struct {
		cfg    Config
		engine http.Handler // "": none at cfg.Socket
		host   string       // DOCKER_HOST
		err    error
		says   string
	}{
		"good":            {engine: good},
		"newer":           {engine: with(func(f *fakeEngine) { f.API, f.Version = "1.99", "99.0" })},
		"by DOCKER_HOST":  {engine: good, host: "socket"},
		"not installed":   {cfg: Config{Socket: filepath.Join(dir, "none.sock")}, err: ErrNoEngine, says: "none.sock; `sudo systemctl start docker`"},
		"nobody listens":  {cfg: Config{Socket: deaf}, err: ErrRefused, says: "deaf.sock any more"},
		"not root":        {cfg: Config{Socket: deaf, Dial: forbidden}, err: ErrRefused, says: "run meshlab with sudo"},
		"not an engine":   {engine: http.NotFoundHandler(), err: ErrRefused, says: "does not answer as an engine does"},
		"too old":         {engine: with(func(f *fakeEngine) { f.API, f.Version = "1.40", "19.03.15" }), err: ErrTooOld, says: "is version 19.03.15 (API 1.40), and labs need 20.10 (API 1.41)"},
		"far too old":     {engine: with(func(f *fakeEngine) { f.API, f.Version = "1.24", "1.12" }), err: ErrTooOld, says: "version 1.12"},
		"without root":    {engine: with(func(f *fakeEngine) { f.Security = "name=rootless" }), err: ErrRootless, says: "unset DOCKER_HOST"},
		"virtual machine": {engine: with(func(f *fakeEngine) { f.System = "Docker Desktop" }), err: ErrRemote, says: "virtual machine"},
		"over TCP":        {host: "tcp://10.0.0.1:2375", err: ErrRemote, says: "DOCKER_HOST is tcp://10.0.0.1:2375"},
		"over SSH":        {host: "ssh://somewhere", err: ErrRemote, says: "unset DOCKER_HOST"},
		"empty path":      {host: "unix://", err: ErrRemote},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, host := tc.cfg, tc.host
			if tc.engine != nil {
				cfg.Socket = serve(t, tc.engine)
			}
			if host == "socket" {
				host, cfg.Socket = "unix://"+cfg.Socket, ""
			}
			t.Setenv("DOCKER_HOST", host)
			e, err := Open(t.Context(), cfg)
			if err == nil {
				defer e.Close()
			}
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %q does not say %q", err, tc.says)
			}
			if err == nil && e.Version() == "" {
				t.Error("no version")
			}
		})
	}
}

// TestOpenGivesUp has an engine that never answers.
func TestOpenGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	path := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	}))
	if _, err := Open(ctx, Config{Socket: path}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestPullError(t *testing.T) {
	// Answers of engine 20.10, shortened.
	for text, want := range map[string]error{
		`manifest for nginx:none not found: manifest unknown: manifest unknown`:                                                ErrNoImage,
		`pull access denied for no/such, repository does not exist or may require 'docker login'`:                              ErrNoImage,
		`Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host`:                          ErrRegistry,
		`Get "https://registry-1.docker.io/v2/": net/http: request canceled while waiting for connection (Client.Timeout)`:     ErrRegistry,
		`Get "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused`:                                     ErrRegistry,
		`Get "https://shop/v2/": x509: certificate signed by unknown authority`:                                                ErrRegistry,
		`no matching manifest for linux/arm64/v8 in the manifest list entries`:                                                 ErrArchitecture,
		`image with reference shop was found but does not match the specified platform: wanted linux/amd64, actual: linux/arm`: ErrArchitecture,
	} {
		if err := pullError(t.Context(), errors.New(text)); !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}
