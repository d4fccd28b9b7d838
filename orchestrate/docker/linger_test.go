package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	boxID   = "b0c4d1ab6f5c4a2e9d0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f"
	otherID = "ffffd1ab6f5c4a2e9d0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f"
)

func TestFindLingering(t *testing.T) {
	const (
		sleeps = "10 (a b) c) S 1 10 10 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100"
		// The first thread has ended; the second one ends the PID namespace.
		ending = "10 (host) Z 1 10 10 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 100"
		zombie = "10 (host) Z 1 10 10 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100"
		v1     = "4:memory:/docker/" + boxID + "\n1:name=systemd:/docker/" + boxID + "\n"
		v2     = "0::/system.slice/docker-" + boxID + ".scope\n"
		nested = "0::/../../meshlab/" + boxID + "/inner\n"
		none   = "4:memory:/user.slice\n0::/\n"
	)
	shim := []string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", boxID, "-address", "/run/c.sock"}
	for name, c := range map[string]struct {
		args                 []string
		stat, cgroup, second string
		want                 string
	}{
		"shim":                           {shim, sleeps, none, "", boxID},
		"shim of a container of another": {[]string{"containerd-shim", "-id", otherID}, sleeps, none, "", ""},
		"runtime that removes it":        {[]string{"runc", "--root", "/r", "delete", "--force", boxID}, sleeps, none, "", boxID},
		"somebody who asks for it":       {[]string{"docker", "logs", "-f", boxID}, sleeps, none, "", ""},
		"its process, version 1":         {[]string{"sleep", "9"}, sleeps, v1, "", boxID},
		"its process, version 2":         {[]string{"sleep", "9"}, sleeps, v2, "", boxID},
		"its process, deeper":            {[]string{"sleep", "9"}, sleeps, nested, "", boxID},
		"a process of another":           {[]string{"sleep", "9"}, sleeps, strings.ReplaceAll(v2, boxID, otherID), "", ""},
		"no process of a container":      {[]string{"sleep", "9"}, sleeps, none, "", ""},
		"to be collected":                {nil, zombie, v2, "", ""},
		"the first thread has ended":     {nil, ending, none, v1, boxID},
		"it has just ended":              {nil, "", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			write := func(path, text string) {
				t.Helper()
				path = filepath.Join(proc, "10", path)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			if c.stat != "" {
				write("cmdline", strings.Join(append(c.args, ""), "\x00"))
				write("stat", c.stat)
				write("cgroup", c.cgroup)
				write("task/10/cgroup", c.cgroup)
				write("task/11/cgroup", c.second)
			}
			l, found, err := findLingering(proc, map[string]bool{boxID: true})
			if err != nil {
				t.Fatal(err)
			}
			if l.id != c.want || found != (c.want != "") || found && l.pid != 10 {
				t.Errorf("%+v, %v", l, found)
			}
		})
	}
}

// It waits as long as a process is there, and says which one when it takes too
// long.
func TestAwaitEnd(t *testing.T) {
	shim := exec.Command("/bin/sh")
	shim.Args = []string{"containerd-shim-test", "-c", "read line", "-id", boxID} // until its input ends
	stdin, err := shim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shim.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- shim.Wait() }()
	ids := map[string]bool{boxID: true}
	// A control group that a killed shim has left, and one of another.
	groups := t.TempDir()
	own, others := filepath.Join(groups, "pids", "docker", boxID), filepath.Join(groups, "pids", "docker", otherID)
	if err := errors.Join(os.MkdirAll(own, 0o700), os.MkdirAll(others, 0o700)); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = awaitEnd(ctx, "/proc", groups, ids, 0)
	if text := fmt.Sprintf("kill -9 %d", shim.Process.Pid); !errors.Is(err, ErrLingers) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v does not say %q", err, text)
	}
	given, giveUp := context.WithCancelCause(ctx)
	giveUp(errOver)
	if err := awaitEnd(given, "/proc", groups, ids, time.Minute); !errors.Is(err, errOver) {
		t.Error(err)
	}
	if err := awaitEnd(ctx, "/proc", groups, map[string]bool{strings.Repeat("a", 64): true}, 0); err != nil {
		t.Errorf("of another container: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- awaitEnd(ctx, "/proc", groups, ids, time.Minute) }()
	select {
	case err := <-waited:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(4 * lingerPoll):
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(own); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its control group: %v", err)
	}
	if _, err := os.Stat(others); err != nil {
		t.Errorf("that of another container: %v", err)
	}
}

// A shim that containerd has forgotten is killed after half of the time, unless
// a process of its container is there yet.
func TestAwaitEndKillsForgottenShims(t *testing.T) {
	shim := exec.Command("/bin/sh")
	shim.Args = []string{"containerd-shim-test", "-c", "read line", "-id", boxID}
	stdin, err := shim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	if err := shim.Start(); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{boxID: true}
	// As /proc shows the shim, and a process in the container.
	proc := t.TempDir()
	write := func(pid int, name, text string) {
		path := filepath.Join(proc, strconv.Itoa(pid), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write(shim.Process.Pid, "cmdline", strings.Join(shim.Args, "\x00"))
	inside := shim.Process.Pid + 1
	write(inside, "cmdline", "sleep\x009")
	write(inside, "stat", "2 (sleep) S 1 10 10 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100")
	write(inside, "cgroup", "0::/docker/"+boxID+"\n")
	err = awaitEnd(t.Context(), proc, t.TempDir(), ids, 4*lingerPoll)
	if want := fmt.Sprintf("kill -9 %d", inside); !errors.Is(err, ErrLingers) || !strings.Contains(err.Error(), want) {
		t.Errorf("with a process in the container: %v, which does not say %q", err, want)
	}
	if err := shim.Process.Signal(syscall.Signal(0)); err != nil {
		t.Fatalf("the shim of a container with a process: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(proc, strconv.Itoa(inside))); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = shim.Wait()
		_ = os.RemoveAll(filepath.Join(proc, strconv.Itoa(shim.Process.Pid)))
		close(ended)
	}()
	begin := time.Now()
	const limit = time.Second
	if err := awaitEnd(t.Context(), proc, t.TempDir(), ids, limit); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < limit/2 {
		t.Errorf("killed after %v", d)
	}
	<-ended
	if s := shim.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Errorf("it ended by itself: %v", shim.ProcessState)
	}
}

var errOver = errors.New("over")
