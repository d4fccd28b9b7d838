package pipeline

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"math"
	"slices"
	"strings"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
)

// choice is one of the instances that share the connections to a service.
type choice struct {
	instance
	service string
	share   float64
}

// choices resolves the legs of a service: who gets which share of its new
// connections, and what share is refused, as no instance for it is healthy.
func (c *Compiler) choices(svc *mesh.Service, warn func(format string, args ...any)) (all []choice, refused float64) {
	legs := svc.Legs
	if len(legs) == 0 {
		legs = []mesh.Leg{{Weight: 1, Targets: []mesh.Target{{Service: svc.Name}}}}
	}
	at := map[uint32]int{}
	for _, leg := range legs {
		if leg.Weight == 0 {
			continue
		}
		healthy, target := c.healthy(leg)
		if len(healthy) == 0 {
			refused += float64(leg.Weight)
			if len(svc.Legs) > 0 {
				warn("service %s: no instance of %s is healthy: its share of the connections is refused", svc.Name, legString(leg))
			}
			continue
		}
		total := 0.0
		for _, i := range healthy {
			total += float64(max(i.Weight, 1))
		}
		for _, i := range healthy {
			share := float64(leg.Weight) * float64(max(i.Weight, 1)) / total
			if n, ok := at[i.number]; ok {
				all[n].share += share
				continue
			}
			at[i.number] = len(all)
			all = append(all, choice{i, target, share})
		}
	}
	return all, refused
}

// healthy are the healthy instances of the leg's first target that has any,
// and that target's service.
func (c *Compiler) healthy(leg mesh.Leg) ([]instance, string) {
	for _, t := range leg.Targets {
		svc := c.services[t.Service]
		if svc == nil {
			continue
		}
		all := slices.DeleteFunc(c.usable(svc, func(string, ...any) {}), func(i instance) bool {
			return !i.Healthy || t.Subset != "" && !slices.Contains(i.Subsets, t.Subset)
		})
		if len(all) > 0 {
			return all, t.Service
		}
	}
	return nil, ""
}

func legString(leg mesh.Leg) string {
	var names []string
	for _, t := range leg.Targets {
		if t.Subset != "" {
			t.Service = t.Subset + "." + t.Service
		}
		names = append(names, t.Service)
	}
	return strings.Join(names, " or ")
}

// maxBuckets is how many instances of one service get new connections. A
// group must fit into one message, whose length has 16 bits (OpenFlow 1.3.5,
// section 7.1), and a bucket takes 56 of its 65,535 bytes; one more, for what
// is refused, still fits.
const maxBuckets = 1000

// balance writes tables 40 and 42, and the group of a service.
func (c *Compiler) balance(s *sheet, name string) {
	number := c.names.of(name)
	svc := c.services[name]
	if svc == nil {
		svc = &mesh.Service{Name: name}
	}
	f := flow.Flow{Table: TableBalance, Priority: priorityMain, Match: tcp(regService.Is(uint64(number)))}
	if rate := svc.Limits.ConnectionsPerSec; rate > 0 {
		f.Meter = meterServices + c.meterIDs.of(name)
		s.meters = append(s.meters, flow.Meter{ID: f.Meter, Rate: rate, Burst: rate, Reason: "new connections to " + name})
	}
	s.zone, s.limit = c.poolOf(name).zone, svc.Limits.Connections
	all, refused := c.choices(svc, s.warn)
	switch {
	case len(all) == 0:
		f.Actions = c.refuse()
		s.put(f, "%s has no healthy instance: refuse the connection", name)
	case len(all) == 1 && refused == 0:
		f.Actions = choose(all[0])
		s.put(f, "%s is %s (%s)", name, all[0].ID, all[0].Addr)
	case svc.Affinity && len(all) <= mostCandidates:
		f.Actions = do(next(TableAffinity))
		s.put(f, "%s has %d healthy instances: the client's address tells which", name, len(all))
		c.affinity(s, svc, all, refused)
	default:
		if svc.Affinity {
			s.warn("service %s has %d healthy instances: its clients do not stay at one, which up to %d can do", name, len(all), mostCandidates)
		}
		if len(all) > maxBuckets {
			s.warn("service %s has %d healthy instances: only the first %d get new connections", name, len(all), maxBuckets)
			all = all[:maxBuckets]
		}
		s.group, s.contents = &flow.Group{ID: number, Type: flow.GroupSelect}, c.contents(all, refused)
		if s.buckets {
			s.group.Buckets = c.buckets(all, refused)
		}
		if s.explain {
			s.group.Reason = "healthy instances of " + name
		}
		f.Actions = do(flow.UseGroup{ID: number})
		s.put(f, "%s has %d healthy instances", name, len(all))
	}
}

// slots is the table of the service's slots: what each does.
func (c *Compiler) slots(all []choice, refused float64, wide bool) [][]flow.Action {
	candidates, actions := c.candidates(all, refused)
	out := make([][]flow.Action, 0, manySlots)
	for _, i := range fill(candidates, slotCount(candidates, wide)) {
		out = append(out, actions[i])
	}
	return out
}

// candidates are those that share the connections of a service, and what is
// done for each.
func (c *Compiler) candidates(all []choice, refused float64) ([]candidate, [][]flow.Action) {
	var candidates []candidate
	var actions [][]flow.Action
	for _, ch := range all {
		candidates = append(candidates, candidate{key: markKey(ch.Addr), share: ch.share})
		actions = append(actions, choose(ch))
	}
	if refused > 0 {
		candidates = append(candidates, candidate{key: "refused", share: refused})
		actions = append(actions, c.refuse())
	}
	return candidates, actions
}

// contents is a hash of all that the buckets of a service are made of.
func (c *Compiler) contents(all []choice, refused float64) uint64 {
	h := fnv.New64a()
	put := func(v uint64) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		_, _ = h.Write(b[:]) // never fails (package hash)
	}
	for _, ch := range all {
		put(uint64(ch.number))
		put(math.Float64bits(ch.share))
		_, _ = io.WriteString(h, markKey(ch.Addr))
	}
	put(math.Float64bits(refused))
	if c.wide {
		put(1)
	}
	return h.Sum64()
}

// buckets spread the connections of a service by a hash of their addresses and
// ports.
func (c *Compiler) buckets(all []choice, refused float64) []flow.Bucket {
	var out []flow.Bucket
	if len(all) < mostCandidates {
		for _, actions := range c.slots(all, refused, c.wide) {
			out = append(out, flow.Bucket{Weight: 1, Actions: actions})
		}
		return out
	}
	candidates, actions := c.candidates(all, refused)
	for i, quota := range quotas(candidates, bucketCount(candidates)) {
		for range quota {
			out = append(out, flow.Bucket{Weight: 1, Actions: actions[i]})
		}
	}
	return out
}

// bucketCount is how many buckets the candidates share when they are too many
// for slots. Above 256 buckets Open vSwitch takes the one with the highest
// product of a hash and its weight (group_best_live_bucket,
// ofproto/ofproto-dpif-xlate.c), which spreads evenly over equal weights and
// otherwise not by weight: so all have weight 1, and who is to get more has
// more of them.
func bucketCount(all []candidate) int {
	if equalShares(all) {
		return max(1, maxBuckets/len(all)) * len(all)
	}
	return max(maxBuckets, len(all))
}

// affinity writes table 42: the last bits of the client's address are the
// slot. A group would hash the ports too.
func (c *Compiler) affinity(s *sheet, svc *mesh.Service, all []choice, refused float64) {
	slots := c.slots(all, refused, false)
	for slot, actions := range slots {
		s.add(TableAffinity, priorityMain,
			tcp(regService.Is(uint64(c.names.of(svc.Name))), flow.IPv4Src.Masked(uint64(slot), uint64(len(slots)-1))),
			actions, "clients of %s whose address ends in %d of %d", svc.Name, slot, len(slots))
	}
}

func choose(ch choice) []flow.Action {
	return do(load(regInstance, uint64(ch.number)), next(TableCommit))
}
