//go:build integration

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	for _, point := range mounts(t) {
		// Those of the machine outside that ours has hidden come and go.
		if _, err := os.Lstat(point); err == nil {
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

// mounts lists the points of mounts, without those that we have from the
// machine outside, such as those of another engine's containers: they come and
// go. They have a master there (proc(5), mountinfo: optional fields up to "-").
func mounts(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		before, _, _ := strings.Cut(line, " - ")
		if f := strings.Fields(before); len(f) > 5 && !slices.ContainsFunc(f[6:], func(o string) bool { return strings.HasPrefix(o, "master:") }) {
			all = append(all, f[4])
		}
	}
	return all
}

// A mount of ours is in the inventory.
func TestInventory(t *testing.T) {
	before, dir := inventory(t), t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	left := difference(before, inventory(t))
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(left, "+ mount "+dir) {
		t.Errorf("%s is mounted, and seen is %q", dir, left)
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
