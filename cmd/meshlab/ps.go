package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// labFlag adds --lab, which names the lab a verb is about.
func labFlag(c *cobra.Command) *cobra.Command {
	c.Flags().String("lab", "", "name of the lab (default: the one that is up)")
	return c
}

// liveLab finds the lab that a verb is about.
func liveLab(c *cobra.Command) (orchestrate.State, error) {
	name := c.Flag("lab").Value.String()
	if name == "" {
		only, err := onlyLab()
		if err != nil {
			return orchestrate.State{}, err
		}
		name = only
	} else if err := checkName(name); err != nil {
		return orchestrate.State{}, err
	}
	st := orchestrate.StateOf(name)
	if _, err := os.Stat(st.Dir); errors.Is(err, fs.ErrNotExist) {
		return st, fmt.Errorf("lab %s: %w", name, orchestrate.ErrNotUp)
	}
	l, err := st.Look()
	if err != nil {
		return st, err
	}
	switch {
	case l.Condition == orchestrate.ComingUp:
		return st, fmt.Errorf("lab %s: %w: another meshlab is bringing it up or down at this moment", name, orchestrate.ErrNotUp)
	case l.Condition == orchestrate.Ended:
		return st, fmt.Errorf("lab %s: %w: it has ended; `meshlab down %s` removes what it left, and `meshlab up` of the same name does so first", name, orchestrate.ErrNotUp, name)
	case l.Problem != "" && !l.Newer():
		return st, fmt.Errorf("lab %s: %s; `meshlab down %s` removes it", name, l.Problem, name)
	}
	return st, nil
}

func newPs() *cobra.Command {
	var all bool
	c := labFlag(&cobra.Command{
		Use:     "ps",
		Short:   "Nodes, services with their health, and processes of a lab",
		Example: "  meshlab ps\n  meshlab ps --all\n  meshlab ps --output json | jq .services",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if all {
				return listLabs(c)
			}
			state, err := liveLab(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
			defer cancel()
			st, err := supervisor.NewClient(state.Control()).Status(ctx)
			if err != nil {
				return err
			}
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(st)
			}
			if name := filepath.Base(state.Dir); name != st.Lab { // several labs can be of one file
				st.Lab = name + " (" + st.Lab + ")"
			}
			return printStatus(c.OutOrStdout(), st)
		},
	})
	c.Flags().BoolVar(&all, "all", false, "list all labs of this user instead")
	return c
}

func printStatus(out io.Writer, st supervisor.Status) error {
	where := ""
	if st.Runtime == orchestrate.Docker {
		where = ", on Docker"
	}
	fmt.Fprintf(out, "Lab %s, mesh %s%s, up for %s\n", st.Lab, st.Mesh, where, time.Since(st.Since).Round(time.Second))
	for _, p := range st.Published {
		fmt.Fprintf(out, "  %s: http://%s/\n", p.Service, p.Address)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nNODE\tKIND\tADDRESS\tMAC OR DATAPATH ID\tLINKS")
	for _, n := range st.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", n.Name, n.Kind, dash(n.IPv4), n.MAC+n.DPID, n.Ports)
	}
	fmt.Fprintln(w, "\nSERVICE\tNODE\tADDRESS\tHEALTH\tUPSTREAMS")
	for _, s := range st.Services {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Node, s.Address, s.Health, dash(strings.Join(s.Upstreams, ", ")))
	}
	printController(w, st.Controller)
	fmt.Fprintln(w, "\nPROCESS\tNODE\tPART\tSTATE\tRESTARTS\tSINCE")
	for _, p := range st.Processes {
		state := string(p.State)
		if p.Exit != "" && p.State != "running" {
			state += " (" + p.Exit + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", p.Name, dash(p.Node), p.Part, state, p.Restarts, time.Since(p.Started).Round(time.Second))
	}
	return w.Flush()
}

// printController tells whether the switches follow the mesh, and what of it
// they cannot.
func printController(w io.Writer, h *controller.Health) {
	if h == nil {
		fmt.Fprintln(w, "\nThe controller does not answer; the switches go on with the flows they have.")
		return
	}
	fmt.Fprintln(w, "\nSWITCH\tIN SYNC\tFLOWS\tGROUPS\tLAST CHANGE TOOK")
	for _, d := range h.Datapaths {
		state, took := "yes", "-"
		switch {
		case !d.Connected:
			state = "not connected"
		case !d.InSync:
			state = "no"
		}
		if d.Error != "" {
			state += " (" + d.Error + ")"
		}
		if d.SyncMS > 0 {
			took = fmt.Sprintf("%.1f ms", d.SyncMS)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", d.Name, state, d.Flows, d.Groups, took)
	}
	if !h.Registry {
		fmt.Fprintln(w, "\nConsul does not answer; its last state stands.")
	}
	if len(h.Warnings) > 0 {
		fmt.Fprintln(w, "\nNot honoured:")
		for _, text := range h.Warnings {
			fmt.Fprintf(w, "  %s\n", text)
		}
	}
	if len(h.Ejected) > 0 {
		fmt.Fprintln(w, "\nEJECTED INSTANCE\tSERVICE\tREFUSED\tUNANSWERED\tBACK AT")
		for _, e := range h.Ejected {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", e.Instance, e.Service, e.Refused, e.Unanswered, e.Until.Format(time.TimeOnly))
		}
	}
}

func listLabs(c *cobra.Command) error {
	labs, err := orchestrate.List()
	if err != nil {
		return err
	}
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(append([]orchestrate.Entry{}, labs...)) // [] for none, not null
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tLAB\tMESH\tRUNTIME\tSTATE\tSINCE")
	for _, l := range labs {
		state, since := string(l.Condition), "-"
		if l.Problem != "" {
			state += " (" + l.Problem + ")"
		}
		if !l.Created.IsZero() {
			since = l.Created.Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, dash(l.Lab), dash(string(l.Mesh)), dash(string(l.Runtime)), state, since)
	}
	return w.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newLogs() *cobra.Command {
	var lines int
	c := labFlag(&cobra.Command{
		Use:     "logs PROCESS",
		Short:   "What a process of a lab has printed",
		Long:    "Print the last lines of a process of a lab. PROCESS is a name that `meshlab ps` lists.",
		Example: "  meshlab logs public-api\n  meshlab logs consul@h1 -n 50",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if lines < 1 {
				return usageError{errors.New("-n: at least 1 line")}
			}
			state, err := liveLab(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
			defer cancel()
			text, err := supervisor.NewClient(state.Control()).Logs(ctx, args[0], lines)
			if err != nil {
				return err
			}
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"process": args[0], "lines": strings.Split(strings.TrimRight(text, "\n"), "\n")})
			}
			if text != "" && !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
			_, err = io.WriteString(c.OutOrStdout(), text)
			return err
		},
	})
	c.Flags().IntVarP(&lines, "lines", "n", 100, "how many lines, counted from the end")
	return c
}
