//go:build linux

// Package ovstest gives a test an Open vSwitch of its own: database, run
// directory and network namespace are private to the test and end with it.
// It needs root and the Debian package openvswitch-switch; the tests that
// use it carry the build tag integration. What flows go in, it does not know.
package ovstest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every command and every wait for a daemon.
const patience = 10 * time.Second

const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// serial tells the instances of one test process apart.
var serial atomic.Uint32

// OVS is a running Open vSwitch with the userspace datapath.
type OVS struct {
	RunDir string // sockets: <bridge>.mgmt and db.sock lie here
	NetNS  string // name of the network namespace, as in "ip netns"

	t       testing.TB
	vswitch *exec.Cmd
}

// Start runs ovsdb-server and ovs-vswitchd in a new network namespace. A
// machine that cannot do so fails the test: the build tag already says that
// it should. Everything is removed in t.Cleanup, in the right order.
func Start(t testing.TB) *OVS {
	t.Helper()
	// Not t.TempDir: a unix socket's path has at most 107 bytes (unix(7)).
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		t.Fatalf("make run directory: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove run directory: %v", err)
		}
	})
	o := &OVS{
		RunDir: dir,
		NetNS:  fmt.Sprintf("ovstest-%d-%d", os.Getpid(), serial.Add(1)),
		t:      t,
	}
	o.run("ip", "netns", "add", o.NetNS)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", o.NetNS).CombinedOutput(); err != nil {
			t.Errorf("remove network namespace %s: %v: %s", o.NetNS, err, out)
		}
	})
	o.run("ip", "-n", o.NetNS, "link", "set", "lo", "up")
	o.run("ovsdb-tool", "create", o.path("conf.db"), schema)
	o.daemon("ovsdb-server", o.path("conf.db"), "--remote=punix:"+o.path("db.sock"),
		"--unixctl="+o.path("ovsdb.ctl"), "-vconsole:off", "--log-file="+o.path("ovsdb.log"))
	o.await(o.path("db.sock"))
	o.run("ovs-vsctl", "--db=unix:"+o.path("db.sock"), "--no-wait", "init")
	o.StartSwitch()
	return o
}

// StartSwitch starts ovs-vswitchd, again after KillSwitch. The database has
// kept the bridges; flows and groups are gone.
func (o *OVS) StartSwitch() {
	o.t.Helper()
	o.vswitch = o.daemon("ip", "netns", "exec", o.NetNS, "ovs-vswitchd", "unix:"+o.path("db.sock"),
		"--unixctl="+o.path("vswitchd.ctl"), "-vconsole:off", "--log-file="+o.path("vswitchd.log"))
	o.await(o.path("vswitchd.ctl"))
	// Any command that waits returns once ovs-vswitchd has read the database.
	o.Vsctl("set", "Open_vSwitch", ".", "external_ids:started="+fmt.Sprint(o.vswitch.Process.Pid))
}

// KillSwitch ends ovs-vswitchd as a crash would (SIGKILL) and waits for its end.
func (o *OVS) KillSwitch() {
	o.t.Helper()
	if err := o.vswitch.Process.Kill(); err != nil {
		o.t.Fatalf("kill ovs-vswitchd: %v", err)
	}
	_ = o.vswitch.Wait() // its error is the signal just sent
	for _, stale := range []string{"vswitchd.ctl"} {
		if err := os.Remove(o.path(stale)); err != nil && !os.IsNotExist(err) {
			o.t.Fatalf("remove stale socket: %v", err)
		}
	}
}

// SwitchCPU is the processor time that ovs-vswitchd has used since it
// started, in user and in kernel mode, to a hundredth of a second.
func (o *OVS) SwitchCPU() time.Duration {
	o.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", o.vswitch.Process.Pid))
	if err != nil {
		o.t.Fatalf("read processor time of ovs-vswitchd: %v", err)
	}
	// proc_pid_stat(5): fields 14 and 15, in ticks of USER_HZ, which is 100;
	// the second field ends with the last closing parenthesis.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			o.t.Fatalf("read processor time of ovs-vswitchd: %v", err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// SwitchMemory is the resident memory of ovs-vswitchd now, in bytes.
func (o *OVS) SwitchMemory() int64 {
	o.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", o.vswitch.Process.Pid))
	if err != nil {
		o.t.Fatalf("read memory of ovs-vswitchd: %v", err)
	}
	var size, resident int64 // pages (proc(5))
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		o.t.Fatalf("read memory of ovs-vswitchd from %q: %v", text, err)
	}
	return resident * int64(os.Getpagesize())
}

// AddBridge makes a bridge with the userspace datapath that drops what no
// flow matches, and returns the path of its OpenFlow socket.
func (o *OVS) AddBridge(name string) string {
	o.t.Helper()
	o.Vsctl("add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev", "fail-mode=secure",
		"protocols=OpenFlow10,OpenFlow13,OpenFlow15")
	o.await(o.MgmtSocket(name))
	return o.MgmtSocket(name)
}

// MgmtSocket is the unix socket at which a bridge takes OpenFlow connections.
func (o *OVS) MgmtSocket(bridge string) string { return o.path(bridge + ".mgmt") }

// Vsctl runs ovs-vsctl on the private database and returns what it printed.
func (o *OVS) Vsctl(args ...string) string {
	o.t.Helper()
	return o.run("ovs-vsctl", append([]string{"--db=unix:" + o.path("db.sock"), "--timeout=10"}, args...)...)
}

// Ofctl runs ovs-ofctl with OpenFlow 1.3 in the private run directory and
// returns what it printed; a bridge is named as usual.
func (o *OVS) Ofctl(args ...string) string {
	o.t.Helper()
	return o.run("ovs-ofctl", append([]string{"-O", "OpenFlow13", "--timeout=10"}, args...)...)
}

// Appctl runs ovs-appctl on the private ovs-vswitchd, for example with
// "ofproto/trace", bridge, flow.
func (o *OVS) Appctl(args ...string) string {
	o.t.Helper()
	return o.run("ovs-appctl", append([]string{"--target=" + o.path("vswitchd.ctl"), "--timeout=10"}, args...)...)
}

func (o *OVS) path(name string) string { return filepath.Join(o.RunDir, name) }

func (o *OVS) environ() []string {
	return append(os.Environ(), "OVS_RUNDIR="+o.RunDir, "OVS_LOGDIR="+o.RunDir, "OVS_DBDIR="+o.RunDir)
}

func (o *OVS) run(name string, args ...string) string {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = o.environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("run %s %s: %v: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// daemon starts a child in the foreground of its own process group and ends
// it by its id in t.Cleanup.
func (o *OVS) daemon(name string, args ...string) *exec.Cmd {
	o.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = o.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		o.t.Fatalf("start %s: %v", name, err)
	}
	o.t.Cleanup(func() {
		if cmd.ProcessState != nil {
			return // KillSwitch was here
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { defer close(done); _ = cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-done
			o.t.Errorf("%s ignored SIGTERM for %v", name, patience)
		}
	})
	return cmd
}

// await polls for a socket, as the daemons announce themselves by it.
func (o *OVS) await(socket string) {
	o.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		// The file is there a moment before the daemon listens.
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(o.path("vswitchd.log"))
			o.t.Fatalf("wait for %s: not there after %v; log of ovs-vswitchd:\n%s", socket, patience, log)
		}
		<-tick.C
	}
}
