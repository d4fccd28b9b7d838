package pipeline

import (
	"fmt"
	"math"
	"testing"
)

func candidates(shares ...float64) []candidate {
	var all []candidate
	for i, s := range shares {
		all = append(all, candidate{key: fmt.Sprintf("10.0.0.%d:80", i+1), share: s})
	}
	return all
}

func count(slots []int, n int) []int {
	out := make([]int, n)
	for _, i := range slots {
		out[i]++
	}
	return out
}

func TestFillKeepsShares(t *testing.T) {
	for _, shares := range [][]float64{{1, 1}, {1, 1, 1}, {1, 1, 1, 1}, {99, 1}, {90, 10}, {50, 50}, {1, 2, 3}, {9999, 1}, {1, 1, 1, 1, 1, 1, 1}} {
		all := candidates(shares...)
		n := slotCount(all, false)
		got := count(fill(all, n), len(all))
		total := 0.0
		for _, s := range shares {
			total += s
		}
		for i, s := range shares {
			want := s / total * float64(n)
			if math.Abs(float64(got[i])-want) >= 1 && got[i] != 1 {
				t.Errorf("shares %v: candidate %d has %d of %d slots, want %.2f", shares, i, got[i], n, want)
			}
			if got[i] == 0 {
				t.Errorf("shares %v: candidate %d has no slot", shares, i)
			}
		}
	}
}

// moved is the part of the slots whose owner differs.
func moved(a, b []candidate) float64 {
	slots := slotCount(a, true)
	before, after, n := fill(a, slots), fill(b, slots), 0
	for i := range before {
		if a[before[i]].key != b[after[i]].key {
			n++
		}
	}
	return float64(n) / float64(slots)
}

func TestFillMovesLittle(t *testing.T) {
	worst := 0.0
	for seed := range 200 {
		all := candidates(1, 1, 1, 1, 1)
		for i := range all {
			all[i].key = fmt.Sprintf("10.%d.0.%d:%d", seed, i+1, 8000+seed)
		}
		worst = max(worst, moved(all[:4], all))      // one more: ideal 20 %
		worst = max(worst, moved(all[:4], all[:3]))  // one less: ideal 25 %
		worst = max(worst, moved(all[:4], all[1:4])) // the first less
		if got := moved(all[:4], all[:4]); got != 0 {
			t.Fatalf("the same candidates moved %v", got)
		}
	}
	t.Logf("at worst %.1f %% of the slots moved", 100*worst)
	if worst > 0.32 {
		t.Errorf("at worst %.1f %% of the slots moved", 100*worst)
	}
}
