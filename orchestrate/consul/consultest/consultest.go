// Package consultest runs real Consul agents for tests, all in one network
// namespace: each has an address of its own in 127.0.0.0/8. It is for tests
// of packages below orchestrate; a lab's agents are run by package process.
package consultest

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/process"
)

// Timeout bounds each wait of a test; a busy machine needs some of it.
const Timeout = 60 * time.Second

// Address returns the loopback address of the test's host number n, distinct
// from that of other test programs that run now.
func Address(n byte) netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(64 + pid/250%128), byte(1 + pid%250), n})
}

// Program returns the consul of this machine, built when there is none.
func Program(t testing.TB) consul.Binary {
	t.Helper()
	bin, err := consul.Find(t.Context(), consul.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Node is a running agent.
type Node struct {
	consul.Agent
	Address netip.Addr
	Client  *api.Client
	Kill    func()          // like a crash; start Agent.Spec again to mend it
	Signal  func(os.Signal) // SIGSTOP makes it hang, SIGCONT ends that
}

// Cluster starts a server called names[0] and client agents called as the
// other names, waits until all of them have joined, and stops them when the
// test ends. Host number i has Address(i+1), where its HTTP port listens too.
func Cluster(t testing.TB, names ...string) []Node {
	t.Helper()
	program := Program(t)
	dir := shortDir(t)
	nodes := make([]Node, len(names))
	for i, name := range names {
		c := consul.AgentConfig{
			Program: program.Path, Node: name, Dir: filepath.Join(dir, name),
			Address: Address(byte(i + 1)), Client: Address(byte(i + 1)),
		}
		plan := consul.ServerSpec
		if i > 0 {
			c.Join = Address(1)
			plan = consul.AgentSpec
		}
		agent, err := plan(c)
		if err != nil {
			t.Fatal(err)
		}
		client, err := consul.Client(agent.Socket)
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = Node{Agent: agent, Address: c.Address, Client: client}
		nodes[i].Signal, nodes[i].Kill = start(t, agent.Spec, agent.Files)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	for _, n := range nodes {
		if err := consul.WaitReady(ctx, n.Client); err != nil {
			t.Fatalf("%s: %v", n.Spec.Name, err)
		}
	}
	return nodes
}

// Start writes files into the process's folder, runs it until the test ends
// and logs what it printed when the test failed. The returned function ends it
// before that: it kills, like a crash, and waits.
func Start(t testing.TB, spec process.Spec, files map[string][]byte) (kill func()) {
	t.Helper()
	_, kill = start(t, spec, files)
	return kill
}

func start(t testing.TB, spec process.Spec, files map[string][]byte) (signal func(os.Signal), kill func()) {
	t.Helper()
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(spec.Dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out syncBuffer
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = spec.Env
	cmd.Dir = spec.Dir
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", spec.Name, err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says "killed"
	})
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("%s printed:\n%s", spec.Name, out.String())
		}
	})
	signal = func(s os.Signal) {
		if err := cmd.Process.Signal(s); err != nil {
			t.Errorf("send %v to %s: %v", s, spec.Name, err)
		}
	}
	return signal, kill
}

// shortDir makes a folder whose path leaves room for a socket's name, which
// that of t.TempDir may not.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "consultest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's folder: %v", err)
		}
	})
	return dir
}

// syncBuffer is a buffer that a process's output is copied into while the
// test may read it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
