package pipeline

import (
	"cmp"
	"encoding/binary"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
)

// Program is the whole state that a switch should have.
type Program struct {
	Flows    []flow.Flow  // sealed; sorted by table, priority (highest first), match
	Groups   []flow.Group // sorted by id
	Meters   []flow.Meter // sorted by id
	Zones    map[uint16]uint32
	Counters map[uint64]Counter // what flows count, by cookie
	Warnings []string           // parts of the snapshot that could not be honoured, sorted
}

// Compile makes the program of one switch. An error means that fabric or dp
// contradict themselves; what is wrong with the snapshot becomes a warning,
// so that one bad registration cannot stop the rest.
func Compile(f Fabric, dp Datapath, snap mesh.Snapshot) (Program, error) {
	c, err := NewCompiler(f, dp)
	if err != nil {
		return Program{}, err
	}
	c.Update(snap)
	return c.Program(), nil
}

// Compiler keeps the program of one switch in step with snapshots. What one
// change costs depends on what it concerns, not on the size of the mesh, but
// for one comparison of pointers a service. It is not safe for concurrent use.
//
// The program is made of units, each the flows of one object such as a call
// or the instances of a service. Kept of a unit are the cookies; its flows are
// written again when they are wanted.
type Compiler struct {
	place
	moved *moves // what Move has told since the last Update; nil: nothing

	state
	units   map[unitKey]*unit
	pending map[unitKey]bool // units that exist and have not been written yet
	sums
}

// sums are kept over all units.
type sums struct {
	flowCount, groupCount int
	meters                map[uint32]flow.Meter
	limits                map[unitKey]zoneLimit
	warnings              map[unitKey][]string
}

type zoneLimit struct {
	zone  uint16
	limit uint32
}

// NewCompiler is a compiler with the program of a mesh without services. An
// error means that fabric or dp contradict themselves.
func NewCompiler(f Fabric, dp Datapath) (*Compiler, error) {
	at, err := placeOf(f, dp)
	if err != nil {
		return nil, err
	}
	c := &Compiler{
		place: at, state: newState(), units: map[unitKey]*unit{}, pending: map[unitKey]bool{},
		sums: sums{meters: map[uint32]flow.Meter{}, limits: map[unitKey]zoneLimit{}, warnings: map[unitKey][]string{}},
	}
	ch := newChanges()
	c.rewrite(ch, unitKey{kind: unitBase})
	for name := range c.ways {
		c.rewrite(ch, unitKey{kind: unitHost, name: name})
	}
	if f.Mesh {
		c.rewrite(ch, unitKey{kind: unitPolicy})
	}
	return c, nil
}

// Program is the whole program, as of the last Update.
func (c *Compiler) Program() Program {
	type keyed struct {
		flow.Flow
		match string
	}
	p := Program{Zones: c.Zones(), Counters: c.Counters(), Warnings: c.Warnings()}
	var all []keyed
	for key := range c.units {
		s := c.write(key, &sheet{explain: true, buckets: true})
		for _, f := range s.flows {
			all = append(all, keyed{f, f.Match.String()})
		}
		if s.group != nil {
			p.Groups = append(p.Groups, *s.group)
		}
	}
	slices.SortFunc(all, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.match, b.match))
	})
	for _, k := range all {
		p.Flows = append(p.Flows, k.Flow)
	}
	slices.SortFunc(p.Groups, func(a, b flow.Group) int { return cmp.Compare(a.ID, b.ID) })
	p.Meters = c.Meters()
	return p
}

// Flows are all flows, sealed, without reasons, in no particular order. They
// are written while the loop runs, which must not call Update.
func (c *Compiler) Flows() iter.Seq[flow.Flow] {
	return func(yield func(flow.Flow) bool) {
		for key := range c.units {
			s := c.write(key, &sheet{})
			c.record(key, s)
			for _, f := range s.flows {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// Groups are all groups, in no particular order; see Flows.
func (c *Compiler) Groups() iter.Seq[flow.Group] {
	return func(yield func(flow.Group) bool) {
		for key, u := range c.units {
			if key.kind != unitBalance || u.group == 0 && !c.pending[key] {
				continue
			}
			s := c.write(key, &sheet{buckets: true})
			c.record(key, s)
			if s.group != nil && !yield(*s.group) {
				return
			}
		}
	}
}

// record keeps what was written of a unit for the first time.
func (c *Compiler) record(key unitKey, s *sheet) {
	if !c.pending[key] {
		return
	}
	delete(c.pending, key)
	u := unitOf(s)
	c.sum(key, &unit{}, u, s)
	maps.Copy(c.counters, s.counters)
	c.units[key] = u
}

// settled writes what has not been written yet.
func (c *Compiler) settled() *Compiler {
	for key := range c.pending {
		c.record(key, c.write(key, &sheet{}))
	}
	return c
}

// Cookies are those of all flows, in no particular order.
func (c *Compiler) Cookies() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, u := range c.settled().units {
			for _, cookie := range u.cookies {
				if !yield(cookie) {
					return
				}
			}
		}
	}
}

// GroupIDs are those of all groups, in no particular order.
func (c *Compiler) GroupIDs() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, u := range c.settled().units {
			if u.group != 0 && !yield(u.group) {
				return
			}
		}
	}
}

// Meters are all meters, sorted by id. They are known without writing flows.
func (c *Compiler) Meters() []flow.Meter {
	return slices.SortedFunc(maps.Values(c.meters), func(a, b flow.Meter) int { return cmp.Compare(a.ID, b.ID) })
}

// Zones are the zones of connection tracking whose number of connections is
// limited, and these limits. Of services that share a zone, the lowest counts.
func (c *Compiler) Zones() map[uint16]uint32 {
	out := map[uint16]uint32{}
	for _, l := range c.settled().limits {
		if have, ok := out[l.zone]; !ok || l.limit < have {
			out[l.zone] = l.limit
		}
	}
	return out
}

// Counters tells what flows count, by cookie. The map is a copy.
func (c *Compiler) Counters() map[uint64]Counter { return maps.Clone(c.settled().counters) }

// Warnings are the parts of the snapshot that could not be honoured, sorted.
func (c *Compiler) Warnings() []string {
	out := slices.Concat(c.snap.Warnings, c.conflicts)
	for _, warnings := range c.settled().warnings {
		out = append(out, warnings...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Size is the number of flows and groups.
func (c *Compiler) Size() (flows, groups int) {
	c.settled()
	return c.flowCount, c.groupCount
}

// Instance tells the service and the instance that have a number: that in
// ct_mark and regInstance of a packet.
func (c *Compiler) Instance(number uint32) (service string, i mesh.Instance, ok bool) {
	key, ok := c.marks.names[number]
	if !ok {
		return "", mesh.Instance{}, false
	}
	addr := addrOf(key)
	service, id := c.owner(addr)
	svc := c.services[service]
	if svc == nil {
		return "", mesh.Instance{}, false
	}
	n := slices.IndexFunc(svc.Instances, func(i mesh.Instance) bool { return i.ID == id })
	return service, svc.Instances[n], true
}

// Call is the upstream behind an address and bind port.
func (c *Compiler) Call(client netip.Addr, bindPort uint16) (mesh.Upstream, bool) {
	u, ok := c.calls[callKey{client, bindPort}]
	return u, ok
}

// The matches and actions below keep the flows readable.

func tcp(more ...flow.FieldMatch) flow.Match {
	m := make(flow.Match, 0, 3+len(more)) // most get one more
	m = append(m, flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP))
	return append(m, more...)
}

func udp(more ...flow.FieldMatch) flow.Match {
	return append(flow.Match{flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoUDP)}, more...)
}

func do(actions ...flow.Action) []flow.Action { return actions }

func set(f flow.Field, v uint64) flow.Action { return flow.SetField{Field: f, Value: v} }

func load(f flow.Field, v uint64) flow.Action { return flow.Load{Dst: f.All(), Value: v} }

func next(table uint8) flow.Action { return flow.Resubmit{Table: table} }

func move(src, dst flow.Range) flow.Action { return flow.Move{Src: src, Dst: dst} }

func track(zone uint16, table uint8) flow.Action { return flow.CT{Zone: zone, Table: &table} }

// wholePacket is OFPCML_NO_BUFFER: all of the packet (OpenFlow 1.3.5, section 7.2.5).
const wholePacket = 0xffff

func toController() flow.Action { return flow.Controller{MaxLen: wholePacket} }

// out sends the packet to the port in regOut.
func out() flow.Action { return flow.OutputReg{From: low16(regOut)} }

func addrValue(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

// low16 is the half of a register that holds a port number.
func low16(f flow.Field) flow.Range { return f.Sub(0, 15) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
