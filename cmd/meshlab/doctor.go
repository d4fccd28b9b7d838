package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate/doctor"
)

func newDoctor() *cobra.Command {
	var install, fix bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "What this machine has and lacks for labs, and the command that mends it",
		Long: `Look at everything a lab needs. Each lack comes with one command that mends it.
--install, as root, brings all of it at once: packages, by the package manager of
Debian, Ubuntu, Fedora, Arch and those like them, and settings of the kernel until
the next boot. It builds Consul when it is neither on the PATH nor in the cache,
unless sudo runs it: the first lab of yours builds it then. --fix removes
what crashes have left: labs that have ended, with their state folders, builds
and files that were never finished. It touches nothing that lives, and nothing
that is not meshlab's own for certain.
Exit code 0: labs can run; 1: something is missing.`,
		Example: "  meshlab doctor\n  sudo meshlab doctor --install\n  meshlab doctor --fix",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			findings := doctor.Check(ctx)
			if install {
				if err := doctor.Install(ctx, findings, os.Stderr); err != nil {
					return err
				}
				if os.Getenv("SUDO_USER") == "" { // else it would be in root's cache, for root alone
					p := newProgress(os.Stderr)
					_, err := findConsul(ctx, p)
					p.stop()
					if err != nil {
						return err
					}
				}
				findings = doctor.Check(ctx)
			}
			left, removed := checkLeftovers(ctx, fix)
			findings = append(findings, left...)
			if wantJSON(c) {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(findings); err != nil {
					return err
				}
			} else if err := printFindings(c.OutOrStdout(), findings); err != nil {
				return err
			}
			if !doctor.Usable(findings) || !removed {
				return exitCode(exitFailed)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&install, "install", false, "install missing packages, mend settings, and build Consul if it is missing")
	c.Flags().BoolVar(&fix, "fix", false, "remove what crashed labs, builds and measurements have left")
	return c
}

func printFindings(out io.Writer, findings []doctor.Finding) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Status, f.Name, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(w, "\t\tremedy: %s\n", f.Remedy)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if doctor.Usable(findings) {
		_, err := fmt.Fprintln(out, "\nLabs can run here.")
		return err
	}
	command, rest := doctor.OneCommand(findings, doctor.Self())
	switch {
	case command == "":
		fmt.Fprintln(out, "\nLabs cannot run here yet.")
	case len(rest) == 0:
		fmt.Fprintf(out, "\nLabs cannot run here yet. One command brings all that is missing:\n  %s\n", command)
	default:
		fmt.Fprintf(out, "\nLabs cannot run here yet. One command brings what can be brought:\n  %s\n", command)
	}
	return nil
}
