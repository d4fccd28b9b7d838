package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/labs"
)

func newInit() *cobra.Command {
	var from, out, shape string
	size := labs.DefaultManyHosts()
	c := &cobra.Command{
		Use:   "init [NAME]",
		Short: "Write a new lab, made from one of the catalogue",
		Long: `Write the files of a lab into a folder, to be changed: lab.yaml, the page that
explains it, its picture, and what else the page uses. NAME is the name of the new
lab, --from what it is made from, one of the labs that 'meshlab labs' lists; one of
them is enough when both are the same. Files that are there already are never
written over.

--hosts, --switches and --shape are for many-hosts alone. It may have 500 hosts in
all and 50 switches. With more than some 30 switches, the machine must be told to keep
more neighbours; init says how.`,
		Example: `  meshlab init shop --from hashicups
  meshlab init intentions --out ./try
  meshlab init many-hosts --hosts 5 --switches 4 --shape mesh`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := argOr(args, from)
			if name == "" {
				return usageError{errors.New("say what the lab is made from: --from, one of those that 'meshlab labs' lists")}
			}
			if from == "" {
				from = name
			}
			if out == "" {
				out = name
			}
			chosen := labs.ManyHosts{}
			for _, flag := range []string{"hosts", "switches", "shape"} {
				if !c.Flags().Changed(flag) {
					continue
				}
				if from != labs.ManyHostsName {
					return usageError{fmt.Errorf("--%s is for %s; %s has a shape of its own", flag, labs.ManyHostsName, from)}
				}
				size.Shape = labs.Shape(shape)
				if err := size.Validate(); err != nil {
					return usageError{err}
				}
				chosen = size
			}
			if err := checkName(name); err != nil {
				return err
			}
			files, err := labs.New(name, from, chosen)
			if errors.Is(err, labs.ErrUnknown) && !c.Flags().Changed("from") {
				err = fmt.Errorf("%w\nTo make a lab of this name from another one, say which: --from", err)
			}
			if err != nil {
				return usageError{err}
			}
			if err := writeLab(out, files); err != nil {
				return err
			}
			var names []string
			for _, f := range files {
				names = append(names, f.Name)
			}
			if n := chosen.Neighbours(); n > labs.MaxNeighbours {
				fmt.Fprintf(c.ErrOrStderr(), "note: its hosts make %d neighbours, and the kernel keeps %d by default (arp(7)); before up:\n  sysctl -w net.ipv4.neigh.default.gc_thresh3=%d\n",
					n, labs.MaxNeighbours, 2*n)
			}
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"name": name, "from": from, "folder": out, "files": names})
			}
			fmt.Fprintf(c.OutOrStdout(), "Lab %s is in %s: %s\n  meshlab up %s\n", name, out, strings.Join(names, ", "), filepath.Join(out, labs.LabFile))
			return nil
		},
	}
	c.Flags().StringVar(&from, "from", "", "lab of the catalogue to make it from (default: the one called NAME)")
	c.Flags().StringVar(&out, "out", "", "folder to write to (default: NAME)")
	c.Flags().IntVar(&size.Hosts, "hosts", size.Hosts, "many-hosts: hosts at each switch")
	c.Flags().IntVar(&size.Switches, "switches", size.Switches, "many-hosts: switches")
	c.Flags().StringVar(&shape, "shape", string(size.Shape), "many-hosts: how the switches are joined: tree, mesh or star")
	return c
}

// writeLab writes files into a folder, and makes that. When one of them is
// there already, none is written.
func writeLab(folder string, files []labs.File) error {
	for _, f := range files {
		path := filepath.Join(folder, f.Name)
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already; nothing was written", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for %s: %w", path, err)
		}
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	for _, f := range files {
		file, err := os.OpenFile(filepath.Join(folder, f.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return fmt.Errorf("write lab: %w", err)
		}
		_, err = file.Write(f.Text)
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("write %s: %w", file.Name(), err)
		}
	}
	return nil
}
