package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

func newFlows() *cobra.Command {
	var rules bool
	c := labFlag(&cobra.Command{
		Use:   "flows [SWITCH...]",
		Short: "The flows in the switches of a lab, each with its reason and counters",
		Long: `Print the flows that the controller keeps in the switches, table by table, with
the reason for each and the packets and bytes it has seen. --rules shows match
and actions too, in the syntax of ovs-ofctl.`,
		Example: "  meshlab flows\n  meshlab flows s1 --rules",
		RunE: func(c *cobra.Command, args []string) error {
			state, err := liveLab(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
			defer cancel()
			flows, err := supervisor.NewClient(state.Control()).Flows(ctx)
			if err != nil {
				return err
			}
			var names []string
			for _, d := range flows.Datapaths {
				names = append(names, d.Name)
			}
			for _, a := range args {
				if !slices.Contains(names, a) {
					return usageError{fmt.Errorf("no switch %q in this lab: it has %s", a, strings.Join(names, ", "))}
				}
			}
			if len(args) > 0 {
				flows.Datapaths = slices.DeleteFunc(flows.Datapaths, func(d controller.DatapathFlows) bool { return !slices.Contains(args, d.Name) })
			}
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(flows)
			}
			return printFlows(c.OutOrStdout(), flows, rules)
		},
	})
	c.Flags().BoolVar(&rules, "rules", false, "show match and actions of each flow")
	return c
}

func printFlows(out io.Writer, flows controller.Flows, rules bool) error {
	for i, d := range flows.Datapaths {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "Switch %s: %d flows, %d groups\n", d.Name, len(d.Flows), len(d.Groups))
		if d.Error != "" {
			fmt.Fprintf(out, "  no counters: %s\n", d.Error)
		}
		w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "TABLE\tPACKETS\tBYTES\tREASON")
		for _, f := range d.Flows {
			reason := f.Reason
			if !f.Present {
				reason += " (missing in the switch)"
			}
			fmt.Fprintf(w, "%d %s\t%d\t%d\t%s\n", f.Table, f.TableName, f.Packets, f.Bytes, reason)
			if rules {
				fmt.Fprintf(w, "\t\t\t  priority=%d,%s actions=%s\n", f.Priority, f.Match, f.Actions)
			}
		}
		for _, g := range d.Groups {
			fmt.Fprintf(w, "group %d\t\t\t%s\n", g.ID, g.Reason)
			if rules {
				fmt.Fprintf(w, "\t\t\t  %s\n", g.Text)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}
