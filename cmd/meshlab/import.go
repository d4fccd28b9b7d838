package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo/imports"
)

func newImport() *cobra.Command {
	var from, out, name string
	var force bool
	c := &cobra.Command{
		Use:   "import PATH",
		Short: "Make a lab file of a Kathará lab, a containerlab topology or a compose file",
		Long: `Make a lab file of another tool's network. PATH is a file or a folder:

  kathara       a folder with lab.conf and startup files
  containerlab  *.clab.yml, or a YAML file with topology:
  compose       compose.yaml, docker-compose.yml, or a YAML file with services:

The lab file goes to standard output, or to the file that --out names. What was not
carried over, was changed or is left to you goes to standard error, a line each with
file and line. Programs of containers become builtin services where they are
those of HashiCups. Other images of a compose file stay images, so that the lab needs
the Docker runtime; for others the builtin echo stands in until you write a command. docs/import.md has the details.

Exit code 2: the source has mistakes, or is in none of these formats.`,
		Example: `  meshlab import ./lab --out lab.yaml && meshlab up lab.yaml
  meshlab import topology.clab.yml | less
  meshlab import docker-compose.yml --name shop --out shop.yaml --force`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			logrus.SetOutput(io.Discard) // the compose library warns there; the notes say it
			if from != "" && !slices.Contains(imports.Formats(), imports.Format(from)) {
				return usageError{fmt.Errorf("--from %s: it is one of %s, %s, %s", from, imports.Kathara, imports.Containerlab, imports.Compose)}
			}
			if _, err := os.Lstat(out); err == nil && !force {
				return errThere(out)
			}
			res, err := importPath(args[0], imports.Options{
				Format: imports.Format(from), Name: name, Builtins: builtin.Names(),
			})
			if err != nil {
				return err
			}
			if out != "" {
				write := createFile
				if force {
					write = scenarios.WriteFile
				}
				if err := write(out, res.Lab); err != nil {
					return err
				}
			}
			return printImport(c, res, out)
		},
	}
	c.Flags().StringVar(&from, "from", "", "kathara, containerlab or compose (default: recognised)")
	c.Flags().StringVar(&out, "out", "", "file to write (default: standard output)")
	c.Flags().StringVar(&name, "name", "", "name of the lab (default: what the source says)")
	c.Flags().BoolVar(&force, "force", false, "replace the file that --out names")
	return c
}

func errThere(file string) error {
	return fmt.Errorf("%s is there already, and stays as it is; --force replaces it", file)
}

// createFile writes a new file, as a whole or not at all. One that is there
// stays as it is.
func createFile(file string, text []byte) error {
	mine, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // nobody else has it from here on
	switch {
	case errors.Is(err, fs.ErrExist):
		return errThere(file)
	case err != nil:
		return err
	}
	_ = mine.Close() // nothing was written to it
	if err := scenarios.WriteFile(file, text); err != nil {
		_ = os.Remove(file) // the first error is the one that counts
		return err
	}
	return nil
}

// importPath imports a file or folder of this machine.
func importPath(path string, opt imports.Options) (*imports.Result, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usageError{err}
	}
	dir, base := path, "."
	if !info.IsDir() {
		dir, base = filepath.Dir(path), filepath.Base(path)
	}
	opt.Folder = dir
	if abs, err := filepath.Abs(dir); err == nil {
		opt.Fallback = filepath.Base(abs)
		if opt.Fallback == "lab" { // in a folder that says which, as Kathará's labs often are
			opt.Fallback = filepath.Base(filepath.Dir(abs))
		}
	}
	res, err := imports.Import(os.DirFS(dir), base, opt)
	var source *imports.SourceError
	if errors.As(err, &source) || errors.Is(err, imports.ErrFormat) || errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{err}
	}
	return res, err
}

// printImport prints the lab file, if it is in no file, and the notes.
func printImport(c *cobra.Command, res *imports.Result, out string) error {
	if wantJSON(c) {
		notes := res.Notes
		if notes == nil {
			notes = []imports.Note{}
		}
		return json.NewEncoder(c.OutOrStdout()).Encode(struct {
			Name   string         `json:"name"`
			Format imports.Format `json:"format"`
			Source string         `json:"source"`
			Out    string         `json:"out,omitempty"`
			Lab    string         `json:"lab"`
			Notes  []imports.Note `json:"notes"`
		}{res.Name, res.Format, res.Source, out, string(res.Lab), notes})
	}
	if out == "" {
		if _, err := c.OutOrStdout().Write(res.Lab); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.OutOrStdout(), "Lab %s written to %s: `meshlab up %s` brings it to life.\n", res.Name, out, out)
	}
	for _, n := range res.Notes {
		fmt.Fprintln(c.ErrOrStderr(), n)
	}
	return nil
}
