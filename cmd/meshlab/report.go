package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/scenarios"
)

func newReport() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "report RESULTS...",
		Short: "Turn results into a page with tables and figures",
		Long: `Write a report from one or more result files of 'meshlab bench': index.html,
one page without network access; report.md; and every figure as PNG and SVG.`,
		Example: "  meshlab report results/latest.json\n  meshlab report results/latest.json --out report",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				out = strings.TrimSuffix(args[0], filepath.Ext(args[0])) + "-report"
			}
			var results []*scenarios.Result
			for _, name := range args {
				r, err := scenarios.ReadFile(name)
				if err != nil {
					return usageError{err}
				}
				results = append(results, r)
			}
			begin := time.Now()
			files, err := reports.Write(c.Context(), out, results, reports.Options{})
			if err != nil {
				return err
			}
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"files": files})
			}
			fmt.Fprintf(c.OutOrStdout(), "Report of %d files written in %.1f s:\n  %s\n  %s\n",
				len(files), time.Since(begin).Seconds(), filepath.Join(out, "index.html"), filepath.Join(out, "report.md"))
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder of the report (default: beside the first result file)")
	return c
}
