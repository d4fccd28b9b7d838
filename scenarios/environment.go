package scenarios

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// unknown stands where the system does not tell.
const unknown = "unknown"

// Host returns what the machine and the program tell of themselves: meshlab,
// Go, OS, kernel, CPU, cores, memory, virtualization and whether the process
// runs as root. The caller fills in what it alone knows, of Open vSwitch,
// Consul and the lab. What cannot be read is "unknown" or zero.
func Host() Environment {
	e := Environment{
		Meshlab: version(),
		Go:      runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		OS:      unknown, Kernel: kernel(), CPU: unknown,
		Cores: runtime.NumCPU(), Virtualization: unknown,
		Root: os.Geteuid() == 0,
	}
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		e.OS = osName(b)
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return e
	}
	if m, err := fs.Meminfo(); err == nil && m.MemTotalBytes != nil {
		e.MemoryBytes = *m.MemTotalBytes
	}
	if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 {
		if cpus[0].ModelName != "" {
			e.CPU = cpus[0].ModelName
		}
		e.Virtualization = virtualization(cpus[0].Flags, os.ReadFile)
	}
	return e
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	setting := func(key string) string {
		for _, s := range info.Settings {
			if s.Key == key {
				return s.Value
			}
		}
		return ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit := setting("vcs.revision")
	if commit == "" {
		return "devel"
	}
	if setting("vcs.modified") == "true" {
		return commit + " with local changes"
	}
	return commit
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return unknown
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// osName returns PRETTY_NAME of an os-release file (os-release(5)).
func osName(file []byte) string {
	lines := bufio.NewScanner(bytes.NewReader(file))
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME=")
		if !ok {
			continue
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			return unquoted
		}
		return strings.Trim(value, `'"`)
	}
	return unknown
}

// virtualization tells from the CPU's flags and the firmware's tables whether
// this is a virtual machine, and whose. The kernel sets the flag "hypervisor"
// from CPUID leaf 1, ECX bit 31, which real processors leave zero.
func virtualization(flags []string, read func(string) ([]byte, error)) string {
	if !slices.Contains(flags, "hypervisor") {
		return "none"
	}
	var names []string
	for _, f := range []string{"/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name", "/sys/hypervisor/type"} {
		if b, err := read(f); err == nil {
			if name := strings.TrimSpace(string(b)); name != "" {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return "virtual machine, vendor unknown"
	}
	return "virtual machine (" + strings.Join(names, ", ") + ")"
}
