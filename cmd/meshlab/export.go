package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/reports/export"
	"meshlab.dev/meshlab/scenarios"
)

func newExport() *cobra.Command {
	var format, out string
	var names []string
	long := "Write results in the form of another tool:\n\n"
	for _, f := range export.Formats() {
		names = append(names, f.Name)
		long += fmt.Sprintf("  %-12s %s\n", f.Name, f.Summary)
	}
	c := &cobra.Command{
		Use:   "export RESULTS... --format FORMAT",
		Short: "Write results in the form of another tool",
		Long:  long + "\ndocs/export.md says what each holds, and what it has no place for.",
		Example: `  meshlab export results/latest.json --format benchfmt > new.txt && benchstat old.txt new.txt
  meshlab export results/latest.json --format csv --out cells.csv
  meshlab export results/latest.json --format fortio --out fortio && fortio report -data-dir fortio`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			results, err := readResults(args)
			if err != nil {
				return err
			}
			if !slices.Contains(names, format) {
				return usageError{fmt.Errorf("--format %q: it is one of %s", format, strings.Join(names, ", "))}
			}
			var b bytes.Buffer
			err = export.Write(&b, format, results)
			switch {
			case errors.Is(err, export.ErrManyFiles) && out == "":
				return usageError{fmt.Errorf("%w with --out", err)}
			case errors.Is(err, export.ErrManyFiles):
				files, err := export.WriteDir(out, format, results)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.ErrOrStderr(), "%d files written to %s\n", len(files), out)
				return nil
			case errors.Is(err, export.ErrNothing):
				return usageError{err}
			case err != nil:
				return err
			case out == "":
				_, err := c.OutOrStdout().Write(b.Bytes())
				return err
			}
			return scenarios.WriteFile(out, b.Bytes())
		},
	}
	c.Flags().StringVar(&format, "format", "", strings.Join(names, ", "))
	c.Flags().StringVar(&out, "out", "", "file, or folder for fortio (default: standard output)")
	_ = c.MarkFlagRequired("format") // fails for a flag that does not exist
	return c
}

// readResults reads result files.
func readResults(paths []string) ([]*scenarios.Result, error) {
	var all []*scenarios.Result
	for _, name := range paths {
		r, err := scenarios.ReadFile(name)
		if err != nil {
			return nil, usageError{err}
		}
		all = append(all, r)
	}
	return all, nil
}
