package consul

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A nested go.mod cannot be embedded, so the module that pins Consul is kept
// as text.
//
//go:embed build/go.mod.txt
var moduleFile []byte

//go:embed build/go.sum.txt
var moduleSums []byte

const (
	mainPackage = "github.com/hashicorp/consul"
	tempPrefix  = ".build-"
)

// BuildError says why Consul could not be built and what to do about it.
type BuildError struct {
	Step   string // the command, shortened
	Output string // end of what it printed
	Remedy string
	Err    error
}

func (e *BuildError) Error() string {
	msg := fmt.Sprintf("build consul %s: %s: %v", Version, e.Step, e.Err)
	if e.Output != "" {
		msg += ": " + e.Output
	}
	return msg + "; " + e.Remedy
}

func (e *BuildError) Unwrap() error { return e.Err }

// build compiles Consul into dir. It holds a lock on dir itself, so that no
// lock file has to stay.
func build(ctx context.Context, dir string, r *reporter) (Binary, error) {
	goTool, err := GoTool()
	if err != nil {
		return Binary{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Binary{}, fmt.Errorf("make the cache folder: %w; set MESHLAB_CACHE to a folder that you may write", err)
	}
	unlock, err := lockDir(ctx, dir, r)
	if err != nil {
		return Binary{}, err
	}
	defer unlock()
	// Whoever held the lock before may have built it.
	if bin, err := probe(ctx, cachedPath(dir)); err == nil {
		return bin, nil
	}
	if err := removeStale(dir); err != nil {
		return Binary{}, err
	}
	tmp, err := os.MkdirTemp(dir, tempPrefix)
	if err != nil {
		return Binary{}, fmt.Errorf("make a build folder in the cache: %w; set MESHLAB_CACHE to a folder that you may write", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()

	t := toolchain{goTool: goTool, dir: tmp, report: r}
	if err := t.writeModule(); err != nil {
		return Binary{}, err
	}
	total, err := t.listPackages(ctx)
	if err != nil {
		return Binary{}, err
	}
	built := filepath.Join(tmp, "consul")
	if err := t.compile(ctx, built, total); err != nil {
		return Binary{}, err
	}
	if _, err := probe(ctx, built); err != nil {
		return Binary{}, fmt.Errorf("try the consul just built: %w", err)
	}
	if err := os.Rename(built, cachedPath(dir)); err != nil {
		return Binary{}, fmt.Errorf("move consul into the cache: %w", err)
	}
	r.emit(Event{Stage: StageDone, Detail: cachedPath(dir)})
	return Binary{Path: cachedPath(dir), Version: Version}, nil
}

// lockDir takes an exclusive flock(2) on the folder, waiting for another
// holder until ctx ends. The kernel drops it when this process ends.
func lockDir(ctx context.Context, dir string, r *reporter) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the cache folder: %w", err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock the cache folder %s: %w", dir, err)
		}
		if !told {
			r.emit(Event{Stage: StageWait, Detail: "another meshlab is building consul in " + dir})
			told = true
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another meshlab that builds consul: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// removeStale drops the folders of builds that were killed. It needs the lock.
func removeStale(dir string) error {
	stale, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for old build folders: %w", err)
	}
	for _, path := range stale {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove an old build folder: %w", err)
		}
	}
	return nil
}

// toolchain runs the go command in the folder of the pinned module.
type toolchain struct {
	goTool string
	dir    string
	report *reporter
}

func (t toolchain) writeModule() error {
	for name, content := range map[string][]byte{"go.mod": moduleFile, "go.sum": moduleSums} {
		if err := os.WriteFile(filepath.Join(t.dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write the module that pins consul: %w; free some space or set MESHLAB_CACHE to another folder", err)
		}
	}
	return nil
}

// listPackages counts the packages of the program; it downloads the modules
// that are not on this machine yet.
func (t toolchain) listPackages(ctx context.Context) (int, error) {
	var out bytes.Buffer
	err := t.run(ctx, &out, func(line string) {
		if module, ok := strings.CutPrefix(line, "go: downloading "); ok {
			t.report.emit(Event{Stage: StageDownload, Detail: module})
		}
	}, "list", "-deps", mainPackage)
	return bytes.Count(out.Bytes(), []byte("\n")), err
}

// compile builds the program. `go build -v` names each package as it compiles
// it, and does not name those it has in its cache.
func (t toolchain) compile(ctx context.Context, target string, total int) error {
	done := 0
	t.report.emit(Event{Stage: StageCompile, Total: total})
	return t.run(ctx, io.Discard, func(line string) {
		if isPackage(line) {
			done++
			t.report.emit(Event{Stage: StageCompile, Detail: line, Done: done, Total: total})
		}
	}, "build", "-trimpath", "-ldflags=-s -w", "-v", "-o", target, mainPackage)
}

// isPackage tells a package's path from the other lines of `go build -v`.
func isPackage(line string) bool {
	return line != "" && !strings.ContainsAny(line, " \t:") && !strings.HasPrefix(line, "#")
}

// run runs one go command and hands each line of its standard error on. The
// command and its children are killed together when ctx ends.
func (t toolchain) run(ctx context.Context, stdout io.Writer, line func(string), args ...string) error {
	cmd := exec.CommandContext(ctx, t.goTool, args...)
	cmd.Dir = t.dir
	// The user's own GOFLAGS or workspace must not change the pinned build,
	// and go's work folder has to vanish with ours.
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOTMPDIR="+t.dir)
	cmd.Stdout = stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("run go %s: %w", args[0], err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run go %s: %w", args[0], err)
	}
	var tail lastLines
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		line(lines.Text())
		if !isPackage(lines.Text()) {
			tail.add(lines.Text())
		}
	}
	err = cmd.Wait()
	if err == nil {
		err = lines.Err()
	}
	if ctx.Err() != nil {
		return fmt.Errorf("build consul %s: %w", Version, ctx.Err())
	}
	if err != nil {
		return &BuildError{Step: "go " + args[0], Output: tail.String(), Remedy: remedy(tail.String()), Err: err}
	}
	return nil
}
