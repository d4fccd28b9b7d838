package dns

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
)

// manyServices are named s0, s1 and so on, with three instances each.
func manyServices(n int) mesh.Snapshot {
	var snap mesh.Snapshot
	for i := range n {
		s := &mesh.Service{Name: fmt.Sprintf("s%08d", i)}
		for j := range 3 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j)})
			s.Instances = append(s.Instances, mesh.Instance{ID: fmt.Sprint(j), Addr: netip.AddrPortFrom(addr, 80), Healthy: true, Weight: 1})
		}
		snap.Services = append(snap.Services, s)
	}
	return snap
}

// BenchmarkFrame is a question's way from a frame to the frame with its
// answer, one after the other.
func BenchmarkFrame(b *testing.B) {
	for _, services := range []int{10, 10000} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
			b.Run(fmt.Sprintf("%s/services=%d", dns.TypeToString[qtype], services), func(b *testing.B) {
				snap := manyServices(services)
				answered := make(chan struct{}, 1)
				s, err := New(Config{
					Addr: testVIP, MAC: testVIPMAC, Domain: "consul",
					Snapshot: func() (mesh.Snapshot, bool) { return snap, true },
					Send:     func(uint32, []byte) { answered <- struct{}{} },
				})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				packed, err := newQuestion("s00000005.service.consul.", qtype).Pack()
				if err != nil {
					b.Fatal(err)
				}
				q := udpFrame(fuzzer, 5000, packed)
				b.ReportAllocs()
				for b.Loop() {
					s.Input(1, q)
					<-answered
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
			})
		}
	}
}

// BenchmarkResolve is the part of it that knows the mesh.
func BenchmarkResolve(b *testing.B) {
	for _, services := range []int{10, 10000} {
		for _, name := range []string{"s00000005", "nosuch"} {
			b.Run(fmt.Sprintf("%s/services=%d", name, services), func(b *testing.B) {
				z, err := newZone("consul", "", testVIP, 0)
				if err != nil {
					b.Fatal(err)
				}
				snap := manyServices(services)
				q := question{name: name + ".service.consul.", labels: []string{name, "service"}, qtype: dns.TypeA, size: maxUDP}
				b.ReportAllocs()
				for b.Loop() {
					z.resolve(q, snap, true)
				}
			})
		}
	}
}
