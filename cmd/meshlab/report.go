package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/reports/print"
	"meshlab.dev/meshlab/scenarios"
)

func newReport() *cobra.Command {
	var out, format string
	var pdf bool
	c := &cobra.Command{
		Use:   "report RESULTS...",
		Short: "Turn results into a page with tables and figures",
		Long: `Write a report from one or more result files of 'meshlab bench' or 'meshlab
compare': index.html, one page that needs no network and holds the raw data;
report.md; and every figure as PNG and SVG.

Of several results, the page begins with a chapter that sets their environments
beside each other, and the thesis' Table 4: ratios of the meshes cell by cell, and
how well one environment tells of another. Figures of different environments are
never pooled. Results of one group, as those of a cloud lab's two clusters, count
as one environment.

--pdf adds report.pdf, laid out for print with numbered figures and tables.
--format latex writes the source of such a document instead: report.tex, a file
for each table, and the figures as PDF.`,
		Example: `  meshlab report results/latest.json
  meshlab report results/latest.json --out report --pdf
  meshlab report results/local.json results/docker.json results/cloud-*.json --out environments
  meshlab report results/latest.json --out thesis/chapter5 --format latex`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if format != "html" && format != "latex" {
				return usageError{fmt.Errorf("--format %q: it is html or latex", format)}
			}
			if out == "" {
				out = strings.TrimSuffix(args[0], filepath.Ext(args[0])) + "-report"
			}
			results, err := readResults(args)
			if err != nil {
				return err
			}
			begin := time.Now()
			var files []string
			if format == "latex" {
				files, err = print.LaTeX(out, results, print.Options{})
			} else {
				files, err = reports.Write(c.Context(), out, results, reports.Options{})
			}
			if err != nil {
				return err
			}
			shown := files[:1]
			if format == "html" {
				shown = files[:2]
			}
			if pdf {
				path := filepath.Join(out, "report.pdf")
				if err := writePDF(path, results); err != nil {
					return err
				}
				files, shown = append(files, path), append(shown[:len(shown):len(shown)], path)
			}
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"files": files})
			}
			fmt.Fprintf(c.OutOrStdout(), "Report of %d files written in %.1f s:\n  %s\n",
				len(files), time.Since(begin).Seconds(), strings.Join(shown, "\n  "))
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder of the report (default: beside the first result file)")
	c.Flags().StringVar(&format, "format", "html", "html or latex")
	c.Flags().BoolVar(&pdf, "pdf", false, "write report.pdf too")
	return c
}

func writePDF(path string, results []*scenarios.Result) error {
	var b bytes.Buffer
	if err := print.PDF(&b, results, print.Options{}); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make folder of the report: %w", err)
	}
	return scenarios.WriteFile(path, b.Bytes())
}
