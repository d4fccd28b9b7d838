package ovs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"meshlab.dev/meshlab/orchestrate/process"
)

// Instance is one Open vSwitch: a database server and a switch with folders
// of their own. Two of them in user space need two network namespaces, as each
// makes a device called ovs-netdev.
type Instance struct {
	Name  string // the network namespace that it runs in, and the switch that it is; "": the caller's, and any number of switches
	Run   string // folder of its sockets
	Data  string // folder of its database
	Files TLSFiles
}

// TLSFiles are files in PEM that a switch proves itself by, and checks
// others. The zero value is none.
type TLSFiles struct{ CA, Certificate, Key string }

// Shared is the instance of a lab whose switches are bridges of one Open
// vSwitch. Its sockets are where Open vSwitch looks for them itself, so that
// ovs-vsctl and ovs-ofctl need no options; inside a lab that folder is private.
func Shared() Instance {
	return Instance{Run: "/run/openvswitch", Data: "/run/meshlab/openvswitch"}
}

// Isolated is the instance of a switch that has one to itself, in the network
// namespace of the same name.
func Isolated(name string) Instance {
	dir := filepath.Join("/run/meshlab/switch", name)
	return Instance{Name: name, Run: dir, Data: filepath.Join(dir, "data")}
}

// The programs of an instance.
const (
	databaseProgram = "ovsdb-server"
	switchProgram   = "ovs-vswitchd"
)

// SwitchName is the name of the process that the bridges run in:
// ovs-vswitchd, or ovs-vswitchd@s1 of an isolated one.
func (i Instance) SwitchName() string { return i.processName(switchProgram) }

// Processes are the names of the processes of the instance, in the order in
// which they start.
func (i Instance) Processes() []string {
	return []string{i.processName(databaseProgram), i.processName(switchProgram)}
}

func (i Instance) processName(program string) string {
	if i.Name == "" {
		return program
	}
	return program + "@" + i.Name
}

// ManagementSocket is where a controller reaches a bridge: ovs-vswitchd makes
// this socket for each (ovs-vswitchd(8), "Bridge management").
func (i Instance) ManagementSocket(bridge string) string {
	return filepath.Join(i.Run, bridge+".mgmt")
}

func (i Instance) dbSocket() string { return filepath.Join(i.Run, "db.sock") }

// pidFile is what ovs-appctl finds a daemon by.
func (i Instance) pidFile(program string) string {
	return "--pidfile=" + filepath.Join(i.Run, program+".pid")
}

// Daemons creates an empty database and returns the two processes of the
// instance, the database server first: the switch wants to find it.
func (i Instance) Daemons(ctx context.Context) ([]process.Spec, error) {
	var paths = map[string]string{}
	for _, name := range []string{"ovsdb-tool", databaseProgram, switchProgram} {
		p, err := Program(name)
		if err != nil {
			return nil, err
		}
		paths[name] = p
	}
	for _, dir := range []string{i.Run, i.Data} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create folder of Open vSwitch: %w", err)
		}
	}
	db := filepath.Join(i.Data, "conf.db")
	const schema = "/usr/share/openvswitch/vswitch.ovsschema"
	if out, err := exec.CommandContext(ctx, paths["ovsdb-tool"], "create", db, schema).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("create Open vSwitch database from %s: %w: %s", schema, err, strings.TrimSpace(string(out)))
	}
	env := []string{"OVS_RUNDIR=" + i.Run, "OVS_LOGDIR=" + i.Data, "OVS_DBDIR=" + i.Data, "PATH=" + os.Getenv("PATH")}
	daemon := func(program string, args ...string) process.Spec {
		return process.Spec{
			Name: i.processName(program), Node: i.Name, Part: process.PartSwitch,
			Path: paths[program], Env: env, Dir: i.Data, KeepRunning: true,
			Args: append(args, i.pidFile(program), "-vconsole:warn", "-vsyslog:off", "-vfile:off"),
		}
	}
	return []process.Spec{
		daemon(databaseProgram, db, "--remote=punix:"+i.dbSocket()),
		daemon(switchProgram, append([]string{"unix:" + i.dbSocket()}, i.Files.arguments()...)...),
	}, nil
}

// arguments are those of ovs-vswitchd(8), "PKI Options".
func (f TLSFiles) arguments() []string {
	if f == (TLSFiles{}) {
		return nil
	}
	return []string{"--private-key=" + f.Key, "--certificate=" + f.Certificate, "--ca-cert=" + f.CA}
}

// WaitDatabase returns when the database server takes connections. A switch
// that starts before that tries again only after a second.
func (i Instance) WaitDatabase(ctx context.Context) error { return waitSocket(ctx, i.dbSocket()) }

// DisableSequenceCheck stops connection tracking from dropping TCP segments
// whose sequence numbers it does not expect. When clients reuse ports, that
// check makes some connections stall for two seconds (ovs-vswitchd(8),
// dpctl/ct-disable-tcp-seq-chk). Needs a bridge of the userspace datapath in
// the switch, which runs as process pid.
func (i Instance) DisableSequenceCheck(ctx context.Context, pid int) error {
	appctl, err := Program("ovs-appctl")
	if err != nil {
		return err
	}
	// The file of the process number, by which ovs-appctl finds a daemon by its
	// name, may still be that of a predecessor.
	control := filepath.Join(i.Run, fmt.Sprintf("%s.%d.ctl", switchProgram, pid))
	out, err := exec.CommandContext(ctx, appctl, "-t", control, "dpctl/ct-disable-tcp-seq-chk").CombinedOutput()
	if err != nil {
		return fmt.Errorf("disable TCP sequence check of connection tracking: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
