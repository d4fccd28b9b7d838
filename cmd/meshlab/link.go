package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate/shape"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/topo"
)

// linkLimit is how long a lab may take to change a link.
const linkLimit = 30 * time.Second

func newLink() *cobra.Command {
	c := &cobra.Command{
		Use:   "link",
		Short: "What the links of a lab do to frames: delay, loss, bandwidth",
		Long: `Show and change what the links of a running lab do to frames: bandwidth, delay,
jitter and loss, in each direction. A link is named by its ends, h1-s1, in either
order, or with its interfaces: s1:3-s2:4.

What 'meshlab link set' takes:
  --bandwidth  bits per second of whole frames, as in 100Mbit
  --delay      one way, as in 5ms
  --jitter     at most this much less or more than the delay
  --loss       share of frames, as in 1%

docs/links.md has the meaning of each and how exact they are.`,
		Example: `  meshlab link list
  meshlab link set h1-s1 --delay 5ms --loss 1%
  meshlab link reset h1-s1`,
	}
	c.AddCommand(newLinkList(), newLinkSet(), newLinkReset())
	return c
}

func newLinkList() *cobra.Command {
	return labFlag(&cobra.Command{
		Use:   "list [LAB]",
		Short: "All links, and what each does and has done",
		Long: `List all links with what they have carried, and what they do to frames. Of a
link with a character: how many frames it lost on purpose, how many found no room
in its queue, and how late frames left, which is how exact the delay is. Figures
of a direction are written A to B / B to A.`,
		Example: "  meshlab link list\n  meshlab link list hashicups --output json | jq '.[].shaped'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withLinks(c, args, func(ctx context.Context, ctl *supervisor.Client) error {
				all, err := ctl.Links(ctx)
				if err != nil {
					return err
				}
				if wantJSON(c) {
					return json.NewEncoder(c.OutOrStdout()).Encode(all)
				}
				return printLinks(c.OutOrStdout(), all)
			})
		},
	})
}

func newLinkSet() *cobra.Command {
	var change supervisor.LinkChange
	c := labFlag(&cobra.Command{
		Use:   "set LINK [LAB]",
		Short: "Change what a link does to frames",
		Long: `Change what a link does to frames in each of its two directions, while they
pass. What no flag names stays as it is; 0s, 0% and unlimited take it away.

  --bandwidth  bits per second of whole frames, as in 100Mbit
  --delay      one way, so a round trip takes twice that, as in 5ms
  --jitter     at most this much less or more than the delay
  --loss       share of frames, as in 1%

A link between switches of one Open vSwitch is a patch port until it first gets
a character. Then it becomes a cable, and what is on its way over it in that
moment is lost; flows and port numbers stay.`,
		Example: `  meshlab link set h1-s1 --delay 5ms --jitter 1ms --loss 1% --bandwidth 100Mbit
  meshlab link set s1-s2 --bandwidth unlimited
  meshlab link set s1:3-s2:4 --loss 0.5% hashicups`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			change.Link = args[0]
			if err := checkChange(change); err != nil {
				return usageError{fmt.Errorf("%w\nSee '%s --help'", err, c.CommandPath())}
			}
			return changeLink(c, args[1:], change)
		},
	})
	c.Flags().StringVar(&change.Bandwidth, "bandwidth", "", "bits per second, as in 100Mbit, or unlimited")
	c.Flags().StringVar(&change.Delay, "delay", "", "one way, as in 5ms")
	c.Flags().StringVar(&change.Jitter, "jitter", "", "at most this much around the delay, as in 1ms")
	c.Flags().StringVar(&change.Loss, "loss", "", "share of frames, as in 1%")
	return c
}

// checkChange finds what is wrong whatever the lab.
func checkChange(c supervisor.LinkChange) error {
	if c.Character == (supervisor.Character{}) {
		return fmt.Errorf("link %s: state --bandwidth, --delay, --jitter or --loss", c.Link)
	}
	parse := func(what, text string, of func(string) error) error {
		if text == "" {
			return nil
		}
		if err := of(text); err != nil {
			return fmt.Errorf("--%s: %w", what, err)
		}
		return nil
	}
	delay := func(s string) error { _, err := topo.ParseDelay(s); return err }
	return errors.Join(
		parse("bandwidth", c.Bandwidth, func(s string) error { _, err := topo.ParseBandwidth(s); return err }),
		parse("delay", c.Delay, delay),
		parse("jitter", c.Jitter, delay),
		parse("loss", c.Loss, func(s string) error { _, err := topo.ParseLoss(s); return err }),
	)
}

func newLinkReset() *cobra.Command {
	return labFlag(&cobra.Command{
		Use:     "reset LINK [LAB]",
		Short:   "Let a link be as the lab file says",
		Long:    "Give a link the character that the lab file states, or none where it states none.",
		Example: "  meshlab link reset h1-s1\n  meshlab link reset s1-s2 hashicups",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			return changeLink(c, args[1:], supervisor.LinkChange{Link: args[0], Reset: true})
		},
	})
}

func changeLink(c *cobra.Command, lab []string, change supervisor.LinkChange) error {
	return withLinks(c, lab, func(ctx context.Context, ctl *supervisor.Client) error {
		done, err := ctl.SetLink(ctx, change)
		var wrong *supervisor.RequestError
		if errors.As(err, &wrong) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		if wantJSON(c) {
			return json.NewEncoder(c.OutOrStdout()).Encode(done)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "Link %s: %s (before: %s)\n", done.Link, characterText(&done.Now), characterText(&done.Before))
		return err
	})
}

// withLinks asks the lab that is named by an argument, by --lab, or not at all.
func withLinks(c *cobra.Command, lab []string, ask func(context.Context, *supervisor.Client) error) error {
	if len(lab) == 1 {
		if err := c.Flags().Set("lab", lab[0]); err != nil {
			return usageError{err}
		}
	}
	state, err := liveLab(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), linkLimit)
	defer cancel()
	return ask(ctx, supervisor.NewClient(state.Control()))
}

// characterText is a character in words: 100Mbit, 5ms ± 1ms, 1% lost.
func characterText(c *supervisor.Character) string {
	if c == nil || *c == (supervisor.Character{}) {
		return "as fast as the machine"
	}
	var parts []string
	if c.Bandwidth != "" {
		parts = append(parts, c.Bandwidth)
	}
	if c.Delay != "" {
		parts = append(parts, strings.TrimSuffix(c.Delay+" ± "+c.Jitter, " ± "))
	}
	if c.Loss != "" {
		parts = append(parts, c.Loss+" lost")
	}
	return strings.Join(parts, ", ")
}

func printLinks(out io.Writer, all []supervisor.LinkCounters) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "LINK\tCHARACTER\tPACKETS\tLOST\tNO ROOM\tLATE P50\tLATE P99")
	var cut []string
	means := ""
	for _, l := range all {
		lost, room, p50, p99 := "-", "-", "-", "-"
		if s := l.Shaped; s != nil {
			both := func(of func(shape.Counters) string) string { return of(s.AToB) + " / " + of(s.BToA) }
			lost = both(func(c shape.Counters) string { return fmt.Sprint(c.Lost) })
			if l.Means == shape.OwnProcess {
				room = both(func(c shape.Counters) string { return fmt.Sprint(c.Overflow + c.Refused) })
				p50 = both(func(c shape.Counters) string { return microseconds(c.LateP50US) })
				p99 = both(func(c shape.Counters) string { return microseconds(c.LateP99US) })
			}
			if s.Error != "" {
				cut = append(cut, fmt.Sprintf("%s is cut: %s", l.Name, s.Error))
			}
		}
		if l.Means != "" {
			means = string(l.Means)
		}
		fmt.Fprintf(w, "%s\t%s\t%d / %d\t%s\t%s\t%s\t%s\n", l.Name, characterText(l.Character), l.AToB.Packets, l.BToA.Packets, lost, room, p50, p99)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if means != "" {
		fmt.Fprintf(out, "\nBy %s. Figures are A to B / B to A.\n", means)
	}
	for _, text := range cut {
		fmt.Fprintln(out, text)
	}
	return nil
}

func microseconds(us int64) string {
	return (time.Duration(us) * time.Microsecond).String()
}
