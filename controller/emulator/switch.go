package emulator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
)

// maxDepth bounds resubmits and groups, as Open vSwitch does
// (ovs-actions(7), "resubmit").
const maxDepth = 64

// Switch is a switch in memory. It is not safe for concurrent use.
type Switch struct {
	tables  map[uint8][]flow.Flow // highest priority first
	groups  map[uint32]flow.Group
	learned []Learned
	ct      tracker
}

// NewSwitch is a switch with flows and groups, and no connection.
func NewSwitch(flows []flow.Flow, groups []flow.Group) (*Switch, error) {
	s := &Switch{ct: tracker{byTuple: map[tuple]*connection{}}}
	if err := s.Replace(flows, groups); err != nil {
		return nil, err
	}
	return s, nil
}

// Replace exchanges all flows and groups; stored connections and learned
// flows stay. Two flows with the same table, priority and match, two groups
// with one id, and a flow that runs a group which is not there are errors, and
// leave the switch as it was. Meters are taken to be there, and let all pass.
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

// Forget drops all stored connections and learned flows, as a restart of the
// switch does.
func (s *Switch) Forget() {
	s.ct = tracker{byTuple: map[tuple]*connection{}}
	s.learned = nil
}

// Output is a packet that leaves by a port.
type Output struct {
	Port   uint32
	Packet Packet
}

// Step is a flow that a packet met. A table without a flow for it is a step
// with Miss, and nothing of the flow but its table.
type Step struct {
	Flow   flow.Flow
	Packet Packet // as it came to the flow, with the registers
	Miss   bool
	Choice *Choice // of a bucket, when the flow runs a select group
}

// Choice is how a select group chose. Open vSwitch 3.1 chooses the same with
// the userspace datapath; the kernel's has another hash.
type Choice struct {
	Group  uint32
	Bucket int    // index in the group
	Slot   int    // of those that share the group out
	Slots  int    // how many there are
	Hash   uint32 // dp_hash
}

// Punt is a packet that went to the controller.
type Punt struct {
	Switch   string    // empty when no Network was asked
	Flow     flow.Flow // the flow that sent it there, and so table and cookie
	Packet   Packet    // its headers
	Metadata Packet    // port of arrival, registers and ct fields at that moment
}

// Result tells what a switch did with a packet.
type Result struct {
	Outputs      []Output
	ToController []Punt
	Path         []Step
	Meters       []uint32 // passed, in this order
}

// Controller tells whether the packet went to the controller.
func (r Result) Controller() bool { return len(r.ToController) > 0 }

// Trace sends a packet in by a port. A packet that the controller sends
// through the tables (OpenFlow 1.3.5, section 7.3.7, with OFPP_TABLE) is one
// that came in by the port it names.
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
	at     int // index in the path of the flow that acts
	result Result
}

func (t *trace) table(table uint8, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("table %d: more than %d resubmits; the flows make a loop", table, maxDepth)
	}
	f, ok := t.s.lookup(table, t.packet)
	t.result.Path = append(t.result.Path, Step{Flow: f, Packet: maps.Clone(t.packet), Miss: !ok})
	if !ok {
		return nil
	}
	caller := t.at
	t.at = len(t.result.Path) - 1
	if f.Meter != 0 {
		t.result.Meters = append(t.result.Meters, f.Meter)
	}
	err := t.run(f.Actions, depth)
	t.at = caller
	return err
}

// lookup finds the flow for a packet, learned ones among them, and counts
// the latter. Without one, it is a flow of the table with nothing else.
func (s *Switch) lookup(table uint8, p Packet) (flow.Flow, bool) {
	found, ok := flow.Flow{Table: table}, false
	for _, f := range s.tables[table] {
		if matches(f.Match, p) {
			found, ok = f, true
			break
		}
	}
	for i, l := range s.learned {
		if l.Flow.Table == table && (!ok || l.Flow.Priority > found.Priority) && matches(l.Flow.Match, p) {
			s.learned[i].Packets++
			return l.Flow, true
		}
	}
	return found, ok
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
		t.punt()
	case flow.SetField, flow.Load, flow.Move:
		return t.packet.Apply(a)
	case flow.Resubmit:
		return t.table(a.Table, depth+1)
	case flow.UseGroup:
		return t.group(a.ID, depth+1)
	case flow.CT:
		return t.track(a, depth+1)
	case flow.Learn:
		return t.learn(a)
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

func (t *trace) punt() {
	p := Punt{Flow: t.result.Path[t.at].Flow, Packet: t.packet.onWire(), Metadata: Packet{}}
	for f, v := range t.packet {
		if _, ok := p.Packet[f]; !ok {
			p.Metadata[f] = v
		}
	}
	t.result.ToController = append(t.result.ToController, p)
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
		hash := dpHash(t.packet)
		i, slot, ok := selectBucket(g, hash)
		if !ok {
			return nil
		}
		t.result.Path[t.at].Choice = &Choice{Group: id, Bucket: i, Slot: slot, Slots: len(slots(g)), Hash: hash}
		buckets = []flow.Bucket{g.Buckets[i]}
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

// Apply does what an action does to the packet's own fields, registers
// among them; only SetField, Load and Move do anything to these.
func (p Packet) Apply(a flow.Action) error {
	switch a := a.(type) {
	case flow.SetField:
		p[a.Field] = a.Value
	case flow.Load:
		return write(p, a.Dst, a.Value)
	case flow.Move:
		v, err := read(p, a.Src)
		if err != nil {
			return err
		}
		return write(p, a.Dst, v)
	}
	return nil
}

// Value is what a range of the packet holds; one above the low 64 bits of a
// field is an error.
func (p Packet) Value(r flow.Range) (uint64, error) { return read(p, r) }

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
