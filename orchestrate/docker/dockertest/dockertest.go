// Package dockertest gives tests a Docker engine. They use the one that
// MESHLAB_DOCKER_SOCKET names, or the one that this machine runs, and where
// there is none they run one of their own: with its own folders and socket,
// without networks, in PID and mount namespaces of its own, so that its
// containers and mounts end with it whatever happens.
package dockertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/docker"
)

// Timeout bounds each wait of a test; a busy machine needs some of it.
const Timeout = 2 * time.Minute

// SocketVariable names the environment variable with the path of the socket of
// the engine to use.
const SocketVariable = "MESHLAB_DOCKER_SOCKET"

// shared is the engine of this test program.
var shared struct {
	sync.Mutex
	daemon *daemon
	socket string
	err    error
}

// Main runs the tests, ends the engine that they have used if it is their own,
// and returns the exit code: func TestMain(m *testing.M) {
// os.Exit(dockertest.Main(m)) }.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.daemon == nil {
		return code
	}
	if err := shared.daemon.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "end the tests' Docker engine:", err)
		return max(code, 1)
	}
	return code
}

// Socket returns the path of the socket of an engine that this program's tests
// share. Their TestMain must call Main.
func Socket(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.socket == "" && shared.err == nil {
		shared.socket, shared.daemon, shared.err = find(t.Context())
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.socket
}

// Engine returns a connection to the engine of Socket, closed when the test
// ends.
func Engine(t testing.TB) *docker.Engine {
	t.Helper()
	return open(t, Socket(t))
}

// Own starts an engine for this test alone. The returned function ends it
// before the test does: it kills, and waits until all that it ran is gone.
func Own(t testing.TB) (e *docker.Engine, kill func()) {
	t.Helper()
	s := NewServer(t)
	return s.Engine(t), s.stop
}

// Server is an engine that one test has for itself.
type Server struct {
	daemon *daemon
	stop   func()
}

// NewServer starts an engine, which ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	d, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{daemon: d}
	s.stop = sync.OnceFunc(func() {
		if err := d.stop(); err != nil {
			t.Errorf("end the test's Docker engine: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// Engine returns a connection to the engine, closed when the test ends.
func (s *Server) Engine(t testing.TB) *docker.Engine {
	t.Helper()
	return open(t, s.daemon.socket)
}

// Socket is the path of the engine's socket.
func (s *Server) Socket() string { return s.daemon.socket }

// Crash kills the engine and all that it runs at once, and starts it again on
// what that left.
func (s *Server) Crash(t testing.TB) {
	t.Helper()
	s.daemon.kill()
	if err := s.daemon.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Mounts lists what the engine has mounted for containers, a line of
// /proc/PID/mounts each.
func (s *Server) Mounts(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", s.daemon.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], s.daemon.dir) &&
			!strings.HasPrefix(fields[1], filepath.Join(s.daemon.dir, "run")) { // the machine's /run
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// Cgroups lists the cgroups of containers.
func (s *Server) Cgroups(t testing.TB) []string {
	t.Helper()
	roots, err := s.daemon.cgroups()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, root := range roots {
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				all = append(all, filepath.Join(root, e.Name()))
			}
		}
	}
	return all
}

func open(t testing.TB, socket string) *docker.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	e, err := docker.Open(ctx, docker.Config{Socket: socket, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// find returns the socket of an engine that runs, or starts one.
func find(ctx context.Context) (string, *daemon, error) {
	if socket := os.Getenv(SocketVariable); socket != "" {
		return socket, nil, nil
	}
	if e, err := docker.Open(ctx, docker.Config{}); err == nil {
		defer e.Close()
		return e.Socket(), nil, nil
	}
	d, err := start(ctx)
	if err != nil {
		return "", nil, err
	}
	return d.socket, d, nil
}

// daemon is an engine of the tests' own.
type daemon struct {
	dir    string
	socket string
	cgroup string   // name of the cgroups that its containers are in
	args   []string // of unshare(1), with the engine's
	log    bytes.Buffer
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
}

// hideFolders gives the engine a /run and an /etc/docker of its own, so that it
// leaves nothing there and meets no other engine's parts; the state of labs
// stays where it was. $0 is the engine's folder, $@ the command. The shell stays
// as the first process, and collects orphans as that of a machine does: those
// of shims that were killed, which the engine would not.
const hideFolders = `
mkdir -p "$0/run"
mount --rbind /run "$0/run"
mount -t tmpfs none /run
ln -s "$0/run/meshlab" /run/meshlab
if [ -d /etc/docker ]; then mount -t tmpfs none /etc/docker; fi
"$@" & wait $!`

// start starts an engine and waits until it answers.
func start(ctx context.Context) (*daemon, error) {
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		dockerd = "/usr/sbin/dockerd" // not on everybody's PATH
	}
	if _, err := os.Stat(dockerd); err != nil {
		return nil, errors.New("no dockerd: .ci/testdeps installs it")
	}
	// A path of a socket has at most 107 bytes (unix(7)).
	dir, err := os.MkdirTemp("", "dockertest")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, socket: filepath.Join(dir, "docker.sock"), cgroup: filepath.Base(dir)}
	driver, err := storageDriver(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	settings := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(settings, []byte("{}"), 0o600); err != nil { // the machine's settings are not for this one
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	d.args = []string{"--mount", "--pid", "--fork", "--mount-proc", "--propagation", "slave", "--kill-child", "--",
		"sh", "-ec", hideFolders, dir,
		dockerd, "--config-file", settings, "--host", "unix://" + d.socket,
		"--data-root", filepath.Join(dir, "data"), "--exec-root", d.execRoot(), "--pidfile", d.pidFile(),
		"--storage-driver", driver, "--cgroup-parent", "/" + d.cgroup,
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"}
	if err := d.run(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

func (d *daemon) pidFile() string  { return filepath.Join(d.dir, "pid") }
func (d *daemon) execRoot() string { return filepath.Join(d.dir, "exec") }

// run runs the engine and waits until it answers.
func (d *daemon) run(ctx context.Context) error {
	for end := time.Now().Add(Timeout); ; {
		err := d.runOnce(ctx)
		// It gives its containerd 15 seconds, which a busy machine may not have.
		if err == nil || !strings.Contains(err.Error(), "timeout waiting for containerd") || time.Now().After(end) {
			return err
		}
		d.kill()
	}
}

func (d *daemon) runOnce(ctx context.Context) error {
	// The numbers of processes that were killed with a PID namespace are those
	// of others in the next one.
	if err := errors.Join(os.RemoveAll(d.pidFile()), os.RemoveAll(filepath.Join(d.execRoot(), "containerd", "containerd.pid"))); err != nil {
		return err
	}
	d.log.Reset()
	d.cmd, d.done = exec.Command("unshare", d.args...), make(chan struct{})
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends that started it (prctl(2)).
		runtime.LockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			_ = d.cmd.Wait() // how it ended is in its log
		}
		close(d.done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	return d.await(ctx)
}

// await waits until the engine answers.
func (d *daemon) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	for {
		e, err := docker.Open(ctx, docker.Config{Socket: d.socket})
		if err == nil {
			return e.Close()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-d.done:
			return fmt.Errorf("dockerd ended; it printed:\n%s", d.log.String())
		case <-ctx.Done():
			d.kill() // it writes to the log no more
			return fmt.Errorf("dockerd does not answer: %w; it printed:\n%s", err, d.log.String())
		}
	}
}

// kill ends the engine and all that it runs; they are in namespaces that end
// with it.
func (d *daemon) kill() {
	if d.cmd.Process == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	<-d.done
}

// stop ends the engine and removes what it has made.
func (d *daemon) stop() error {
	d.kill()
	return errors.Join(d.removeCgroups(), os.RemoveAll(d.dir))
}

// storageDriver chooses the driver for a data folder: overlay2 needs a file
// system other than the one it makes itself.
func storageDriver(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("look at %s: %w", dir, err)
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "vfs", nil
	}
	return "overlay2", nil
}
