package image

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// built is an image of a small program of this machine in place of meshlab.
func built(t *testing.T, program string) *Image {
	t.Helper()
	i, err := Build(Config{Program: program, Version: "v1", Revision: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// running is go-containerregistry's registry, which counts layers and
// configurations that it is sent, behind a handler.
func running(t *testing.T, before func(http.ResponseWriter, *http.Request) bool) (host string, blobs *atomic.Int32) {
	t.Helper()
	blobs = new(atomic.Int32)
	real := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before != nil && before(w, r) {
			return
		}
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/") {
			blobs.Add(1)
		}
		real.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), blobs
}

func anonymous() Registry { return Registry{Login: authn.NewMultiKeychain()} }

func TestPush(t *testing.T) {
	host, blobs := running(t, nil)
	i := built(t, "/bin/true")
	var sent, of int64
	r := anonymous()
	r.Progress = func(a, b int64) { sent, of = a, b }
	first, err := i.Push(t.Context(), host+"/lab/meshlab", r)
	if err != nil {
		t.Fatal(err)
	}
	if want := host + "/lab/meshlab:" + i.Tag(); first.Reference != want || first.Found || blobs.Load() != 3 || sent != of || sent < i.Bytes {
		t.Errorf("pushed %+v with %d blobs, %d of %d bytes; want %s, 3, at least %d", first, blobs.Load(), sent, of, want, i.Bytes)
	}
	again, err := built(t, "/bin/true").Push(t.Context(), host+"/lab/meshlab", anonymous())
	if err != nil || !again.Found || again.Digest != first.Digest || blobs.Load() != 3 {
		t.Errorf("pushed again: %+v, %v, %d blobs", again, err, blobs.Load())
	}
	// Another program with the same libraries is a layer and a configuration more.
	if _, err := built(t, "/bin/false").Push(t.Context(), host+"/lab/meshlab:other", anonymous()); err != nil || blobs.Load() != 5 {
		t.Errorf("pushed another: %v, %d blobs", err, blobs.Load())
	}

	ref, err := name.ParseReference(first.Reference)
	if err != nil {
		t.Fatal(err)
	}
	there, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := there.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != i.Architecture || config.Config.Entrypoint[0] != Program || config.Config.Labels["org.opencontainers.image.revision"] != "abc" || !config.Created.IsZero() {
		t.Errorf("the registry has %+v", config)
	}
	dir := t.TempDir()
	cmd := exec.Command("tar", "--extract", "--directory", dir)
	cmd.Stdin = mutate.Extract(there)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"meshlab", "etc/passwd", "tmp"} {
		if _, err := os.Stat(filepath.Join(dir, want)); err != nil {
			t.Error(err)
		}
	}
}

func TestPushIsRefused(t *testing.T) {
	i := built(t, "/bin/true")
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			w.WriteHeader(code)
			return true
		}
	}
	for name, tc := range map[string]struct {
		before func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		"no login":       {status(http.StatusUnauthorized), "it wants a login: docker login 127.0.0.1:"},
		"another login":  {status(http.StatusForbidden), "this login may not push to lab/meshlab"},
		"broken":         {status(http.StatusInternalServerError), "the registry itself has failed; run it again"},
		"no such place":  {status(http.StatusNotFound), "the right name?"},
		"cut":            {cutUploads, "run it again, what has arrived is not sent twice"},
		"asks for basic": {askBasic, "it wants a login: docker login 127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // tries again are seconds apart
			host, _ := running(t, tc.before)
			_, err := i.Push(t.Context(), host+"/lab/meshlab", anonymous())
			var refused *PushError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "push to "+host) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// cutUploads ends the connection in the middle of what is sent.
func cutUploads(_ http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPatch {
		return false
	}
	_, _ = io.CopyN(io.Discard, r.Body, 1000)
	panic(http.ErrAbortHandler)
}

func askBasic(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

func TestSave(t *testing.T) {
	i := built(t, "/bin/true")
	path := filepath.Join(t.TempDir(), "image.tar")
	ref, err := i.Save("meshlab", path)
	if want := "docker.io/library/meshlab:" + i.Tag(); err != nil || ref != want {
		t.Fatalf("saved %s, %v; want %s", ref, err, want)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tarball.ImageFromPath(path, &tag)
	if err != nil {
		t.Fatal(err)
	}
	want, err1 := i.ConfigName()
	got, err2 := loaded.ConfigName()
	if want != got || err1 != nil || err2 != nil {
		t.Errorf("the file holds %v (%v), want %v (%v)", got, err2, want, err1)
	}
	for _, bad := range []string{"", "NOT/lower", "a b"} {
		if _, err := i.Save(bad, path); !errors.Is(err, ErrReference) {
			t.Errorf("name %q: %v", bad, err)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{script, "/nonexistent"} {
		if _, err := Build(Config{Program: program}); !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), program) {
			t.Errorf("%s: %v", program, err)
		}
	}
	if _, err := Build(Config{Program: "/bin/true", PostgresBin: "/nonexistent/bin"}); err == nil || !strings.Contains(err.Error(), "postgres.bki") {
		t.Errorf("without Postgres: %v", err)
	}
}
