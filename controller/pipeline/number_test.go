package pipeline

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

func numbered(limit uint64, names ...string) *numbering {
	n := newNumbering(limit)
	for _, name := range names {
		n.add(name)
	}
	return n
}

func TestNumbersAreDistinctThoughCrowded(t *testing.T) {
	var names []string
	for i := range 99 {
		names = append(names, fmt.Sprint(i))
	}
	seen := map[uint32]string{}
	for name, n := range numbered(100, append(names, "7")...).numbers {
		if other, ok := seen[n]; ok || n < 1 || n > 99 {
			t.Errorf("%s has number %d, as %q has; want distinct ones in 1..99", name, n, other)
		}
		seen[n] = name
	}
	if len(seen) != 99 {
		t.Errorf("%d names were numbered, want 99", len(seen))
	}
}

func TestNumbersStay(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("service-%d", i))
	}
	few, many := numbered(serviceLimit, names[:2500]...), numbered(serviceLimit, names...)
	for name, n := range few.numbers {
		if many.of(name) != n {
			t.Errorf("%s was %d and is %d since others came", name, n, many.of(name))
		}
	}
}

// TestNumbersHaveNoHistory adds and drops names in a crowd: the numbers are
// those of a numbering that never knew the names that have gone.
func TestNumbersHaveNoHistory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	n, present := newNumbering(60), map[string]bool{}
	for step := range 5000 {
		name := fmt.Sprint(random.IntN(70))
		before := maps.Clone(n.numbers)
		var moved []string
		if present[name] {
			moved = n.drop(name)
			delete(present, name)
		} else if len(present) < 50 {
			moved = n.add(name)
			present[name] = true
		}
		told := map[string]bool{}
		for _, m := range moved {
			told[m] = true
		}
		var names []string
		for p := range present {
			names = append(names, p)
		}
		if fresh := numbered(60, names...); !maps.Equal(fresh.numbers, n.numbers) {
			t.Fatalf("step %d: numbers %v, want %v", step, n.numbers, fresh.numbers)
		}
		for other, number := range before {
			if now, ok := n.numbers[other]; ok && (now != number) != told[other] {
				t.Fatalf("step %d: %s went from %d to %d, told: %v", step, other, number, now, told[other])
			}
		}
	}
}
