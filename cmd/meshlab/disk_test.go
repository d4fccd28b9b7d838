//go:build integration

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A lab whose disk fills up goes on as far as it needs no disk, verbs answer,
// and it can be taken down.
func TestDiskOfLabFillsUp(t *testing.T) {
	p := root(t)
	before := inventory(t)
	l := p.up(t, "full", p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0)))
	usable := func(when string) {
		t.Helper()
		if text, err := l.fetch(t, "h1", "GET", "http://localhost:8080/", ""); err != nil {
			t.Errorf("%s: the service: %v: %s", when, err, text)
		}
		st, err := l.now(t)
		if err != nil || !st.Ready {
			t.Errorf("%s: ps: %v", when, err)
		}
	}
	// The machine's /run, with the state folder.
	filler := filepath.Join("/run", "filler")
	t.Cleanup(func() { _ = unix.Mount("", "/run", "", unix.MS_REMOUNT, "size=50%,mode=755") }) // as tmpfs(5) has it
	var fs unix.Statfs_t
	if err := errors.Join(unix.Statfs("/run", &fs), unix.Mount("", "/run", "", unix.MS_REMOUNT, fmt.Sprintf("size=%d,mode=755", int64(fs.Blocks-fs.Bfree)*fs.Bsize+64<<10))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	usable("the state folder is full")
	p.fails(t, exitFailed, []string{"up", "single-upstream", "--name", "second"}, "no space left", "nothing is left")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}

	// Its own /run, on which the daemons of the lab keep what they have.
	fill := `mount -o remount,size=$(($(df --output=used -k /run | tail -1) + 64))k /run; head -c 100M /dev/zero >/run/filler; echo x >/run/more`
	if r := l.exec(t, "", "h1", "sh", "-c", fill); !strings.Contains(r.stderr, "No space left") {
		t.Fatalf("the disk is not full: %v", r)
	}
	usable("the lab's /run is full")
	pid := 0
	for _, pr := range labProcesses(t) {
		if strings.Contains(pr.command, "service echo") {
			pid = pr.pid
		}
	}
	if pid == 0 {
		t.Fatal("no service")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // it is started again without a word in a log
		t.Fatal(err)
	}
	eventually(t, verbLimit, func() error {
		_, err := l.fetch(t, "h1", "GET", "http://localhost:8080/", "")
		return err
	})
	p.ok(t, "down", "full")
	if err := same(t, withFiles(before, files(t, p.dir))); err != nil {
		t.Error(err)
	}
}
