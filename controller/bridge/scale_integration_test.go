//go:build integration

package bridge_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/bridge"
	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/controller/pipeline"
)

// The benchmarks of size have one real switch with 100 hosts, which call each
// service once; each service has three instances on these hosts:
//
//	go test -tags integration -run '^$' -bench 'FullSync|OneChange' -benchtime 1x ./controller/bridge
//
// Times are those that the controller itself tells: from the snapshot to the
// switch's confirmation.

// grown is a switch with hosts, and a mesh.
func grown(services int) (pipeline.Fabric, pipeline.Datapath, mesh.Snapshot) {
	const hosts = 100
	ip := netip.MustParseAddr
	f := pipeline.Fabric{Mesh: true, VIP: ip("10.255.0.1"), Hairpin: ip("10.255.0.2"), VIPMAC: pipeline.MAC{2, 0, 0, 0, 0, 0xfa}}
	dp := pipeline.Datapath{Name: "s1", Access: map[string]uint32{}}
	for i := range hosts {
		h := pipeline.Host{Name: fmt.Sprintf("h%d", i), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), MAC: pipeline.MAC{2, 1, 0, 0, 0, byte(i)}}
		f.Hosts = append(f.Hosts, h)
		dp.Access[h.Name] = uint32(i + 1)
	}
	var snap mesh.Snapshot
	for s := range services {
		svc := &mesh.Service{Name: fmt.Sprintf("service-%05d", s)}
		for i := range 3 {
			at := netip.AddrPortFrom(f.Hosts[(s+i)%hosts].Addr, uint16(10000+s/hosts*3+i))
			svc.Instances = append(svc.Instances, mesh.Instance{ID: fmt.Sprintf("%05d-%d", s, i), Addr: at, Healthy: true, Weight: 1})
		}
		snap.Services = append(snap.Services, svc)
		snap.Upstreams = append(snap.Upstreams, mesh.Upstream{Client: f.Hosts[s%hosts].Addr, Source: "x", Destination: svc.Name, BindPort: uint16(20000 + s/hosts)})
	}
	slices.SortFunc(snap.Upstreams, func(a, b mesh.Upstream) int { return a.Client.Compare(b.Client) })
	return f, dp, snap
}

// sized is a controller with one switch, and how long each change took.
type sized struct {
	b     *testing.B
	ovs   *ovstest.OVS
	snaps chan mesh.Snapshot
	took  chan time.Duration
	c     *controller.Controller
}

func newSized(b *testing.B, services int) (*sized, mesh.Snapshot) {
	b.Helper()
	s := &sized{b: b, ovs: ovstest.Start(b), snaps: make(chan mesh.Snapshot), took: make(chan time.Duration, 1)}
	address := s.ovs.AddBridge("s1")
	f, dp, snap := grown(services)
	var err error
	s.c, err = controller.New(controller.Config{
		Fabric: f, Datapaths: []controller.Datapath{{Datapath: dp, Address: address}},
		Connect: bridge.Connector(bridge.Config{}), Segments: bridge.Segments{}, Metrics: metrics.New(time.Now),
		Converged: func(_ string, took time.Duration) { s.took <- took },
		Watch: func(ctx context.Context, emit func(mesh.Snapshot)) error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case snap := <-s.snaps:
					emit(snap)
				}
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.c.Run(ctx) }() // ends with ctx
	b.Cleanup(func() { cancel(); <-done })
	deadline := time.After(patience)
	for tick := time.NewTicker(time.Millisecond); ; {
		if h := s.c.Health(); len(h.Datapaths) == 1 && h.Datapaths[0].InSync {
			tick.Stop()
			return s, snap
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatalf("no connection after %v: %+v", patience, s.c.Health())
		}
	}
}

// set brings a snapshot into force.
func (s *sized) set(snap mesh.Snapshot) time.Duration {
	s.b.Helper()
	s.snaps <- snap
	select {
	case took := <-s.took:
		return took
	case <-time.After(time.Minute):
		s.b.Fatalf("not in force after a minute: %+v", s.c.Health())
		return 0
	}
}

// resident is the memory of this process, with the mesh that the benchmark
// made, in bytes: now, and the most there was.
func resident(b *testing.B) (now, peak int64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			now = kib << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			peak = kib << 10
		}
	}
	return now, peak
}

// ownCPU is the processor time of this process.
func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const mb = 1e6

// BenchmarkFullSync brings a whole mesh to a switch that has nothing of it.
func BenchmarkFullSync(b *testing.B) {
	for _, services := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("%dx3", services), func(b *testing.B) {
			var times []float64
			for b.Loop() {
				s, snap := newSized(b, services)
				empty, before, cpu := s.ovs.SwitchMemory(), ownCPU(b), s.ovs.SwitchCPU()
				times = append(times, s.set(snap).Seconds()*1e3)
				b.ReportMetric((ownCPU(b)-before).Seconds()*1e3, "cpu-ms")
				b.ReportMetric((s.ovs.SwitchCPU()-cpu).Seconds()*1e3, "vswitchd-cpu-ms")
				h := s.c.Health().Datapaths[0]
				b.ReportMetric(float64(h.Flows), "flows")
				b.ReportMetric(float64(h.Groups), "groups")
				_, peak := resident(b)
				b.ReportMetric(float64(peak)/mb, "peak-MB")
				debug.FreeOSMemory()
				now, _ := resident(b)
				b.ReportMetric(float64(now)/mb, "after-MB")
				b.ReportMetric(float64(s.ovs.SwitchMemory())/mb, "vswitchd-MB")
				b.ReportMetric(float64(empty)/mb, "vswitchd-empty-MB")
				runtime.KeepAlive(snap)
			}
			slices.Sort(times)
			b.ReportMetric(times[len(times)/2], "sync-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkOneChange takes one instance of one service out of the choice and
// back again.
func BenchmarkOneChange(b *testing.B) {
	const changes = 400
	for _, services := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("%dx3", services), func(b *testing.B) {
			s, snap := newSized(b, services)
			s.set(snap)
			var times []float64
			for b.Loop() {
				for i := range changes {
					at := i * 7919 % services
					changed := *snap.Services[at]
					changed.Instances = slices.Clone(changed.Instances)
					changed.Instances[0].Healthy = !changed.Instances[0].Healthy
					snap.Services = slices.Clone(snap.Services)
					snap.Services[at] = &changed
					times = append(times, s.set(snap).Seconds()*1e3)
				}
			}
			slices.Sort(times)
			b.ReportMetric(times[len(times)/2], "median-ms")
			b.ReportMetric(times[len(times)*95/100], "p95-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
