package consul

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// Version is the Consul release that meshlab builds when the machine has no
// consul on its PATH.
const Version = "1.22.5"

// Errors that Find and Lookup return, wrapped.
var (
	// ErrNotFound says that consul is neither on the PATH nor in the cache.
	ErrNotFound = errors.New("consul is neither on the PATH nor in the cache")
	// ErrNoToolchain says that there is no go command to build Consul with.
	ErrNoToolchain = errors.New("no go command")
)

// Binary is a Consul program that answered when asked for its version.
type Binary struct {
	Path    string // absolute
	Version string // for example "1.22.5"
}

// Stage is a step of Find.
type Stage string

// The stages of a Find that has to build.
const (
	StageSkip     Stage = "skip"     // a candidate was passed over; Detail says why
	StageWait     Stage = "wait"     // another meshlab builds at this moment
	StageDownload Stage = "download" // Detail names the module
	StageCompile  Stage = "compile"  // Done of Total packages
	StageDone     Stage = "done"     // Detail is the path of the program
)

// Event is progress of Find.
type Event struct {
	Stage   Stage
	Detail  string
	Done    int           // packages compiled so far; those in Go's build cache are never counted
	Total   int           // packages of the whole program; 0 outside StageCompile
	Elapsed time.Duration // since Find was called
}

// Options says where Find looks and whom it tells.
type Options struct {
	// CacheDir holds built programs. Empty means $MESHLAB_CACHE, else
	// $XDG_CACHE_HOME/meshlab, else ~/.cache/meshlab.
	CacheDir string
	// Progress is called from one goroutine at a time; nil is allowed.
	Progress func(Event)
}

// Find returns the consul of the PATH, else the one in the cache, else builds
// it with the Go toolchain and caches it, which takes some minutes once. Two
// Finds at the same time build once. When ctx ends the build is stopped and
// nothing of it stays behind. Errors wrap ErrNoToolchain, *BuildError or
// ctx.Err(), and say what to do.
func Find(ctx context.Context, o Options) (Binary, error) {
	r := newReporter(o.Progress)
	bin, err := lookup(ctx, o, r)
	if !errors.Is(err, ErrNotFound) {
		return bin, err
	}
	dir, err := CacheDir(o)
	if err != nil {
		return Binary{}, err
	}
	return build(ctx, dir, r)
}

// Lookup is Find without the building: it returns an error that wraps
// ErrNotFound when there is no program yet.
func Lookup(ctx context.Context, o Options) (Binary, error) {
	return lookup(ctx, o, newReporter(o.Progress))
}

func lookup(ctx context.Context, o Options, r *reporter) (Binary, error) {
	var candidates []string
	if path, err := exec.LookPath("consul"); err == nil {
		candidates = append(candidates, path)
	}
	dir, err := CacheDir(o)
	if err == nil {
		candidates = append(candidates, cachedPath(dir))
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		bin, err := probe(ctx, path)
		if err == nil {
			return bin, nil
		}
		if ctx.Err() != nil {
			return Binary{}, err
		}
		r.emit(Event{Stage: StageSkip, Detail: err.Error()})
	}
	return Binary{}, fmt.Errorf("find consul: %w", ErrNotFound)
}

// CacheDir returns the folder that holds built programs, whether it exists or
// not.
func CacheDir(o Options) (string, error) {
	dir := o.CacheDir
	if dir == "" {
		dir = os.Getenv("MESHLAB_CACHE")
	}
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder: %w; set MESHLAB_CACHE to a folder with 300 MB to spare", err)
		}
		dir = filepath.Join(base, "meshlab")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the cache folder %s: %w", dir, err)
	}
	return abs, nil
}

func cachedPath(dir string) string {
	return filepath.Join(dir, "consul-"+Version)
}

// GoTool returns the path of the go command: the one on the PATH, else the
// one in the place where the official archive puts it. The error wraps
// ErrNoToolchain.
func GoTool() (string, error) { return goTool("/usr/local/go/bin/go") }

func goTool(usual string) (string, error) {
	if path, err := exec.LookPath("go"); err == nil {
		return filepath.Abs(path)
	}
	if _, err := os.Stat(usual); err == nil {
		return usual, nil
	}
	return "", fmt.Errorf("find the Go toolchain: %w, neither on the PATH nor at %s; install Go 1.26 from https://go.dev/dl, or put a consul %s on the PATH",
		ErrNoToolchain, usual, Version)
}

// probe runs the program and reads its version.
func probe(ctx context.Context, path string) (Binary, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Binary{}, fmt.Errorf("find consul: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	// The program ends with this one, even when this one is killed. The signal
	// is tied to the thread that started it (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.Output()
	if err != nil {
		return Binary{}, fmt.Errorf("run %s version: %w", path, err)
	}
	version, err := parseVersion(string(out))
	if err != nil {
		return Binary{}, fmt.Errorf("run %s version: %w", path, err)
	}
	return Binary{Path: path, Version: version}, nil
}

// parseVersion reads what `consul version` prints: "Consul v1.22.5" first.
func parseVersion(out string) (string, error) {
	m := regexp.MustCompile(`(?m)^Consul v(\S+)`).FindStringSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("no line \"Consul vX.Y.Z\" in %q", out)
	}
	return m[1], nil
}

// reporter hands events on, with the time since it was made.
type reporter struct {
	start time.Time
	to    func(Event)
}

func newReporter(to func(Event)) *reporter {
	return &reporter{start: time.Now(), to: to}
}

func (r *reporter) emit(e Event) {
	if r.to == nil {
		return
	}
	e.Elapsed = time.Since(r.start)
	r.to(e)
}
