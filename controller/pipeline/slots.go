package pipeline

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// candidate is one of those that share the slots of a service.
type candidate struct {
	key   string  // tells it from the others, and where its slots lie
	share float64 // relative to the others; above zero
}

// The sizes of a table of slots. Open vSwitch maps the hash of a packet to a
// bucket exactly, one hash value a bucket, for up to 256 buckets of equal
// weight whose number is a power of two
// (group_setup_dp_hash_table, ofproto/ofproto-dpif.c).
const (
	fewSlots       = 32 // for up to fewCandidates of equal share
	fewCandidates  = 3
	someSlots      = 64 // for up to someCandidates of equal share
	someCandidates = 5
	manySlots      = 256
	// mostCandidates is how many can share a table: each has at least two
	// slots then.
	mostCandidates = manySlots / 2
	// wideServices is up to how many services of a switch have manySlots
	// each, whatever their instances. 10,000 such tables would be 2.6 million
	// buckets, which take Open vSwitch seconds and hundreds of megabytes.
	wideServices = 256
)

// slotCount is the size of the table for some candidates. wide says that
// there are few enough services for a large one. With 256 slots, one
// candidate more or less beside four moves 22 to 27 % of the slots, at worst
// 31 % (ideal: 20 and 25 %), and a share is off by 0.4 % of the whole at most.
// With 64 it is 23 to 28 %, at worst 37 %, and 1.6 %; with 32, 3 %.
func slotCount(all []candidate, wide bool) int {
	equal := equalShares(all)
	switch {
	case !wide && equal && len(all) <= fewCandidates:
		return fewSlots
	case !wide && equal && len(all) <= someCandidates:
		return someSlots
	default:
		return manySlots
	}
}

func equalShares(all []candidate) bool {
	return !slices.ContainsFunc(all, func(c candidate) bool { return c.share != all[0].share })
}

// fill gives each slot to a candidate, by index, in proportion to the
// shares, and so that a candidate more or less moves little more than the
// slots that it gets or had. It is rendezvous hashing (Thaler and
// Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM
// Transactions on Networking 6(1), 1998) with a quota of slots for each
// candidate: of all pairs of slot and candidate, the one with the highest
// score is taken first, and so on. Maglev's tables (NSDI 2016, section 3.4),
// which fill by turns, moved up to 49 % with 256 slots and 62 % with 64; they
// are made for a hundred times more slots than candidates.
func fill(all []candidate, slots int) []int {
	quota := quotas(all, slots)
	type pair struct {
		score     uint64
		slot, who int32
	}
	pairs := make([]pair, 0, len(all)*slots)
	for i, c := range all {
		h := fnv.New64a()
		_, _ = h.Write([]byte(c.key)) // never fails (package hash)
		key := h.Sum64()
		for slot := range slots {
			pairs = append(pairs, pair{mix(key ^ mix(uint64(slot)+1)), int32(slot), int32(i)})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(b.score, a.score) })
	out := make([]int, slots)
	for i := range out {
		out[i] = -1
	}
	for _, p := range pairs {
		if out[p.slot] < 0 && quota[p.who] > 0 {
			out[p.slot] = int(p.who)
			quota[p.who]--
		}
	}
	return out
}

// mix spreads the entropy of a hash over all its bits (the finalizer of
// MurmurHash3, fmix64).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// quotas divides the slots by the largest remainder, with at least one for
// each candidate.
func quotas(all []candidate, slots int) []int {
	total := 0.0
	for _, c := range all {
		total += c.share
	}
	out, rest := make([]int, len(all)), make([]float64, len(all))
	left := slots
	for i, c := range all {
		exact := c.share / total * float64(slots)
		out[i] = max(1, int(exact))
		rest[i] = exact - float64(out[i])
		left -= out[i]
	}
	for ; left != 0; left -= cmp.Compare(left, 0) {
		step := cmp.Compare(left, 0) // +1: the largest remainder gains; -1: the smallest loses
		best := -1
		for i := range all {
			if step < 0 && out[i] == 1 {
				continue
			}
			if best < 0 || float64(step)*(rest[i]-rest[best]) > 0 ||
				rest[i] == rest[best] && all[i].key < all[best].key {
				best = i
			}
		}
		out[best] += step
		rest[best] -= float64(step)
	}
	return out
}
