package dns

import (
	"encoding/hex"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
)

// question is what a client wants to know of a name below the domain.
type question struct {
	name   string   // as the client wrote it; answers carry it unchanged
	labels []string // without those of the domain, in lower case
	qtype  uint16
	client netip.Addr
	size   int // bytes that the answer may have
}

// reply is the meaning of an answer. With neither records nor a code it says
// that the name exists, but not with this type.
type reply struct {
	rcode         int
	answer, extra []dns.RR
	more          bool // there are more answers than these
}

var nameError = reply{rcode: dns.RcodeNameError}

// resolve answers from a snapshot; known is false when there is none yet.
func (z *zone) resolve(q question, snap mesh.Snapshot, known bool) reply {
	labels := q.labels
	if len(labels) == 0 {
		return z.resolveApex(q)
	}
	if labels[len(labels)-1] == kindServer {
		return z.resolveServer(q)
	}
	if z.datacenter != "" && labels[len(labels)-1] == z.datacenter {
		labels = labels[:len(labels)-1]
		if len(labels) == 0 {
			return reply{}
		}
	}
	kind, labels := labels[len(labels)-1], labels[:len(labels)-1]
	// What stands between existing names and the domain exists too, without
	// records: some resolvers ask for it first, and ask no further when it
	// is denied (RFC 8020, RFC 9156).
	between := len(labels) == 0
	switch kind {
	case kindAddr:
		if between {
			return reply{}
		}
		return z.resolveAddr(q, labels)
	case kindService:
		if between || len(labels) == 1 && labels[0] == "_tcp" {
			return reply{}
		}
		name, ok := serviceName(labels)
		return z.withService(name, ok, snap, known, func(s *mesh.Service) reply { return z.resolveService(q, s) })
	case kindVirtual:
		if between {
			return reply{}
		}
		return z.withService(labels[0], len(labels) == 1, snap, known, func(s *mesh.Service) reply { return z.resolveVirtual(q, s, snap.Upstreams) })
	}
	return nameError
}

// serviceName reads "web", and "_web._tcp" (RFC 2782). It is false for names
// with a tag, as tag.web and _web._tag: the mesh does not know tags, and all
// instances would be the wrong answer.
func serviceName(labels []string) (string, bool) {
	switch {
	case len(labels) == 1:
		return labels[0], true
	case len(labels) == 2 && labels[1] == "_tcp" && len(labels[0]) > 1 && labels[0][0] == '_':
		return labels[0][1:], true
	}
	return "", false
}

// withService answers with the service of a name. Before the first snapshot
// nothing is known of any, and a denial could be kept by the client.
func (z *zone) withService(name string, valid bool, snap mesh.Snapshot, known bool, answer func(*mesh.Service) reply) reply {
	if !valid {
		return nameError
	}
	if !known {
		return reply{rcode: dns.RcodeServerFailure}
	}
	s := z.find(snap.Services, name)
	if s == nil {
		return nameError
	}
	return answer(s)
}

func (z *zone) resolveApex(q question) reply {
	switch q.qtype {
	case dns.TypeSOA, dns.TypeANY:
		return reply{answer: []dns.RR{z.soa(q.name)}}
	case dns.TypeNS:
		return reply{
			answer: []dns.RR{&dns.NS{Hdr: z.header(q.name, dns.TypeNS), Ns: z.server}},
			extra:  []dns.RR{z.a(z.server, z.vip)},
		}
	}
	return reply{}
}

func (z *zone) resolveServer(q question) reply {
	if len(q.labels) != 1 {
		return nameError
	}
	return z.address(q, z.vip)
}

// resolveAddr reads an address out of its name. It is answered whether or
// not an instance is there: the target of an SRV record stays valid.
func (z *zone) resolveAddr(q question, labels []string) reply {
	if len(labels) != 1 || len(labels[0]) != 8 {
		return nameError
	}
	b, err := hex.DecodeString(labels[0])
	if err != nil {
		return nameError
	}
	return z.address(q, netip.AddrFrom4([4]byte(b)))
}

// address answers for a name that has one address and nothing else. A
// question for any type gets one that there is (RFC 8482, section 4.1).
func (z *zone) address(q question, addr netip.Addr) reply {
	if q.qtype != dns.TypeA && q.qtype != dns.TypeANY {
		return reply{}
	}
	return reply{answer: []dns.RR{z.a(q.name, addr)}}
}

// resolveService answers with the healthy instances of a service in random
// order. Those of other services that its legs lead to are left out: a client
// that chooses an instance by itself does not take part in what the switch
// decides.
func (z *zone) resolveService(q question, s *mesh.Service) reply {
	switch q.qtype {
	case dns.TypeA, dns.TypeANY:
		addrs := make([]netip.Addr, 0, len(s.Instances))
		for _, i := range s.Instances {
			if i.Healthy {
				addrs = append(addrs, i.Addr.Addr())
			}
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		var r reply
		addrs, r.more = choose(z, slices.Compact(addrs), q.size/smallestA)
		for _, a := range addrs {
			r.answer = append(r.answer, z.a(q.name, a))
		}
		return r
	case dns.TypeSRV:
		return z.resolveServiceSRV(q, s)
	}
	return reply{}
}

func (z *zone) resolveServiceSRV(q question, s *mesh.Service) reply {
	instances := make([]*mesh.Instance, 0, len(s.Instances))
	for i := range s.Instances {
		if s.Instances[i].Healthy {
			instances = append(instances, &s.Instances[i])
		}
	}
	slices.SortStableFunc(instances, func(a, b *mesh.Instance) int { return a.Addr.Compare(b.Addr) })
	instances = slices.CompactFunc(instances, func(a, b *mesh.Instance) bool { return a.Addr == b.Addr })
	var r reply
	instances, r.more = choose(z, instances, q.size/(smallestSRV+len(addrName(z.vip, z.suffix))))
	named := make(map[netip.Addr]bool, len(instances))
	for _, i := range instances {
		addr := i.Addr.Addr()
		target := addrName(addr, z.suffix)
		r.answer = append(r.answer, z.srv(q.name, i.Weight, i.Addr.Port(), target))
		if !named[addr] {
			named[addr] = true
			r.extra = append(r.extra, z.a(target, addr))
		}
	}
	return r
}

// resolveVirtual answers with the virtual address, and with the ports at
// which the client's host reaches the service there. A host without such a
// port gets an empty answer and no denial: the name has an address for it all
// the same, and a denial would be one of the name.
func (z *zone) resolveVirtual(q question, s *mesh.Service, upstreams []mesh.Upstream) reply {
	if q.qtype != dns.TypeSRV {
		return z.address(q, z.vip)
	}
	first, _ := slices.BinarySearchFunc(upstreams, q.client, func(u mesh.Upstream, client netip.Addr) int {
		return u.Client.Compare(client)
	})
	var r reply
	var last uint16 // ports are sorted, and never 0
	for _, u := range upstreams[first:] {
		if u.Client != q.client {
			break
		}
		if u.Destination == s.Name && u.BindPort != last {
			last = u.BindPort
			r.answer = append(r.answer, z.srv(q.name, 1, u.BindPort, q.name))
		}
	}
	if len(r.answer) > 0 {
		r.extra = []dns.RR{z.a(q.name, z.vip)}
	}
	return r
}

// srv makes a record with Consul's priority, the same for all.
func (z *zone) srv(name string, weight, port uint16, target string) dns.RR {
	return &dns.SRV{Hdr: z.header(name, dns.TypeSRV), Priority: 1, Weight: weight, Port: port, Target: target}
}

// The fewest bytes of a record whose name is compressed to two (RFC 1035,
// sections 3.2.1 and 4.1.4; RFC 2782, without the target).
const (
	smallestA   = 2 + 10 + 4
	smallestSRV = 2 + 10 + 6
)

// choose shuffles all, and returns at most a number of them that no message
// has room for, and whether that left some out. So a question costs what its
// answer may hold, however many instances there are to choose from.
func choose[T any](z *zone, all []T, most int) ([]T, bool) {
	z.shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	most = max(most, 1)
	return all[:min(len(all), most)], len(all) > most
}

// addrName is the name of an address: 8 hexadecimal digits before a suffix.
func addrName(a netip.Addr, suffix string) string {
	b := a.As4()
	return hex.EncodeToString(b[:]) + "." + suffix
}
