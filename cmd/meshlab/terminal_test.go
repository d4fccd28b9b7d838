//go:build integration

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal is a terminal before which a person sits.
type terminal struct {
	master, slave *os.File

	mu    sync.Mutex
	shown bytes.Buffer
}

func newTerminal(t *testing.T, rows, cols uint16) *terminal {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{master: master, slave: slave}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(term, master) // ends with EIO when the slave is closed
	}()
	t.Cleanup(func() {
		slave.Close()
		<-read
		master.Close()
	})
	term.resize(t, rows, cols)
	return term
}

func (term *terminal) Write(b []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.shown.Write(b)
}

func (term *terminal) String() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.shown.String()
}

func (term *terminal) resize(t *testing.T, rows, cols uint16) {
	t.Helper()
	if err := pty.Setsize(term.master, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
		t.Fatal(err)
	}
}

func (term *terminal) typed(t *testing.T, keys string) {
	t.Helper()
	if _, err := term.master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

func (term *terminal) shows(t *testing.T, text string) {
	t.Helper()
	eventually(t, patience, func() error {
		if s := term.String(); !strings.Contains(s, text) {
			return fmt.Errorf("the terminal shows no %q: %q", text, s)
		}
		return nil
	})
}

func (term *terminal) settings(t *testing.T) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(term.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

// start types `meshlab exec h1 -- command...` at the terminal.
func (term *terminal) start(t *testing.T, l lab, command ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), verbLimit)
	t.Cleanup(cancel)
	cmd := l.command(ctx, append([]string{"exec", "--lab", l.name, "h1", "--"}, command...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.slave, term.slave, term.slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func exitCodeOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// On a terminal the command gets one of its own: of the same size, with keys
// that make signals there, and all that it has shown to the last line.
func TestExecTerminal(t *testing.T) {
	l := root(t).up(t, "terminal", "single-upstream", "--no-publish")
	t.Run("keys and size", func(t *testing.T) {
		term := newTerminal(t, 33, 101)
		before := term.settings(t)
		cmd := term.start(t, l, "sh", "-c", `stty size; tty; trap 'echo again; stty size' WINCH; trap 'echo caught; exit 7' INT; echo ready
			while :; do read -r line && echo "read <$line>"; done`)
		term.shows(t, "ready")
		term.shows(t, "33 101")
		term.shows(t, "/dev/pts/")
		if term.settings(t) == before {
			t.Error("the person's own terminal is not raw: it would take the keys for itself")
		}
		term.typed(t, "words\r")
		term.shows(t, "read <words>")
		term.resize(t, 44, 55)
		if err := cmd.Process.Signal(syscall.SIGWINCH); err != nil { // as the kernel does for a controlling terminal
			t.Fatal(err)
		}
		term.typed(t, "\r")
		term.shows(t, "44 55")
		term.typed(t, "\x03")
		if code := exitCodeOf(t, cmd); code != 7 {
			t.Errorf("exit code %d: %q", code, term)
		}
		term.shows(t, "caught")
		if after := term.settings(t); after != before {
			t.Errorf("the terminal is left as %+v, it was %+v", after, before)
		}
	})
	t.Run("last line", func(t *testing.T) {
		for range 10 {
			term := newTerminal(t, 33, 101)
			cmd := term.start(t, l, "sh", "-c", "seq 20000; echo the end")
			if code := exitCodeOf(t, cmd); code != 0 {
				t.Errorf("exit code %d", code)
			}
			term.shows(t, "20000\r\nthe end\r\n")
		}
	})
}
