//go:build integration

package docker_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"meshlab.dev/meshlab/orchestrate/docker"
	"meshlab.dev/meshlab/orchestrate/docker/dockertest"
)

// labVerb makes this program a lab: it starts two hosts with a process each,
// says what it has done, a line each, and stays until it is killed.
const labVerb = "lab"

func runLab(socket, dir string) error {
	ctx := context.Background()
	e, err := docker.Open(ctx, docker.Config{Socket: socket, Version: "test"})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	image, err := e.EnsureImage(ctx, self, func(text string) { fmt.Println(text) })
	if err != nil {
		return err
	}
	l, err := docker.Listen(filepath.Join(dir, "hosts.sock"))
	if err != nil {
		return err
	}
	lab := docker.Lab{Name: "crash", State: dir, Image: image, Shared: docker.Mount{Source: dir, Writable: true}}
	var specs []docker.HostSpec
	for _, name := range []string{"h1", "h2"} {
		specs = append(specs, docker.HostSpec{Lab: lab, Name: name, Socket: filepath.Join(dir, "hosts.sock")})
	}
	fmt.Println("hosts")
	hosts, err := e.StartHosts(ctx, l, specs)
	if err != nil {
		return err
	}
	fmt.Println("processes")
	for _, h := range hosts {
		if _, err := e.StartProcess(ctx, docker.ProcessSpec{Lab: lab, Host: h.Container, Name: "sleep", Path: "/bin/sleep", Args: []string{"1000"}}); err != nil {
			return err
		}
	}
	fmt.Println("up")
	select {}
}

// TestCrash kills a lab at several moments, and the engine too, and sees that
// Remove leaves nothing.
func TestCrash(t *testing.T) {
	s := dockertest.NewServer(t)
	e := s.Engine(t)
	everything := func() []string { return slices.Concat(contents(t, e), s.Mounts(t), s.Cgroups(t)) }
	before := everything() // its own folder, mounted
	for _, moment := range []string{"build image", "hosts", "processes", "up", "engine"} {
		t.Run(moment, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "labcrash")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			lab := exec.CommandContext(deadline(t), self, labVerb, e.Socket(), dir)
			lab.Stderr = os.Stderr
			out, err := lab.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := lab.Start(); err != nil {
				t.Fatal(err)
			}
			wait, seen := moment, false
			if moment == "engine" {
				wait = "up"
			}
			for lines := bufio.NewScanner(out); !seen && lines.Scan(); {
				seen = strings.HasPrefix(lines.Text(), wait)
			}
			if !seen {
				t.Fatalf("the lab did not come to %q: %v", wait, lab.Wait())
			}
			if moment == "engine" {
				s.Crash(t)
			}
			_ = lab.Process.Kill()
			_ = lab.Wait()
			if moment == "engine" { // the lab cannot remove its containers then
				if all, err := e.Leftovers(deadline(t)); err != nil || len(all) != 1 || all[0].State != dir || all[0].Lab != "crash" || all[0].Version != "test" {
					t.Errorf("left of it: %+v, %v", all, err)
				}
			}
			// Once for all that it has made; again, since it is no error.
			for range 2 {
				if err := e.Remove(deadline(t), dir); err != nil {
					t.Fatal(err)
				}
			}
			var left []string
			defer func() {
				if t.Failed() {
					t.Logf("left: %q", left)
				}
			}()
			await(t, "end of all that the lab has made", func() bool {
				left = everything()
				return slices.Equal(left, before)
			})
		})
	}
}

// TestRemoveHalfMade removes what was made and never started, and what is
// paused, but nothing of another lab.
func TestRemoveHalfMade(t *testing.T) {
	r, other := newRig(t), newRig(t)
	other.lab.Name = "other"
	h, _ := r.host(t, "h1")
	other.host(t, "h1")
	p := r.run(t, h, docker.ProcessSpec{Name: "paused", Path: "/bin/sleep", Args: []string{"1000"}})
	if err := p.Pause(deadline(t)); err != nil {
		t.Fatal(err)
	}
	st, err := r.Client().ContainerInspect(deadline(t), p.ID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Client().ContainerCreate(deadline(t), &container.Config{
		Image: r.lab.Image, Cmd: []string{"/bin/true"}, Labels: st.Config.Labels, Volumes: map[string]struct{}{"/data": {}},
	}, nil, nil, nil, "meshlab-test.h1.half"); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(deadline(t), r.lab.State); err != nil {
		t.Fatal(err)
	}
	left, err := r.Leftovers(deadline(t))
	if err != nil || len(left) != 1 || left[0].State != other.lab.State || !slices.Equal(left[0].Containers, []string{"meshlab-other.h1"}) {
		t.Errorf("left: %+v, %v", left, err)
	}
	if all := volumes(t, r.Engine); len(all) > 0 {
		t.Errorf("volumes left: %v", all)
	}
}

// TestRemoveWaits removes a lab that was killed while the engine made a
// container, which comes to light only after that.
func TestRemoveWaits(t *testing.T) {
	r := newRig(t)
	const name = "meshlab-test.late"
	note := filepath.Join(r.lab.State, docker.IntentFolder, name)
	if err := os.MkdirAll(filepath.Dir(note), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(note, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- r.Remove(deadline(t), r.lab.State) }()
	select {
	case err := <-removed:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if _, err := r.Client().ContainerCreate(deadline(t), &container.Config{
		Image: r.lab.Image, Cmd: []string{"/bin/true"}, Labels: map[string]string{"dev.meshlab.state": r.lab.State},
	}, nil, nil, nil, name); err != nil {
		t.Fatal(err)
	}
	if err := <-removed; err != nil {
		t.Fatal(err)
	}
	if all := names(t, r.Engine); slices.Contains(all, "/"+name) {
		t.Errorf("left: %v", all)
	}
	if _, err := os.Stat(note); !os.IsNotExist(err) {
		t.Errorf("the note: %v", err)
	}
}

// TestRemoveWaitsForShims removes a lab whose container the engine has removed
// by itself, while the engine's process beside it is still there.
func TestRemoveWaitsForShims(t *testing.T) {
	r := newRig(t)
	c, h := r.host(t, "h1")
	shim := exec.Command("/bin/sh")
	shim.Args = []string{"containerd-shim-test", "-c", "read line", "-id", c.ID()} // until its input ends
	stdin, err := shim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = shim.Wait() // how read(1) ends does not matter
	})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wait(deadline(t)); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- r.Remove(deadline(t), r.lab.State) }()
	select {
	case err := <-removed:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(time.Second):
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	_ = shim.Wait()
	if err := <-removed; err != nil {
		t.Error(err)
	}
}

// contents lists what an engine has, without our image, which stays.
func contents(t *testing.T, e *docker.Engine) []string {
	t.Helper()
	all := append(names(t, e), volumes(t, e)...)
	networks, err := e.Client().NetworkList(deadline(t), network.ListOptions{Filters: filters.NewArgs(filters.Arg("type", "custom"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		all = append(all, "network "+n.Name)
	}
	images, err := e.Client().ImageList(deadline(t), image.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("dangling", "true"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		// Layers of a build below an image with a name are not dangling to the engine.
		all = append(all, "image "+img.ID)
	}
	return all
}

func volumes(t *testing.T, e *docker.Engine) []string {
	t.Helper()
	list, err := e.Client().VolumeList(deadline(t), volume.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, v := range list.Volumes {
		all = append(all, "volume "+v.Name)
	}
	return all
}
