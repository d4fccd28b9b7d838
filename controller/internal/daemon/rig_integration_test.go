//go:build integration

// Package daemon_test runs `meshlab controller` as a process of its own
// against a real Open vSwitch and a real Consul, without a lab: the bridges
// are made by hand, and say by external_ids who is where.
package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
	"meshlab.dev/meshlab/orchestrate/netns"
)

const patience = 30 * time.Second

// program is the meshlab that was built for these tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "daemon")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "meshlab")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "meshlab.dev/meshlab/cmd/meshlab").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build meshlab: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// eventually polls for a condition.
func eventually(t testing.TB, what string, ok func() error) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("waited %v for %s: %v", patience, what, err)
		case <-tick.C:
		}
	}
}

func run(t testing.TB, command string) {
	t.Helper()
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("run %s: %v: %s", command, err, out)
	}
}

// machine is an Open vSwitch with hosts.
type machine struct {
	t *testing.T
	*ovstest.OVS
}

// bridge adds a bridge for the controller to find.
func (m machine) bridge(name string) {
	m.t.Helper()
	m.AddBridge(name)
	m.Vsctl("set", "Bridge", name, "external_ids:meshlab=true")
}

// host makes a namespace with a device eth0, address 10.0.0.n, and the port
// of a bridge at its other end.
func (m machine) host(bridge, name string, n byte, ids ...string) {
	m.t.Helper()
	ns := m.NetNS + name
	mac := fmt.Sprintf("02:00:00:00:00:%02x", n)
	run(m.t, "ip netns add "+ns)
	m.t.Cleanup(func() { run(m.t, "ip netns del "+ns) })
	for _, c := range []string{
		"ip -n " + m.NetNS + " link add " + name + " type veth peer name eth0 netns " + ns,
		"ip -n " + m.NetNS + " link set " + name + " up",
		"ip netns exec " + ns + " sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
		"ip -n " + ns + " link set lo up",
		"ip -n " + ns + " link set eth0 address " + mac + " up",
		fmt.Sprintf("ip -n %s addr add 10.0.0.%d/24 dev eth0", ns, n),
		"ip netns exec " + ns + " ethtool -K eth0 tx off",
	} {
		run(m.t, c)
	}
	args := []string{"add-port", bridge, name, "--", "set", "Interface", name, fmt.Sprintf("external_ids:attached-mac=%q", mac)}
	for _, id := range ids {
		args = append(args, "external_ids:"+id)
	}
	m.Vsctl(args...)
}

// in runs fn in the namespace of a host.
func (m machine) in(host string, fn func() error) error { return netns.Do(m.NetNS+host, fn) }

// echo answers each line with its own name and that line, until the test ends.
func (m machine) echo(host string, port int) {
	m.t.Helper()
	var ln net.Listener
	if err := m.in(host, func() (err error) {
		ln, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	}); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					fmt.Fprintf(conn, "%s %s", host, line)
				}
			}()
		}
	}()
}

// talk is a connection from a host.
type talk struct {
	net.Conn
	in *bufio.Reader
}

func (m machine) dial(host, to string) (*talk, error) {
	var t *talk
	err := m.in(host, func() error {
		conn, err := net.DialTimeout("tcp4", to, time.Second)
		if err == nil {
			t = &talk{conn, bufio.NewReader(conn)}
		}
		return err
	})
	return t, err
}

// ask sends a line, and gives the name of who answered.
func (t *talk) ask() (string, error) {
	if err := t.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(t, "hello"); err != nil {
		return "", err
	}
	line, err := t.in.ReadString('\n')
	name, rest, _ := strings.Cut(line, " ")
	if err == nil && rest != "hello\n" {
		err = fmt.Errorf("answer %q", line)
	}
	return name, err
}

// call opens a connection, asks once and closes it.
func (m machine) call(host, to string) (string, error) {
	t, err := m.dial(host, to)
	if err != nil {
		return "", err
	}
	defer t.Close()
	return t.ask()
}

// registry is a Consul whose catalog is written directly, as that of nodes
// without agents.
type registry struct {
	t *testing.T
	consultest.Node
}

func newRegistry(t *testing.T) registry {
	t.Helper()
	return registry{t, consultest.Cluster(t, "server")[0]}
}

func (r registry) write(c *api.CatalogRegistration) {
	r.t.Helper()
	c.SkipNodeUpdate = c.Service != nil && c.Address == ""
	if _, err := r.Client.Catalog().Register(c, nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r registry) node(name, addr string, meta map[string]string) {
	r.t.Helper()
	r.write(&api.CatalogRegistration{Node: name, Address: addr, NodeMeta: meta})
}

// service registers an instance; with upstreams also a sidecar that has them.
func (r registry) service(node, addr, name string, port int, upstreams ...api.Upstream) {
	r.t.Helper()
	r.write(&api.CatalogRegistration{Node: node, Address: addr, Service: &api.AgentService{ID: name, Service: name, Port: port}})
	if len(upstreams) > 0 {
		r.write(&api.CatalogRegistration{Node: node, Address: addr, Service: &api.AgentService{
			Kind: api.ServiceKindConnectProxy, ID: name + "-sidecar-proxy", Service: name + "-sidecar-proxy", Port: port + 1000,
			Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: name, DestinationServiceID: name, Upstreams: upstreams},
		}})
	}
}

// daemon is a running `meshlab controller`.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	client *controller.Client
	logs   *lockedBuffer
	ended  chan struct{}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a controller with a configuration file until the test ends.
// status is its status socket.
func start(t *testing.T, file, status string) *daemon {
	t.Helper()
	return startAs(t, nil, file, status)
}

// startAs is start by way of a program that executes its arguments.
func startAs(t *testing.T, by []string, file, status string, env ...string) *daemon {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, client: controller.NewClient(status), logs: &lockedBuffer{}, ended: make(chan struct{})}
	args := append(by, path, "controller", "--config", file)
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stderr = d.logs
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.cmd.Wait(); close(d.ended) }() // the state of the process tells how
	t.Cleanup(func() {
		d.client.Close()
		_ = d.cmd.Process.Kill() // it may have ended
		<-d.ended
		if t.Failed() {
			t.Logf("controller %d printed:\n%s", d.cmd.Process.Pid, d.logs)
		}
	})
	return d
}

func (d *daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
}

// stop ends it as systemd does, and holds that it ends well.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.t.Fatal("SIGTERM does not end the controller")
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("exit code %d after SIGTERM", code)
	}
}

// health waits for a state.
func (d *daemon) health(what string, ok func(controller.Health) bool) controller.Health {
	d.t.Helper()
	var h controller.Health
	eventually(d.t, what, func() error {
		select {
		case <-d.ended:
			d.t.Fatalf("the controller has ended: %v", d.cmd.ProcessState)
		default:
		}
		var err error
		h, err = d.client.Health(context.Background())
		if err == nil && !ok(h) {
			err = fmt.Errorf("health %+v", h)
		}
		return err
	})
	return h
}

// synced is a controller that has all of so many switches in sync.
func synced(switches int) func(controller.Health) bool {
	return func(h controller.Health) bool { return h.OK && len(h.Datapaths) == switches && h.Role == "active" }
}

// logged waits for a message.
func (d *daemon) logged(parts ...string) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("the log to say %q", parts), func() error {
		for line := range strings.Lines(d.logs.String()) {
			all := true
			for _, p := range parts {
				all = all && strings.Contains(line, p)
			}
			if all {
				return nil
			}
		}
		return errors.New("it does not")
	})
}

// files is a short folder for sockets, whose paths have at most 107 bytes
// (unix(7)).
func files(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// get fetches a page and decodes it when into is not nil.
func get(url string, into any) (code int, text string, err error) {
	client := http.Client{Timeout: 3 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		return 0, "", err
	}
	if into != nil {
		err = json.Unmarshal(b.Bytes(), into)
	}
	return res.StatusCode, b.String(), err
}
