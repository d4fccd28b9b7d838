//go:build integration

package doctor

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const asUser = "MESHLAB_DOCTOR_AS_USER"

// TestOrdinaryUser runs Check as a user without rights and with the PATH that
// such users have.
func TestOrdinaryUser(t *testing.T) {
	if os.Getenv(asUser) != "" {
		if err := json.NewEncoder(os.Stderr).Encode(Check(t.Context())); err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, err := os.MkdirTemp("", "doctor")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "doctor.test")
	copySelf(t, program)

	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestOrdinaryUser$")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", asUser + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var findings []Finding
	if err := json.Unmarshal([]byte(stderr.String()), &findings); err != nil {
		t.Fatalf("%v in %s", err, stderr.String())
	}
	for _, f := range findings {
		switch f.Name {
		case "Open vSwitch":
			if f.Status != OK {
				t.Errorf("Open vSwitch is in /usr/sbin and was not found: %+v", f)
			}
		case "namespaces", "/dev/net/tun":
			if f.Status != OK && f.Remedy == "" {
				t.Errorf("%+v has no remedy", f)
			}
			t.Logf("%s: %s %s", f.Name, f.Status, f.Detail)
		}
	}
}

// TestNamespaceCheckLeavesNoMount looks for the file system that the check
// mounts in its own namespace.
func TestNamespaceCheckLeavesNoMount(t *testing.T) {
	before := mounts(t)
	if f := here(t.Context()).checkNamespaces(t.Context()); f.Status != OK {
		t.Skipf("no namespaces here: %+v", f)
	}
	if after := mounts(t); after != before {
		t.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
	}
}

func mounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func copySelf(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(file, from); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
