//go:build integration

package docker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/orchestrate/docker"
	"meshlab.dev/meshlab/orchestrate/docker/dockertest"
)

func TestImageIsKept(t *testing.T) {
	r := newRig(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	tell := func(text string) { told = append(told, text) }
	again, err := r.EnsureImage(deadline(t), program, tell)
	if err != nil || again != r.lab.Image || len(told) > 0 {
		t.Errorf("again: %s, %v, told %q; first %s", again, err, told, r.lab.Image)
	}

	// Another program makes another image. The old one goes once it is old and
	// no container uses it.
	other := dockertest.Build(t, "./testdata/print")
	image, err := r.EnsureImage(deadline(t), other, tell)
	if err != nil || image == r.lab.Image || len(told) != 1 || !strings.HasPrefix(told[0], "build image meshlab:") {
		t.Fatalf("of another program: %s, %v, told %q", image, err, told)
	}
	t.Cleanup(func() { removeImages(t, r.Engine, image) })
	has := func(ref string) bool { return strings.Contains(strings.Join(images(t, r.Engine), "\n"), "["+ref+"]") }
	if !has(image) || !has(r.lab.Image) {
		t.Errorf("images: %q", images(t, r.Engine))
	}
	r.host(t, "h1")
	if err := r.RemoveOldImages(deadline(t), r.lab.Image, time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if has(image) {
		t.Error("an old image that nobody uses stays")
	}
	if err := r.RemoveOldImages(deadline(t), "meshlab:none", time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if !has(r.lab.Image) {
		t.Error("an image in use is gone")
	}
}

// Labs of several builds of meshlab come up at once, some of the same: none
// takes away what another one is building.
func TestImagesSideBySide(t *testing.T) {
	e := dockertest.Engine(t)
	program, err := os.ReadFile(dockertest.Build(t, "./testdata/print"))
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	made := make([]string, 12)
	for i := range made {
		// What follows a program's sections is not looked at.
		build := filepath.Join(t.TempDir(), "build")
		if err := os.WriteFile(build, append(slices.Clip(program), byte(i/2)), 0o755); err != nil {
			t.Fatal(err)
		}
		group.Go(func() (err error) {
			made[i], err = e.EnsureImage(deadline(t), build, nil)
			return err
		})
	}
	err = group.Wait()
	removeImages(t, e, slices.DeleteFunc(slices.Compact(made), func(ref string) bool { return ref == "" })...)
	if err != nil {
		t.Error(err)
	}
	if left := slices.DeleteFunc(images(t, e), func(line string) bool { return !strings.Contains(line, "[]") && !strings.Contains(line, "<none>") }); len(left) > 0 {
		t.Errorf("without a name: %v", left)
	}
}

func TestProcess(t *testing.T) {
	r := newRig(t)
	h, _ := r.host(t, "h1")

	t.Run("as specified", func(t *testing.T) {
		dir := filepath.Join(r.lab.State, "data", "of a service")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 1234, 2345); err != nil {
			t.Fatal(err)
		}
		var out syncBuffer
		p := r.run(t, h, docker.ProcessSpec{
			Name: "spec", Path: "/bin/sh", Args: []string{"-c", `pwd; id -u; id -g; echo "$0 $A"; echo error >&2; touch made; stat -c %a /tmp`, "zero"},
			Env: []string{"PATH=/usr/bin:/bin", "A=b c"}, Dir: dir, User: "1234:2345", Output: &out,
		})
		if exit, err := p.Wait(deadline(t)); err != nil || exit.Code != 0 {
			t.Errorf("%v, %v: %s", exit, err, exit.Last)
		}
		// Two streams have no common order.
		before, after, told := strings.Cut(out.String(), "error\n")
		if want := dir + "\n1234\n2345\nzero b c\n1777\n"; before+after != want || !told {
			t.Errorf("printed %q, want %q, and error anywhere", out.String(), want)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(dir, "made"), &st); err != nil || st.Uid != 1234 {
			t.Errorf("the file that it made: owner %d, %v", st.Uid, err)
		}
	})

	t.Run("program elsewhere", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "mine")
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho mine\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		p := r.run(t, h, docker.ProcessSpec{Name: "mine", Path: path})
		if exit, err := p.Wait(deadline(t)); err != nil || exit.Last != "mine" {
			t.Errorf("%v, %v: %q", exit, err, exit.Last)
		}
	})

	t.Run("ends badly", func(t *testing.T) {
		p := r.run(t, h, docker.ProcessSpec{Name: "bad", Path: "/bin/sh", Args: []string{"-c", "echo starting; echo no such table >&2; exit 7"}})
		exit, err := p.Wait(deadline(t))
		if err != nil || exit.String() != "exit status 7" || !strings.Contains(exit.Last, "no such table") {
			t.Errorf("%v, %v: %q", exit, err, exit.Last)
		}
	})

	t.Run("does not start", func(t *testing.T) {
		before := names(t, r.Engine)
		for path, want := range map[string]string{"/usr/bin/no-such-program": "no such file", "/etc/passwd": "permission denied"} {
			_, err := r.StartProcess(deadline(t), docker.ProcessSpec{Lab: r.lab, Host: h, Name: "none", Path: path})
			if !errors.Is(err, docker.ErrNotStarted) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "meshlab-test.h1.none") {
				t.Errorf("%s: %v", path, err)
			}
		}
		lab := r.lab
		lab.Image = "meshlab:none"
		if _, err := r.StartProcess(deadline(t), docker.ProcessSpec{Lab: lab, Host: h, Name: "none", Path: "/bin/true"}); err == nil || !strings.Contains(err.Error(), "meshlab:none") {
			t.Errorf("without an image: %v", err)
		}
		if after := names(t, r.Engine); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("containers %v, before %v", after, before)
		}
	})

	t.Run("signals", func(t *testing.T) {
		var out syncBuffer
		// Under a PID namespace of its own, no signal would end a shell that has
		// no handler.
		p := r.run(t, h, docker.ProcessSpec{Name: "signals", Path: "/bin/sh", Args: []string{"-c", "while :; do echo tick; read x </dev/zero || sleep 0.01; done"}, Env: []string{"PATH=/usr/bin"}, Output: &out})
		ctx := deadline(t)
		await(t, "output", func() bool { return strings.Contains(out.String(), "tick") })
		if err := p.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		if u, err := p.Usage(ctx); err != nil || u.CPU <= 0 || u.Memory == 0 {
			t.Errorf("usage %+v, %v", u, err)
		}
		if err := p.Unpause(ctx); err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(ctx, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if exit, err := p.Wait(ctx); err != nil || exit.String() != "signal: terminated" {
			t.Errorf("%v, %v", exit, err)
		}
		if err := p.Kill(ctx, syscall.SIGTERM); err != nil {
			t.Errorf("signal to one that has ended: %v", err)
		}
		if u, err := p.Usage(ctx); err != nil || u != (docker.Usage{}) {
			t.Errorf("usage of one that has ended: %+v, %v", u, err)
		}
	})

	t.Run("killed while paused", func(t *testing.T) {
		p := r.run(t, h, docker.ProcessSpec{Name: "paused", Path: "/bin/sleep", Args: []string{"1000"}})
		ctx := deadline(t)
		if err := p.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(ctx, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if exit, err := p.Wait(ctx); err != nil || exit.String() != "signal: killed" {
			t.Errorf("%v, %v", exit, err)
		}
	})

	t.Run("name of another", func(t *testing.T) {
		made, err := r.Client().ContainerCreate(deadline(t), &container.Config{Image: r.lab.Image, Cmd: []string{"/bin/true"}}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "meshlab-test.h1.taken")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Client().ContainerRemove(context.Background(), made.ID, container.RemoveOptions{}); err != nil {
				t.Error(err)
			}
		})
		_, err = r.StartProcess(deadline(t), docker.ProcessSpec{Lab: r.lab, Host: h, Name: "taken", Path: "/bin/true"})
		if !errors.Is(err, docker.ErrNameTaken) || !strings.Contains(err.Error(), "is not meshlab's") || !strings.Contains(err.Error(), "docker rename meshlab-test.h1.taken") {
			t.Errorf("a stranger's: %v", err)
		}
		r.run(t, h, docker.ProcessSpec{Name: "twice", Path: "/bin/sleep", Args: []string{"1000"}})
		_, err = r.StartProcess(deadline(t), docker.ProcessSpec{Lab: r.lab, Host: h, Name: "twice", Path: "/bin/true"})
		if !errors.Is(err, docker.ErrNameTaken) || !strings.Contains(err.Error(), "`meshlab down test` removes it") {
			t.Errorf("our own: %v", err)
		}
		other := r.lab
		other.State = "/run/meshlab/other"
		_, err = r.StartHost(deadline(t), docker.HostSpec{Lab: other, Name: "h1", Socket: r.socket})
		if !errors.Is(err, docker.ErrNameTaken) || !strings.Contains(err.Error(), "another lab test, whose state is in "+r.lab.State) {
			t.Errorf("another lab's: %v", err)
		}
	})
}

func TestLimits(t *testing.T) {
	r := newRig(t)
	h, _ := r.host(t, "h1")
	const command = `
cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null
echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us /sys/fs/cgroup/cpu.max 2>/dev/null)`
	limited := func(name string, l docker.Limits) string {
		t.Helper()
		p := r.run(t, h, docker.ProcessSpec{Name: name, Path: "/bin/sh", Args: []string{"-c", command}, Env: []string{"PATH=/usr/bin"}, Limits: l})
		exit, err := p.Wait(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		return exit.Last
	}
	if got := limited("limits", docker.Limits{CPUs: 0.25, Memory: 32 << 20}); got != "33554432\n25000 100000" {
		t.Errorf("cgroup with limits:\n%s", got)
	}
	// More processors than the machine has are no limit, and no error.
	if got := limited("none", docker.Limits{CPUs: float64(runtime.NumCPU() + 1)}); !strings.HasSuffix(got, "\n-1 100000") && !strings.HasSuffix(got, "\nmax 100000") {
		t.Errorf("cgroup with more processors than there are:\n%s", got)
	}

	// The memory of a shell that doubles a variable.
	p := r.run(t, h, docker.ProcessSpec{Name: "greedy", Path: "/bin/sh", Args: []string{"-c", "x=0123456789abcdef; while :; do x=$x$x; done"}, Limits: docker.Limits{Memory: 16 << 20}})
	if exit, err := p.Wait(deadline(t)); err != nil || exit.String() != "killed: out of memory (its limit is 16 MiB)" {
		t.Errorf("%v, %v: %s", exit, err, exit.Last)
	}
}

// TestHostsThatFail has one of two hosts end before it has handed over its
// network.
func TestHostsThatFail(t *testing.T) {
	r := newRig(t)
	bad := docker.HostSpec{Lab: r.lab, Name: "h2", Socket: filepath.Join(r.lab.State, "none.sock")}
	_, err := r.StartHosts(deadline(t), r.listener, []docker.HostSpec{{Lab: r.lab, Name: "h1", Socket: r.socket}, bad})
	if err == nil || !strings.Contains(err.Error(), "container meshlab-test.h2 of host h2 has ended (exit status 1)") || !strings.Contains(err.Error(), "none.sock: connect: no such file") {
		t.Errorf("error %v", err)
	}
	if left, err := r.Leftovers(deadline(t)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	hosts, err := r.StartHosts(deadline(t), r.listener, []docker.HostSpec{{Lab: r.lab, Name: "h1", Socket: r.socket}, {Lab: r.lab, Name: "h2", Socket: r.socket}})
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range hosts {
		if h.Container.Name() != "meshlab-test."+name {
			t.Errorf("%s is %s", name, h.Container.Name())
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(dockertest.Timeout); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// names lists all containers of the engine.
func names(t *testing.T, e *docker.Engine) []string {
	t.Helper()
	all, err := e.Client().ContainerList(deadline(t), container.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Names...)
	}
	return names
}
