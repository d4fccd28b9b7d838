package consul

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for name, tc := range map[string]struct {
		out, want string
	}{
		"release":     {"Consul v1.22.5\nBuild Date 1970-01-01T00:00:01Z\nProtocol 2 spoken", "1.22.5"},
		"development": {"Consul v1.23.0-dev\nRevision abc", "1.23.0-dev"},
		"enterprise":  {"Consul v1.22.5+ent\n", "1.22.5+ent"},
		"other":       {"usage: consul [--help]", ""},
		"empty":       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseVersion(tc.out)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	fake := "#!/bin/sh\necho 'Consul v1.99.0'\n"
	broken := "#!/bin/sh\nexit 3\n"
	for name, tc := range map[string]struct {
		onPath, cached string
		wantVersion    string
		wantDir        string // "path" or "cache"
		wantSkip       int
	}{
		"PATH before cache":       {fake, fake, "1.99.0", "path", 0},
		"cache only":              {"", fake, "1.99.0", "cache", 0},
		"broken PATH, then cache": {broken, fake, "1.99.0", "cache", 1},
		"broken everywhere":       {broken, broken, "", "", 2},
		"nowhere":                 {"", "", "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			path, cache := t.TempDir(), t.TempDir()
			write(t, filepath.Join(path, "consul"), tc.onPath)
			write(t, filepath.Join(cache, "consul-"+Version), tc.cached)
			t.Setenv("PATH", path)
			skipped := 0
			bin, err := Lookup(t.Context(), Options{CacheDir: cache, Progress: func(e Event) {
				if e.Stage == StageSkip {
					skipped++
				}
			}})
			if skipped != tc.wantSkip {
				t.Errorf("passed over %d candidates, want %d", skipped, tc.wantSkip)
			}
			if tc.wantDir == "" {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("got %v, %v; want ErrNotFound", bin, err)
				}
				return
			}
			dir := map[string]string{"path": path, "cache": cache}[tc.wantDir]
			if err != nil || filepath.Dir(bin.Path) != dir || bin.Version != tc.wantVersion {
				t.Errorf("got %v, %v; want version %s in %s", bin, err, tc.wantVersion, dir)
			}
		})
	}
}

func TestCacheDir(t *testing.T) {
	for name, tc := range map[string]struct {
		option, own, xdg, home string
		want                   string
	}{
		"option":         {"/o", "/m", "/x", "/h", "/o"},
		"MESHLAB_CACHE":  {"", "/m", "/x", "/h", "/m"},
		"XDG_CACHE_HOME": {"", "", "/x", "/h", "/x/meshlab"},
		"home":           {"", "", "", "/h", "/h/.cache/meshlab"},
		"nothing set":    {"", "", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("MESHLAB_CACHE", tc.own)
			t.Setenv("XDG_CACHE_HOME", tc.xdg)
			t.Setenv("HOME", tc.home)
			got, err := CacheDir(Options{CacheDir: tc.option})
			if got != tc.want {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
			if tc.want == "" && (err == nil || !strings.Contains(err.Error(), "MESHLAB_CACHE")) {
				t.Errorf("error %v does not name MESHLAB_CACHE", err)
			}
		})
	}
}

func TestFindWithoutToolchain(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := goTool(filepath.Join(t.TempDir(), "go"))
	if !errors.Is(err, ErrNoToolchain) || !strings.Contains(err.Error(), "go.dev/dl") {
		t.Errorf("got %v, want ErrNoToolchain and where to get one", err)
	}
}

// TestFindWithoutNetwork lets the go command look for modules where there are
// none: the error must say so, and the cache must stay empty.
func TestFindWithoutNetwork(t *testing.T) {
	tool, err := GoTool()
	if err != nil {
		t.Skip("no go command to run: ", err)
	}
	t.Setenv("PATH", filepath.Dir(tool))
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOPROXY", "off")
	dir := t.TempDir()
	_, err = Find(t.Context(), Options{CacheDir: dir})
	var failed *BuildError
	if !errors.As(err, &failed) || !strings.Contains(failed.Remedy, "module proxy") {
		t.Fatalf("got %v, want a BuildError that speaks of the module proxy", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the cache holds %v, %v; want nothing", entries, err)
	}
}

func TestLockWaits(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockDir(t.Context(), dir, newReporter(nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The second one tells that it waits; that is when it is called off.
	r := newReporter(func(e Event) {
		if e.Stage == StageWait {
			cancel()
		}
	})
	if _, err := lockDir(ctx, dir, r); !errors.Is(err, context.Canceled) {
		t.Errorf("second lock: %v, want it to wait until called off", err)
	}
	unlock()
	again, err := lockDir(t.Context(), dir, r)
	if err != nil {
		t.Fatalf("lock after unlock: %v", err)
	}
	again()
}

func TestRemedy(t *testing.T) {
	for name, tc := range map[string]struct{ output, want string }{
		"disk":      {"write /tmp/x.a: no space left on device", "free 4 GB"},
		"memory":    {"compile: signal: killed", "GOMAXPROCS=1"},
		"network":   {"Get \"https://p/@v/v1.mod\": dial tcp: lookup p: no such host", "GOPROXY"},
		"forbidden": {"reading https://p/x: 403 Forbidden", "GOPROXY"},
		"old go":    {"go: go.mod requires go >= 1.26 (running go 1.21)", "Go 1.26"},
		"rights":    {"mkdir /root/go: permission denied", "GOMODCACHE"},
		"unknown":   {"internal compiler error", "put a consul"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := remedy(tc.output); !strings.Contains(got, tc.want) {
				t.Errorf("remedy %q does not say %q", got, tc.want)
			}
		})
	}
}

func TestIsPackage(t *testing.T) {
	for line, want := range map[string]bool{
		"github.com/hashicorp/consul/agent":   true,
		"internal/goarch":                     true,
		"go: downloading a/b v1.0.0":          false,
		"# github.com/hashicorp/consul/agent": false,
		"x.go:1:2: undefined: y":              false,
		"":                                    false,
	} {
		if got := isPackage(line); got != want {
			t.Errorf("isPackage(%q) = %v", line, got)
		}
	}
}

// write makes an executable file; nothing when content is empty.
func write(t *testing.T, path, content string) {
	t.Helper()
	if content == "" {
		return
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}
