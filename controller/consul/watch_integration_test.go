//go:build integration

package consul_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/consul"
	"meshlab.dev/meshlab/controller/mesh"
)

const patience = 20 * time.Second

// program is consul of the PATH, or the one that meshlab built and keeps.
func program(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("consul"); err == nil {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "meshlab", "consul-*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no consul on the PATH or in %s/meshlab: install it, or let meshlab build it", cache)
	}
	return found[len(found)-1]
}

// agent is a Consul on free loopback ports: one in dev mode, unless its
// arguments say otherwise.
type agent struct {
	t     *testing.T
	ports []int
	args  []string
	*api.Client
	cmd *exec.Cmd
}

func newAgent(t *testing.T, args ...string) *agent {
	t.Helper()
	if args == nil {
		args = []string{"-dev"}
	}
	a := &agent{t: t, args: args}
	var held []net.Listener
	for range 4 {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, ln)
		a.ports = append(a.ports, ln.Addr().(*net.TCPAddr).Port)
	}
	for _, ln := range held {
		ln.Close()
	}
	a.Client = a.as(rootToken)
	a.start()
	t.Cleanup(a.stop)
	return a
}

// rootToken may do all, where there are ACLs.
const rootToken = "00000000-1111-2222-3333-444444444444"

// as returns a client with a token.
func (a *agent) as(token string) *api.Client {
	a.t.Helper()
	client, err := api.NewClient(&api.Config{Address: fmt.Sprintf("127.0.0.1:%d", a.ports[0]), Token: token})
	if err != nil {
		a.t.Fatal(err)
	}
	return client
}

func (a *agent) start() {
	a.t.Helper()
	port := func(name string, i int) string { return fmt.Sprintf("-%s-port=%d", name, a.ports[i]) }
	a.cmd = exec.Command(program(a.t), append([]string{"agent", "-node=h1", "-bind=127.0.0.1", "-log-level=error",
		port("http", 0), port("server", 1), port("serf-lan", 2), port("serf-wan", 3), "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1"}, a.args...)...)
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	poll(a.t, "consul to elect itself", func() bool {
		services, _, err := a.Catalog().Services(nil)
		return err == nil && services["consul"] != nil
	})
}

func (a *agent) stop() {
	_ = a.cmd.Process.Kill() // like a crash
	_ = a.cmd.Wait()
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		case <-tick.C:
		}
	}
}

// follower keeps what Watch emits.
type follower struct {
	t    *testing.T
	news chan mesh.Snapshot
	mu   sync.Mutex
	all  []mesh.Snapshot
}

func follow(t *testing.T, client *api.Client) *follower {
	t.Helper()
	return followWith(t, consul.Config{Client: client})
}

func followWith(t *testing.T, cfg consul.Config) *follower {
	t.Helper()
	cfg.MaxRetry = 200 * time.Millisecond
	f := &follower{t: t, news: make(chan mesh.Snapshot, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- consul.Watch(ctx, cfg, func(s mesh.Snapshot) {
			f.mu.Lock()
			f.all = append(f.all, s)
			f.mu.Unlock()
			f.news <- s
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	})
	return f
}

// until waits for a snapshot that is as wanted.
func (f *follower) until(what string, ok func(mesh.Snapshot) bool) mesh.Snapshot {
	f.t.Helper()
	deadline := time.After(patience)
	var last mesh.Snapshot
	for {
		select {
		case last = <-f.news:
			if ok(last) {
				return last
			}
		case <-deadline:
			text, err := json.MarshalIndent(last, "", " ")
			f.t.Fatalf("waited %v for %s; the last snapshot was %s %v", patience, what, text, err)
		}
	}
}

func instances(s mesh.Snapshot, service string) []mesh.Instance {
	for _, x := range s.Services {
		if x.Name == service {
			return x.Instances
		}
	}
	return nil
}

func healthy(service string, want ...bool) func(mesh.Snapshot) bool {
	return func(s mesh.Snapshot) bool {
		var got []bool
		for _, i := range instances(s, service) {
			got = append(got, i.Healthy)
		}
		return slices.Equal(got, want)
	}
}

func (a *agent) register(name string, port int, upstreams ...api.Upstream) {
	a.t.Helper()
	r := &api.AgentServiceRegistration{Name: name, Port: port, Check: &api.AgentServiceCheck{CheckID: name, TTL: "1h", Status: api.HealthPassing}}
	if upstreams != nil {
		r.Connect = &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{Port: port + 1000,
			Proxy: &api.AgentServiceConnectProxyConfig{Upstreams: upstreams}}}
	}
	if err := a.Agent().ServiceRegister(r); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) ttl(check, status string) {
	a.t.Helper()
	if err := a.Agent().UpdateTTL(check, "", status); err != nil {
		a.t.Fatal(err)
	}
}

func TestSnapshotsFollowConsul(t *testing.T) {
	a := newAgent(t)
	a.register("api", 8080)
	a.register("db", 5432)
	f := follow(t, a.Client)
	first := <-f.news
	if len(first.Services) != 2 || !healthy("api", true)(first) || !healthy("db", true)(first) {
		t.Fatalf("the first snapshot is not complete: %+v", first)
	}
	a.register("web", 80, api.Upstream{DestinationName: "api", LocalBindPort: 9000})
	got := f.until("the upstream of web", func(s mesh.Snapshot) bool { return len(s.Upstreams) == 1 && healthy("web", true)(s) })
	want := mesh.Upstream{Client: netip.MustParseAddr("127.0.0.1"), Source: "web", Destination: "api", BindPort: 9000}
	if got.Upstreams[0] != want {
		t.Errorf("upstream %+v, want %+v", got.Upstreams[0], want)
	}
	for _, s := range got.Services {
		if s.Name == "consul" || s.Name == "web-sidecar-proxy" {
			t.Errorf("%s is in the snapshot as a service", s.Name)
		}
	}
	if i := instances(got, "api"); len(i) != 1 || i[0].Addr.String() != "127.0.0.1:8080" || i[0].Node != "h1" {
		t.Errorf("instances of api: %+v", i)
	}

	var took []time.Duration
	for range 10 {
		for _, status := range []string{api.HealthCritical, api.HealthPassing} {
			start := time.Now()
			a.ttl("api", status)
			f.until("api "+status, healthy("api", status == api.HealthPassing))
			took = append(took, time.Since(start))
		}
	}
	slices.Sort(took)
	t.Logf("from a changed check to the snapshot: median %v, longest %v", took[len(took)/2], took[len(took)-1])
	if median := took[len(took)/2]; median > 500*time.Millisecond {
		t.Errorf("a changed check took %v at the median", median)
	}

	if err := a.Agent().ServiceDeregister("api"); err != nil {
		t.Fatal(err)
	}
	f.until("api to go", healthy("api"))
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 1; i < len(f.all); i++ {
		if reflect.DeepEqual(f.all[i], f.all[i-1]) {
			t.Errorf("snapshot %d is the one before it: %+v", i, f.all[i])
		}
	}
}

// Consul answers a question for a service with all whose names differ from its
// in case only, and lists each of them.
func TestNamesThatDifferInCase(t *testing.T) {
	a := newAgent(t)
	for name, port := range map[string]int{"Redis": 6379, "redis": 6380} {
		// IDs that differ in case only are one to Consul.
		if err := a.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: name, ID: strconv.Itoa(port), Port: port}); err != nil {
			t.Fatal(err)
		}
	}
	f := follow(t, a.Client)
	got := f.until("both", func(s mesh.Snapshot) bool { return len(s.Services) == 2 })
	for name, want := range map[string]string{"Redis": "127.0.0.1:6379", "redis": "127.0.0.1:6380"} {
		if i := instances(got, name); len(i) != 1 || i[0].Addr.String() != want {
			t.Errorf("instances of %s: %+v, want one at %s", name, i, want)
		}
	}
}

// TestConsulLost restarts a Consul that forgets all: the state stands while
// it is away, and follows it again though its index has gone backwards.
func TestConsulLost(t *testing.T) {
	a := newAgent(t)
	for i := range 20 {
		a.register("api", 8080+i) // drives the index up
	}
	a.register("other", 1)
	f := follow(t, a.Client)
	f.until("both services", func(s mesh.Snapshot) bool { return len(s.Services) == 2 })
	a.stop()
	a.start()
	a.register("api", 7070)
	f.until("the new registration", func(s mesh.Snapshot) bool {
		if len(s.Services) == 0 {
			return false
		}
		i := instances(s, "api")
		return len(s.Services) == 1 && len(i) == 1 && i[0].Addr.Port() == 7070
	})
	a.ttl("api", api.HealthCritical)
	f.until("its health", healthy("api", false))
}
