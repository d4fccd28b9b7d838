package pipeline

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
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
	Warnings []string     // parts of the snapshot that could not be honoured, sorted
}

// Compile makes the program of one switch. An error means that fabric or dp
// contradict themselves; what is wrong with the snapshot becomes a warning,
// so that one bad registration cannot stop the rest.
func Compile(f Fabric, dp Datapath, snap mesh.Snapshot) (Program, error) {
	hosts := make(map[string]Host, len(f.Hosts))
	for _, h := range f.Hosts {
		hosts[h.Name] = h
	}
	if err := errors.Join(f.Validate(), dp.validate(hosts)); err != nil {
		return Program{}, fmt.Errorf("compile %s: %w", dp.Name, err)
	}
	c := &compiler{fabric: f, dp: dp, ways: map[string]uint32{}}
	maps.Copy(c.ways, dp.ToHost)
	maps.Copy(c.ways, dp.Access)
	for _, name := range sortedKeys(dp.Access) {
		c.local = append(c.local, access{Host: hosts[name], port: dp.Access[name]})
	}
	c.switching(hosts)
	if !f.Mesh {
		c.add(TableClassify, priorityMiss, nil, do(next(TableL2)), "everything is switched by its MAC address")
	} else {
		c.classify()
		c.arp()
		c.hosts(hosts)
		v := c.view(snap)
		c.direct(v)
		c.forward(v)
		c.reply(v)
	}
	return c.program(), nil
}

// access is a host attached to the switch.
type access struct {
	Host
	port uint32
}

type compiler struct {
	fabric   Fabric
	dp       Datapath
	local    []access          // sorted by name
	ways     map[string]uint32 // port towards each host, the local ones too
	flows    []flow.Flow
	groups   []flow.Group
	warnings []string
}

func (c *compiler) add(table uint8, priority uint16, match flow.Match, actions []flow.Action, reason string, args ...any) {
	c.flows = append(c.flows, flow.Flow{
		Table: table, Priority: priority, Match: match, Actions: actions,
		Reason: fmt.Sprintf(reason, args...),
	}.Seal())
}

func (c *compiler) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

func (c *compiler) program() Program {
	type keyed struct {
		flow.Flow
		match string
	}
	all := make([]keyed, len(c.flows))
	for i, f := range c.flows {
		all[i] = keyed{f, f.Match.String()}
	}
	slices.SortFunc(all, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.match, b.match))
	})
	p := Program{Flows: make([]flow.Flow, len(all)), Groups: c.groups}
	for i, k := range all {
		p.Flows[i] = k.Flow
	}
	slices.SortFunc(p.Groups, func(a, b flow.Group) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(c.warnings)
	p.Warnings = slices.Compact(c.warnings)
	return p
}

// The matches and actions below keep the flows readable.

func tcp(more ...flow.FieldMatch) flow.Match {
	return append(flow.Match{flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP)}, more...)
}

func do(actions ...flow.Action) []flow.Action { return actions }

func set(f flow.Field, v uint64) flow.Action { return flow.SetField{Field: f, Value: v} }

func load(f flow.Field, v uint64) flow.Action { return flow.Load{Dst: f.All(), Value: v} }

func next(table uint8) flow.Action { return flow.Resubmit{Table: table} }

func move(src, dst flow.Range) flow.Action { return flow.Move{Src: src, Dst: dst} }

func track(table uint8) flow.Action { return flow.CT{Zone: zone, Table: &table} }

// wholePacket is OFPCML_NO_BUFFER: all of the packet (OpenFlow 1.3.5, section 7.2.5).
const wholePacket = 0xffff

func toController() flow.Action { return flow.Controller{MaxLen: wholePacket} }

func addrValue(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

// low16 is the half of a register that holds a port number.
func low16(f flow.Field) flow.Range { return f.Sub(0, 15) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
