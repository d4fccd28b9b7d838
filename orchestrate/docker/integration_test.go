//go:build integration

package docker_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/vishvananda/netns"

	"meshlab.dev/meshlab/orchestrate/docker"
	"meshlab.dev/meshlab/orchestrate/docker/dockertest"
)

// TestMain makes this program what a host container runs, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == docker.HostVerb {
		if err := docker.HostMain(os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 4 && os.Args[1] == labVerb {
		fmt.Fprintln(os.Stderr, runLab(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	os.Exit(dockertest.Main(m))
}

// rig is a lab's part of an engine.
type rig struct {
	*docker.Engine
	lab      docker.Lab
	listener *net.UnixListener
	socket   string
}

// newRig makes an image and the folders of a lab, and removes its containers
// when the test ends.
func newRig(t testing.TB) *rig {
	t.Helper()
	e := dockertest.Engine(t)
	ctx := deadline(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	image, err := e.EnsureImage(ctx, program, func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "labdocker")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Engine: e, socket: filepath.Join(dir, "hosts.sock")}
	r.lab = docker.Lab{Name: "test", State: dir, Image: image, Shared: docker.Mount{Source: dir, Writable: true}}
	if r.listener, err = docker.Listen(r.socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.listener.Close()
		ctx, cancel := context.WithTimeout(context.Background(), dockertest.Timeout)
		defer cancel()
		if err := e.Remove(ctx, dir); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return r
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), dockertest.Timeout)
	t.Cleanup(cancel)
	return ctx
}

// host starts a host container and takes its network namespace.
func (r *rig) host(t *testing.T, name string) (*docker.Container, *docker.Host) {
	t.Helper()
	ctx := deadline(t)
	c, err := r.StartHost(ctx, docker.HostSpec{Lab: r.lab, Name: name, Socket: r.socket})
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := docker.Accept(ctx, r.listener, []string{name})
	if err != nil {
		t.Fatalf("%v; the container printed %q", err, c.Last())
	}
	t.Cleanup(func() { _ = hosts[name].Close() })
	return c, hosts[name]
}

// run starts a process on a host.
func (r *rig) run(t *testing.T, host *docker.Container, s docker.ProcessSpec) *docker.Container {
	t.Helper()
	s.Lab, s.Host = r.lab, host
	c, err := r.StartProcess(deadline(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// output runs a shell's command on a host and returns what it printed.
func (r *rig) output(t *testing.T, host *docker.Container, name, command string) string {
	t.Helper()
	var out syncBuffer
	c := r.run(t, host, docker.ProcessSpec{Name: name, Path: "/bin/sh", Args: []string{"-c", command}, Env: []string{"PATH=/usr/sbin:/usr/bin"}, Output: &out})
	exit, err := c.Wait(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if exit.Code != 0 {
		t.Fatalf("%s: %v: %s", command, exit, exit.Last)
	}
	return out.String()
}

func TestHostAndProcesses(t *testing.T) {
	r := newRig(t)
	c, host := r.host(t, "h1")
	if c.Name() != "meshlab-test.h1" {
		t.Errorf("the host's container is called %s", c.Name())
	}
	inside := r.output(t, c, "look@h1", "readlink /proc/self/ns/net; hostname; ls /sys/class/net; test -w /usr/bin || echo read-only; ps -e -o args= | grep -c host-container")
	var st syscall.Stat_t
	if err := syscall.Fstat(int(host.NetNS.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("net:[%d]\nh1\nlo\n", st.Ino)
	if !strings.HasPrefix(inside, want) {
		t.Errorf("a process on the host sees\n%swant\n%s", inside, want)
	}
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/self/fd/%d", host.NetNS.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ns.Close()
	t.Log(inside)

	// The lab ends: so does the host, and with it what runs there.
	p := r.run(t, c, docker.ProcessSpec{Name: "sleep", Path: "/bin/sleep", Args: []string{"1000"}})
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	if exit, err := c.Wait(deadline(t)); err != nil || exit.Code != 0 {
		t.Errorf("the host ended with %v, %v: %s", exit, err, exit.Last)
	}
	if exit, err := p.Wait(deadline(t)); err != nil || exit.String() != "signal: killed" {
		t.Errorf("the process ended with %v, %v", exit, err)
	}
	if left, err := r.Leftovers(deadline(t)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// images lists the images of the engine, with their names.
func images(t *testing.T, e *docker.Engine) []string {
	t.Helper()
	all, err := e.Client().ImageList(deadline(t), image.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, img := range all {
		names = append(names, fmt.Sprint(img.ID, img.RepoTags))
		if len(img.RepoTags) == 0 {
			names = append(names, "<none>") // as newer engines say it
		}
	}
	slices.Sort(names)
	return names
}

func removeImages(t *testing.T, e *docker.Engine, refs ...string) {
	t.Helper()
	for _, ref := range refs {
		_, err := e.Client().ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true})
		if err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	}
}

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

var _ = time.Now
