package docker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where the machine's control groups are (cgroups(7)).
const cgroupRoot = "/sys/fs/cgroup"

// readUsage reads what a container has taken from its control group, up to
// this moment: the engine samples once a second, and makes who asks wait for
// it. It is false where the group is not to be found, or has gone.
//
// Engines name groups PARENT/ID with the driver cgroupfs, and
// PARENT/docker-ID.scope with systemd (dockerd(8), native.cgroupdriver).
func readUsage(root, id string) (Usage, bool) {
	for _, name := range []string{id, "docker-" + id + ".scope"} {
		if dir, ok := found(root, "*", name, "cpu.stat"); ok { // version 2: one hierarchy
			if u, ok := readV2(dir); ok {
				return u, true
			}
		}
		cpu, ok := found(root, "cpuacct", "*", name, "cpuacct.usage")
		memory, ok2 := found(root, "memory", "*", name, "memory.usage_in_bytes")
		if ok && ok2 {
			if u, ok := readV1(cpu, memory); ok {
				return u, true
			}
		}
	}
	return Usage{}, false
}

// removeGroups removes the control groups of containers, which are to be empty,
// and returns one that is not yet, with its container, or "". Those that it may
// not remove are the engine's business.
func removeGroups(root string, ids map[string]bool) (busy, id string) {
	for id := range ids {
		for _, name := range []string{id, "docker-" + id + ".scope"} {
			for _, parents := range []string{"*", "*/*"} { // version 2; version 1, with a hierarchy first
				dirs, err := filepath.Glob(filepath.Join(root, parents, name))
				if err != nil {
					continue // no such pattern
				}
				for _, dir := range dirs {
					if err := unix.Rmdir(dir); errors.Is(err, unix.EBUSY) {
						return dir, id
					}
				}
			}
		}
	}
	return "", ""
}

// found returns the folder of the one file that a pattern matches.
func found(pattern ...string) (dir string, ok bool) {
	all, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(all) != 1 {
		return "", false
	}
	return filepath.Dir(all[0]), true
}

// readV1 reads version 1 (Linux, Documentation/admin-guide/cgroup-v1): nanoseconds.
func readV1(cpu, memory string) (Usage, bool) {
	used, ok := readNumber(filepath.Join(cpu, "cpuacct.usage"))
	held, ok2 := readNumber(filepath.Join(memory, "memory.usage_in_bytes"))
	cached, ok3 := readKey(filepath.Join(memory, "memory.stat"), "total_inactive_file")
	return Usage{CPU: time.Duration(used), Memory: held - min(cached, held)}, ok && ok2 && ok3
}

// readV2 reads version 2 (Linux, Documentation/admin-guide/cgroup-v2): microseconds.
func readV2(dir string) (Usage, bool) {
	used, ok := readKey(filepath.Join(dir, "cpu.stat"), "usage_usec")
	held, ok2 := readNumber(filepath.Join(dir, "memory.current"))
	cached, ok3 := readKey(filepath.Join(dir, "memory.stat"), "inactive_file")
	return Usage{CPU: time.Duration(used) * time.Microsecond, Memory: held - min(cached, held)}, ok && ok2 && ok3
}

func readNumber(path string) (uint64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// readKey reads a file of lines "key number".
func readKey(path, key string) (uint64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		var k string
		var n uint64
		if _, err := fmt.Sscan(line, &k, &n); err == nil && k == key {
			return n, true
		}
	}
	return 0, false
}
