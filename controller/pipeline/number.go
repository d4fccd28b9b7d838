package pipeline

import (
	"hash/fnv"
	"maps"
	"slices"
)

// numbering gives each name a number in 1..limit-1 that depends, but for
// collisions, on the name alone, so that a change of one name leaves the
// others' numbers as they are: a number that changed would cut the running
// connections behind it. The number is a hash; of names that want the same
// one, the first in sorted order has it, and the others take the next free
// ones. The numbers depend on the set of names and not on its history, so
// that all switches, and a controller that starts again, agree. Of 10,000
// names in 2^28 numbers, the chance that one more name moves any other is
// 1 in 25,000. Names must be fewer than limit-1.
type numbering struct {
	limit     uint64
	numbers   map[string]uint32
	names     map[uint32]string
	displaced []string // names that are not at their home
}

func newNumbering(limit uint64) *numbering {
	return &numbering{limit: limit, numbers: map[string]uint32{}, names: map[uint32]string{}}
}

// of is the number of a name that has been added, else 0.
func (n *numbering) of(name string) uint32 { return n.numbers[name] }

func (n *numbering) home(name string) uint32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails (package hash)
	return uint32(h.Sum64()%(n.limit-1)) + 1
}

func (n *numbering) after(number uint32) uint32 { return uint32(uint64(number)%(n.limit-1)) + 1 }

// add takes a name in, and tells the names whose numbers changed by that.
func (n *numbering) add(name string) (moved []string) {
	if _, ok := n.numbers[name]; ok {
		return nil
	}
	home := n.home(name)
	if _, taken := n.names[home]; taken {
		n.numbers[name] = 0
		return n.renumber()
	}
	n.numbers[name], n.names[home] = home, name
	return nil
}

// drop forgets a name, and tells the names whose numbers changed by that.
func (n *numbering) drop(name string) (moved []string) {
	number, ok := n.numbers[name]
	if !ok {
		return nil
	}
	delete(n.numbers, name)
	for _, d := range n.displaced {
		for at := n.home(d); ; at = n.after(at) {
			if at == number { // d gave way to name, or may yet move up
				return n.renumber()
			}
			if at == n.numbers[d] {
				break
			}
		}
	}
	delete(n.names, number)
	return nil
}

func (n *numbering) renumber() (moved []string) {
	old := n.numbers
	n.numbers, n.names, n.displaced = make(map[string]uint32, len(old)), make(map[uint32]string, len(old)), nil
	for _, name := range slices.Sorted(maps.Keys(old)) {
		home := n.home(name)
		at := home
		for _, taken := n.names[at]; taken; _, taken = n.names[at] {
			at = n.after(at)
		}
		if at != home {
			n.displaced = append(n.displaced, name)
		}
		n.numbers[name], n.names[at] = at, name
		if old[name] != at && old[name] != 0 {
			moved = append(moved, name)
		}
	}
	return moved
}

const (
	// serviceLimit keeps the numbers of services in 28 bits, without the
	// last, which would make the broadcast address of the canonical net.
	serviceLimit = 1<<28 - 1
	// instanceLimit keeps the numbers of instances in ct_mark.
	instanceLimit = 1 << 32
	// meterLimit keeps the meters of services apart from those of ports.
	meterLimit = 60_000
)
