package scenarios

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
)

// duetLabs hands out where variants are measured.
type duetLabs struct {
	use   func(ctx context.Context, variant int) (ActiveSide, error) // Fresh until warm is called
	warm  func(variant int)
	spent func() error // a trial has been made in them
	close func() error
}

// labs returns the labs of the trials, which come up when they are used.
func (r *duetRun) labs() duetLabs {
	if r.c.Method == ABBA {
		return r.labsInTurn()
	}
	var g Generator // nil: the next pair needs labs
	fresh := false
	end := func() error {
		if g == nil {
			return nil
		}
		err := g.Close()
		g = nil
		if err != nil {
			return fmt.Errorf("end the generator: %w", err)
		}
		return nil
	}
	return duetLabs{
		use: func(ctx context.Context, variant int) (ActiveSide, error) {
			if g == nil {
				r.report(PhaseLabs, 0)
				opened, err := r.h.Open(ctx)
				if err != nil {
					return ActiveSide{}, fmt.Errorf("open labs: %w", err)
				}
				g, fresh = opened, true
				for i := range r.duet.Variants {
					r.duet.Variants[i].Starts++
				}
			}
			return ActiveSide{Generator: g, Side: variant, Fresh: fresh}, nil
		},
		warm:  func(int) { fresh = false }, // all of them have warmed up at once
		spent: end,
		close: end,
	}
}

// labsInTurn are those of ABBA, which stay up while they are measured twice
// in a row.
func (r *duetRun) labsInTurn() duetLabs {
	cold := make(map[int]bool)
	nothing := func() error { return nil }
	return duetLabs{
		use: func(ctx context.Context, variant int) (ActiveSide, error) {
			side, err := r.h.Use(ctx, variant)
			if err != nil {
				return side, fmt.Errorf("bring up %s: %w", r.c.Variants[variant].Name, err)
			}
			if side.Fresh {
				r.duet.Variants[variant].Starts++
				cold[variant] = true
			}
			side.Fresh = cold[variant]
			return side, nil
		},
		warm: func(variant int) {
			if len(r.c.Faults) == 0 { // what was broken in a trial has to recover before the next
				delete(cold, variant)
			}
		},
		spent: nothing,
		close: nothing,
	}
}

// order returns all trials that there may be: for each, the variants that take
// part, in the order in which they are measured if they are not live together.
//
// ABBA goes in blocks of two pairs, ABBA or BAAB by chance: what drifts
// evenly then strikes both alike within a block, and nothing periodic keeps
// step with the order. With more than two variants, the comparisons take turns
// block by block.
func (r *duetRun) order() [][]int {
	most := r.c.Rule.last() * r.perPair()
	order := make([][]int, 0, most)
	if r.c.Method == Alive {
		all := make([]int, len(r.c.Variants))
		for i := range all {
			all[i] = i
		}
		for range most {
			order = append(order, all)
		}
		return order
	}
	random := rand.New(rand.NewPCG(r.seed(0, 0), 0))
	for pairs := 0; pairs < r.c.Rule.last(); pairs += 2 {
		for _, i := range random.Perm(len(r.c.Variants) - 1) {
			block := [][]int{{0, i + 1}, {i + 1, 0}}
			if random.IntN(2) == 1 {
				block[0], block[1] = block[1], block[0]
			}
			order = append(order, block[:min(2, r.c.Rule.last()-pairs)]...)
		}
	}
	return order
}

// seed derives the seed of a part of a trial from the run's, so that duets and
// trials of one run have different arrivals, and a repeated run the same.
func (r *duetRun) seed(trial, part int) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %q %q %d %d", r.c.Lab, r.c.Pods, r.c.Scenario, r.c.Request, trial, part)
	return rand.NewPCG(r.c.Seed, h.Sum64()).Uint64()
}
