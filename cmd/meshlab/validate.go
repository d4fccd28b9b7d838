package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

func newValidate() *cobra.Command {
	var schema, scenario bool
	c := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check lab or scenario files and tell everything that is wrong with them",
		Long: `Check lab files, or with --scenario scenario files. All problems are told at once,
each with file, line and column. Exit code 0: all are right; 2: some are not.

With --output json it prints each file as JSON when all are right, and otherwise
one array of what is wrong: file, line, column (0 for the file as a whole), message.`,
		Example: "  meshlab validate my-lab.yaml\n  meshlab validate --schema > lab.schema.json\n  meshlab validate --scenario my-load.yaml",
		RunE: func(c *cobra.Command, args []string) error {
			if schema {
				text := topo.Schema()
				if scenario {
					text = scenarios.ScenarioSchema()
				}
				_, err := c.OutOrStdout().Write(text)
				return err
			}
			if len(args) == 0 {
				return usageError{fmt.Errorf("name at least one file")}
			}
			check := checkLab
			if scenario {
				check = checkScenario
			}
			return validate(c, args, check)
		},
	}
	c.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the files")
	c.Flags().BoolVar(&scenario, "scenario", false, "the files are scenario files")
	return c
}

// validate checks files by check, which returns what is in one, and that in a
// line.
func validate(c *cobra.Command, names []string, check func(name string) (value any, line string, err error)) error {
	inJSON := wantJSON(c)
	var good []any
	var wrong []mistake
	for _, name := range names {
		value, line, err := check(name)
		switch {
		case err != nil:
			wrong = append(wrong, mistakesOf(name, err)...)
			if !inJSON {
				fmt.Fprintln(c.ErrOrStderr(), err)
			}
		case inJSON:
			good = append(good, value)
		default:
			fmt.Fprintf(c.OutOrStdout(), "%s is right: %s\n", name, line)
		}
	}
	if inJSON && len(wrong) > 0 {
		good = []any{wrong}
	}
	e := json.NewEncoder(c.OutOrStdout())
	for _, v := range good {
		if err := e.Encode(v); err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return exitCode(exitUsage)
	}
	return nil
}

func checkLab(name string) (value any, line string, err error) {
	lab, err := loadLab(name)
	if err != nil {
		return nil, "", err
	}
	hosts := 0
	for _, n := range lab.Nodes {
		if n.Kind == topo.KindHost {
			hosts++
		}
	}
	return lab.Lab, fmt.Sprintf("lab %s, %d hosts, %d switches, %d services", lab.Name, hosts, len(lab.Nodes)-hosts, len(lab.Services)), nil
}

func checkScenario(name string) (value any, line string, err error) {
	s, err := loadScenario(name)
	if err != nil {
		return nil, "", err
	}
	return s.Scenario, fmt.Sprintf("scenario %s, %s loop, %d steps", s.Name, s.Model, len(s.Steps)), nil
}

// mistake is one thing that is wrong with a file, as JSON.
type mistake struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0: the file as a whole
	Column  int    `json:"column"` // from 1, in characters; 0: the file as a whole
	Message string `json:"message"`
}

// mistakesOf are those that the error of a named file tells of.
func mistakesOf(name string, err error) []mistake {
	var many *topo.ParseError
	if !errors.As(err, &many) {
		return []mistake{{File: name, Message: err.Error()}}
	}
	var all []mistake
	for _, p := range many.Problems {
		all = append(all, mistake{many.File, p.Line, p.Column, p.Message})
	}
	if many.Truncated {
		all = append(all, mistake{File: many.File, Message: fmt.Sprintf("more problems follow; the first %d are shown", len(many.Problems))})
	}
	return all
}
