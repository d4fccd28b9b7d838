package pipeline

import (
	"hash/fnv"
	"slices"
)

// numbers gives each name a number in 1..limit-1 that depends, but for
// collisions, on the name alone, so that a change of one name leaves the
// others' numbers as they are: a number that changed would cut the running
// connections behind it. The number is a hash; names are taken in sorted
// order, and one whose number is taken gets the next free one. Of 10,000
// names in 2^28 numbers, the chance that one more name moves any other is
// 1 in 25,000. Names must be fewer than limit-1.
func numbers(names []string, limit uint64) map[string]uint32 {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	out := make(map[string]uint32, len(sorted))
	taken := make(map[uint32]bool, len(sorted))
	for _, name := range sorted {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name)) // never fails (package hash)
		n := uint32(h.Sum64()%(limit-1)) + 1
		for taken[n] {
			n = uint32(uint64(n)%(limit-1)) + 1
		}
		taken[n] = true
		out[name] = n
	}
	return out
}

// serviceLimit keeps the numbers of services in 28 bits, without the last,
// which would make the broadcast address of the canonical net.
const serviceLimit = 1<<28 - 1

// instanceLimit keeps the numbers of instances in ct_mark.
const instanceLimit = 1 << 32
