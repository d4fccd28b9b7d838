package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller/kube/deploy"
)

// Forms of the manifests.
const (
	formYAML      = "yaml"
	formKustomize = "kustomize"
	formHelm      = "helm"
)

func newAgentManifests() *cobra.Command {
	var f manifestFlags
	c := &cobra.Command{
		Use:   "manifests --image IMAGE --vip ADDRESS [--format yaml|kustomize|helm] [--out DIR]",
		Short: "Write the Kubernetes objects that run the agent on each node",
		Long: `Write the objects that run the agent on each node of a cluster: a DaemonSet
with its configuration, and a service account with the rights that it needs.

yaml is one text, for kubectl apply; kustomize a folder that is a base for
overlays; helm a folder that is a chart, which takes its values from Helm. All
three are made of the same objects, and their values are the same:
controller/kube/deploy/chart/values.yaml explains each. What the flags below do
not have, --values does.

Files that are in the way are not overwritten. docs/kubernetes.md says what a
node needs, and what each right is for.`,
		Example: `  meshlab agent manifests --image registry.example/meshlab:1.0 --vip 10.1.1.254 | kubectl apply -f -
  meshlab agent manifests --image registry.example/meshlab:1.0 --values mesh.yaml | kubectl diff -f -
  meshlab agent manifests --image registry.example/meshlab:1.0 --vip 10.1.1.254 --format kustomize --out base
  meshlab agent manifests --format helm --out meshlab-agent`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.format == formHelm {
				for _, name := range append(slices.Collect(maps.Keys(f.paths())), "values", "namespace") {
					if c.Flags().Changed(name) {
						return usageError{fmt.Errorf("--%s: a chart takes its values from Helm: helm install meshlab-agent FOLDER --namespace %s --set image=IMAGE --set config.vip=ADDRESS", name, deploy.DefaultNamespace)}
					}
				}
				files, err := deploy.Chart()
				if err != nil {
					return err
				}
				return writeManifests(f.out, files)
			}
			v, err := deploy.ParseFile(f.values, func(values map[string]any) { f.override(c, values) })
			if err != nil {
				return usageError{err}
			}
			v.Namespace = f.namespace
			switch f.format {
			case formYAML:
				text, err := v.Plain()
				if err != nil {
					return err
				}
				if f.out != "" {
					return writeManifests(f.out, map[string]string{"meshlab-agent.yaml": text})
				}
				_, err = fmt.Fprint(c.OutOrStdout(), text)
				return err
			case formKustomize:
				files, err := v.Kustomize()
				if err != nil {
					return err
				}
				return writeManifests(f.out, files)
			}
			return usageError{fmt.Errorf("--format %s: it is %s, %s or %s", f.format, formYAML, formKustomize, formHelm)}
		},
	}
	f.define(c)
	return c
}

// manifestFlags are the values that most clusters need, and where the result
// goes.
type manifestFlags struct {
	format, out, values, namespace            string
	image, vip, bridge, consul, network, pods string
}

func (f *manifestFlags) define(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.format, "format", formYAML, "yaml, kustomize or helm")
	flags.StringVar(&f.out, "out", "", "folder to write into; yaml goes to standard output without it")
	flags.StringVar(&f.values, "values", "", "file of values (YAML), as those of the chart; flags count before it")
	flags.StringVar(&f.namespace, "namespace", deploy.DefaultNamespace, "namespace of the agent")
	flags.StringVar(&f.image, "image", "", "image of meshlab that the nodes can pull (value image)")
	flags.StringVar(&f.vip, "vip", "", "virtual address of all upstreams (value config.vip)")
	flags.StringVar(&f.bridge, "bridge", "", "Open vSwitch bridge of each node (value config.bridges; default: br1)")
	flags.StringVar(&f.consul, "consul", "", "address of a Consul agent that pods can reach (value config.consul.address; default: none, services of the cluster)")
	flags.StringVar(&f.network, "network", "", "network attachment of pods that name none (value config.kubernetes.network)")
	flags.StringVar(&f.pods, "pod-selector", "", "labels of pods that can be of the mesh (value config.kubernetes.pod_selector)")
}

// paths are the places in the values that flags set.
func (f *manifestFlags) paths() map[string][]string {
	return map[string][]string{
		"image": {"image"}, "vip": {"config", "vip"}, "bridge": {"config", "bridges"}, "consul": {"config", "consul", "address"},
		"network": {"config", "kubernetes", "network"}, "pod-selector": {"config", "kubernetes", "pod_selector"},
	}
}

func (f *manifestFlags) override(c *cobra.Command, values map[string]any) {
	for name, path := range f.paths() {
		if !c.Flags().Changed(name) {
			continue
		}
		at := values
		for _, key := range path[:len(path)-1] {
			below, ok := at[key].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[key] = below
			}
			at = below
		}
		var value any = c.Flag(name).Value.String()
		if name == "bridge" {
			value = []any{value}
		}
		at[path[len(path)-1]] = value
	}
}

// writeManifests writes files into a folder, which it makes. A file that is
// there with another content is left, and an error.
func writeManifests(folder string, files map[string]string) error {
	if folder == "" {
		return usageError{errors.New("--out is missing: the folder to write into")}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(folder, filepath.FromSlash(name))
		old, err := os.ReadFile(path)
		switch {
		case err == nil && string(old) != files[name]:
			errs = append(errs, fmt.Errorf("%s is there already, with another content; remove it, or take another --out", path))
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
	}
	return nil
}
