//go:build integration

package consul_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
	"meshlab.dev/meshlab/topo"
)

// TestLifeOfAService follows one service from its registration on one host to
// its death, as seen from another host.
func TestLifeOfAService(t *testing.T) {
	start := time.Now()
	nodes := consultest.Cluster(t, "h1", "h2", "h3")
	t.Logf("a server and two agents were ready after %v", time.Since(start))

	lab := &topo.Lab{
		Name: "life",
		Mesh: topo.Mesh{Server: "h1"},
		Services: []topo.Service{{
			Name: "web1", Service: "web", Node: "h2", Port: 9090,
			Upstreams:   []topo.Upstream{{Service: "db", BindPort: 9191}},
			Healthcheck: topo.Healthcheck{HTTP: "/health", Interval: time.Second},
		}},
		Client: &topo.Client{Node: "h3", Upstreams: []topo.Upstream{{Service: "web", BindPort: 9192}}},
	}
	for i, n := range nodes {
		lab.Nodes = append(lab.Nodes, topo.Node{Name: []string{"h1", "h2", "h3"}[i], Kind: topo.KindHost, IPv4: netip.PrefixFrom(n.Address, 8)})
	}
	regs, err := consul.Registrations(lab, "ovs")
	if err != nil {
		t.Fatal(err)
	}
	register(t, nodes[1].Client, regs["h2"])
	register(t, nodes[2].Client, regs["h3"])

	// Nothing listens yet: the wait must end with the reason.
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	err = consul.WaitHealthy(ctx, nodes[2].Client, regs["h2"])
	cancel()
	var unhealthy *consul.UnhealthyError
	if !errors.As(err, &unhealthy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("WaitHealthy without a service: %v, want an UnhealthyError for the deadline", err)
	}
	if got := unhealthy.Failing[0]; got.Instance != "web1" || got.Node != "h2" || !strings.Contains(got.Reason, "connection refused") {
		t.Errorf("first failure is %+v, want web1 on h2 that refuses connections", got)
	}

	web := serve(t, netip.AddrPortFrom(nodes[1].Address, 9090))
	waitHealthy(t, nodes[2].Client, append(regs["h2"], regs["h3"]...))

	entries, _, err := nodes[2].Client.Health().Service("web-sidecar-proxy", "", true, nil)
	if err != nil || len(entries) != 1 {
		t.Fatalf("healthy sidecar registrations of web: %d, %v; want 1", len(entries), err)
	}
	up := entries[0].Service.Proxy.Upstreams
	if len(up) != 1 || up[0].DestinationName != "db" || up[0].LocalBindPort != 9191 {
		t.Errorf("upstreams of web in the catalog: %+v, want db at 9191", up)
	}

	// Its death is seen too, so being healthy is not for ever.
	if err := web.Close(); err != nil {
		t.Fatal(err)
	}
	poll(t, "web has no healthy instance", func() bool {
		entries, _, err := nodes[2].Client.Health().Service("web", "", true, nil)
		return err == nil && len(entries) == 0
	})
}

// TestAnnounceIsInTheCatalogAtOnce asks once, without waiting: agents that have
// just found their server tell it of their services up to 3 s later.
func TestAnnounceIsInTheCatalogAtOnce(t *testing.T) {
	nodes := consultest.Cluster(t, "h1", "h2", "h3", "h4")
	lab := &topo.Lab{Name: "announce", Mesh: topo.Mesh{Server: "h1"}}
	for i, n := range nodes {
		name := fmt.Sprintf("h%d", i+1)
		lab.Nodes = append(lab.Nodes, topo.Node{Name: name, Kind: topo.KindHost, IPv4: netip.PrefixFrom(n.Address, 8)})
		lab.Services = append(lab.Services, topo.Service{
			Name: "web@" + name, Service: "web", Node: name, Port: 9090, Meta: map[string]string{"version": "v1"},
			Upstreams:   []topo.Upstream{{Service: "db", BindPort: 9191}},
			Healthcheck: topo.Healthcheck{None: true},
		})
	}
	regs, err := consul.Registrations(lab, "ovs")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), consultest.Timeout)
	defer cancel()
	var g errgroup.Group
	for i, n := range nodes {
		name := lab.Nodes[i].Name
		g.Go(func() error {
			if err := consul.Register(ctx, n.Client, regs[name]); err != nil {
				return err
			}
			return consul.Announce(ctx, n.Client, name)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"web", "web-sidecar-proxy"} {
		entries, _, err := nodes[0].Client.Health().Service(service, "", true, nil)
		if err != nil || len(entries) != len(nodes) {
			t.Fatalf("%d healthy instances of %s, want %d (%v)", len(entries), service, len(nodes), err)
		}
		for _, e := range entries {
			if e.Node.Address != lab.Nodes[slices.IndexFunc(lab.Nodes, func(n topo.Node) bool { return n.Name == e.Node.Node })].IPv4.Addr().String() {
				t.Errorf("%s: node %s has the address %s", e.Service.ID, e.Node.Node, e.Node.Address)
			}
			if service == "web" && (e.Service.Meta["version"] != "v1" || !slices.Equal(e.Service.Tags, []string{consul.AppTag}) || e.Service.Port != 9090) {
				t.Errorf("in the catalog: %+v", e.Service)
			}
			if service != "web" && (e.Service.Proxy == nil || len(e.Service.Proxy.Upstreams) != 1 || e.Service.Kind != api.ServiceKindConnectProxy || len(e.Checks) != 2) {
				t.Errorf("in the catalog: %+v with %d checks, want a proxy with an upstream, and two checks", e.Service, len(e.Checks))
			}
		}
	}
}

// TestCrashedAgentsComeBack kills the server, then a client agent, and starts
// each again as it was planned: the services must be healthy without anybody
// registering them again.
func TestCrashedAgentsComeBack(t *testing.T) {
	nodes := consultest.Cluster(t, "h1", "h2")
	lab := &topo.Lab{
		Name: "crash",
		Mesh: topo.Mesh{Server: "h1"},
		Nodes: []topo.Node{
			{Name: "h1", Kind: topo.KindHost, IPv4: netip.PrefixFrom(nodes[0].Address, 8)},
			{Name: "h2", Kind: topo.KindHost, IPv4: netip.PrefixFrom(nodes[1].Address, 8)},
		},
		Services: []topo.Service{{Name: "web", Service: "web", Node: "h2", Port: 9090, Healthcheck: topo.Healthcheck{TCP: true}}},
	}
	regs, err := consul.Registrations(lab, "direct")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, netip.AddrPortFrom(nodes[1].Address, 9090))
	register(t, nodes[1].Client, regs["h2"])
	waitHealthy(t, nodes[0].Client, regs["h2"])

	for i, n := range nodes {
		n.Kill()
		start := time.Now()
		consultest.Start(t, n.Spec, n.Files)
		ctx, cancel := context.WithTimeout(t.Context(), consultest.Timeout)
		if err := consul.WaitReady(ctx, n.Client); err != nil {
			t.Fatalf("%s after a crash: %v", n.Spec.Name, err)
		}
		cancel()
		waitHealthy(t, nodes[1-i].Client, regs["h2"])
		t.Logf("%s was back after %v", n.Spec.Name, time.Since(start))
	}
}

// BenchmarkColdStart measures a server and five agents until a service that
// is registered on one is visible on another.
func BenchmarkColdStart(b *testing.B) {
	for b.Loop() {
		nodes := consultest.Cluster(b, "h1", "h2", "h3", "h4", "h5", "h6")
		reg := &api.AgentServiceRegistration{ID: "web", Name: "web", Port: 80}
		if err := consul.Register(b.Context(), nodes[1].Client, []*api.AgentServiceRegistration{reg}); err != nil {
			b.Fatal(err)
		}
		if err := consul.WaitHealthy(b.Context(), nodes[5].Client, []*api.AgentServiceRegistration{reg}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		for _, n := range nodes {
			n.Kill()
		}
		b.StartTimer()
	}
}

func TestAgentListensOnSocketAndAddress(t *testing.T) {
	nodes := consultest.Cluster(t, "h1")
	c, err := api.NewClient(&api.Config{Address: netip.AddrPortFrom(nodes[0].Address, consul.HTTPPort).String()})
	if err != nil {
		t.Fatal(err)
	}
	if leader, err := c.Status().Leader(); err != nil || leader == "" {
		t.Errorf("leader over TCP: %q, %v", leader, err)
	}
	conn, err := net.Dial("tcp", netip.AddrPortFrom(nodes[0].Address, consul.GRPCPort).String())
	if err != nil {
		t.Fatalf("gRPC port for Envoy: %v", err)
	}
	_ = conn.Close()
}

func TestWaitReadyWithoutAgent(t *testing.T) {
	c, err := consul.Client(filepath.Join(t.TempDir(), "none.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = consul.WaitReady(ctx, c)
	if !errors.Is(err, consul.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "none.sock") {
		t.Errorf("got %v, want ErrNotReady that names the socket", err)
	}
}

// TestFindBuilds builds Consul into an empty cache, from two callers at once.
// It is quick when Go's build cache already holds the packages.
func TestFindBuilds(t *testing.T) {
	goTool, err := consul.GoTool()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(goTool)+":/usr/bin:/bin")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".build-old"), 0o755); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	built := 0
	found := make([]consul.Binary, 2)
	var group sync.WaitGroup
	for i := range found {
		group.Go(func() {
			bin, err := consul.Find(t.Context(), consul.Options{CacheDir: dir, Progress: func(e consul.Event) {
				if e.Stage == consul.StageDone {
					mu.Lock()
					built++
					mu.Unlock()
				}
			}})
			if err != nil {
				t.Error(err)
			}
			found[i] = bin
		})
	}
	group.Wait()
	want := consul.Binary{Path: filepath.Join(dir, "consul-"+consul.Version), Version: consul.Version}
	if found[0] != want || found[1] != want {
		t.Errorf("found %v, want %v twice", found, want)
	}
	if built != 1 {
		t.Errorf("built %d times, want once", built)
	}
	if names := list(t, dir); len(names) != 1 {
		t.Errorf("the cache holds %v, want the program only", names)
	}
}

func TestFindCancelled(t *testing.T) {
	goTool, err := consul.GoTool()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(goTool)+":/usr/bin:/bin")
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = consul.Find(ctx, consul.Options{CacheDir: dir, Progress: func(e consul.Event) {
		if e.Stage == consul.StageCompile {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancelled build", err)
	}
	if names := list(t, dir); len(names) != 0 {
		t.Errorf("the cache holds %v after a cancelled build, want nothing", names)
	}
}

func register(t *testing.T, c *api.Client, regs []*api.AgentServiceRegistration) {
	t.Helper()
	if err := consul.Register(t.Context(), c, regs); err != nil {
		t.Fatal(err)
	}
}

func waitHealthy(t *testing.T, c *api.Client, regs []*api.AgentServiceRegistration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), consultest.Timeout)
	defer cancel()
	if err := consul.WaitHealthy(ctx, c, regs); err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, at netip.AddrPort) *http.Server {
	t.Helper()
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = s.Serve(l) }() // ends with ErrServerClosed
	t.Cleanup(func() { _ = s.Close() })
	return s
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

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
