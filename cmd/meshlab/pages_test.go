//go:build integration

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/labs/pages"
	"meshlab.dev/meshlab/topo"
)

const (
	// pageLimit is how long the commands of one page may take together.
	pageLimit = 90 * time.Second
	// againLimit is how long a command is typed again.
	againLimit = 15 * time.Second
	// endMark ends what a command prints; no command of a page prints it.
	endMark = "\x01"
)

// What the pages of the catalogue say is what happens, and nothing is left.
func TestPages(t *testing.T) {
	for _, l := range labs.List() {
		t.Run(l.Name, func(t *testing.T) {
			text, err := labs.Page(l.Name)
			if err != nil {
				t.Fatal(err)
			}
			lab, err := loadLab(l.Name)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(lab.Services, func(s topo.Service) bool { return s.Image != "" && !s.IsArchive() }) {
				planOnly(t, l.Name)
				return
			}
			begin := time.Now()
			for _, err := range followPage(t, string(text)) {
				t.Error(err)
			}
			t.Logf("took %.1f s", time.Since(begin).Seconds())
		})
	}
}

// planOnly does with a lab what needs no registry of images: its file is
// checked and drawn, and without Docker it is refused before anything is made.
func planOnly(t *testing.T, name string) {
	t.Helper()
	p := root(t)
	p.ok(t, "validate", name)
	if text := p.ok(t, "graph", name); !strings.Contains(text, "<svg") {
		t.Errorf("the picture is %.200s", text)
	}
	p.fails(t, 2, []string{"up", name, "--runtime", "namespaces"}, "needs --runtime docker")
}

// The test of the pages tells when a page is wrong, and leaves nothing behind
// either when it does not come to its end.
func TestPagesThatAreWrong(t *testing.T) {
	const up = "```console\n$ meshlab up single-upstream\n...\nLab single-upstream is up with mesh ovs...\n...\n"
	for name, tc := range map[string]struct{ text, want string }{
		"a command fails":   {up + "$ meshlab exec h9 -- true\n$ meshlab down\nLab single-upstream is down; nothing is left of it.\n```\n", `no node "h9"`},
		"it forgets down":   {up + "```\n", "left behind"},
		"it ends the shell": {up + "$ exit\n$ meshlab down\n...\n```\n", "the shell has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := followPage(t, tc.text)
			if len(errs) != 1 && tc.want != "the shell has ended" || !strings.Contains(fmt.Sprint(errs), tc.want) {
				t.Errorf("found %v, want %s", errs, tc.want)
			}
		})
	}
}

// followPage types the commands of a page, one after the other, in one shell that
// begins in an empty folder. It returns what was not as the page says, and
// what is left behind at the end, which it then removes.
func followPage(t *testing.T, text string) (errs []error) {
	t.Helper()
	steps, err := pages.Parse(text)
	if err != nil {
		return []error{err}
	}
	p := root(t)
	before := inventory(t)
	t.Cleanup(func() { p.ok(t, "down", "--all") })

	ctx, cancel := context.WithTimeout(t.Context(), pageLimit)
	defer cancel()
	sh, err := p.shell(ctx)
	if err != nil {
		return []error{err}
	}
	for _, s := range steps {
		if err := sh.follow(ctx, s); err != nil {
			errs = append(errs, err)
		}
	}
	if err := sh.close(); err != nil {
		errs = append(errs, err)
	}
	entries, err := os.ReadDir(p.dir) // what a page writes there, it may leave there
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(p.dir, e.Name())); err != nil {
			t.Error(err)
		}
	}
	if left := difference(before, inventory(t)); len(left) > 0 {
		errs = append(errs, fmt.Errorf("left behind:\n%s", strings.Join(left, "\n")))
	}
	return errs
}

// shell is a bash that a person types into, both outputs in one.
type shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	end *os.File // of out
}

func (p person) shell(ctx context.Context) (*shell, error) {
	cmd := exec.CommandContext(ctx, "bash", "--norc")
	cmd.Env, cmd.Dir = p.env, p.dir
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("start shell: %w", err)
	}
	return &shell{cmd, in, bufio.NewReader(out), out}, nil
}

// follow types a command and compares what it prints.
func (s *shell) follow(ctx context.Context, step pages.Step) error {
	deadline := time.Now().Add(againLimit)
	for {
		printed, err := s.run(step.Command)
		if err != nil {
			return fmt.Errorf("line %d: $ %s\n%w; printed was:\n%s", step.Line, step.Command, err, printed)
		}
		if err = step.Check(printed); err == nil || !step.Again || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// run types a command, which reads nothing, and returns what it prints.
func (s *shell) run(command string) (string, error) {
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null\nprintf '%s'\n", command, `\001`); err != nil {
		return "", fmt.Errorf("the shell has ended: %w", err)
	}
	printed, err := s.out.ReadString(endMark[0])
	if err != nil {
		return printed, fmt.Errorf("the shell has ended: %w", err)
	}
	return strings.TrimSuffix(printed, endMark), nil
}

// close ends the shell and what it still runs.
func (s *shell) close() error {
	defer s.end.Close()
	s.in.Close()
	defer func() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("end shell: %w", err)
	}
	return nil
}
