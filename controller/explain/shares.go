package explain

import (
	"net/netip"
	"slices"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/pipeline"
)

// label tells what the actions of one slot choose.
type label struct {
	service, instance string
	addr              netip.AddrPort
}

func (l label) name() string {
	if l.service == "" {
		return l.instance
	}
	return l.instance + " of " + l.service
}

// label reads the actions of a slot: they load the number of an instance and
// go on to the table that stores it, or to that of refusals.
func (t *tracer) label(name string, actions []flow.Action) label {
	loaded := flow.Match{}
	for _, a := range actions {
		switch a := a.(type) {
		case flow.Load:
			loaded = append(loaded, a.Dst.Field.Is(a.Value))
		case flow.Resubmit:
			if a.Table == pipeline.TableRefuse {
				return label{instance: "refused"}
			}
			return t.chosen(name, a.Table, loaded)
		}
	}
	return label{instance: "not known"}
}

// chosen is the instance that the flow of a table for these registers stores.
func (t *tracer) chosen(name string, table uint8, loaded flow.Match) label {
	p := t.Programs[name]
	for _, f := range p.Flows {
		if f.Table != table || len(loaded) == 0 || slices.ContainsFunc(loaded, func(m flow.FieldMatch) bool { return !slices.Contains(f.Match, m) }) {
			continue
		}
		c, ok := p.Counters[f.Cookie]
		if !ok || c.Kind != pipeline.CountChosen {
			return label{instance: f.Reason}
		}
		l := label{service: c.Destination, instance: c.Instance}
		if s, ok := t.service(c.Destination); ok {
			for _, i := range s.Instances {
				if i.ID == c.Instance {
					l.addr = i.Addr
				}
			}
		}
		return l
	}
	return label{instance: "not known"}
}

// shares are those of the slots of the choice that the packet met, largest
// first.
func (t *tracer) shares(sent emulator.Sent) []Share {
	for _, h := range sent.Hops {
		for _, s := range h.Result.Path {
			var slots [][]flow.Action
			chosen := 0
			switch {
			case s.Choice != nil:
				for _, g := range t.Programs[h.At.Switch].Groups {
					if g.ID == s.Choice.Group {
						for _, b := range g.Buckets {
							for range b.Weight {
								slots = append(slots, b.Actions)
							}
						}
						chosen = weightBefore(g, s.Choice.Bucket)
					}
				}
			case s.Flow.Table == pipeline.TableAffinity && !s.Miss:
				slots, chosen = t.siblings(h.At.Switch, s.Flow)
			default:
				continue
			}
			return t.count(h.At.Switch, slots, chosen)
		}
	}
	return nil
}

func weightBefore(g flow.Group, bucket int) int {
	n := 0
	for _, b := range g.Buckets[:bucket] {
		n += int(b.Weight)
	}
	return n
}

// siblings are the flows of the affinity table that share out the clients of
// one service, and the place of one among them.
func (t *tracer) siblings(name string, one flow.Flow) (slots [][]flow.Action, at int) {
	key := func(f flow.Flow) string {
		m := slices.Clone(f.Match)
		return slices.DeleteFunc(m, func(fm flow.FieldMatch) bool { return fm.Field == flow.IPv4Src }).String()
	}
	for _, f := range t.Programs[name].Flows {
		if f.Table != one.Table || key(f) != key(one) {
			continue
		}
		if f.Cookie == one.Cookie {
			at = len(slots)
		}
		slots = append(slots, f.Actions)
	}
	return slots, at
}

func (t *tracer) count(name string, slots [][]flow.Action, chosen int) []Share {
	var out []Share
	at := map[label]int{}
	labels := map[string]label{} // by the text of the actions: to find one is slow
	for i, actions := range slots {
		key := actionsOf(flow.Flow{Actions: actions})
		l, known := labels[key]
		if !known {
			l = t.label(name, actions)
			labels[key] = l
		}
		n, ok := at[l]
		if !ok {
			n = len(out)
			at[l] = n
			s := Share{Service: l.service, Instance: l.instance}
			if l.addr.IsValid() {
				s.Address = l.addr.String()
			}
			out = append(out, s)
		}
		out[n].Slots++
		out[n].Chosen = out[n].Chosen || i == chosen
	}
	for i := range out {
		out[i].Ratio = float64(out[i].Slots) / float64(len(slots))
	}
	slices.SortStableFunc(out, func(a, b Share) int { return b.Slots - a.Slots })
	return out
}
