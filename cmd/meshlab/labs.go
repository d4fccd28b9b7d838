package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/topo"
)

func newLabs() *cobra.Command {
	var page bool
	c := &cobra.Command{
		Use:   "labs [NAME]",
		Short: "List the labs of the catalogue, or print the file or the page of one",
		Long: `List the labs that come with meshlab, with the idea of each. With a name, print
its lab file; with --page, the page that teaches its idea by commands to type.
'meshlab init' writes all files of a lab into a folder of your own.`,
		Example: "  meshlab labs\n  meshlab labs hashicups\n  meshlab labs intentions --page",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if page {
				return printPage(c, args)
			}
			if len(args) == 1 {
				lab, err := loadLab(args[0])
				if err != nil {
					return err
				}
				if wantJSON(c) {
					return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"name": lab.Name, "file": string(lab.source)})
				}
				_, err = c.OutOrStdout().Write(lab.source)
				return err
			}
			list := labs.List()
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(list)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, l := range list {
				fmt.Fprintf(w, "%s\t%s\n", l.Name, l.Description)
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&page, "page", false, "print the page instead of the file")
	return c
}

func printPage(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("--page: name a lab")}
	}
	text, err := labs.Page(args[0])
	if err != nil {
		return usageError{err}
	}
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"name": args[0], "page": string(text)})
	}
	_, err = c.OutOrStdout().Write(text)
	return err
}

func newGraph() *cobra.Command {
	var format string
	var live bool
	c := labFlag(&cobra.Command{
		Use:   "graph [LAB]",
		Short: "Draw a lab: SVG, Graphviz or Mermaid",
		Long: `Draw the topology of a lab file. --live draws the services of a lab that is up
instead, and what flows between them at this moment.`,
		Example: "  meshlab graph hashicups > hashicups.svg\n  meshlab graph my-lab.yaml --format mermaid\n  meshlab graph --live --format text",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if live {
				return drawLive(c, args, format)
			}
			lab, err := loadLab(argOr(args, defaultLab))
			if err != nil {
				return err
			}
			var text string
			switch format {
			case "svg":
				text = string(topo.SVG(lab.Lab))
			case "dot":
				text = topo.DOT(lab.Lab)
			case "mermaid":
				text = topo.Mermaid(lab.Lab)
			default:
				return usageError{fmt.Errorf("--format %s: it is svg, dot or mermaid", format)}
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		},
	})
	c.Flags().StringVar(&format, "format", "svg", "svg, dot or mermaid; text too with --live")
	c.Flags().BoolVar(&live, "live", false, "draw who calls whom in a lab that is up, with rates")
	return c
}
