package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
killed or has crashed before. Removing a lab that is not there is no error.`,
		Example: "  meshlab down\n  meshlab down hashicups\n  meshlab down --all",
		RunE: func(c *cobra.Command, args []string) error {
			names := args
			switch {
			case all && len(args) > 0:
				return usageError{errors.New("either names or --all")}
			case all:
				recs, err := orchestrate.List()
				if err != nil {
					return err
				}
				for _, r := range recs {
					names = append(names, r.Name)
				}
			case len(args) == 0:
				name, err := onlyLab()
				if errors.Is(err, errNoLab) {
					break
				}
				if err != nil {
					return err
				}
				names = []string{name}
			}
			for _, n := range names {
				if err := checkName(n); err != nil {
					return err
				}
			}
			removed := []string{}
			var errs []error
			for _, n := range names {
				found, err := supervisor.Remove(c.Context(), n)
				if err != nil {
					errs = append(errs, fmt.Errorf("lab %s: %w", n, err))
				} else if found {
					removed = append(removed, n)
				}
			}
			if wantJSON(c) {
				_ = json.NewEncoder(c.OutOrStdout()).Encode(map[string][]string{"removed": removed})
				return errors.Join(errs...)
			}
			for _, n := range removed {
				fmt.Fprintf(c.OutOrStdout(), "Lab %s is down; nothing is left of it.\n", n)
			}
			if len(removed) == 0 && len(errs) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "No such lab is up; nothing to do.")
			}
			return errors.Join(errs...)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "remove every lab of this user")
	return c
}

var errNoLab = errors.New("no lab is up; `meshlab up` brings one to life")

// onlyLab is the name of the one lab that is up.
func onlyLab() (string, error) {
	recs, err := orchestrate.List()
	if err != nil {
		return "", err
	}
	return only(recs)
}

// only is the one lab that lives; while none does, the one that is dead or is
// coming up. The error matches errNoLab when there is none at all.
func only(recs []orchestrate.Record) (string, error) {
	if live := slices.DeleteFunc(slices.Clone(recs), func(r orchestrate.Record) bool { return !r.Alive() }); len(live) > 0 {
		recs = live
	}
	switch len(recs) {
	case 0:
		return "", errNoLab
	case 1:
		return recs[0].Name, nil
	}
	var names []string
	for _, r := range recs {
		names = append(names, r.Name)
	}
	return "", usageError{fmt.Errorf("several labs are up, say which: %s", strings.Join(names, ", "))}
}
