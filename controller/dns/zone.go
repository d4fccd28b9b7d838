package dns

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
)

// The labels that say what a name is of. They stand before the datacenter or
// the domain, as Consul's do.
const (
	kindService = "service"
	kindVirtual = "virtual"
	kindAddr    = "addr"
	kindServer  = "ns" // the name server itself
)

// zone knows what each name below a domain means. It is safe for concurrent
// use.
type zone struct {
	domain     []string // in lower case
	datacenter string   // in lower case; empty: names have none
	suffix     string   // of the names of addresses: addr.dc1.consul.
	apex       string   // consul.
	server     string   // ns.consul.
	vip        netip.Addr
	ttl        uint32 // seconds
	shuffle    func(n int, swap func(i, j int))
	mixed      atomic.Pointer[mixedNames]
}

func newZone(domain, datacenter string, vip netip.Addr, ttl time.Duration) (*zone, error) {
	// RFC 2181, section 8: 31 bits.
	if ttl < 0 || ttl%time.Second != 0 || ttl/time.Second > math.MaxInt32 {
		return nil, fmt.Errorf("TTL %s is not from 0 to 2^31-1 whole seconds", ttl)
	}
	labels, ok := splitName(domain)
	if !ok || len(labels) == 0 {
		return nil, fmt.Errorf("domain %q is no DNS name", domain)
	}
	z := &zone{
		domain:     labels,
		datacenter: lower(datacenter),
		apex:       dns.Fqdn(lower(domain)),
		vip:        vip,
		ttl:        uint32(ttl / time.Second),
		shuffle:    rand.Shuffle,
	}
	z.server = kindServer + "." + z.apex
	z.suffix = kindAddr + "." + z.apex
	if datacenter != "" {
		if slices.Contains([]string{kindService, kindVirtual, kindAddr, kindServer}, z.datacenter) {
			return nil, fmt.Errorf("datacenter %q has the name of a kind of names", datacenter)
		}
		if dc, ok := splitName(datacenter); !ok || len(dc) != 1 || dc[0] != z.datacenter {
			return nil, fmt.Errorf("datacenter %q is no label of a DNS name", datacenter)
		}
		z.suffix = kindAddr + "." + z.datacenter + "." + z.apex
	}
	if _, ok := splitName(addrName(vip, z.suffix)); !ok {
		return nil, fmt.Errorf("domain %q is too long for names of addresses", domain)
	}
	return z, nil
}

// below returns the labels of a name without those of the domain, and false
// for a name outside the domain.
func (z *zone) below(labels []string) ([]string, bool) {
	n := len(labels) - len(z.domain)
	if n < 0 || !slices.Equal(labels[n:], z.domain) {
		return nil, false
	}
	return labels[:n], true
}

// soa is the record of the apex, under the name given, which is the apex in
// some case. A negative answer carries it. Its TTL and its last field tell for
// how long the denial may be kept (RFC 2308, section 5). Nobody transfers the
// zone, so the serial says nothing, and the times are Consul's.
func (z *zone) soa(name string) dns.RR {
	return &dns.SOA{
		Hdr: z.header(name, dns.TypeSOA),
		Ns:  z.server, Mbox: "hostmaster." + z.apex,
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: z.ttl,
	}
}

func (z *zone) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: z.ttl}
}

func (z *zone) a(name string, addr netip.Addr) dns.RR {
	return &dns.A{Hdr: z.header(name, dns.TypeA), A: addr.AsSlice()}
}

// mixedNames are the services whose names have letters in upper case, by
// their names in lower case.
type mixedNames struct {
	of     []*mesh.Service
	byName map[string]*mesh.Service
}

// find returns the service with a name, whatever the case of its letters. It
// looks at all services once for each new list of them, and not at each
// question.
func (z *zone) find(services []*mesh.Service, name string) *mesh.Service {
	if i, ok := slices.BinarySearchFunc(services, name, func(s *mesh.Service, name string) int {
		return strings.Compare(s.Name, name)
	}); ok {
		return services[i]
	}
	if len(services) == 0 {
		return nil
	}
	m := z.mixed.Load()
	if m == nil || len(m.of) != len(services) || &m.of[0] != &services[0] {
		m = &mixedNames{of: services}
		for _, s := range services {
			if l := lower(s.Name); l != s.Name {
				if m.byName == nil {
					m.byName = map[string]*mesh.Service{}
				}
				m.byName[l] = s
			}
		}
		z.mixed.Store(m)
	}
	return m.byName[name]
}
