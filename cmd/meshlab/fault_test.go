//go:build integration

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate"
)

// small is a lab that comes up fast; %s is what its only service runs, %d
// the port that it publishes.
const small = `name: small
nodes:
  h1: { kind: host }
  s1: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
services:
  web:
    node: h1
    port: 8080
    command: %s
    publish: %d
client:
  upstreams: { web: 9090 }
requests:
  web:
    to: web
    expect: { status: 200 }
`

const echoCommand = `[/usr/bin/env, "BIND_ADDRESS=:8080", meshlab, service, echo]`

func TestFaults(t *testing.T) {
	p := root(t)
	before := inventory(t)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // after the parallel tests below
	port := taken.Addr().(*net.TCPAddr).Port

	p.fails(t, exitFailed, []string{"flows"}, "no lab is up", "meshlab up")
	for name, tc := range map[string]struct {
		lab  string // text of the file, if there is one
		args []string
		code int
		want []string
	}{
		"unknown key": {
			lab:  strings.Replace(fmt.Sprintf(small, echoCommand, 0), "publish:", "publsh:", 1),
			code: exitUsage, want: []string{":12:", "publsh", `"publish"`},
		},
		"several mistakes at once": {
			lab:  strings.NewReplacer("node: h1", "node: h7", "s1:1", "s2:1").Replace(fmt.Sprintf(small, echoCommand, 0)),
			code: exitUsage, want: []string{":6:", "s2", ":9:", "h7"},
		},
		"unknown lab":  {args: []string{"up", "hashicup"}, code: exitUsage, want: []string{`"hashicup"`, `did you mean "hashicups"`}},
		"unknown mesh": {args: []string{"up", "--mesh", "istio"}, code: exitUsage, want: []string{"istio", "consul-connect"}},
		"unknown flag": {args: []string{"up", "--mash", "ovs"}, code: exitUsage, want: []string{"--mash", "--help"}},
		"unknown verb": {args: []string{"dwn"}, code: exitUsage, want: []string{`"dwn"`, "down"}},
		"bad name":     {args: []string{"up", "--name", "../x"}, code: exitUsage, want: []string{`"../x"`, "slashes"}},
		"no such lab":  {args: []string{"logs", "x", "--lab", "none"}, code: exitFailed, want: []string{"none", "not up"}},
		"published port in use": {
			lab:  fmt.Sprintf(small, echoCommand, port),
			code: exitFailed, want: []string{fmt.Sprint(port), "in use", "publish: 0", "--no-publish", "nothing is left"},
		},
		"no such command": {
			lab:  fmt.Sprintf(small, "[no-such-program]", 0),
			code: exitFailed, want: []string{"service web", "no-such-program", "nothing is left"},
		},
		"command dies at once": {
			lab:  fmt.Sprintf(small, `[sh, -c, "echo the shelf is empty; exit 3"]`, 0),
			code: exitFailed, want: []string{"web on h1", "exit status 3", "the shelf is empty", "nothing is left"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := tc.args
			if tc.lab != "" {
				args = []string{"up", p.writeFile(t, strings.ReplaceAll(name, " ", "-")+".yaml", tc.lab), "--name", strings.ReplaceAll(name, " ", "-")}
			}
			begin := time.Now()
			r := p.fails(t, tc.code, args, tc.want...)
			if took := time.Since(begin); took > 45*time.Second {
				t.Errorf("it took %v to say so", took)
			}
			if r.stdout != "" {
				t.Errorf("an error on standard output: %s", r.stdout)
			}
		})
	}
	t.Cleanup(func() { // after the parallel ones
		eventually(t, patience, func() error { return same(t, withFiles(before, files(t, p.dir))) })
	})
}

// withFiles is an inventory with the test's own files added.
func withFiles(inv, own []string) []string {
	for _, f := range own[1:] {
		inv = append(inv, "file "+f)
	}
	return inv
}

func TestUpTwice(t *testing.T) {
	p := root(t)
	file := p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0))
	l := p.up(t, "twice", file)
	p.fails(t, exitFailed, []string{"up", file, "--name", "twice"}, "up already", "meshlab down twice")
	if text, err := l.fetch(t, "h1", "GET", "http://localhost:8080/", ""); err != nil {
		t.Errorf("the failed up has hurt the lab: %v: %s", err, text)
	}
	if out := p.ok(t, "top", "twice", "--once"); !strings.HasPrefix(out, "Lab twice, ") { // and not the file's name
		t.Errorf("top shows: %s", out)
	}
}

// Two labs of one name at the same moment: one comes up.
func TestUpAtOnce(t *testing.T) {
	p := root(t)
	file := p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0))
	t.Cleanup(func() { p.ok(t, "down", "race") })
	const n = 4
	results := make(chan result, n)
	for range n {
		go func() { results <- p.run(t, "", "up", file, "--name", "race") }()
	}
	var up int
	for range n {
		if r := <-results; r.code == 0 {
			up++
		} else if !strings.Contains(r.stderr, "up already") {
			t.Errorf("the loser says: %v", r)
		}
	}
	if up != 1 {
		t.Errorf("%d came up instead of one", up)
	}
	p.ok(t, "ps", "--lab", "race")
}

// steps are those of `up` that take some time, in the order in which they
// end on an idle machine; each can be interrupted after the one before.
var steps = []string{"network", "services", "controller", "consul", "registration", "healthy"}

// interruptAfter runs `up` and sends it a signal as soon as it has reported
// the step; with "", once the lab's state folder is there.
func interruptAfter(t *testing.T, p person, step string, sig syscall.Signal) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), verbLimit)
	defer cancel()
	cmd := p.command(ctx, "up", "single-upstream", "--name", "interrupted")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if step == "" {
		eventually(t, patience, func() error {
			_, err := os.Stat("/run/meshlab/interrupted/control.sock")
			return err
		})
		if err := cmd.Process.Signal(sig); err != nil {
			t.Error(err)
		}
	}
	var text strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if step != "" && strings.HasPrefix(strings.TrimSpace(lines.Text()), step+" ") {
			if err := cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // its code is what counts
	return result{stderr: text.String(), code: cmd.ProcessState.ExitCode()}
}

func TestInterruptedUp(t *testing.T) {
	p := root(t)
	before := inventory(t)
	for _, step := range append([]string{""}, steps...) {
		t.Run("interrupt after "+step, func(t *testing.T) {
			r := interruptAfter(t, p, step, syscall.SIGINT)
			// A lab that was up before the signal came stays. After registration that
			// takes 0.1 to 1 s, so it is tried again; after healthy, 10 ms.
			for try := 1; try < 5 && step == "registration" && r.code == 0; try++ {
				p.ok(t, "down", "interrupted")
				r = interruptAfter(t, p, step, syscall.SIGINT)
			}
			if step == "healthy" && r.code == 0 {
				p.ok(t, "down", "interrupted")
			} else if r.code != exitInterrupted || !strings.Contains(r.stderr, "interrupted; nothing is left") {
				t.Error(r)
			}
			if err := same(t, before); err != nil { // at once: it says so
				t.Error(err)
			}
		})
	}
}

func TestKilledUp(t *testing.T) {
	p := root(t)
	before := inventory(t)
	for _, step := range []string{"", "network", "consul"} {
		t.Run("kill after "+step, func(t *testing.T) {
			// On a busy machine the signal may come when `up` has been told that the
			// lab is ready: that lab stays, as every other.
			const tries = 5
			for try := 1; ; try++ {
				if r := interruptAfter(t, p, step, syscall.SIGKILL); r.code != -1 {
					t.Fatal(r)
				}
				late := false
				eventually(t, patience, func() error { // without any help
					left := labProcesses(t)
					if late = len(left) > 0 && ready(orchestrate.StateOf("interrupted")); len(left) > 0 && !late {
						return fmt.Errorf("still there: %+v", left)
					}
					return nil
				})
				p.ok(t, "down", "interrupted")
				if err := same(t, before); err != nil {
					t.Error(err)
				}
				if !late {
					return
				}
				if try == tries {
					t.Fatalf("the lab was ready in each of %d tries, whoever was killed", tries)
				}
			}
		})
	}
}

func TestNoTun(t *testing.T) {
	p := ordinary(t)
	if err := os.Chmod("/dev/net/tun", 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod("/dev/net/tun", 0o666); err != nil {
			t.Error(err)
		}
	})
	before := inventory(t)
	p.fails(t, exitFailed, []string{"up", "single-upstream"}, "this user may not write it", "sudo chmod 0666 /dev/net/tun")
	if err := same(t, before); err != nil {
		t.Error(err)
	}
}

// A kernel that forbids user namespaces, or a user who has too many.
func TestNoUserNamespaces(t *testing.T) {
	p := ordinary(t)
	before := inventory(t)
	ctx, cancel := context.WithTimeout(t.Context(), verbLimit)
	defer cancel()
	// The limit is that of a user namespace (namespaces(7)), so it can be set
	// in one of its own without touching the machine.
	cmd := p.command(ctx)
	meshlab := cmd.Path
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c",
		fmt.Sprintf("echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --reuid %d --regid %d --clear-groups %s up single-upstream", p.uid, p.uid, meshlab)}
	all := []syscall.SysProcIDMap{{Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true,
	}
	r := finish(t, cmd, cmd.Run)
	if r.code != exitFailed || !strings.Contains(r.stderr, "allows no user namespaces") || !strings.Contains(r.stderr, "meshlab doctor") {
		t.Error(r)
	}
	if err := same(t, before); err != nil {
		t.Error(err)
	}
}

func TestFullDisk(t *testing.T) {
	p := root(t)
	full := filepath.Join(p.dir, "full")
	if err := os.Mkdir(full, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("full", full, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(full, 0); err != nil {
			t.Error(err)
		}
	})
	before := inventory(t)
	p.fails(t, exitFailed, []string{"bench", "single-upstream", "--only", "web", "--mesh", "direct", "--quick", "--out", full}, "no space left", full)
	if err := same(t, before); err != nil {
		t.Error(err)
	}
}

// A lab cannot be remembered when the state folder's disk is full.
func TestFullStateFolder(t *testing.T) {
	p := ordinary(t)
	full := filepath.Join(p.dir, "run")
	if err := unix.Mount("full", full, "tmpfs", 0, fmt.Sprintf("size=4k,mode=700,uid=%d", p.uid)); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(full, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(full, "filler"), make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	before := inventory(t)
	p.fails(t, exitFailed, []string{"up", "single-upstream"}, "no space left", "nothing is left")
	eventually(t, patience, func() error { return same(t, before) })
}
