//go:build integration

package docker_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/orchestrate/docker"
)

// BenchmarkContainers starts and removes 16 hosts with a process each, and
// tells the time for one container: until it runs, and until it is gone.
func BenchmarkContainers(b *testing.B) {
	r := newRig(b)
	const hosts = 16
	for b.Loop() {
		var specs []docker.HostSpec
		for i := range hosts {
			specs = append(specs, docker.HostSpec{Lab: r.lab, Name: fmt.Sprintf("h%d", i), Socket: r.socket})
		}
		began := b.Elapsed()
		all, err := r.StartHosts(deadline(b), r.listener, specs)
		if err != nil {
			b.Fatal(err)
		}
		started := b.Elapsed()
		var group errgroup.Group
		for _, h := range all {
			group.Go(func() error {
				_, err := r.StartProcess(deadline(b), docker.ProcessSpec{Lab: r.lab, Host: h.Container, Name: "sleep", Path: "/bin/sleep", Args: []string{"1000"}})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
		running := b.Elapsed()
		for _, h := range all {
			if err := h.Close(); err != nil {
				b.Error(err)
			}
		}
		if err := r.Remove(deadline(b), r.lab.State); err != nil {
			b.Fatal(err)
		}
		removed := b.Elapsed()
		b.ReportMetric(float64((started-began).Milliseconds())/hosts, "ms/host")
		b.ReportMetric(float64((running-started).Milliseconds())/hosts, "ms/process")
		b.ReportMetric(float64((removed-running).Milliseconds())/hosts/2, "ms/removal")
	}
}
