//go:build integration

package kubetest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
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

	"meshlab.dev/meshlab/controller/kube/kubetest"
)

// agentUser is what the API server calls agents that have the rights of the manifests.
const agentUser = "system:serviceaccount:kube-system:meshlab-agent"

// meshlab is the program that was built for these tests. It goes with the
// namespaces that the tests run in.
var meshlab = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), "meshlab")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "meshlab.dev/meshlab/cmd/meshlab").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build meshlab: %w: %s", err, out)
	}
	return path, nil
})

// quicker has agents notice earlier that an API server hangs: by default a
// connection is pinged after 30 s of silence, and given up 15 s later
// (k8s.io/apimachinery, pkg/util/net, SetTransportDefaults).
var quicker = []string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS=10", "HTTP2_PING_TIMEOUT_SECONDS=10"}

// agent is `meshlab agent` for one node.
type agent struct {
	t          testing.TB
	args       []string
	kubeconfig string
	web        string // where it tells how it is
	cmd        *exec.Cmd
	out        *logbook
}

// logbook keeps the lines that an agent prints, with the time at which they
// came.
type logbook struct {
	mu    sync.Mutex
	rest  []byte
	lines []logLine
}

type logLine struct {
	at   time.Time
	text string
}

func (l *logbook) Write(text []byte) (int, error) {
	at := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, text...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(text), nil
		}
		l.lines = append(l.lines, logLine{at, string(line)})
		l.rest = rest
	}
}

// since are the lines after the first so many.
func (l *logbook) since(n int) []logLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[n:len(l.lines):len(l.lines)]
}

func (l *logbook) String() string {
	var all strings.Builder
	for _, line := range l.since(0) {
		fmt.Fprintln(&all, line.text)
	}
	return all.String()
}

// startAgent starts the agent of a node, with more arguments, and waits until
// it is well.
func startAgent(t testing.TB, c *kubetest.Cluster, n *kubetest.Node, more ...string) *agent {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, web: ln.Addr().String(), kubeconfig: kubetest.Kubeconfig(t, c.ServiceAccount("kube-system", "meshlab-agent"))}
	ln.Close()
	a.args = append([]string{"agent", "--kubeconfig", a.kubeconfig,
		"--node", n.Name, "--bridge", kubetest.Bridge, "--ovsdb", "unix:" + n.DatabaseSocket(),
		"--vip", kubetest.VirtualIP, "--network", kubetest.HashiCupsNetwork, "--metrics", a.web}, more...)
	a.run()
	t.Cleanup(func() {
		a.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the agent of %s printed:\n%s", n.Name, a.out)
		}
	})
	a.healthy()
	return a
}

func (a *agent) run() {
	a.t.Helper()
	path, err := meshlab()
	if err != nil {
		a.t.Fatal(err)
	}
	a.out = &logbook{}
	a.cmd = exec.Command(path, a.args...)
	a.cmd.Env = append(os.Environ(), quicker...)
	a.cmd.Stdout, a.cmd.Stderr = a.out, a.out
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
}

// end ends the agent by a signal and waits.
func (a *agent) end(signal os.Signal) {
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Signal(signal)
		_ = a.cmd.Wait() // its output tells
	}
}

// health is what the agent answers at /healthz.
func (a *agent) health() (status int, text string, err error) {
	response, err := http.Get("http://" + a.web + "/healthz")
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	return response.StatusCode, string(all), err
}

func (a *agent) healthy() {
	a.t.Helper()
	kubetest.Eventually(a.t, "the agent to be well", func(context.Context) error {
		status, text, err := a.health()
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, text)
		}
		return err
	})
}

// says waits until the agent has printed a line with all of these words, and
// returns it.
func (a *agent) says(words ...string) (found string) {
	a.t.Helper()
	kubetest.Eventually(a.t, fmt.Sprintf("the agent to say %q", words), func(context.Context) error {
		for _, line := range a.out.since(0) {
			all := true
			for _, word := range words {
				all = all && strings.Contains(line.text, word)
			}
			if all {
				found = line.text
				return nil
			}
		}
		return fmt.Errorf("it has said %d lines", len(a.out.since(0)))
	})
	return found
}
