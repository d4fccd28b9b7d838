package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller"
)

func TestControllerExampleIsGood(t *testing.T) {
	if _, err := controller.LoadConfig("systemd/controller.yaml"); err != nil {
		t.Error(err)
	}
}

func TestEveryKeyOfTheControllerIsExplained(t *testing.T) {
	page, err := os.ReadFile("controller.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, typ := range []reflect.Type{
		reflect.TypeFor[controller.FileConfig](), reflect.TypeFor[controller.Consul](),
		reflect.TypeFor[controller.DNS](), reflect.TypeFor[controller.Traces](),
	} {
		for i := range typ.NumField() {
			key, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			keys++
			if !strings.Contains(string(page), "`"+key+"`") {
				t.Errorf("controller.md does not explain the key %s", key)
			}
		}
	}
	if keys < 20 {
		t.Errorf("found only %d keys", keys)
	}
}

// mostExposure is what the unit may reach on the scale of systemd-analyze
// security, times ten.
const mostExposure = "20"

func TestUnitFile(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: apt-get install systemd")
	}
	const name = "meshlab-controller@.service"
	text, err := os.ReadFile(filepath.Join("systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	// systemd wants the program to be there.
	unit := strings.Replace(string(text), "ExecStart=/usr/local/bin/meshlab", "ExecStart=/bin/true", 1)
	path := filepath.Join(t.TempDir(), name)
	check := func(unit string) (complaints string) {
		if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
		if err != nil {
			return err.Error() + ": " + string(out)
		}
		return string(out)
	}
	if complaints := check(strings.Replace(unit, "NoNewPrivileges", "NoPrivileges", 1)); complaints == "" {
		t.Fatal("the test would not notice a wrong key")
	}
	if complaints := check(unit); complaints != "" {
		t.Errorf("systemd-analyze verify: %s", complaints)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+mostExposure, path).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v: %s", err, out)
	}
}
