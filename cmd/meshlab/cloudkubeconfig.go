package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/terraform"
)

func newCloudKubeconfig() *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig [NAME]",
		Short: "Wait until the clusters are ready, and tell their kubeconfigs",
		Long: `Wait until the nodes of a lab's clusters are ready, and print the paths of their
kubeconfigs. That of the virtual machines is fetched by SSH from their control plane,
with the lab's key. Its host key is believed the first time, and another one later
is refused. Kubeconfigs let in whoever has them: they are in the lab's folder, for you
alone, and go with it.`,
		Example: `  meshlab cloud kubeconfig
  KUBECONFIG=$(meshlab cloud kubeconfig --output json | jq -r .ovs) kubectl get nodes`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := cloudName(args)
			if err != nil {
				return err
			}
			_, _, all, _, err := lookAtCloud(c, name)
			if err != nil {
				return err
			}
			p := newProgress(os.Stderr)
			defer p.stop()
			errs := make([]error, len(all))
			var running sync.WaitGroup
			for i, cluster := range all {
				running.Go(func() { errs[i] = cluster.await(c.Context(), p.of(cluster.name), "") })
			}
			running.Wait()
			p.stop()
			paths := map[string]string{}
			for i, cluster := range all {
				switch {
				case errs[i] != nil:
					errs[i] = fmt.Errorf("cluster %s: %w", cluster.name, errs[i])
				case wantJSON(c):
					paths[cluster.name] = cluster.kubeconfig
				default:
					fmt.Fprintf(c.OutOrStdout(), "%s: export KUBECONFIG=%s\n", cluster.name, cluster.kubeconfig)
				}
			}
			if wantJSON(c) {
				errs = append(errs, json.NewEncoder(c.OutOrStdout()).Encode(paths))
			}
			return errors.Join(errs...)
		},
	}
}

// lookAtCloud finds what a lab has. Its folder is free again afterwards: what costs can
// be looked at and taken down while it is measured.
func lookAtCloud(c *cobra.Command, name string) (s terraform.Settings, items []terraform.Item, all []cloudCluster, registry string, err error) {
	if s, err = terraform.LoadSettings(cloudDir(name)); err != nil {
		if errors.Is(err, terraform.ErrNoLab) {
			err = fmt.Errorf("lab %s: %w; `meshlab cloud up` makes one", name, err)
		}
		return s, nil, nil, "", err
	}
	prices, err := terraform.LoadPrices()
	if err != nil {
		return s, nil, nil, "", err
	}
	lab, err := openCloud(c, s)
	if err != nil {
		return s, nil, nil, "", err
	}
	defer lab.Close()
	if items, err = lab.Exists(c.Context(), prices); err != nil {
		return s, nil, nil, "", err
	}
	if len(items) == 0 {
		return s, nil, nil, "", fmt.Errorf("nothing of lab %s exists: meshlab cloud up %s", name, name)
	}
	if at := terraform.Expires(items); at != nil && at.Before(time.Now()) {
		return s, nil, nil, "", fmt.Errorf("lab %s: Azure was to delete it at %s; see that nothing is left: meshlab cloud down %s", name, localTime(*at), name)
	}
	a, err := lab.Access(c.Context())
	if err != nil {
		return s, nil, nil, "", err
	}
	all, registry, err = reach(lab, a)
	if err != nil {
		err = fmt.Errorf("lab %s: %w", name, err)
	}
	return s, items, all, registry, err
}
