// Package ovs runs a private Open vSwitch instance and writes bridges and
// ports into its database. Flows are not its business: the controller
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

	"meshlab.dev/meshlab/orchestrate/process"
)

// RunDir is where the instance keeps its sockets: Open vSwitch's own
// default, private inside a lab, so that ovs-vsctl and ovs-ofctl need no
// options there.
const RunDir = "/run/openvswitch"

// Paths of the instance.
const (
	dbSocket = RunDir + "/db.sock"
	dataDir  = "/run/meshlab/openvswitch"
)

// ErrNotInstalled says that a program of Open vSwitch is missing.
var ErrNotInstalled = errors.New("Open vSwitch is not installed: apt-get install openvswitch-switch")

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

// Daemons creates an empty database and returns the two processes of the
// instance, the database server first: the switch wants to find it.
func Daemons(ctx context.Context) ([]process.Spec, error) {
	var paths = map[string]string{}
	for _, name := range []string{"ovsdb-tool", "ovsdb-server", "ovs-vswitchd"} {
		p, err := Program(name)
		if err != nil {
			return nil, err
		}
		paths[name] = p
	}
	for _, dir := range []string{RunDir, dataDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create folder of Open vSwitch: %w", err)
		}
	}
	db := filepath.Join(dataDir, "conf.db")
	const schema = "/usr/share/openvswitch/vswitch.ovsschema"
	if out, err := exec.CommandContext(ctx, paths["ovsdb-tool"], "create", db, schema).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("create Open vSwitch database from %s: %w: %s", schema, err, strings.TrimSpace(string(out)))
	}
	env := []string{"OVS_RUNDIR=" + RunDir, "OVS_LOGDIR=" + dataDir, "OVS_DBDIR=" + dataDir, "PATH=" + os.Getenv("PATH")}
	return []process.Spec{
		{
			Name: "ovsdb-server", Part: process.PartSwitch, Path: paths["ovsdb-server"], Env: env, Dir: dataDir, KeepRunning: true,
			Args: []string{db, "--remote=punix:" + dbSocket, pidFile("ovsdb-server"), "-vconsole:warn", "-vsyslog:off", "-vfile:off"},
		},
		{
			Name: SwitchName, Part: process.PartSwitch, Path: paths["ovs-vswitchd"], Env: env, Dir: dataDir, KeepRunning: true,
			Args: []string{"unix:" + dbSocket, pidFile(SwitchName), "-vconsole:warn", "-vsyslog:off", "-vfile:off"},
		},
	}, nil
}

// SwitchName is the name of the process that all bridges of a lab run in.
const SwitchName = "ovs-vswitchd"

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

// pidFile is what ovs-appctl finds a daemon by.
func pidFile(name string) string { return "--pidfile=" + filepath.Join(RunDir, name+".pid") }

// ManagementSocket is where a controller reaches a bridge.
func ManagementSocket(bridge string) string { return filepath.Join(RunDir, bridge+".mgmt") }

// DisableSequenceCheck stops connection tracking from dropping TCP segments
// whose sequence numbers it does not expect. When clients reuse ports, that
// check makes some connections stall for two seconds (ovs-vswitchd(8),
// dpctl/ct-disable-tcp-seq-chk). Needs a bridge of the userspace datapath in
// the switch, which runs as process pid.
func DisableSequenceCheck(ctx context.Context, pid int) error {
	appctl, err := Program("ovs-appctl")
	if err != nil {
		return err
	}
	// The file of the process number, by which ovs-appctl finds a daemon by its
	// name, may still be that of a predecessor.
	control := filepath.Join(RunDir, fmt.Sprintf("%s.%d.ctl", SwitchName, pid))
	out, err := exec.CommandContext(ctx, appctl, "-t", control, "dpctl/ct-disable-tcp-seq-chk").CombinedOutput()
	if err != nil {
		return fmt.Errorf("disable TCP sequence check of connection tracking: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
