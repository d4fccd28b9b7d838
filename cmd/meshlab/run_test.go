//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// verbLimit bounds one run of the program; a busy machine needs some of it.
const verbLimit = 8 * time.Minute

// patience is how long a test waits for what must come, however busy the
// machine is. It bounds failures alone: who wants something soon measures it.
const patience = time.Minute

// person is a user of the machine who types commands.
type person struct {
	uid int
	env []string
	dir string // home and working directory
}

// root is the user of the test machine with all rights.
func root(t *testing.T) person {
	t.Helper()
	return person{dir: t.TempDir(), env: []string{"PATH=" + searchPath(t), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}}
}

// ordinary makes a user without rights, and a home and run folder for them.
func ordinary(t *testing.T) person {
	t.Helper()
	const uid = 23456
	dir, err := os.MkdirTemp(os.Getenv(binVar), "user")
	if err != nil {
		t.Fatal(err)
	}
	p := person{uid: uid, dir: dir, env: []string{"PATH=" + searchPath(t), "HOME=" + dir, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "TMPDIR=" + os.TempDir()}}
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "run")} {
		if err := os.Chown(d, uid, uid); err != nil {
			t.Skipf("needs a second user, so root on the machine itself: %v", err)
		}
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return p
}

// searchPath has meshlab and consul in front, where every user may run them.
func searchPath(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(os.Getenv(binVar), "bin")
	if _, err := os.Stat(filepath.Join(bin, "consul")); err != nil {
		if err := addConsul(bin); err != nil {
			t.Fatal(err)
		}
	}
	return bin + ":/usr/local/bin:/usr/bin:/bin"
}

// result is how a run of the program ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
}

// command is `meshlab args...`, typed by the person.
func (p person) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv(binVar), "bin", "meshlab"), args...)
	cmd.Env, cmd.Dir = p.env, p.dir
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.uid)}
	}
	return cmd
}

// run types a command, with stdin as what is typed after it, and waits.
func (p person) run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), verbLimit)
	defer cancel()
	cmd := p.command(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return finish(t, cmd, func() error { return cmd.Run() })
}

// finish collects what a command prints while wait runs.
func finish(t *testing.T, cmd *exec.Cmd, wait func() error) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, errs.String())
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// ok types a command that must succeed, and returns what it prints.
func (p person) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := p.run(t, "", args...)
	if r.code != 0 {
		t.Fatalf("meshlab %s: %v", strings.Join(args, " "), r)
	}
	return r.stdout
}

// fails types a command that must fail with that code, and whose message
// must contain all of want.
func (p person) fails(t *testing.T, code int, args []string, want ...string) result {
	t.Helper()
	r := p.run(t, "", args...)
	if r.code != code {
		t.Errorf("meshlab %s: want exit code %d, got %v", strings.Join(args, " "), code, r)
	}
	for _, w := range want {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("meshlab %s: the message lacks %q:\n%s", strings.Join(args, " "), w, r.stderr)
		}
	}
	return r
}

// lab is a lab that is up, and whose it is.
type lab struct {
	person
	name   string
	status supervisor.Status
}

// up brings a lab to life, for the time of the test.
func (p person) up(t *testing.T, name, file string, flags ...string) lab {
	t.Helper()
	t.Cleanup(func() { p.ok(t, "down", name) })
	l := lab{person: p, name: name}
	text := p.ok(t, append([]string{"up", file, "--name", name, "--output", "json"}, flags...)...)
	decode(t, text, &l.status)
	return l
}

// exec runs a command on a node.
func (l lab) exec(t *testing.T, stdin, node string, command ...string) result {
	t.Helper()
	return l.run(t, stdin, append([]string{"exec", "--lab", l.name, node, "--"}, command...)...)
}

// fetch asks a URL from a node, and returns the answer.
func (l lab) fetch(t *testing.T, node, method, url, body string) (string, error) {
	t.Helper()
	r := l.run(t, "", "exec", "--lab", l.name, node, "--",
		"/usr/bin/env", stageVar+"=fetch", filepath.Join(os.Getenv(binVar), "bin", "test"), method, url, body)
	if r.code != 0 {
		return "", errors.New(r.stderr)
	}
	return r.stdout, nil
}

// fetch is what the test program does on a node, where curl may be missing.
func fetch(args []string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	req, err := http.NewRequest(args[0], args[1], strings.NewReader(args[2]))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// eventually asks until ask returns no error, for at most limit.
func eventually(t *testing.T, limit time.Duration, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still: %v", limit, err)
		}
		<-tick.C
	}
}

// writeFile puts text into a file of the person's and returns its path.
func (p person) writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
