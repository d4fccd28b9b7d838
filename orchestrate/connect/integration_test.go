//go:build integration

package connect_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/orchestrate/connect"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/topo"
)

// echoLab has an echo service on h2 and a client on h1 that calls it.
func echoLab(nodes []consultest.Node, servicePort, bindPort uint16) *topo.Lab {
	return &topo.Lab{
		Name: "echo",
		Mesh: topo.Mesh{Server: "h1"},
		Nodes: []topo.Node{
			{Name: "h1", Kind: topo.KindHost, IPv4: netip.PrefixFrom(nodes[0].Address, 8)},
			{Name: "h2", Kind: topo.KindHost, IPv4: netip.PrefixFrom(nodes[1].Address, 8)},
		},
		Services: []topo.Service{{Name: "echo1", Service: "echo", Node: "h2", Port: servicePort, Healthcheck: topo.Healthcheck{TCP: true}}},
		Client:   &topo.Client{Node: "h1", Upstreams: []topo.Upstream{{Service: "echo", BindPort: bindPort}}},
	}
}

// TestBuiltInProxy sends a line through both sidecars and looks at what the
// second one speaks to the network.
func TestBuiltInProxy(t *testing.T) {
	nodes := consultest.Cluster(t, "h1", "h2")
	port, asker := echoServer(t, nodes[1].Address)
	lab := echoLab(nodes, port, freePort(t))
	specs := plan(t, lab, nodes, connect.Proxy{Name: connect.BuiltIn})

	regs := register(t, lab, nodes)
	start := time.Now()
	for _, s := range specs {
		consultest.Start(t, s, nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), consultest.Timeout)
	defer cancel()
	if err := consul.WaitHealthy(ctx, nodes[0].Client, regs); err != nil {
		t.Fatal(err)
	}
	t.Logf("services and sidecars were healthy %v after the sidecars' start", time.Since(start))

	upstream := connect.Listeners(lab)["h1"][0].String()
	poll(t, "the upstream echoes", func() bool { return echo(upstream, "hello") == nil })
	t.Logf("the first echo came %v after the sidecars' start", time.Since(start))
	if err := echo(upstream, "again"); err != nil {
		t.Error(err)
	}
	if got := <-asker; !strings.HasPrefix(got, nodes[1].Address.String()) && !strings.HasPrefix(got, "127.0.0.1") {
		t.Errorf("the service was called from %s, want its own host's sidecar", got)
	}

	public := publicListener(t, lab, nodes[1].Address)
	if err := echo(public, "in the clear"); err == nil {
		t.Error("the public listener took plain text")
	}
	cert, err := handshake(public)
	if cert == nil {
		t.Fatalf("the public listener does not speak TLS: %v", err)
	}
	if alert := (*net.OpError)(nil); !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("a client without a certificate: %v, want the listener's TLS alert", err)
	}
	if len(cert.URIs) != 1 || !strings.HasSuffix(cert.URIs[0].String(), "/svc/echo") {
		t.Errorf("certificate for %v, want the SPIFFE id of echo", cert.URIs)
	}
}

// TestEnvoyBootstrap has Consul read the command line that is meant for Envoy
// and make Envoy's configuration of it. Whether Envoy then runs is not tested
// here.
func TestEnvoyBootstrap(t *testing.T) {
	nodes := consultest.Cluster(t, "h1", "h2")
	lab := echoLab(nodes, 9, freePort(t))
	register(t, lab, nodes)
	for _, s := range plan(t, lab, nodes, connect.Proxy{Name: connect.Envoy, Path: "/nowhere/envoy"}) {
		at := slices.Index(s.Args, "--")
		args := slices.Insert(slices.Clone(s.Args), at, "-bootstrap")
		cmd := exec.CommandContext(t.Context(), s.Path, args...)
		if err := os.MkdirAll(s.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		cmd.Dir, cmd.Env, cmd.Stderr = s.Dir, s.Env, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", s.Name, err, out)
		}
		var bootstrap struct {
			Node  struct{ ID, Cluster string }
			Admin struct {
				Address struct {
					SocketAddress struct {
						Port int `json:"port_value"`
					} `json:"socket_address"`
				}
			}
			DynamicResources json.RawMessage `json:"dynamic_resources"`
		}
		if err := json.Unmarshal(out, &bootstrap); err != nil {
			t.Fatalf("%s: %v in %s", s.Name, err, out)
		}
		id := strings.TrimPrefix(s.Name, "sidecar-") + "-sidecar-proxy"
		if bootstrap.Node.ID != id || bootstrap.Admin.Address.SocketAddress.Port != 19000 || len(bootstrap.DynamicResources) == 0 {
			t.Errorf("%s: bootstrap for %+v, admin %+v, want node %s and port 19000", s.Name, bootstrap.Node, bootstrap.Admin, id)
		}
	}
}

func plan(t *testing.T, lab *topo.Lab, nodes []consultest.Node, p connect.Proxy) []process.Spec {
	t.Helper()
	specs, err := connect.Sidecars(connect.Config{
		Lab: lab, Consul: consultest.Program(t), Proxy: p, Dir: t.TempDir(),
		Sockets: map[string]string{"h1": nodes[0].Socket, "h2": nodes[1].Socket},
	})
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

func register(t *testing.T, lab *topo.Lab, nodes []consultest.Node) (all []*api.AgentServiceRegistration) {
	t.Helper()
	byHost, err := consul.Registrations(lab, consul.MeshConnect)
	if err != nil {
		t.Fatal(err)
	}
	for i, host := range []string{"h1", "h2"} {
		if err := consul.Register(t.Context(), nodes[i].Client, byHost[host]); err != nil {
			t.Fatal(err)
		}
		all = append(all, byHost[host]...)
	}
	return all
}

func publicListener(t *testing.T, lab *topo.Lab, host netip.Addr) string {
	t.Helper()
	port, err := consul.SidecarPort(lab, "echo1")
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(host, port).String()
}

// echoServer answers each line with itself and tells who called first.
func echoServer(t *testing.T, at netip.Addr) (port uint16, asker <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	asked := make(chan string, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed by the cleanup
			}
			go func() {
				defer func() { _ = conn.Close() }()
				line, err := bufio.NewReader(conn).ReadString('\n')
				if err != nil {
					return // a health check, which only connects
				}
				select {
				case asked <- conn.RemoteAddr().String():
				default:
				}
				_, _ = io.WriteString(conn, line)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), asked
}

func echo(addr, text string) error {
	conn, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, text+"\n"); err != nil {
		return err
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if got != text+"\n" {
		return fmt.Errorf("got %q back for %q", got, text)
	}
	return nil
}

// handshake speaks TLS without a client certificate. It returns the server's
// certificate when there was one, and why the connection failed.
func handshake(addr string) (*x509.Certificate, error) {
	var cert *x509.Certificate
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", addr, &tls.Config{
		InsecureSkipVerify: true, // what is tested is who the server says it is
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) (err error) {
			cert, err = x509.ParseCertificate(raw[0])
			return err
		},
	})
	if err != nil {
		return cert, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return cert, err
	}
	// In TLS 1.3 the refusal comes with the first read (RFC 8446, 4.4.2.4).
	_, err = conn.Read(make([]byte, 1))
	return cert, err
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(consultest.Timeout)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("after %v still not: %s", consultest.Timeout, what)
		case <-tick.C:
		}
	}
}
