package controller

import (
	"iter"
	"maps"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/pipeline"
)

// held is what a switch holds, by identity: sealed flows with one cookie are
// the same. Of groups and meters only the ids are known.
type held struct {
	flows  map[uint64]bool
	groups map[uint32]bool
	meters map[uint32]bool
}

// heldBy is what a switch has told of itself, without learned flows.
func heldBy(flows []FlowStats, groups, meters []uint32) held {
	h := held{flows: make(map[uint64]bool, len(flows)), groups: map[uint32]bool{}, meters: map[uint32]bool{}}
	for _, f := range flows {
		if f.Cookie != flow.CookieLearned {
			h.flows[f.Cookie] = true
		}
	}
	for _, id := range groups {
		h.groups[id] = true
	}
	for _, id := range meters {
		h.meters[id] = true
	}
	return h
}

func (h *held) empty() bool { return len(h.flows) == 0 && len(h.groups) == 0 }

// known tells whether nothing is held but the program.
func (h *held) known(c *pipeline.Compiler) bool {
	flows, groups := c.Size()
	if len(h.flows) > flows || len(h.groups) > groups {
		return false
	}
	known := 0
	for cookie := range c.Cookies() {
		if h.flows[cookie] {
			known++
		}
	}
	return known == len(h.flows)
}

// take adds a program to what is held.
func (h *held) take(c *pipeline.Compiler) {
	for cookie := range c.Cookies() {
		h.flows[cookie] = true
	}
	for id := range c.GroupIDs() {
		h.groups[id] = true
	}
	for _, m := range c.Meters() {
		h.meters[m.ID] = true
	}
}

// difference is the change from have to the program, and how many flows it
// adds. What is in the switch and not in the program is deleted, whoever put
// it there: the bridge belongs to the mesh. keep deletes nothing.
func difference(have held, c *pipeline.Compiler, keep bool) (Change, int) {
	added := 0
	want := make(map[uint64]bool, len(have.flows))
	for cookie := range c.Cookies() {
		want[cookie] = true
		if !have.flows[cookie] {
			added++
		}
	}
	groups := map[uint32]bool{}
	for id := range c.GroupIDs() {
		groups[id] = true
	}
	ch := Change{Meters: c.Meters()}
	if added > 0 {
		ch.AddFlows = filter(c.Flows(), func(f flow.Flow) bool { return !have.flows[f.Cookie] })
	}
	old, fresh := 0, 0
	for id := range groups {
		if have.groups[id] {
			old++
		} else {
			fresh++
		}
	}
	if fresh > 0 {
		ch.AddGroups = filter(c.Groups(), func(g flow.Group) bool { return !have.groups[g.ID] })
	}
	if old > 0 {
		ch.ModifyGroups = filter(c.Groups(), func(g flow.Group) bool { return have.groups[g.ID] })
	}
	if keep {
		return ch, added
	}
	for cookie := range have.flows {
		if !want[cookie] {
			ch.DeleteCookies = append(ch.DeleteCookies, cookie)
		}
	}
	for id := range have.groups {
		if !groups[id] {
			ch.DeleteGroups = append(ch.DeleteGroups, id)
		}
	}
	ch.DeleteMeters = superfluous(have.meters, ch.Meters)
	slices.Sort(ch.DeleteCookies)
	slices.Sort(ch.DeleteGroups)
	return ch, added
}

// everything is the change for a switch that holds nothing: flows and groups
// are written while it takes them.
func everything(have held, c *pipeline.Compiler, keep bool) Change {
	ch := Change{Meters: c.Meters(), AddGroups: c.Groups(), AddFlows: c.Flows()}
	if !keep {
		ch.DeleteMeters = superfluous(have.meters, ch.Meters)
	}
	return ch
}

// superfluous are the meters that are there and not wanted.
func superfluous(have map[uint32]bool, want []flow.Meter) []uint32 {
	wanted := map[uint32]bool{}
	for _, m := range want {
		wanted[m.ID] = true
	}
	var out []uint32
	for _, id := range slices.Sorted(maps.Keys(have)) {
		if !wanted[id] {
			out = append(out, id)
		}
	}
	return out
}

// changeOf is a delta as a change.
func changeOf(d pipeline.Delta) Change {
	ch := Change{
		Meters: d.Meters, AddGroups: d.AddGroups, ModifyGroups: d.ModifyGroups,
		DeleteCookies: d.DeleteCookies, DeleteGroups: d.DeleteGroups, DeleteMeters: d.DeleteMeters,
	}
	if d.Flows > 0 || d.Large {
		ch.AddFlows = d.AddFlows
	}
	return ch
}

func filter[T any](all iter.Seq[T], keep func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for v := range all {
			if keep(v) && !yield(v) {
				return
			}
		}
	}
}

// then calls f when all has been ranged over.
func then[T any](all iter.Seq[T], f func()) iter.Seq[T] {
	return func(yield func(T) bool) {
		for v := range all {
			if !yield(v) {
				return
			}
		}
		f()
	}
}
