//go:build integration

package openflow

import (
	"context"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/internal/ovstest"
)

// The mesh of the benchmark: 10,000 services with 3 instances each make some
// 180,000 flows, 18 a service, and a group of 64 slots for each service.
const (
	bigServices        = 10_000
	bigFlowsPerService = 18
	bigSlots           = 64
)

// bigFlows yields flows as long as those of a mesh, made as they are asked for.
func bigFlows(services int) iter.Seq[flow.Flow] {
	table := uint8(30)
	ip, tcp := flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP)
	return func(yield func(flow.Flow) bool) {
		for i := range services * bigFlowsPerService {
			n := uint64(i)
			f := flow.Flow{Priority: 100, Notify: true}
			switch i % bigFlowsPerService {
			case 0, 1, 2: // an upstream
				f.Table = 20
				f.Match = flow.Match{flow.InputPort.Is(1 + n%50), ip, tcp, flow.IPv4Src.Is(0x0a000000 + n), flow.TCPDst.Is(1 + n%60000)}
				f.Actions = []flow.Action{flow.Load{Dst: flow.Reg3.All(), Value: n}, flow.Load{Dst: flow.Reg5.All(), Value: n % 60000},
					flow.SetField{Field: flow.IPv4Dst, Value: 0xf0000000 + n}, flow.SetField{Field: flow.TCPDst, Value: 1}, flow.CT{Zone: 1, Table: &table}}
			case 3:
				f.Table = 40
				f.Match = flow.Match{flow.Reg3.Is(n), ip, tcp}
				f.Actions = []flow.Action{flow.UseGroup{ID: uint32(i / bigFlowsPerService)}}
			case 4, 5, 6: // commit to an instance
				f.Table = 45
				f.Match = flow.Match{flow.Reg6.Is(n), ip, tcp}
				f.Actions = []flow.Action{flow.Load{Dst: flow.Reg1.All(), Value: n}, flow.Load{Dst: flow.Reg2.All(), Value: n % 60000},
					flow.CT{Commit: true, Zone: 1, Exec: []flow.Action{flow.Move{Src: flow.Reg6.All(), Dst: flow.CTMark.All()},
						flow.Move{Src: flow.Reg5.Sub(0, 15), Dst: flow.CTLabel.Sub(0, 15)}}},
					flow.Resubmit{Table: 50}}
			case 7, 8, 9:
				f.Table = 32
				f.Match = flow.Match{ip, tcp, flow.CTMark.Is(n)}
				f.Actions = []flow.Action{flow.Load{Dst: flow.Reg6.All(), Value: n}, flow.Resubmit{Table: 34}}
			default: // answers of an instance, and who may call it
				f.Table = 70 + uint8(i%bigFlowsPerService)
				f.Match = flow.Match{ip, tcp, flow.IPv4Src.Is(0x0a000000 + n), flow.TCPSrc.Is(1 + n%60000)}
				f.Actions = []flow.Action{flow.Load{Dst: flow.Reg3.All(), Value: n}, flow.Resubmit{Table: 82}}
			}
			if !yield(f.Seal()) {
				return
			}
		}
	}
}

func bigGroups(services int) iter.Seq[flow.Group] {
	return func(yield func(flow.Group) bool) {
		for i := range services {
			g := flow.Group{ID: uint32(i), Type: flow.GroupSelect}
			for slot := range bigSlots {
				g.Buckets = append(g.Buckets, flow.Bucket{Weight: 1, Actions: []flow.Action{
					flow.Load{Dst: flow.Reg6.All(), Value: uint64(i*3 + slot%3)}, flow.Resubmit{Table: 45}}})
			}
			if !yield(g) {
				return
			}
		}
	}
}

// held is seq with its values made beforehand, to time nothing but Apply.
func held[T any](seq iter.Seq[T]) iter.Seq[T] { return slices.Values(slices.Collect(seq)) }

func bigContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// peakHeap is the most memory that fn had in use, above what was there.
func peakHeap(fn func()) uint64 {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&now)
				if now.HeapInuse > before.HeapInuse {
					peak.Store(max(peak.Load(), now.HeapInuse-before.HeapInuse))
				}
			case <-stop:
				return
			}
		}
	}()
	fn()
	close(stop)
	<-done
	return peak.Load()
}

// TestBigApply brings a whole mesh to a switch, reads it back, and changes a
// little of it.
func TestBigApply(t *testing.T) {
	ovs, c := dialOVS(t)
	ctx := bigContext(t)
	services := bigServices / 10
	peak := peakHeap(func() {
		if err := c.Apply(ctx, Change{AddGroups: bigGroups(services), AddFlows: bigFlows(services)}); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("at most %d KiB of memory", peak>>10)
	if peak > 16<<20 { // of messages, there are some 7 MiB; garbage doubles a heap of 4 MiB at least
		t.Errorf("Apply took %d KiB of memory, and should hold but a few blocks", peak>>10)
	}
	flows, err := c.Flows(ctx)
	if err != nil || len(flows) != services*bigFlowsPerService {
		t.Errorf("%d flows in the switch, %v; want %d", len(flows), err, services*bigFlowsPerService)
	}
	groups, err := c.Groups(ctx)
	if err != nil || len(groups) != services {
		t.Errorf("%d groups in the switch, %v; want %d", len(groups), err, services)
	}
	table, err := c.TableFlows(ctx, 40)
	if err != nil || len(table) != services || table[0].Table != 40 {
		t.Errorf("%d flows in table 40, %v; want %d", len(table), err, services)
	}
	want := map[uint64]bool{}
	var cookies []uint64
	for f := range bigFlows(services) {
		want[f.Cookie] = true
		cookies = append(cookies, f.Cookie)
	}
	for _, f := range flows {
		delete(want, f.Cookie)
	}
	if len(want) != 0 {
		t.Errorf("%d flows are not in the switch", len(want))
	}
	wrong := func(yield func(flow.Flow) bool) {
		for f := range bigFlows(services) {
			f.Priority++
			if !yield(f) {
				return
			}
		}
		yield(flow.Flow{Actions: []flow.Action{flow.UseGroup{ID: 1 << 30}}})
	}
	err = c.Apply(ctx, Change{DeleteCookies: cookies, AddFlows: wrong})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("add flow %d (table=0, priority=0 actions=group:", len(flows))) {
		t.Errorf("Apply = %.300v, want the wrong flow", err)
	}
	if got := strings.TrimSpace(ovs.Ofctl("dump-aggregate", bridge)); !strings.HasSuffix(got, fmt.Sprintf("flow_count=%d", len(flows))) {
		t.Errorf("after a refused change: %s", got)
	}
}

// BenchmarkApplyBig is a full sync of 10,000 services with 3 instances: 180,000
// flows and 10,000 groups of 64 slots; and each of them alone.
func BenchmarkApplyBig(b *testing.B) {
	flows, groups := held(bigFlows(bigServices)), held(bigGroups(bigServices))
	b.Run("all", func(b *testing.B) { benchmarkApply(b, Change{AddGroups: groups, AddFlows: flows}) })
	b.Run("groups", func(b *testing.B) { benchmarkApply(b, Change{AddGroups: groups}) })
	var alone []flow.Flow // without the groups
	for f := range flows {
		if f.Table != 40 {
			alone = append(alone, f)
		}
	}
	b.Run("flows", func(b *testing.B) { benchmarkApply(b, Change{AddFlows: slices.Values(alone)}) })
}

func benchmarkApply(b *testing.B, ch Change) {
	for b.Loop() {
		b.StopTimer()
		ovs, c := dialOVS(b)
		b.StartTimer()
		cpu := ownCPU(b)
		if err := c.Apply(bigContext(b), ch); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(float64((ownCPU(b) - cpu).Milliseconds()), "own-cpu-ms")
		b.ReportMetric(float64(ovs.SwitchCPU().Milliseconds()), "switch-cpu-ms")
		b.ReportMetric(float64(switchRSS(b, ovs)>>20), "switch-MiB")
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/apply")
}

// BenchmarkApplySmall is a change of 5 flows when there are 180,000, and the
// round trip of a barrier to compare it with.
func BenchmarkApplySmall(b *testing.B) {
	_, c := dialOVS(b)
	ctx := bigContext(b)
	if err := c.Apply(ctx, Change{AddGroups: bigGroups(bigServices), AddFlows: bigFlows(bigServices)}); err != nil {
		b.Fatal(err)
	}
	value := uint64(0)
	var trips time.Duration
	for b.Loop() {
		value++
		flows := make([]flow.Flow, 5)
		for i := range flows {
			flows[i] = flow.Flow{Table: 200, Priority: 1, Match: flow.Match{flow.Reg0.Is(uint64(i))},
				Actions: []flow.Action{flow.Load{Dst: flow.Reg1.All(), Value: value}}}.Seal()
		}
		if err := c.Apply(ctx, Change{AddFlows: slices.Values(flows)}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		r, start := c.register(1), time.Now()
		if _, err := c.barrier(ctx, r, nil); err != nil {
			b.Fatal(err)
		}
		trips += time.Since(start)
		c.forget(r)
		b.StartTimer()
	}
	b.ReportMetric(float64(trips.Microseconds())/float64(b.N), "us/round-trip")
}

func ownCPU(t testing.TB) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	var ticks time.Duration
	for _, f := range fields[13:15] {
		var n int
		fmt.Sscan(f, &n)
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// switchRSS is the resident memory of ovs-vswitchd in bytes.
func switchRSS(t testing.TB, ovs *ovstest.OVS) int64 {
	t.Helper()
	pid := strings.Trim(strings.TrimSpace(ovs.Vsctl("get", "Open_vSwitch", ".", "external_ids:started")), `"`)
	text, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		t.Fatal(err)
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(text), &total, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
