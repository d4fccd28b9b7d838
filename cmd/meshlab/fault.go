package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate/fault"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// faultLimit bounds a question about faults: processes of a busy machine may
// take their time to start again.
const faultLimit = time.Minute

// defaultFault is how long a fault lasts when nobody says it.
const defaultFault = 10 * time.Second

func newFault() *cobra.Command {
	c := &cobra.Command{
		Use:   "fault",
		Short: "Break parts of a lab that is up, for a while",
		Long: `Kill or pause processes and hosts of a lab that is up, cut or degrade its links,
or part its switches. Every fault ends by itself after --for, and can be undone before.
Scenario files have the same faults at fixed times of each trial; docs/faults.md
tells of both.`,
		Example: `  meshlab fault kill payments --for 5s
  meshlab fault pause h1
  meshlab fault cut s1-s2 --for 0
  meshlab fault degrade h1-s1 --delay 20ms --loss 5%
  meshlab fault partition s1,s2 s3
  meshlab fault list
  meshlab fault undo --all`,
	}
	c.AddCommand(
		lasting(&cobra.Command{
			Use:   "kill NAME",
			Short: "End a process or all of a host by SIGKILL, and keep it down",
			Long: `End processes by SIGKILL, and keep them down until the fault ends: then they are
started again. NAME is a process that 'meshlab ps' lists (a service's instance,
controller, ovs-vswitchd, consul@h1, ...), or a host: all processes on it end,
and its links carry nothing. With 'switches: isolated' in the lab file it may be
a switch too.`,
			Example: "  meshlab fault kill payments --for 5s\n  meshlab fault kill controller\n  meshlab fault kill h1 --for 1m",
			Args:    cobra.ExactArgs(1),
		}, func(args []string) (scenarios.Fault, error) {
			return scenarios.Fault{Kind: scenarios.Kill, Target: args[0]}, nil
		}),
		lasting(&cobra.Command{
			Use:   "pause NAME",
			Short: "Make a process or all of a host stand still",
			Long: `Make processes stand still (SIGSTOP) until the fault ends: they keep their
connections and answer nothing. NAME is as for 'meshlab fault kill'; the links of
a host that stands still carry nothing.`,
			Example: "  meshlab fault pause product-db --for 2s\n  meshlab fault pause consul@h1",
			Args:    cobra.ExactArgs(1),
		}, func(args []string) (scenarios.Fault, error) {
			return scenarios.Fault{Kind: scenarios.Pause, Target: args[0]}, nil
		}),
		lasting(&cobra.Command{
			Use:   "cut LINK",
			Short: "Let a link carry nothing",
			Long: `Let a link carry nothing until the fault ends. LINK is NODE-NODE, in either
order. A host keeps its addresses and sees no carrier.`,
			Example: "  meshlab fault cut h1-s1\n  meshlab fault cut s1-s2 --for 30s",
			Args:    cobra.ExactArgs(1),
		}, func(args []string) (scenarios.Fault, error) {
			return scenarios.Fault{Kind: scenarios.Cut, Target: args[0]}, nil
		}),
		lasting(&cobra.Command{
			Use:   "partition SWITCH,... SWITCH,...",
			Short: "Cut all links between two groups of switches",
			Long: `Cut all links between two groups of switches until the fault ends. Hosts follow
their switch.`,
			Example: "  meshlab fault partition s1,s2 s3\n  meshlab fault partition s1 s2,s3 --for 0",
			Args:    cobra.ExactArgs(2),
		}, func(args []string) (scenarios.Fault, error) {
			return scenarios.Fault{Kind: scenarios.Partition, Groups: [][]string{strings.Split(args[0], ","), strings.Split(args[1], ",")}}, nil
		}),
		newFaultDegrade(), newFaultList(), newFaultUndo(),
	)
	return c
}

func newFaultDegrade() *cobra.Command {
	var delay, jitter, loss, bandwidth string
	c := lasting(&cobra.Command{
		Use:   "degrade LINK",
		Short: "Make a link slow, narrow or lossy",
		Long: `Make a link slow, narrow or lossy, in each direction, until the fault ends. LINK
is NODE-NODE, in either order. What no flag names stays as it is. 'meshlab link'
changes links for good, and docs/links.md says how exact that is.`,
		Example: "  meshlab fault degrade h1-s1 --delay 20ms --loss 5% --bandwidth 1Mbit\n  meshlab fault degrade s1-s2 --loss 20% --for 5s",
		Args:    cobra.ExactArgs(1),
	}, func(args []string) (scenarios.Fault, error) {
		f := scenarios.Fault{Kind: scenarios.Degrade, Target: args[0]}
		var errs []error
		read := func(flag, text string, parse func(string) error) {
			if text == "" {
				return
			}
			if err := parse(text); err != nil {
				errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
			}
		}
		var err error
		read("delay", delay, func(s string) error { f.Delay, err = topo.ParseDelay(s); return err })
		read("jitter", jitter, func(s string) error { f.Jitter, err = topo.ParseDelay(s); return err })
		read("loss", loss, func(s string) error { f.Loss, err = topo.ParseLoss(s); return err })
		read("bandwidth", bandwidth, func(s string) error { f.Bandwidth, err = topo.ParseBandwidth(s); return err })
		return f, errors.Join(errs...)
	})
	c.Flags().StringVar(&delay, "delay", "", "one way, as in 20ms")
	c.Flags().StringVar(&jitter, "jitter", "", "at most this much around the delay, as in 2ms")
	c.Flags().StringVar(&loss, "loss", "", "share of frames that are lost, as in 5%")
	c.Flags().StringVar(&bandwidth, "bandwidth", "", "bits per second, as in 1Mbit")
	return c
}

// lasting makes a verb of a fault that begins: its time, its lab, its output.
func lasting(c *cobra.Command, of func(args []string) (scenarios.Fault, error)) *cobra.Command {
	var lasts time.Duration
	labFlag(c).Flags().DurationVar(&lasts, "for", defaultFault, "how long it lasts; 0: until 'meshlab fault undo'")
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := of(args)
		f.For = lasts
		if err := errors.Join(err, f.Validate()); err != nil {
			return usageError{err}
		}
		return withLab(c, func(ctx context.Context, ctl *supervisor.Client) error {
			e, err := ctl.BeginFault(ctx, f)
			if err != nil {
				return err
			}
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(e)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), begun(e))
			return err
		})
	}
	return c
}

// withLab asks the lab that a verb is about.
func withLab(c *cobra.Command, ask func(context.Context, *supervisor.Client) error) error {
	state, err := liveLab(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), faultLimit)
	defer cancel()
	return ask(ctx, supervisor.NewClient(state.Control()))
}

// begun tells of a fault that has just begun.
func begun(e fault.Entry) string {
	what := ""
	if w := e.What(); w != "" {
		what = " (" + w + ")"
	}
	if e.Until == nil {
		return fmt.Sprintf("Fault %d is on: %s%s. `meshlab fault undo %d` ends it.", e.ID, e.Fault, what, e.ID)
	}
	return fmt.Sprintf("Fault %d is on: %s%s. It ends in %v; `meshlab fault undo %d` ends it now.", e.ID, e.Fault, what, e.For, e.ID)
}

func newFaultList() *cobra.Command {
	return labFlag(&cobra.Command{
		Use:     "list",
		Short:   "Faults that are on, and those that have ended",
		Example: "  meshlab fault list\n  meshlab fault list --output json | jq '.[] | select(.ended == null)'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withLab(c, func(ctx context.Context, ctl *supervisor.Client) error {
				all, err := ctl.Faults(ctx)
				if err != nil {
					return err
				}
				if wantJSON(c) {
					return json.NewEncoder(c.OutOrStdout()).Encode(all)
				}
				return printFaults(c.OutOrStdout(), all, time.Now())
			})
		},
	})
}

func printFaults(out io.Writer, all []fault.Entry, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "The lab has had no faults.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tFAULT\tSTRUCK\tSINCE\tSTATE")
	for _, e := range all {
		struck := e.What()
		if struck == "" {
			struck = e.Struck()
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", e.ID, e.Fault, struck, e.Began.Local().Format(time.TimeOnly), faultState(e, now))
	}
	return w.Flush()
}

func faultState(e fault.Entry, now time.Time) string {
	switch {
	case !e.On():
		return fmt.Sprintf("ended after %v", e.Ended.Sub(e.Began).Round(time.Millisecond))
	case e.Error != "":
		return "could not be undone: " + e.Error
	case e.Until == nil:
		return "on, until it is undone"
	}
	return fmt.Sprintf("on, ends in %v", max(0, e.Until.Sub(now)).Round(100*time.Millisecond))
}

func newFaultUndo() *cobra.Command {
	var all bool
	c := labFlag(&cobra.Command{
		Use:     "undo ID|--all",
		Short:   "End a fault now",
		Long:    "End a fault that is on, or all of them: what was killed is started again, what\nwas cut carries frames. ID is a number that `meshlab fault list` has.",
		Example: "  meshlab fault undo 3\n  meshlab fault undo --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usageError{errors.New("name a fault by its number, or say --all; `meshlab fault list` has the numbers")}
			}
			return withLab(c, func(ctx context.Context, ctl *supervisor.Client) error {
				ended, err := endFaults(ctx, ctl, args)
				if err != nil {
					return err
				}
				if wantJSON(c) {
					return json.NewEncoder(c.OutOrStdout()).Encode(ended)
				}
				if len(ended) == 0 {
					_, err = fmt.Fprintln(c.OutOrStdout(), "No fault was on.")
				}
				for _, e := range ended {
					_, err = fmt.Fprintf(c.OutOrStdout(), "Fault %d (%s) has ended, after %v.\n", e.ID, e.Fault, e.Ended.Sub(e.Began).Round(time.Millisecond))
				}
				return err
			})
		},
	})
	c.Flags().BoolVar(&all, "all", false, "all faults that are on")
	return c
}

func endFaults(ctx context.Context, ctl *supervisor.Client, args []string) ([]fault.Entry, error) {
	if len(args) == 0 {
		return ctl.EndFaults(ctx)
	}
	id, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, usageError{fmt.Errorf("fault %q: want its number, which `meshlab fault list` has", args[0])}
	}
	e, err := ctl.EndFault(ctx, id)
	return []fault.Entry{e}, err
}
