// Package ovs runs private Open vSwitch instances and writes bridges and
// ports into their databases. Flows are not its business: the controller
// programs them over OpenFlow.
package ovs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNotInstalled says that a program of Open vSwitch is missing.
var ErrNotInstalled = errors.New("Open vSwitch is not installed: `meshlab doctor` names the package")

// Program finds a program of Open vSwitch, also where an ordinary user's
// PATH does not look.
func Program(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("find %s: %w", name, ErrNotInstalled)
}

// Version is the version of the installed switch, for example "3.1.0".
func Version(ctx context.Context) (string, error) {
	program, err := Program("ovs-vswitchd")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w", program, err)
	}
	first, _, _ := strings.Cut(string(out), "\n") // "ovs-vswitchd (Open vSwitch) 3.1.0"
	words := strings.Fields(first)
	if len(words) == 0 {
		return "", fmt.Errorf("run %s --version: it printed nothing", program)
	}
	return words[len(words)-1], nil
}
