//go:build integration

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate"
)

// proc is a process of the machine.
type proc struct {
	pid     int
	command string
	ns      string // of process numbers
}

// processes lists all processes of the machine but zombies.
func processes(t *testing.T) []proc {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var all []proc
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if _, err := orchestrate.StartTime(pid); err != nil {
			continue
		}
		ns, err := os.Readlink(dir + "/ns/pid")
		if err != nil {
			continue // it has just ended
		}
		line, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue
		}
		all = append(all, proc{pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")), ns})
	}
	return all
}

// labProcesses lists the processes of all labs, from the first process of
// each sandbox on.
func labProcesses(t *testing.T) []proc {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(processes(t), func(p proc) bool { return p.ns == own })
}

// inventory is everything that a lab could leave behind on the machine, one
// line each.
func inventory(t *testing.T) []string {
	t.Helper()
	var all []string
	add := func(kind string, lines ...string) {
		for _, l := range lines {
			all = append(all, kind+" "+l)
		}
	}
	for _, p := range processes(t) {
		if p.pid != os.Getpid() {
			add("process", fmt.Sprintf("%d %s", p.pid, p.command))
		}
	}
	seen := map[string]bool{}
	for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"} {
		spaces, err := filepath.Glob("/proc/[0-9]*/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range spaces {
			if ns, err := os.Readlink(path); err == nil && !seen[ns] {
				seen[ns] = true
				add("namespace", ns)
			}
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		add("link", l.Attrs().Name)
	}
	first, err := firstMounts()
	now, err2 := mounts()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, m := range now {
		if _, point, _ := strings.Cut(m, " "); !slices.Contains(first, m) {
			add("mount", point)
		}
	}
	for _, kind := range []string{"shm", "sem", "msg"} {
		add("System V "+kind, fields(t, "/proc/sysvipc/"+kind, 1)...)
	}
	for _, dir := range []string{"/run", "/dev/shm", os.Getenv(binVar)} {
		add("file", files(t, dir)...)
	}
	slices.Sort(all)
	return all
}

// firstMounts are those of the first inventory. Copies of mounts of the machine
// outside are among them, which go when that removes what they are on, and no
// lab has made any that is older than an inventory to compare with.
var firstMounts = sync.OnceValues(mounts)

// mounts lists all mounts of the machine: number and place (fields 1 and 5 of
// proc_pid_mountinfo(5)).
func mounts() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		all = append(all, f[0]+" "+f[4])
	}
	return all, nil
}

// A mount of ours is in the inventory.
func TestInventory(t *testing.T) {
	before := inventory(t)
	point := t.TempDir()
	if err := unix.Mount("left", point, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("mount a file system: %v", err)
	}
	if diff := difference(before, inventory(t)); !slices.Contains(diff, "+ mount "+point) {
		t.Errorf("a mount at %s is not seen: %v", point, diff)
	}
	if err := unix.Unmount(point, 0); err != nil {
		t.Fatal(err)
	}
	if diff := difference(before, inventory(t)); slices.ContainsFunc(diff, func(l string) bool { return strings.Contains(l, " mount ") }) {
		t.Errorf("it is seen when it is gone: %v", diff)
	}
}

// fields returns the given column (from 0) of every line of a file, without
// the head line of those that have one.
func fields(t *testing.T, path string, column int) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > column && f[0] != "key" {
			all = append(all, f[column])
		}
	}
	return all
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// difference lists what was added and what went, for a message.
func difference(before, after []string) []string {
	var diff []string
	for _, l := range after {
		if !slices.Contains(before, l) {
			diff = append(diff, "+ "+l)
		}
	}
	for _, l := range before {
		if !slices.Contains(after, l) {
			diff = append(diff, "- "+l)
		}
	}
	return diff
}
