package controller

import (
	"slices"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/pipeline"
)

// held is what a switch holds, by identity: sealed flows with one cookie are
// the same. A group read from the switch has hash 0, as only its id is known.
type held struct {
	flows  map[uint64]bool
	groups map[uint32]uint64
}

// heldBy is what a switch has told of itself.
func heldBy(flows []FlowStats, groups []uint32) held {
	h := held{flows: make(map[uint64]bool, len(flows)), groups: make(map[uint32]uint64, len(groups))}
	for _, f := range flows {
		h.flows[f.Cookie] = true
	}
	for _, id := range groups {
		h.groups[id] = 0
	}
	return h
}

// heldAfter is what a switch holds that has taken on the program.
func heldAfter(p pipeline.Program) held {
	h := held{flows: make(map[uint64]bool, len(p.Flows)), groups: make(map[uint32]uint64, len(p.Groups))}
	for _, f := range p.Flows {
		h.flows[f.Cookie] = true
	}
	for _, g := range p.Groups {
		h.groups[g.ID] = g.Hash()
	}
	return h
}

// diff is the change from have to want. What is in the switch and not in
// want is deleted, whoever put it there: the bridge belongs to the mesh.
func diff(have held, want pipeline.Program) Change {
	ch := additions(have, want)
	after := heldAfter(want)
	for cookie := range have.flows {
		if !after.flows[cookie] {
			ch.DeleteCookies = append(ch.DeleteCookies, cookie)
		}
	}
	for id := range have.groups {
		if _, ok := after.groups[id]; !ok {
			ch.DeleteGroups = append(ch.DeleteGroups, id)
		}
	}
	slices.Sort(ch.DeleteCookies)
	slices.Sort(ch.DeleteGroups)
	return ch
}

// additions is diff without deletions.
func additions(have held, want pipeline.Program) Change {
	var ch Change
	for _, g := range want.Groups {
		switch hash, ok := have.groups[g.ID]; {
		case !ok:
			ch.AddGroups = append(ch.AddGroups, g)
		case hash != g.Hash():
			ch.ModifyGroups = append(ch.ModifyGroups, g)
		}
	}
	ch.AddFlows = slices.DeleteFunc(slices.Clone(want.Flows), func(f flow.Flow) bool { return have.flows[f.Cookie] })
	return ch
}
