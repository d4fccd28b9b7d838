package emulator

import (
	"fmt"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
)

// Learned is a flow that a packet made by a Learn action.
type Learned struct {
	Flow    flow.Flow // without actions
	By      flow.Learn
	Packets int // that met it since
}

// Learned tells the learned flows, oldest first. As the switch has no
// clock, they stay until Forget.
func (s *Switch) Learned() []Learned { return slices.Clone(s.learned) }

// learn makes a flow out of the packet; one with the same table, priority
// and match is there already and keeps its count (ovs-actions(7), "learn").
func (t *trace) learn(a flow.Learn) error {
	f := flow.Flow{Table: a.Table, Priority: a.Priority, Cookie: flow.CookieLearned, Notify: a.Notify, Reason: "a traced connection"}
	for _, m := range a.Match {
		v := m.Value
		if m.Src != (flow.Range{}) {
			var err error
			if v, err = read(t.packet, m.Src); err != nil {
				return fmt.Errorf("learn: %w", err)
			}
		}
		if m.Dst.Start+m.Dst.Bits > 64 {
			return fmt.Errorf("learn a match of %v: the switch in memory keeps 64 bits of a field", m.Dst)
		}
		f.Match = append(f.Match, m.Dst.Field.Masked(v&ones(m.Dst.Bits)<<m.Dst.Start, ones(m.Dst.Bits)<<m.Dst.Start))
	}
	same := func(l Learned) bool {
		return l.Flow.Table == f.Table && l.Flow.Priority == f.Priority && l.Flow.Match.String() == f.Match.String()
	}
	if !slices.ContainsFunc(t.s.learned, same) {
		t.s.learned = append(t.s.learned, Learned{Flow: f, By: a})
	}
	return nil
}
