package consul

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// notes gathers warnings. A nil one drops them.
type notes []string

func (n *notes) addf(format string, args ...any) {
	if n != nil {
		*n = append(*n, fmt.Sprintf(format, args...))
	}
}

// record is what is known under one name.
type record struct {
	listed  bool // the catalog lists it
	routed  bool // it has an entry that makes a discovery chain
	refs    int  // services whose legs lead here
	typical bool // something is registered under it that is no proxy

	instances []mesh.Instance
	upstreams []mesh.Upstream
	subsets   []subset
	entries   []*api.ServiceEntry // kept while there are subsets

	legs     []mesh.Leg
	affinity bool
	inbound  uint32 // connections per instance, 0: no limit
	rate     uint32 // new connections per second, 0: no limit
}

// hasSubset is true for a subset that the service defines.
func (rec *record) hasSubset(name string) bool {
	return slices.ContainsFunc(rec.subsets, func(s subset) bool { return s.name == name })
}

// take makes instances of entries, and returns the upstreams among them,
// sorted. Instances that are as they were keep their slice.
func (rec *record) take(entries []*api.ServiceEntry, n *notes) []mesh.Upstream {
	var instances []mesh.Instance
	var upstreams []mesh.Upstream
	rec.typical, rec.entries = false, nil
	broken := map[string]error{} // filters, told once
	for _, e := range entries {
		if e == nil || e.Service == nil || e.Node == nil {
			continue // Consul sends none such
		}
		switch e.Service.Kind {
		case api.ServiceKindConnectProxy:
			upstreams = append(upstreams, upstreamsOf(e, n)...)
		case api.ServiceKindTypical:
			rec.typical = true
			if i, ok := instanceOf(e, n); ok {
				i.Subsets = subsetsFor(e, rec.subsets, broken)
				instances = append(instances, i)
			}
		}
	}
	for _, s := range rec.subsets {
		if err := broken[s.name]; err != nil {
			n.addf("service-resolver %s: subset %s has no instance, its filter %q cannot be evaluated: %v", s.service, s.name, s.filter, err)
		}
	}
	if len(rec.subsets) > 0 {
		rec.entries = entries
	}
	slices.SortFunc(instances, func(a, b mesh.Instance) int { return cmp.Compare(a.ID, b.ID) })
	if !slices.EqualFunc(rec.instances, instances, equalInstances) {
		rec.instances = instances
	}
	slices.SortFunc(upstreams, mesh.CompareUpstreams)
	return upstreams
}

// forgetSubsets leaves the instances in no subset.
func (rec *record) forgetSubsets() {
	rec.entries = nil
	if !slices.ContainsFunc(rec.instances, func(i mesh.Instance) bool { return i.Subsets != nil }) {
		return
	}
	rec.instances = slices.Clone(rec.instances)
	for i := range rec.instances {
		rec.instances[i].Subsets = nil
	}
}

// service is the record as readers see it: the old pointer if it says the
// same, nil if there is no such service.
func (rec *record) service(name string, out outbound, old *mesh.Service) *mesh.Service {
	if !rec.typical && !rec.routed && rec.refs == 0 {
		return nil
	}
	s := mesh.Service{
		Name: name, Instances: rec.instances, Legs: rec.legs, Affinity: rec.affinity,
		Limits: mesh.Limits{
			Connections:       leastLimit(rec.inboundLimit(), out.connections),
			ConnectionsPerSec: rec.rate,
			Ejection:          out.ejection,
		},
	}
	if old != nil && s.Affinity == old.Affinity && s.Limits == old.Limits && equalLegs(s.Legs, old.Legs) &&
		slices.EqualFunc(s.Instances, old.Instances, equalInstances) {
		return old
	}
	return &s
}

// inboundLimit is the limit of one instance for all healthy ones. Without
// any, no connection is opened, whatever the limit.
func (rec *record) inboundLimit() uint32 {
	healthy := uint64(0)
	for _, i := range rec.instances {
		if i.Healthy {
			healthy++
		}
	}
	return uint32(min(uint64(rec.inbound)*healthy, math.MaxUint32))
}

// leastLimit is the tighter of two limits, of which 0 is none.
func leastLimit(a, b uint32) uint32 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func equalInstances(a, b mesh.Instance) bool {
	return a.ID == b.ID && a.Node == b.Node && a.Addr == b.Addr && a.Healthy == b.Healthy &&
		a.Weight == b.Weight && slices.Equal(a.Subsets, b.Subsets)
}

func equalLegs(a, b []mesh.Leg) bool {
	return slices.EqualFunc(a, b, func(a, b mesh.Leg) bool {
		return a.Weight == b.Weight && slices.Equal(a.Targets, b.Targets)
	})
}

// instanceOf is false for what nobody can connect to: a registration without
// a port, as that of a pure client.
func instanceOf(e *api.ServiceEntry, n *notes) (mesh.Instance, bool) {
	port := e.Service.DefaultPort()
	if port == 0 {
		return mesh.Instance{}, false
	}
	text := cmp.Or(e.Service.Address, e.Node.Address)
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Unmap().Is4() || port < 0 || port > math.MaxUint16 {
		n.addf("service %s: %s on %s is at %q port %d; register an IPv4 address and a port up to 65535",
			e.Service.Service, e.Service.ID, e.Node.Node, text, port)
		return mesh.Instance{}, false
	}
	return mesh.Instance{
		ID:      e.Node.Node + "/" + e.Service.ID, // a service's ID is unique on its node only
		Node:    e.Node.Node,
		Addr:    netip.AddrPortFrom(addr.Unmap(), uint16(port)),
		Healthy: e.Checks.AggregatedStatus() == api.HealthPassing,
		Weight:  uint16(min(max(e.Service.Weights.Passing, 1), math.MaxUint16)),
	}, true
}

func upstreamsOf(e *api.ServiceEntry, n *notes) []mesh.Upstream {
	if e.Service.Proxy == nil || len(e.Service.Proxy.Upstreams) == 0 {
		return nil
	}
	client, err := netip.ParseAddr(e.Node.Address)
	if err != nil || !client.Unmap().Is4() {
		n.addf("node %s has address %q; its agent needs an IPv4 address (-advertise)", e.Node.Node, e.Node.Address)
		return nil
	}
	source := e.Service.Proxy.DestinationServiceName
	var out []mesh.Upstream
	for _, u := range e.Service.Proxy.Upstreams {
		warnf := func(format string, args ...any) {
			n.addf("%s on %s: upstream %s %s", source, e.Node.Node, u.DestinationName, fmt.Sprintf(format, args...))
		}
		switch {
		case u.DestinationType != "" && u.DestinationType != api.UpstreamDestTypeService:
			warnf("is a %s; only services are supported", u.DestinationType)
			continue
		case u.Datacenter != "" && u.Datacenter != e.Node.Datacenter, u.DestinationPeer != "",
			foreign(u.DestinationNamespace), foreign(u.DestinationPartition):
			warnf("is left out: it is of another datacenter, peer, namespace or partition")
			continue
		case u.LocalBindPort < 1 || u.LocalBindPort > math.MaxUint16:
			warnf("has local_bind_port %d; give it one in 1..65535", u.LocalBindPort)
			continue
		}
		for _, key := range []string{"limits", "passive_health_check"} {
			if byHand(u.Config[key]) {
				warnf("has %s in its registration, which is not read; set it in service-defaults %s", key, source)
			}
		}
		out = append(out, mesh.Upstream{Client: client.Unmap(), Source: source, Destination: u.DestinationName, BindPort: uint16(u.LocalBindPort)})
	}
	return out
}

// byHand is true for settings that the user has put into a registration.
// Consul's agent adds those of service-defaults entries there, under the
// names that the fields have in Go, which begin with a capital letter.
func byHand(settings any) bool {
	fields, _ := settings.(map[string]any)
	for name := range fields {
		if first, _ := utf8.DecodeRuneInString(name); !unicode.IsUpper(first) {
			return true
		}
	}
	return false
}

// foreign is true for a namespace or partition that is not the default one.
func foreign(name string) bool { return name != "" && name != "default" }

// replaceSorted is the sorted list all without the items of old and with
// those of now, both sorted. It leaves all as it is.
func replaceSorted[T any](all, old, now []T, compare func(T, T) int) []T {
	out := make([]T, 0, len(all)-len(old)+len(now))
	for _, item := range all {
		if len(old) > 0 && compare(item, old[0]) == 0 {
			old = old[1:]
			continue
		}
		for len(now) > 0 && compare(now[0], item) <= 0 {
			out, now = append(out, now[0]), now[1:]
		}
		out = append(out, item)
	}
	return append(out, now...)
}
