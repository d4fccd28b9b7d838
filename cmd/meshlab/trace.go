package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller/explain"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// traceLimit is how long a trace may take, and with it each question to Open
// vSwitch.
const traceLimit = 30 * time.Second

// appctl runs ovs-appctl with arguments, at the Open vSwitch that a switch is
// in, and returns what it printed.
type appctl func(ctx context.Context, name string, args []string) (string, error)

func newTrace() *cobra.Command {
	var q explain.Question
	var o explain.TextOptions
	var socket string
	var check bool
	c := labFlag(&cobra.Command{
		Use:   "trace SRC DST[:PORT]",
		Short: "Explain one packet's way through the switches",
		Long: `Explain the way of one packet through tables and switches, from what the
controller has written into them: which flow it meets and why, what that
changes, where the packet ends, and how the answer comes back. No packet is sent.

SRC is a host, a service, or service@host where a service runs on several. DST
is a service that SRC calls, host:port, or address:port. The trace is that of a
new connection; --flags makes it another packet.

--check asks Open vSwitch for the way of the same packets (ofproto/trace) and
compares flow by flow; a difference is exit code 1. --controller asks a
controller outside of labs, at its status socket; OVS_RUNDIR then says where its
Open vSwitch is.`,
		Example: `  meshlab trace frontend public-api
  meshlab trace h1 h3:80 --check
  meshlab trace product-api@h2 product-db --verbose
  meshlab trace h1 192.168.1.250 --protocol arp`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			q.From, q.To = args[0], args[1]
			run := localAppctl
			if socket == "" {
				state, err := liveLab(c)
				if err != nil {
					return err
				}
				socket = state.Control()
				run = labAppctl(state.Exec())
			}
			ctx, cancel := context.WithTimeout(c.Context(), traceLimit)
			defer cancel()
			t, err := explain.Ask(ctx, socket, q)
			var wrong *explain.QuestionError
			if errors.As(err, &wrong) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			var agreement *explain.Agreement
			if check {
				a, err := explain.Check(ctx, t, run)
				if err != nil {
					return err
				}
				agreement = &a
			}
			if err := printTrace(c.OutOrStdout(), t, agreement, o, wantJSON(c)); err != nil {
				return err
			}
			if agreement != nil && !agreement.OK() {
				return exitCode(exitFailed) // said already
			}
			return nil
		},
	})
	c.Flags().StringVar(&q.Protocol, "protocol", "tcp", "tcp, udp, icmp or arp")
	c.Flags().StringVar(&q.Flags, "flags", "syn", "TCP flags: syn, ack, fin and rst, joined by commas")
	c.Flags().Uint16Var(&q.SourcePort, "source-port", explain.DefaultSourcePort, "port that SRC sends from: it chooses among instances")
	c.Flags().BoolVar(&check, "check", false, "compare with Open vSwitch's own account")
	c.Flags().BoolVarP(&o.Rules, "verbose", "v", false, "show match and actions of each flow too")
	c.Flags().StringVar(&socket, "controller", "", "status socket of a controller outside of labs")
	c.MarkFlagsMutuallyExclusive("lab", "controller")
	return c
}

func printTrace(out io.Writer, t explain.Trace, a *explain.Agreement, o explain.TextOptions, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(struct {
			explain.Trace
			Agreement *explain.Agreement `json:"agreement,omitempty"`
		}{t, a})
	}
	if err := explain.Text(out, t, o); err != nil {
		return err
	}
	if a != nil {
		fmt.Fprintln(out, a)
	}
	return nil
}

// localAppctl speaks to the one Open vSwitch of this machine.
func localAppctl(ctx context.Context, _ string, args []string) (string, error) {
	program, err := ovs.Program("ovs-appctl")
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run ovs-appctl: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return string(text), nil
}

// labAppctl speaks to the Open vSwitches of the lab whose exec socket is given.
func labAppctl(socket string) appctl {
	return func(ctx context.Context, name string, args []string) (string, error) {
		in, err := os.Open(os.DevNull)
		if err != nil {
			return "", fmt.Errorf("run ovs-appctl: %w", err)
		}
		defer in.Close()
		reader, writer, err := os.Pipe()
		if err != nil {
			return "", fmt.Errorf("run ovs-appctl: %w", err)
		}
		defer reader.Close()
		type result struct {
			text []byte
			err  error
		}
		read := make(chan result, 1)
		go func() {
			text, err := io.ReadAll(reader)
			read <- result{text, err}
		}()
		left := fmt.Sprintf("--timeout=%d", timeoutSeconds(ctx))
		cmd := supervisor.Command{Node: name, Args: append([]string{"ovs-appctl", left}, args...), Env: os.Environ()}
		code, err := supervisor.Exec(socket, cmd, supervisor.Stdio{In: in, Out: writer, Err: writer}, nil)
		writer.Close()
		got := <-read
		switch {
		case err != nil:
			return "", fmt.Errorf("run ovs-appctl in the lab: %w", err)
		case code != 0:
			return "", fmt.Errorf("run ovs-appctl in the lab: exit code %d: %s", code, strings.TrimSpace(string(got.text)))
		case got.err != nil:
			return "", fmt.Errorf("read what ovs-appctl printed: %w", got.err)
		}
		return string(got.text), nil
	}
}

// timeoutSeconds is what is left of ctx, at least 1.
func timeoutSeconds(ctx context.Context) int {
	deadline, ok := ctx.Deadline()
	if !ok {
		return int(traceLimit.Seconds())
	}
	return max(1, int(time.Until(deadline).Seconds()))
}
