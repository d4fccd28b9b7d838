package ovs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	own := filepath.Join(dir, "ovs-made-up")
	if err := os.WriteFile(own, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Program("ovs-made-up"); err != nil || got != own {
		t.Errorf("on the PATH: %q, %v", got, err)
	}
	if err := os.Chmod(own, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ovs-made-up", "ovs-nowhere"} {
		_, err := Program(name)
		if !errors.Is(err, ErrNotInstalled) {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "meshlab doctor") {
			t.Errorf("the message lacks the program or the remedy: %v", err)
		}
	}
}

// An ordinary user's PATH lacks the folder that Debian puts the daemons in.
func TestProgramBesidePATH(t *testing.T) {
	const daemon = "/usr/sbin/ovs-vswitchd"
	if _, err := os.Stat(daemon); err != nil {
		t.Skipf("needs Open vSwitch as Debian installs it: %v", err)
	}
	t.Setenv("PATH", "/usr/bin:/bin")
	if got, err := Program("ovs-vswitchd"); err != nil || got != daemon {
		t.Errorf("%q, %v", got, err)
	}
}

// A socket has a name before it can be connected to.
func TestWaitSocketListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := waitSocket(ctx, path); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("bound, not listening: %v", err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	if err := waitSocket(t.Context(), path); err != nil {
		t.Errorf("listening: %v", err)
	}
}
