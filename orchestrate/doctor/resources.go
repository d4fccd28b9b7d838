package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/consul"
)

const (
	mebibyte = 1 << 20
	gibibyte = 1 << 30

	// A Consul agent takes some 110 MB and each of its proxies too: hashicups
	// has five of each.
	wantMemory = 2 * gibibyte

	// Results, logs and a database; building Consul needs the rest.
	wantDisk      = 1 * gibibyte
	wantBuildDisk = 4 * gibibyte

	// A proxy holds two connections for each of the 200 that a scenario opens,
	// and one of Postgres' files each.
	wantFiles = 4096
)

func (m machine) checkMemory() Finding {
	text, err := m.read("/proc/meminfo")
	if err != nil {
		return Finding{Name: "memory", Status: Warn, Detail: err.Error()}
	}
	return judgeMemory(text)
}

// judgeMemory reads /proc/meminfo, proc_meminfo(5).
func judgeMemory(meminfo string) Finding {
	f := Finding{Name: "memory", Status: Warn}
	for line := range strings.Lines(meminfo) {
		rest, ok := strings.CutPrefix(line, "MemAvailable:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			f.Detail = "MemAvailable is " + strings.TrimSpace(rest)
			return f
		}
		f.Detail = size(kib*1024) + " available"
		if kib*1024 < wantMemory {
			f.Detail += ", a lab with Consul on each host wants " + size(wantMemory)
			return f
		}
		f.Status = OK
		return f
	}
	f.Detail = "the kernel does not tell how much is available"
	return f
}

func checkDisk() Finding {
	dir, err := consul.CacheDir(consul.Options{})
	if err != nil {
		return Finding{Name: "disk", Status: Warn, Detail: err.Error(), Remedy: "export MESHLAB_CACHE=/var/tmp/meshlab"}
	}
	want := uint64(wantDisk)
	if _, err := os.Stat(filepath.Join(dir, "consul-"+consul.Version)); err != nil {
		want = wantBuildDisk
	}
	free, err := freeSpace(dir)
	if err != nil {
		return Finding{Name: "disk", Status: Warn, Detail: err.Error()}
	}
	return judgeDisk(dir, free, want)
}

func judgeDisk(dir string, free, want uint64) Finding {
	f := Finding{Name: "disk", Status: OK, Detail: size(free) + " free at " + dir}
	if free < want {
		f.Status = Warn
		f.Detail += ", wanted are " + size(want)
		f.Remedy = "export MESHLAB_CACHE=/path/on/a/larger/disk"
	}
	return f
}

// freeSpace returns the bytes that this user may still write at dir, or at
// the nearest folder above it that exists.
func freeSpace(dir string) (uint64, error) {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == nil {
			return st.Bavail * uint64(st.Bsize), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return 0, fmt.Errorf("read the free space of %s: %w", dir, err)
		}
		dir = up
	}
}

func checkFiles() Finding {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return Finding{Name: "open files", Status: Warn, Detail: err.Error()}
	}
	return judgeFiles(limit.Max)
}

// judgeFiles reads the hard limit: Go programs raise the soft one to it.
func judgeFiles(hard uint64) Finding {
	f := Finding{Name: "open files", Status: OK, Detail: fmt.Sprintf("at most %d per process", hard)}
	if hard < wantFiles {
		f.Status = Warn
		f.Detail += fmt.Sprintf(", 200 connections through a proxy want %d", wantFiles)
		f.Remedy = fmt.Sprintf("sudo prlimit --pid $$ --nofile=%d", wantFiles)
	}
	return f
}

func size(bytes uint64) string {
	if bytes < gibibyte {
		return fmt.Sprintf("%d MiB", bytes/mebibyte)
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/gibibyte)
}
