package scenarios

import (
	"io/fs"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	e := Host()
	if !strings.HasPrefix(e.Kernel, "Linux ") || e.Cores < 1 || e.MemoryBytes < 1<<20 || !strings.HasPrefix(e.Go, "go1") || e.Meshlab == "" {
		t.Errorf("got %+v", e)
	}
}

func TestOSName(t *testing.T) {
	for file, want := range map[string]string{
		"NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n": "Debian GNU/Linux 12 (bookworm)",
		"PRETTY_NAME='A B'":  "A B",
		"PRETTY_NAME=Alpine": "Alpine",
		"NAME=x":             unknown,
	} {
		if got := osName([]byte(file)); got != want {
			t.Errorf("osName(%q) = %q, want %q", file, got, want)
		}
	}
}

func TestVirtualization(t *testing.T) {
	none := func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	azure := func(path string) ([]byte, error) {
		if strings.HasSuffix(path, "sys_vendor") {
			return []byte("Microsoft Corporation\n"), nil
		}
		return nil, fs.ErrNotExist
	}
	tests := []struct {
		name  string
		flags []string
		read  func(string) ([]byte, error)
		want  string
	}{
		{"bare metal with a vendor", []string{"fpu", "vmx"}, azure, "none"},
		{"known vendor", []string{"fpu", "hypervisor"}, azure, "virtual machine (Microsoft Corporation)"},
		{"no tables", []string{"hypervisor"}, none, "virtual machine, vendor unknown"},
	}
	for _, tt := range tests {
		if got := virtualization(tt.flags, tt.read); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	e := Environment{CPU: "A", Cores: 2, MemoryBytes: 8 << 30, Kernel: "Linux 6.1", Virtualization: "none", OpenVSwitch: "3.1", Datapath: "netdev", CongestionControl: "cubic"}
	const want = "056a6eaae64c"
	if got := e.Sum(); got != want || !isFingerprint(got) {
		t.Errorf("Sum = %q, want %q: calibrations of earlier versions are lost if it changes", got, want)
	}
	for name, change := range map[string]func(*Environment){
		"cpu": func(e *Environment) { e.CPU = "B" }, "cores": func(e *Environment) { e.Cores = 4 },
		"memory": func(e *Environment) { e.MemoryBytes = 16 << 30 }, "kernel": func(e *Environment) { e.Kernel = "Linux 6.2" },
		"virtualization": func(e *Environment) { e.Virtualization = "kvm" }, "open vswitch": func(e *Environment) { e.OpenVSwitch = "3.2" },
		"datapath": func(e *Environment) { e.Datapath = "system" }, "congestion control": func(e *Environment) { e.CongestionControl = "bbr" },
		"a part that moves to the next": func(e *Environment) { e.CPU, e.OpenVSwitch = "A\"\n\"", "" },
	} {
		other := e
		if change(&other); other.Sum() == want {
			t.Errorf("%s does not count", name)
		}
	}
	for name, change := range map[string]func(*Environment){
		"memory that the kernel keeps": func(e *Environment) { e.MemoryBytes -= 200 << 20 },
		"meshlab":                      func(e *Environment) { e.Meshlab = "v2" },
		"itself":                       func(e *Environment) { e.Fingerprint = want },
		"root":                         func(e *Environment) { e.Root = true },
	} {
		other := e
		if change(&other); other.Sum() != want {
			t.Errorf("%s counts", name)
		}
	}
}
