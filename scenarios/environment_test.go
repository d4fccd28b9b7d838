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
