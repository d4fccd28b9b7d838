package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/terraform"
)

func newCloudBench() *cobra.Command {
	b := cloudBench{measure: kubeBench.run}
	c := &cobra.Command{
		Use:   "bench [NAME]",
		Short: "Measure both clusters, and write a report over them",
		Long: `Measure a lab that 'meshlab cloud up' has made: push our image to its registry,
wait for its clusters, install the mesh agent where the switches are the mesh, and
run the labs' matrix on both clusters at the same time, each with a load pod of its
own: Consul Connect in AKS, the mesh in Open vSwitch on the virtual machines, and
plain pods in both. Labs run as pods in a namespace that is gone afterwards; the
clusters stay, and cost, until 'meshlab cloud down'.

Results go to OUT/<id>.json, a file for each cluster, and the report to
OUT/<name>-<time>-report. When one cluster fails, the other's results are kept, and
the exit code is 1.`,
		Example: `  meshlab cloud bench --quick
  meshlab cloud bench mine --labs hashicups,hashicups-single-node --out results/azure
  meshlab cloud bench --output json | jq -r .report`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return b.run(c, args) },
	}
	c.Flags().StringSliceVar(&b.labs, "labs", []string{"hashicups", "hashicups-single-node"}, "names or files of the labs to measure")
	c.Flags().StringSliceVar(&b.only, "only", nil, "names of requests to send (default: all of the lab file)")
	c.Flags().BoolVar(&b.quick, "quick", false, "1 and 8 connections, few requests: shows that all works; not for quoting")
	c.Flags().StringVar(&b.out, "out", defaultOut, "folder of the results")
	return c
}

// cloudBench is a run over the clusters of a lab in the cloud.
type cloudBench struct {
	labs, only []string
	quick      bool
	out        string
	measure    func(kubeBench, context.Context, *progress) (*scenarios.Result, error)
}

// measured is what came of a cluster.
type measured struct {
	Cluster string `json:"cluster"`
	Path    string `json:"path,omitempty"`
	Error   string `json:"error,omitempty"`

	result *scenarios.Result
	err    error
}

// cloudReport is a run as JSON.
type cloudReport struct {
	Group    string     `json:"group"`
	Image    string     `json:"image"`
	Clusters []measured `json:"clusters"`
	Report   string     `json:"report,omitempty"`
	Seconds  float64    `json:"seconds"`
	USD      float64    `json:"usd_per_hour"`
}

func (b cloudBench) run(c *cobra.Command, args []string) error {
	outliveReader()
	ctx, begin := c.Context(), time.Now()
	name, err := cloudName(args)
	if err != nil {
		return err
	}
	s, items, all, registry, err := lookAtCloud(c, name)
	if err != nil {
		return err
	}
	prices, err := terraform.LoadPrices()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return fmt.Errorf("create folder of results: %w", err)
	}
	p := newProgress(os.Stderr)
	defer p.stop()
	if s.StandIns != "" {
		p.line("STAND-INS take Azure's place; the clusters and the registry are those that %s names", s.StandIns)
	}
	usd, _ := terraform.Sum(items)
	p.line("the lab costs about %.2f USD an hour by prices of %s, until: meshlab cloud down %s", usd, prices.Date, name)
	if at := terraform.Expires(items); at != nil {
		p.line("Azure tries to delete it by itself in %s", time.Until(*at).Round(time.Minute))
	}
	image, err := b.pushImage(ctx, p, s, registry)
	if err != nil {
		return err
	}
	r := cloudReport{Group: name + "-" + begin.UTC().Format("20060102T150405Z"), Image: image, USD: usd}
	r.Clusters = b.clusters(ctx, p, all, image, r.Group)
	r.Seconds = time.Since(begin).Seconds()
	if r.Report, err = b.report(ctx, r); err != nil {
		return err
	}
	p.stop()
	if wantJSON(c) {
		if err := json.NewEncoder(c.OutOrStdout()).Encode(r); err != nil {
			return err
		}
	} else {
		b.print(c, name, r)
	}
	return failures(r.Clusters)
}

// nodeProcessors are those of the sizes of machines that labs are made of.
const nodeProcessors = "amd64"

// pushImage brings our image to a lab's registry, and returns its name: by its
// content for pods, and by the name that the virtual machines pull (see
// terraform/modules/ovs-cluster/pull-image.sh).
func (b cloudBench) pushImage(ctx context.Context, p *progress, s terraform.Settings, registry string) (string, error) {
	i, err := makeImage(p, false)
	if err != nil {
		return "", err
	}
	if i.Architecture != nodeProcessors && s.StandIns == "" {
		return "", fmt.Errorf("the image is made of this machine's programs, which are for %s, and the lab's nodes are %s: run it on a machine with those", i.Architecture, nodeProcessors)
	}
	pushed, err := pushImage(ctx, p, i, registry+"/meshlab", false)
	if err != nil {
		return "", err
	}
	if _, err := pushImage(ctx, p, i, registry+"/meshlab:latest", false); err != nil {
		return "", err
	}
	return pushed.Reference, nil
}

// clusters measures all clusters of a lab, at the same time: the load of each
// comes from a pod inside it and shares nothing with the other's, and what is
// compared in the end has been measured under the same state of the cloud.
func (b cloudBench) clusters(ctx context.Context, p *progress, all []cloudCluster, image, group string) []measured {
	done := make([]measured, len(all))
	each := func(do func(c cloudCluster, p *progress, m *measured) error) {
		var running sync.WaitGroup
		for i, c := range all {
			if done[i].err != nil {
				continue
			}
			running.Go(func() {
				mine := p.of(c.name)
				if done[i].err = do(c, mine, &done[i]); done[i].err != nil {
					mine.line("FAILED: %v", done[i].err)
				}
			})
		}
		running.Wait()
	}
	// All begin to measure when all are ready, or have turned out not to be.
	each(func(c cloudCluster, p *progress, m *measured) error {
		m.Cluster = c.name
		return b.prepare(ctx, p, c, image)
	})
	each(func(c cloudCluster, p *progress, m *measured) (err error) {
		k := kubeBench{Kubeconfig: c.kubeconfig, Image: image, Labs: b.labs, Meshes: c.meshes, Only: b.only, Quick: b.quick, Group: group}
		if m.result, err = b.measure(k, ctx, p); err != nil {
			return err
		}
		m.Path = resultPath(b.out, m.result)
		if err := scenarios.Write(m.Path, m.result); err != nil {
			return err
		}
		p.line("results in %s", m.Path)
		return nil
	})
	for i := range done {
		if done[i].err != nil {
			done[i].Error = done[i].err.Error()
		}
	}
	return done
}

// prepare makes a cluster ready to be measured.
func (b cloudBench) prepare(ctx context.Context, p *progress, c cloudCluster, image string) error {
	pulled := ""
	if c.machine != nil {
		pulled = image
	}
	if err := c.await(ctx, p, pulled); err != nil {
		return err
	}
	if c.name != ovsCluster {
		return nil
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	return installAgent(ctx, p, cfg, image)
}

// report writes the page over what has been measured, and returns its path; it is
// empty when nothing has.
func (b cloudBench) report(ctx context.Context, r cloudReport) (string, error) {
	var results []*scenarios.Result
	for _, m := range r.Clusters {
		if m.Path != "" {
			results = append(results, m.result)
		}
	}
	if len(results) == 0 {
		return "", nil
	}
	files, err := reports.Write(ctx, filepath.Join(b.out, r.Group+"-report"), results, reports.Options{})
	if err != nil {
		return "", fmt.Errorf("write the report; the results are there: %w", err)
	}
	return files[0], nil
}

func (b cloudBench) print(c *cobra.Command, name string, r cloudReport) {
	w := c.OutOrStdout()
	for _, m := range r.Clusters {
		if m.Path != "" {
			fmt.Fprintf(w, "Cluster %s: %s\n", m.Cluster, m.Path)
		}
	}
	if r.Report != "" {
		fmt.Fprintf(w, "Report: %s\n", r.Report)
	}
	took := time.Duration(r.Seconds * float64(time.Second))
	fmt.Fprintf(w, "It took %s, about %.2f USD; the lab goes on to cost %.2f USD an hour until: meshlab cloud down %s\n",
		took.Round(time.Second), r.USD*took.Hours(), r.USD, name)
}

// failures is the error of a run of which not all has been measured.
func failures(all []measured) error {
	var failed, kept []string
	var errs []error
	for _, m := range all {
		if m.err == nil {
			kept = append(kept, m.Cluster)
			continue
		}
		failed = append(failed, m.Cluster)
		errs = append(errs, fmt.Errorf("cluster %s: %w", m.Cluster, m.err))
	}
	slices.Sort(failed)
	switch {
	case len(failed) == 0:
		return nil
	case len(kept) > 0:
		errs = append(errs, fmt.Errorf("the results of cluster %s are kept", strings.Join(kept, ", ")))
	}
	return errors.Join(errs...)
}
