package emulator

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
)

// maxDepth bounds resubmits and groups, as Open vSwitch does
// (ovs-actions(7), "resubmit").
const maxDepth = 64

// Switch is a switch in memory. It is not safe for concurrent use.
type Switch struct {
	tables map[uint8][]flow.Flow // highest priority first
	groups map[uint32]flow.Group
	ct     tracker
}

// NewSwitch is a switch with flows and groups, and no connection.
func NewSwitch(flows []flow.Flow, groups []flow.Group) (*Switch, error) {
	s := &Switch{ct: tracker{byTuple: map[tuple]*connection{}}}
	if err := s.Replace(flows, groups); err != nil {
		return nil, err
	}
	return s, nil
}

// Replace exchanges all flows and groups; stored connections stay. Two flows
// with the same table, priority and match, two groups with one id, and a
// flow that runs a group which is not there are errors, and leave the switch
// as it was.
func (s *Switch) Replace(flows []flow.Flow, groups []flow.Group) error {
	tables, byID := map[uint8][]flow.Flow{}, map[uint32]flow.Group{}
	for _, g := range groups {
		if _, ok := byID[g.ID]; ok {
			return fmt.Errorf("install group %d: there are two of it", g.ID)
		}
		byID[g.ID] = g
	}
	seen := map[string]bool{}
	for _, f := range flows {
		key := fmt.Sprintf("table=%d, priority=%d, %s", f.Table, f.Priority, f.Match)
		if seen[key] {
			return fmt.Errorf("install flow %s: there are two of it", key)
		}
		seen[key] = true
		for _, a := range f.Actions {
			if g, ok := a.(flow.UseGroup); ok {
				if _, ok := byID[g.ID]; !ok {
					return fmt.Errorf("install flow %s: group %d is not there", key, g.ID)
				}
			}
		}
		tables[f.Table] = append(tables[f.Table], f)
	}
	for _, t := range tables {
		slices.SortStableFunc(t, func(a, b flow.Flow) int { return cmp.Compare(b.Priority, a.Priority) })
	}
	s.tables, s.groups = tables, byID
	return nil
}

// Forget drops all stored connections, as a restart of the switch does.
func (s *Switch) Forget() { s.ct = tracker{byTuple: map[tuple]*connection{}} }

// Output is a packet that leaves by a port.
type Output struct {
	Port   uint32
	Packet Packet
}

// Step is a flow that a packet met.
type Step struct {
	Flow   flow.Flow
	Packet Packet // as it came to the flow, with the registers
}

// Result tells what a switch did with a packet.
type Result struct {
	Outputs      []Output
	ToController []Packet // as the controller sees it
	Path         []Step
}

// Controller tells whether the packet went to the controller.
func (r Result) Controller() bool { return len(r.ToController) > 0 }

// Trace sends a packet in by a port.
func (s *Switch) Trace(inPort uint32, p Packet) (Result, error) {
	start := maps.Clone(p)
	start[flow.InputPort] = uint64(inPort)
	t := &trace{s: s, packet: start}
	if err := t.table(0, 0); err != nil {
		return t.result, fmt.Errorf("trace %v from port %d: %w", p, inPort, err)
	}
	return t.result, nil
}

// trace is one packet on its way.
type trace struct {
	s      *Switch
	packet Packet
	result Result
}

func (t *trace) table(table uint8, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("table %d: more than %d resubmits; the flows make a loop", table, maxDepth)
	}
	for _, f := range t.s.tables[table] {
		if matches(f.Match, t.packet) {
			t.result.Path = append(t.result.Path, Step{Flow: f, Packet: maps.Clone(t.packet)})
			return t.run(f.Actions, depth)
		}
	}
	return nil
}

func matches(m flow.Match, p Packet) bool {
	for _, fm := range m {
		if p[fm.Field]&fm.Mask != fm.Value&fm.Mask {
			return false
		}
	}
	return true
}

func (t *trace) run(actions []flow.Action, depth int) error {
	for _, a := range actions {
		if err := t.act(a, depth); err != nil {
			return err
		}
	}
	return nil
}

func (t *trace) act(a flow.Action, depth int) error {
	switch a := a.(type) {
	case flow.Output:
		t.output(a.Port)
	case flow.OutputReg:
		v, err := read(t.packet, a.From)
		if err != nil {
			return err
		}
		if v == uint64(flow.PortInPort&0xffff) {
			v = uint64(flow.PortInPort)
		}
		t.output(uint32(v))
	case flow.InPort:
		t.output(flow.PortInPort)
	case flow.Controller:
		t.result.ToController = append(t.result.ToController, t.packet.onWire())
	case flow.SetField:
		t.packet[a.Field] = a.Value
	case flow.Load:
		return write(t.packet, a.Dst, a.Value)
	case flow.Move:
		v, err := read(t.packet, a.Src)
		if err != nil {
			return err
		}
		return write(t.packet, a.Dst, v)
	case flow.Resubmit:
		return t.table(a.Table, depth+1)
	case flow.UseGroup:
		return t.group(a.ID, depth+1)
	case flow.CT:
		return t.track(a, depth+1)
	default:
		return fmt.Errorf("action %v is not known to the switch in memory", a)
	}
	return nil
}

// output follows OpenFlow 1.3.5, section 5.12: never back out of the port
// of arrival, unless by its reserved name.
func (t *trace) output(port uint32) {
	in := uint32(t.packet[flow.InputPort])
	switch port {
	case in:
		return
	case flow.PortInPort:
		port = in
	}
	t.result.Outputs = append(t.result.Outputs, Output{Port: port, Packet: t.packet.onWire()})
}

// group runs buckets on copies of the packet: what a bucket changes is not
// seen by actions after the group (OpenFlow 1.3.5, section 5.6.1).
func (t *trace) group(id uint32, depth int) error {
	g, ok := t.s.groups[id]
	if !ok {
		return fmt.Errorf("group %d is not there", id)
	}
	buckets := g.Buckets
	if g.Type == flow.GroupSelect {
		b, ok := pick(g, t.packet)
		if !ok {
			return nil
		}
		buckets = []flow.Bucket{b}
	}
	saved := t.packet
	for _, b := range buckets {
		t.packet = maps.Clone(saved)
		if err := t.run(b.Actions, depth); err != nil {
			return err
		}
	}
	t.packet = saved
	return nil
}

// pick chooses a bucket by a hash of the five-tuple, in proportion to the
// weights. Open vSwitch uses another hash.
func pick(g flow.Group, p Packet) (flow.Bucket, bool) {
	total := uint64(0)
	for _, b := range g.Buckets {
		total += uint64(b.Weight)
	}
	if total == 0 {
		return flow.Bucket{}, false
	}
	h := fnv.New64a()
	k := tupleOf(0, p)
	for _, v := range []uint64{k.proto, k.src, k.dst, k.srcPort, k.dstPort} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, v)) // never fails (package hash)
	}
	sum := h.Sum64()
	point := (sum ^ sum>>32) % total
	for _, b := range g.Buckets {
		if point < uint64(b.Weight) {
			return b, true
		}
		point -= uint64(b.Weight)
	}
	return flow.Bucket{}, false
}

// track runs a ct action. The packet goes on in the table as a copy, and the
// actions after ct see it without its connection (ovs-actions(7), "ct").
func (t *trace) track(a flow.CT, depth int) error {
	state, c := t.s.ct.lookup(a.Zone, t.packet)
	if a.Commit && state&flow.CTInvalid == 0 {
		c = t.s.ct.commit(a.Zone, t.packet)
		exec := maps.Clone(t.packet)
		exec[flow.CTMark], exec[flow.CTLabel] = c.mark, c.label
		inner := &trace{s: t.s, packet: exec}
		if err := inner.run(a.Exec, depth); err != nil {
			return err
		}
		c.mark, c.label = exec[flow.CTMark], exec[flow.CTLabel]
	}
	if a.Table == nil {
		return nil
	}
	saved := t.packet
	t.packet = maps.Clone(saved)
	t.packet[flow.CTState], t.packet[flow.CTZone] = state, uint64(a.Zone)
	t.packet[flow.CTMark], t.packet[flow.CTLabel] = 0, 0
	if c != nil {
		t.packet[flow.CTMark], t.packet[flow.CTLabel] = c.mark, c.label
	}
	err := t.table(*a.Table, depth)
	t.packet = saved
	return err
}

// read and write know the low 64 bits of a field.
func read(p Packet, r flow.Range) (uint64, error) {
	if r.Start+r.Bits > 64 {
		return 0, fmt.Errorf("read %v: the switch in memory keeps 64 bits of a field", r)
	}
	return p[r.Field] >> r.Start & ones(r.Bits), nil
}

func write(p Packet, r flow.Range, v uint64) error {
	if r.Start+r.Bits > 64 {
		return fmt.Errorf("write %v: the switch in memory keeps 64 bits of a field", r)
	}
	mask := ones(r.Bits) << r.Start
	p[r.Field] = p[r.Field]&^mask | v<<r.Start&mask
	return nil
}

func ones(bits uint16) uint64 {
	if bits >= 64 {
		return ^uint64(0)
	}
	return 1<<bits - 1
}
