package scenarios

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

// fingerprintDigits is the length of a fingerprint: 48 bits keep the few
// machines of one user apart.
const fingerprintDigits = 12

// Sum returns the fingerprint of what a calibration depends on: processor,
// number of cores, memory to the nearest GiB (the kernel keeps an amount for
// itself that differs from boot to boot), kernel release, virtualization, and
// of the lab Open vSwitch, its datapath and congestion control, and the Docker
// engine when its hosts are containers; of a cluster, its versions and nodes. Two
// runs with one fingerprint share their false-alarm rate as far as hardware and
// system decide it. Versions of meshlab and of what is measured are not in it: a
// calibration is there to compare them. What the caller fills in must be there
// before.
//
// It is the beginning of a SHA-256 in hexadecimal digits, over one line for
// each of these in this order: the same on every machine and in every version.
func (e Environment) Sum() string {
	const gib = 1 << 30
	h := sha256.New()
	parts := []string{
		e.CPU, strconv.Itoa(e.Cores), strconv.FormatUint((e.MemoryBytes+gib/2)/gib, 10), e.Kernel, e.Virtualization,
		e.OpenVSwitch, e.Datapath, e.CongestionControl,
	}
	if e.Docker != "" {
		parts = append(parts, e.Runtime, e.Docker)
	}
	if c := e.Cluster; c != nil {
		parts = append(parts, e.Runtime, c.Kubernetes, c.Cloud, c.CNI)
		var nodes []string // in no order of theirs
		for _, n := range c.Nodes {
			nodes = append(nodes, fmt.Sprintf("%q", []string{n.Role, n.InstanceType, n.Region, n.Zone, strconv.Itoa(n.Cores), n.Kernel, n.Runtime}))
		}
		slices.Sort(nodes)
		parts = append(parts, nodes...)
	}
	for _, part := range parts {
		fmt.Fprintf(h, "%q\n", part)
	}
	return hex.EncodeToString(h.Sum(nil))[:fingerprintDigits]
}

// isFingerprint tells whether s may be one: nothing else becomes a file name.
func isFingerprint(s string) bool {
	return len(s) == fingerprintDigits && strings.Trim(s, "0123456789abcdef") == ""
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
