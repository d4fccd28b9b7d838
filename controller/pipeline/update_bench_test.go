package pipeline_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// BenchmarkUpdate takes in that one instance of one service became unhealthy,
// and then healthy again, among many services.
func BenchmarkUpdate(b *testing.B) {
	for _, services := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("%dx3", services), func(b *testing.B) {
			f, dp, snap := grown(100, services, 3)
			c, err := pipeline.NewCompiler(f, dp)
			if err != nil {
				b.Fatal(err)
			}
			c.Update(snap)
			flows, groups := c.Size()
			other := snap
			other.Services = slices.Clone(snap.Services)
			changed := *snap.Services[services/2]
			changed.Instances = slices.Clone(changed.Instances)
			changed.Instances[0].Healthy = false
			other.Services[services/2] = &changed
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				d := c.Update([]mesh.Snapshot{other, snap}[i%2])
				for range d.ModifyGroups {
				}
			}
			b.ReportMetric(float64(flows), "flows")
			b.ReportMetric(float64(groups), "groups")
		})
	}
}

// BenchmarkFirstUpdate takes in a whole mesh, and writes all its flows.
func BenchmarkFirstUpdate(b *testing.B) {
	for _, services := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("%dx3", services), func(b *testing.B) {
			f, dp, snap := grown(100, services, 3)
			b.ReportAllocs()
			var c *pipeline.Compiler
			for b.Loop() {
				var err error
				if c, err = pipeline.NewCompiler(f, dp); err != nil {
					b.Fatal(err)
				}
				c.Update(snap)
				for range c.Flows() {
				}
				for range c.Groups() {
				}
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapAlloc)/1e6, "heap-MB")
			runtime.KeepAlive(c)
		})
	}
}
