package ovs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	own := filepath.Join(dir, "ovs-made-up")
	if err := os.WriteFile(own, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Program("ovs-made-up"); err != nil || got != own {
		t.Errorf("on the PATH: %q, %v", got, err)
	}
	if err := os.Chmod(own, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ovs-made-up", "ovs-nowhere"} {
		_, err := Program(name)
		if !errors.Is(err, ErrNotInstalled) {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "apt-get install openvswitch-switch") {
			t.Errorf("the message lacks the program or the remedy: %v", err)
		}
	}
}

// An ordinary user's PATH lacks the folder that Debian puts the daemons in.
func TestProgramBesidePATH(t *testing.T) {
	const daemon = "/usr/sbin/ovs-vswitchd"
	if _, err := os.Stat(daemon); err != nil {
		t.Skipf("needs Open vSwitch as Debian installs it: %v", err)
	}
	t.Setenv("PATH", "/usr/bin:/bin")
	if got, err := Program("ovs-vswitchd"); err != nil || got != daemon {
		t.Errorf("%q, %v", got, err)
	}
}

func TestManagementSocket(t *testing.T) {
	// ovs-vswitchd makes this socket for a bridge (ovs-vswitchd(8), "Bridge management").
	if got, want := ManagementSocket("s1"), "/run/openvswitch/s1.mgmt"; got != want {
		t.Errorf("%s instead of %s", got, want)
	}
}
