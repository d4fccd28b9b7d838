package doctor

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPackages(t *testing.T) {
	got := Packages([]Finding{
		{Status: Missing, Package: "postgresql"},
		{Status: Missing, Package: "openvswitch-switch"},
		{Status: Missing, Package: "postgresql"},
		{Status: Missing},
		{Status: Warn, Package: "optional"},
	})
	if strings.Join(got, " ") != "openvswitch-switch postgresql" {
		t.Errorf("got %v", got)
	}
}

func TestInstallNothing(t *testing.T) {
	var out bytes.Buffer
	if err := Install(t.Context(), []Finding{{Status: OK, Package: "x"}}, &out); err != nil || !strings.Contains(out.String(), "nothing is missing") {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestMayInstall(t *testing.T) {
	names := []string{"openvswitch-switch", "postgresql"}
	for name, tc := range map[string]struct {
		id   string
		uid  int
		want error
		says string
	}{
		"root on Debian": {"debian", 0, nil, ""},
		"user on Arch":   {"arch", 1000, ErrNeedRoot, "sudo " + Self() + " doctor --install"},
		"root elsewhere": {"", 0, ErrNoInstaller, "openvswitch-switch, postgresql"},
	} {
		t.Run(name, func(t *testing.T) {
			err := mayInstall(families[tc.id], names, tc.uid)
			if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.says)
			}
		})
	}
}

func TestHoldServices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy-rc.d")
	restore, err := holdServices(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode()&0o111 == 0 {
		t.Errorf("the policy cannot be run: %v, %v", st, err)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the policy stays behind: %v", err)
	}
}

func TestHoldServicesKeepsOwnPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy-rc.d")
	if err := os.WriteFile(path, []byte("own"), 0o755); err != nil {
		t.Fatal(err)
	}
	restore, err := holdServices(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "own" {
		t.Errorf("the administrator's policy is now %q, %v", text, err)
	}
}
