package standby_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/standby"
)

const patience = 20 * time.Second

// holdVariable makes this test program take the lock that it names, say so
// on its standard output, and keep it until it is killed.
const holdVariable = "STANDBY_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdVariable); path != "" {
		if _, err := standby.Wait(context.Background(), path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin) // which the test keeps open
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holder starts a process that holds the lock.
func holder(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holdVariable+"="+path)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the other process said %q, error %v", line, err)
	}
	return cmd
}

type waiting struct {
	release func()
	err     error
	at      time.Time
}

func wait(ctx context.Context, path string) <-chan waiting {
	done := make(chan waiting, 1)
	go func() {
		release, err := standby.Wait(ctx, path)
		done <- waiting{release, err, time.Now()}
	}()
	return done
}

func (w waiting) mustHold(t *testing.T) {
	t.Helper()
	if w.err != nil {
		t.Fatal(w.err)
	}
}

func soon(t *testing.T, what string, c <-chan waiting) waiting {
	t.Helper()
	select {
	case w := <-c:
		return w
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		return waiting{}
	}
}

func TestKilledHolderIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "lock")
	first := holder(t, path)
	if got := standby.Holder(path); got != first.Process.Pid {
		t.Errorf("holder %d, want %d", got, first.Process.Pid)
	}
	second := wait(t.Context(), path)
	waitBlocked(t)
	if len(second) > 0 {
		t.Fatalf("the lock was given twice: %+v", <-second)
	}
	killed := time.Now()
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w := soon(t, "the lock of a killed process", second)
	w.mustHold(t)
	defer w.release()
	t.Logf("the lock came %v after the kill", w.at.Sub(killed))
	if got := standby.Holder(path); got != os.Getpid() {
		t.Errorf("holder %d, want this process, %d", got, os.Getpid())
	}
}

func TestRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first := soon(t, "a free lock", wait(t.Context(), path))
	first.mustHold(t)
	second := wait(t.Context(), path)
	first.release()
	first.release()
	w := soon(t, "a lock that was given up", second)
	w.mustHold(t)
	w.release()
}

func TestEndOfContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first := soon(t, "a free lock", wait(t.Context(), path))
	first.mustHold(t)
	reason := errors.New("asked to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	second := wait(ctx, path)
	waitBlocked(t)
	cancel(reason)
	if w := soon(t, "the end of a wait", second); !errors.Is(w.err, reason) {
		t.Errorf("error %v, want the cause", w.err)
	}
	if w := soon(t, "a wait that has ended before it began", wait(ctx, path)); !errors.Is(w.err, reason) {
		t.Errorf("error %v, want the cause", w.err)
	}
	first.release()
	third := soon(t, "the lock, which a wait that was cut short must not keep", wait(t.Context(), path))
	third.mustHold(t)
	third.release()
}

func TestFileReplacedWhileWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first := soon(t, "a free lock", wait(t.Context(), path))
	first.mustHold(t)
	second := wait(t.Context(), path)
	waitBlocked(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := holder(t, path) // holds a new file of that name
	first.release()
	waitBlocked(t)
	if len(second) > 0 {
		t.Fatalf("two hold the lock: %+v", <-second)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w := soon(t, "the lock on the new file", second)
	w.mustHold(t)
	w.release()
}

// waitBlocked waits until some thread of this process waits for a lock
// (proc_locks(5): a line with an arrow is a waiter).
func waitBlocked(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var n, arrow, kind, mode, access string
			var pid int
			if c, _ := fmt.Sscan(line, &n, &arrow, &kind, &mode, &access, &pid); c == 6 && arrow == "->" && pid == os.Getpid() {
				return
			}
		}
		select {
		case <-deadline:
			t.Fatalf("nobody waits for the lock:\n%s", text)
		case <-tick.C:
		}
	}
}

func TestUnusablePath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"below a file": filepath.Join(file, "lock"), "a folder": t.TempDir()} {
		if _, err := standby.Wait(t.Context(), path); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got := standby.Holder(file); got != 0 {
		t.Errorf("holder of an empty file: %d", got)
	}
}
