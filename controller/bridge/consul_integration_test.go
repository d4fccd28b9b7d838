//go:build integration

package bridge_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/consul"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
)

// agent runs a Consul of its own in the namespace of h1, where its health
// checks go through the switch. Its API is the unix socket.
func (l *lab) agent() (client *api.Client, socket string) {
	l.t.Helper()
	program := consultest.Program(l.t)
	dir, err := os.MkdirTemp("", "agent") // not t.TempDir: a socket's path has at most 107 bytes (unix(7))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	cmd := exec.Command("ip", "netns", "exec", l.ovs.NetNS+"h1", program.Path, "agent", "-dev", "-node=h1", "-bind=192.168.1.11",
		"-hcl", fmt.Sprintf("addresses { http = %q }", "unix://"+socket), "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1", "-log-level=error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		l.t.Fatalf("start consul: %v", err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill() // dev mode keeps nothing
		_ = cmd.Wait()
	})
	client, err = api.NewClient(&api.Config{Address: "unix://" + socket})
	if err != nil {
		l.t.Fatal(err)
	}
	l.until("consul to elect itself", func() bool {
		services, _, err := client.Catalog().Services(nil)
		return err == nil && services["consul"] != nil
	})
	return client, socket
}

// upstream registers that web on h1 calls api at bind port 9000, and waits
// until the switch knows it.
func (l *lab) upstream(client *api.Client) {
	l.t.Helper()
	if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: "web", Port: 8000,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Port:  8001,
			Proxy: &api.AgentServiceConnectProxyConfig{Upstreams: []api.Upstream{{DestinationName: "api", LocalBindPort: 9000}}},
			Check: &api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing},
		}},
	}); err != nil {
		l.t.Fatal(err)
	}
	l.until("the upstream in the switch", func() bool {
		snap, err := l.client.Snapshot(l.t.Context())
		return err == nil && len(snap.Upstreams) == 1
	})
}

// until polls for a condition.
func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.After(2 * patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			l.t.Fatalf("waited %v for %s", 2*patience, what)
		case <-tick.C:
		}
	}
}

// register registers an instance of api on h2 whose health is that of a
// listener at another port, and returns the function that opens that
// listener, and the one that closes it.
func (l *lab) register(client *api.Client, i mesh.Instance, healthPort uint16) (open, shut func()) {
	l.t.Helper()
	if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: i.ID, Name: "api", Address: i.Addr.Addr().String(), Port: int(i.Addr.Port()),
		Check: &api.AgentServiceCheck{TCP: fmt.Sprintf("%v:%d", i.Addr.Addr(), healthPort), Interval: "100ms", Timeout: "1s"},
	}); err != nil {
		l.t.Fatal(err)
	}
	var ln net.Listener
	open = func() {
		l.t.Helper()
		if err := l.ovs.In("h2", func() (err error) {
			ln, err = net.Listen("tcp4", fmt.Sprintf(":%d", healthPort))
			return err
		}); err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { ln.Close() })
	}
	return open, func() { ln.Close() }
}

// healthy waits until the switch follows a state of the registry in which
// exactly n instances of api are healthy.
func (l *lab) healthy(n int) {
	l.t.Helper()
	l.until(fmt.Sprintf("%d healthy instances in the switch", n), func() bool {
		snap, err := l.client.Snapshot(l.t.Context())
		if err != nil {
			return false
		}
		got := 0
		for _, s := range snap.Services {
			for _, i := range s.Instances {
				if s.Name == "api" && i.Healthy {
					got++
				}
			}
		}
		h, err := l.client.Health(l.t.Context())
		return err == nil && h.OK && got == n
	})
}

// TestHealthInConsulSteersTheSwitch joins the real parts: health checks of a
// Consul, the loop, and Open vSwitch.
func TestHealthInConsulSteersTheSwitch(t *testing.T) {
	l := newLab(t)
	var client *api.Client
	ready := make(chan struct{})
	l.control(func(ctx context.Context, emit func(mesh.Snapshot)) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ready:
			return consul.Watch(ctx, consul.Config{Client: client}, emit)
		}
	})
	client, _ = l.agent()
	close(ready)
	const vip = "192.168.1.250:9000"
	l.upstream(client)
	a, b := l.echo(80), l.echo(81)
	openA, shutA := l.register(client, a, 8080)
	l.refused(vip, "an instance that no check has passed")
	openA()
	l.healthy(1)
	running := l.connected(vip)
	defer running.Close()
	goesOn := func(when string) {
		t.Helper()
		if got, err := exchange(running); err != nil || got != "80 hello\n" {
			t.Fatalf("%s: the running connection gave %q, error %v", when, got, err)
		}
	}
	goesOn("while healthy")

	shutA()
	l.healthy(0)
	l.refused(vip, "the only instance is critical")
	goesOn("after its instance became critical")

	openB, _ := l.register(client, b, 8081)
	openB()
	l.healthy(1)
	second := l.connected(vip)
	defer second.Close()
	for range 20 {
		conn, err := l.dial(vip)
		if err != nil {
			t.Fatalf("dial while one of two instances is critical: %v", err)
		}
		if got, err := exchange(conn); err != nil || got != "81 hello\n" {
			t.Errorf("a new connection gave %q, error %v; want the healthy instance", got, err)
		}
		conn.Close()
	}
	goesOn("beside a healthy instance")

	openA()
	l.healthy(2)
	var last string
	l.until("new connections to the instance that recovered", func() bool {
		conn, err := l.dial(vip)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		last, err = exchange(conn)
		if err != nil {
			t.Fatal(err)
		}
		return last == "80 hello\n"
	})

	if err := client.Agent().ServiceDeregister(a.ID); err != nil {
		t.Fatal(err)
	}
	l.healthy(1)
	goesOn("after its instance was deregistered")
	l.health("the switch in sync", func(h controller.Health) bool { return h.OK })
}
