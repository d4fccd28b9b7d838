package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

func newDown() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "down [NAME...]",
		Short: "Remove a lab, whatever state it is in",
		Long: `Remove labs: without a name, the one that is up. Every process, namespace,
link and file of the lab is gone afterwards; it does not matter what has been
killed or has crashed before, which meshlab brought the lab up, or whether
another one is bringing it up at this moment. Removing a lab that is not there
is no error. --all removes every lab of this user, those that have ended too.`,
		Example: "  meshlab down\n  meshlab down hashicups\n  meshlab down --all",
		RunE: func(c *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return usageError{errors.New("either names or --all")}
			}
			labs, err := toRemove(args, all)
			if err != nil {
				return err
			}
			r := remove(c.Context(), labs)
			if all {
				r.lost(c.Context())
			}
			if wantJSON(c) {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(r); err != nil {
					return errors.Join(err, r.err)
				}
				return r.err
			}
			r.print(c.OutOrStdout())
			return r.err
		},
	}
	c.Flags().BoolVar(&all, "all", false, "remove every lab of this user, those that have ended too")
	return c
}

// toRemove is what the arguments of `down` mean, as it is now.
func toRemove(names []string, all bool) ([]orchestrate.Entry, error) {
	if all {
		return orchestrate.ListAll()
	}
	if len(names) == 0 {
		name, err := onlyLab()
		if errors.Is(err, errNoLab) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		names = []string{name}
	}
	var labs []orchestrate.Entry
	for _, n := range names {
		if err := checkName(n); err != nil {
			return nil, err
		}
		l, err := orchestrate.StateOf(n).Look()
		if err != nil {
			return nil, err
		}
		labs = append(labs, l)
		for _, o := range orchestrate.Orphans() {
			if o.Name == n {
				labs = append(labs, o)
			}
		}
	}
	return labs, nil
}

// removal is what `down` has done.
type removal struct {
	Removed []string      `json:"removed"` // names
	Labs    []removedLab  `json:"labs"`    // the same, and what is known of them
	Failed  []failedToEnd `json:"failed,omitempty"`
	err     error
}

type removedLab struct {
	Name    string                `json:"name"`
	Was     orchestrate.Condition `json:"was"`
	Version string                `json:"version,omitempty"` // of the meshlab that brought it up
	Problem string                `json:"problem,omitempty"` // with its record
	newer   bool
}

type failedToEnd struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// remove takes labs down, one after the other, and goes on when one fails.
func remove(ctx context.Context, labs []orchestrate.Entry) removal {
	r := removal{Removed: []string{}, Labs: []removedLab{}}
	for _, l := range labs {
		found, err := true, error(nil)
		if l.Orphan {
			err = supervisor.RemoveOrphan(ctx, l)
		} else {
			found, err = supervisor.RemoveState(ctx, orchestrate.State{Dir: l.Dir})
		}
		switch {
		case err != nil:
			r.Failed = append(r.Failed, failedToEnd{l.Name, err.Error()})
			r.err = errors.Join(r.err, fmt.Errorf("lab %s: %w", l.Name, err))
		case found:
			r.Removed = append(r.Removed, l.Name)
			r.Labs = append(r.Labs, removedLab{l.Name, l.Condition, l.Version, l.Problem, l.Newer()})
		}
	}
	return r
}

// lost removes the containers of labs of which there is nothing else.
func (r *removal) lost(ctx context.Context) {
	labs, err := supervisor.LostContainers(ctx)
	if err != nil {
		r.err = errors.Join(r.err, err)
	}
	for _, l := range labs {
		switch found, err := supervisor.RemoveLost(ctx, l); {
		case err != nil:
			r.Failed = append(r.Failed, failedToEnd{l.Lab, err.Error()})
			r.err = errors.Join(r.err, fmt.Errorf("lab %s: %w", l.Lab, err))
		case found:
			r.Removed = append(r.Removed, l.Lab)
			r.Labs = append(r.Labs, removedLab{Name: l.Lab, Was: orchestrate.Ended, Version: l.Version, Problem: "only its containers were left"})
		}
	}
}

func (r removal) print(w io.Writer) {
	were := map[orchestrate.Condition]int{}
	for _, l := range r.Labs {
		were[l.Was]++
		nothing := "nothing is left of it"
		if l.newer {
			nothing += " that this meshlab knows"
		}
		if l.Problem != "" {
			nothing += " (" + l.Problem + ")"
		}
		fmt.Fprintf(w, "Lab %s is down; %s.\n", l.Name, nothing)
	}
	switch n := len(r.Labs); {
	case n == 0 && len(r.Failed) == 0:
		fmt.Fprintln(w, "No such lab is up; nothing to do.")
	case n > 1 || len(r.Failed) > 0:
		var parts []string
		for _, c := range []orchestrate.Condition{orchestrate.Up, orchestrate.ComingUp, orchestrate.Ended} {
			if were[c] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", were[c], c))
			}
		}
		if len(r.Failed) > 0 {
			parts = append(parts, fmt.Sprintf("%d could not be removed", len(r.Failed)))
		}
		fmt.Fprintf(w, "%d labs removed: %s.\n", n, strings.Join(parts, ", "))
	}
}

var errNoLab = errors.New("no lab is up; `meshlab up` brings one to life")

// onlyLab is the name of the one lab that is up.
func onlyLab() (string, error) {
	labs, err := orchestrate.List()
	if err != nil {
		return "", err
	}
	return only(labs)
}

// only is the one lab that lives; while none does, the one that has ended or is
// coming up. The error matches errNoLab when there is none at all.
func only(labs []orchestrate.Entry) (string, error) {
	live := slices.DeleteFunc(slices.Clone(labs), func(l orchestrate.Entry) bool { return l.Condition != orchestrate.Up })
	if len(live) > 0 {
		labs = live
	}
	switch len(labs) {
	case 0:
		return "", errNoLab
	case 1:
		return labs[0].Name, nil
	}
	var names []string
	for _, l := range labs {
		names = append(names, l.Name)
	}
	if len(live) == 0 {
		return "", usageError{fmt.Errorf("no lab is up, but several have ended or are coming up, say which: %s; `meshlab down --all` removes them", strings.Join(names, ", "))}
	}
	return "", usageError{fmt.Errorf("several labs are up, say which: %s", strings.Join(names, ", "))}
}
