package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/creack/pty"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"meshlab.dev/meshlab/orchestrate/supervisor"
)

func newExec() *cobra.Command {
	return labFlag(&cobra.Command{
		Use:   "exec NODE -- COMMAND [ARG...]",
		Short: "Run a command on a node of a lab",
		Long: `Run a command inside the network of a host, with the lab's own /run and
process list. On a switch it runs where Open vSwitch runs, so that ovs-vsctl,
ovs-ofctl and ovs-appctl work without options. The exit code is the command's,
128 and the number of the signal when one ended it. SIGINT, SIGTERM, SIGHUP
and SIGQUIT are passed on to the command.`,
		Example: `  meshlab exec h1 -- ip addr
  meshlab exec h1 -- bash
  meshlab exec s1 -- ovs-ofctl -O OpenFlow13 dump-flows s1`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			state, err := liveLab(c)
			if err != nil {
				return err
			}
			cmd := supervisor.Command{Node: args[0], Args: args[1:], Env: os.Environ()}
			signals := make(chan os.Signal, 8)
			signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
			defer signal.Stop(signals)
			var code int
			if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
				code, err = execTTY(state.Exec(), cmd, signals)
			} else {
				code, err = supervisor.Exec(state.Exec(), cmd, supervisor.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, signals)
			}
			if err != nil {
				return err
			}
			if code != 0 {
				return exitCode(code)
			}
			return nil
		},
	})
}

// execTTY gives the command a terminal of its own and copies between that
// and the user's, which is in raw mode meanwhile: keys such as Ctrl-C reach
// the command, not meshlab.
func execTTY(socket string, cmd supervisor.Command, signals <-chan os.Signal) (code int, err error) {
	master, slave, err := pty.Open()
	if err != nil {
		return 0, fmt.Errorf("open terminal for the command: %w", err)
	}
	defer master.Close()
	defer slave.Close()
	if err := pty.InheritSize(os.Stdin, slave); err != nil {
		return 0, fmt.Errorf("size terminal of the command: %w", err)
	}
	old, err := term.MakeRaw(int(os.Stdin.Fd()))
	if err != nil {
		return 0, fmt.Errorf("put terminal into raw mode: %w", err)
	}
	defer func() { err = errors.Join(err, term.Restore(int(os.Stdin.Fd()), old)) }()

	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	go func() {
		for range resized {
			_ = pty.InheritSize(os.Stdin, slave)
		}
	}()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(os.Stdout, master) // ends with EIO when the last user of the slave has gone
	}()
	go func() { _, _ = io.Copy(master, os.Stdin) }() // ends with the program
	cmd.TTY = true
	code, err = supervisor.Exec(socket, cmd, supervisor.Stdio{In: slave, Out: slave, Err: slave}, signals)
	slave.Close()
	<-copied
	return code, err
}
