package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// kubeFlags are those of bench that say how to measure on a cluster.
type kubeFlags struct {
	context, kubeconfig, image, pullSecret, vip, network string
}

func (f *kubeFlags) define(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.context, "kube", "", "measure on a Kubernetes cluster: context of the kubeconfig ('': its current one)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "with --kube: how to reach the cluster (default: as kubectl finds it)")
	flags.StringVar(&f.image, "image", "", "with --kube: image of meshlab that the nodes can pull (default: that of the cluster's agent)")
	flags.StringVar(&f.pullSecret, "pull-secret", "", "with --kube: Secret of namespace default to pull images with")
	flags.StringVar(&f.vip, "vip", "", "with --kube: virtual address of the mesh in the switches (default: what the cluster's agent says)")
	flags.StringVar(&f.network, "network", "", "with --kube: attachment that joins pods to the switches, NAMESPACE/NAME (default: one is made)")
}

// given tells whether a cluster is meant. Flags that are for clusters alone are
// an error without one.
func (f *kubeFlags) given(c *cobra.Command) (bool, error) {
	if c.Flags().Changed("kube") {
		return true, nil
	}
	for _, name := range []string{"kubeconfig", "image", "pull-secret", "vip", "network"} {
		if c.Flags().Changed(name) {
			return false, usageError{fmt.Errorf("--%s is for clusters: add --kube CONTEXT", name)}
		}
	}
	return false, nil
}

// notOnClusters are the flags of bench that need labs on this machine, and why.
var notOnClusters = []struct{ flag, why string }{
	{"runtime", "the hosts of a lab are pods there"},
	{"duet", "each pair of trials needs labs of its own, side by side, which a cluster does not make in time"},
	{"one-at-a-time", "it is for paired trials"},
	{"ramp", "it is a search with open loops, which have no load generator there"},
	{"waterfall", "it needs taps at all ports of the way"},
	{"log", "it is for paired trials"},
	{"watch", "what has been measured is in the cluster until the lab is done"},
}

// benchOnCluster is bench with --kube.
func benchOnCluster(c *cobra.Command, args []string, f benchFlags) error {
	for _, n := range notOnClusters {
		if c.Flags().Changed(n.flag) {
			return usageError{fmt.Errorf("--%s is not for clusters: %s; leave it or --kube out", n.flag, n.why)}
		}
	}
	b := kubeBench{
		Kubeconfig: f.kube.kubeconfig, Context: f.kube.context, Image: f.kube.image, PullSecret: f.kube.pullSecret,
		VIP: f.kube.vip, Network: f.kube.network, Labs: args, Quick: f.quick, Only: f.only, Seed: f.seed,
	}
	switch len(f.scenarios) {
	case 0:
	case 1:
		b.Scenario = f.scenarios[0]
	default:
		return usageError{fmt.Errorf("--scenario %s: a run on a cluster takes one", strings.Join(f.scenarios, ","))}
	}
	if c.Flags().Changed("mesh") {
		b.Meshes = f.meshes
	}
	if c.Flags().Changed("connections") {
		b.Connections = f.connections
	}
	if c.Flags().Changed("requests") {
		b.Requests = f.requests
	}
	if c.Flags().Changed("repeats") {
		b.Repeats = f.repeats
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return fmt.Errorf("create folder of results: %w", err)
	}
	outliveReader()
	p := newProgress(os.Stderr)
	defer p.stop()
	res, err := b.run(c.Context(), p)
	p.stop()
	if err != nil {
		return kubeInterrupted(c.Context(), err)
	}
	path, err := store(f.out, res)
	if err != nil {
		return err
	}
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"results": path, "id": res.ID})
	}
	printResult(c.OutOrStdout(), res)
	fmt.Fprintf(c.OutOrStdout(), "\nResults: %s\nAs a page: meshlab report %s\n", path, path)
	return nil
}
