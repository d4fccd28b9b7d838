package pipeline_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// model is a mesh that changes at random.
type model struct {
	random     *rand.Rand
	services   map[string]*mesh.Service
	upstreams  []mesh.Upstream
	intentions []mesh.Intention
	deny       bool
}

func (m *model) name() string { return fmt.Sprintf("s%d", m.random.IntN(8)) }

func (m *model) addr() netip.AddrPort {
	hosts := []string{h1, h2, h3, "10.9.9.9"}
	return netip.AddrPortFrom(netip.MustParseAddr(hosts[m.random.IntN(len(hosts))]), uint16(80+m.random.IntN(6)))
}

func (m *model) step() mesh.Snapshot {
	switch m.random.IntN(9) {
	case 0, 1, 2:
		s := &mesh.Service{Name: m.name()}
		for i := range m.random.IntN(5) {
			inst := mesh.Instance{ID: fmt.Sprintf("%s-%d", s.Name, i), Addr: m.addr(), Healthy: m.random.IntN(3) > 0, Weight: uint16(m.random.IntN(3))}
			if m.random.IntN(2) == 0 {
				inst.Subsets = []string{"v1"}
			}
			s.Instances = append(s.Instances, inst)
		}
		if m.random.IntN(3) == 0 {
			s.Limits.Connections = uint32(m.random.IntN(3))
			s.Limits.ConnectionsPerSec = uint32(m.random.IntN(3))
			s.Affinity = m.random.IntN(2) == 0
		}
		m.services[s.Name] = s
	case 3:
		name := m.name()
		if old, ok := m.services[name]; ok {
			s := *old
			s.Legs = nil
			for range m.random.IntN(3) {
				s.Legs = append(s.Legs, mesh.Leg{Weight: uint32(m.random.IntN(100)), Targets: []mesh.Target{
					{Service: m.name(), Subset: []string{"", "v1"}[m.random.IntN(2)]}, {Service: m.name()}}})
			}
			m.services[name] = &s
		}
	case 4:
		delete(m.services, m.name())
	case 5, 6:
		u := calls([]string{h1, h2, h3}[m.random.IntN(3)], m.name(), m.name(), uint16(9000+m.random.IntN(4)))
		m.upstreams = append(slices.Clone(m.upstreams), u)
	case 7:
		if len(m.upstreams) > 0 {
			i := m.random.IntN(len(m.upstreams))
			m.upstreams = slices.Delete(slices.Clone(m.upstreams), i, i+1)
		}
	case 8:
		names := []string{m.name(), mesh.Wildcard}
		m.intentions = nil
		for range m.random.IntN(4) {
			m.intentions = append(m.intentions, mesh.Intention{Source: names[m.random.IntN(2)], Destination: names[m.random.IntN(2)], Allow: m.random.IntN(2) == 0})
		}
		m.deny = m.random.IntN(2) == 0
	}
	snap := mesh.Snapshot{Upstreams: m.upstreams, Intentions: m.intentions, DefaultDeny: m.deny}
	for _, name := range slices.Sorted(maps.Keys(m.services)) {
		snap.Services = append(snap.Services, m.services[name])
	}
	return snap
}

// move changes the hosts of a network and the place of a switch at random:
// hosts come, go, have other MAC addresses, and are at other ports, attached or
// further away.
func (m *model) move(f pipeline.Fabric, dp pipeline.Datapath) (pipeline.Fabric, pipeline.Datapath) {
	hosts := f.Hosts
	f.Hosts = nil
	dp.Access, dp.ToHost = map[string]uint32{}, map[string]uint32{}
	dp.Flood = []uint32{4}
	for i, h := range hosts {
		port := uint32(10 + 2*i + m.random.IntN(2))
		h.MAC[5] = byte(2*i + m.random.IntN(2))
		switch m.random.IntN(4) {
		case 0:
			continue
		case 1:
			dp.ToHost[h.Name] = 4
		case 2:
			dp.Access[h.Name], dp.ToHost[h.Name] = port, port
			dp.Flood = append(dp.Flood, port)
		case 3: // nobody knows the way
		}
		f.Hosts = append(f.Hosts, h)
	}
	if len(f.Hosts) > 1 && m.random.IntN(3) == 0 { // an address goes to another
		f.Hosts = slices.Clone(f.Hosts)
		f.Hosts[0].Addr, f.Hosts[1].Addr = f.Hosts[1].Addr, f.Hosts[0].Addr
	}
	dp.Trunks, dp.Split = map[uint32]pipeline.Peer{4: {}}, m.random.IntN(2) == 0
	if m.random.IntN(2) == 0 {
		dp.Trunks[5] = pipeline.Peer{}
	}
	return f, dp
}

// holder is a switch that takes deltas.
type holder struct {
	flows  map[uint64]flow.Flow
	groups map[uint32]uint64
	meters map[uint32]flow.Meter
}

func (h *holder) apply(t *testing.T, d pipeline.Delta) {
	t.Helper()
	for _, m := range d.Meters {
		h.meters[m.ID] = m
	}
	if d.AddGroups != nil {
		for g := range d.AddGroups {
			if _, ok := h.groups[g.ID]; ok {
				t.Fatalf("group %d is added, and is there", g.ID)
			}
			h.groups[g.ID] = g.Hash()
		}
	}
	if d.ModifyGroups != nil {
		for g := range d.ModifyGroups {
			if _, ok := h.groups[g.ID]; !ok {
				t.Fatalf("group %d is modified, and is not there", g.ID)
			}
			h.groups[g.ID] = g.Hash()
		}
	}
	for _, cookie := range d.DeleteCookies {
		if _, ok := h.flows[cookie]; !ok {
			t.Fatalf("flow %x is deleted, and is not there", cookie)
		}
		delete(h.flows, cookie)
	}
	added := 0
	for f := range d.AddFlows {
		if _, ok := h.flows[f.Cookie]; ok {
			t.Fatalf("flow %v is added, and is there", f)
		}
		h.flows[f.Cookie] = f
		added++
	}
	if added != d.Flows && !d.Large {
		t.Fatalf("the delta says %d flows and has %d", d.Flows, added)
	}
	for _, id := range d.DeleteGroups {
		delete(h.groups, id)
	}
	for _, id := range d.DeleteMeters {
		delete(h.meters, id)
	}
}

// TestMoveElsewhere checks what Move leaves to a new compiler, and that a
// network that contradicts itself changes nothing.
func TestMoveElsewhere(t *testing.T) {
	f, dps := line()
	c, err := pipeline.NewCompiler(f, dps[0])
	if err != nil {
		t.Fatal(err)
	}
	other := f
	other.DNS = !f.DNS
	for name, to := range map[string]struct {
		f  pipeline.Fabric
		dp pipeline.Datapath
	}{"another mesh": {other, dps[0]}, "another switch": {f, dps[1]}} {
		if moved, err := c.Move(to.f, to.dp); moved || err != nil {
			t.Errorf("%s: moved %v, error %v", name, moved, err)
		}
	}
	twice := f
	twice.Hosts = append(slices.Clone(f.Hosts), f.Hosts[0])
	if moved, err := c.Move(twice, dps[0]); moved || err == nil {
		t.Errorf("a host that is listed twice: moved %v, error %v", moved, err)
	}
	if d := c.Update(mesh.Snapshot{}); d.Flows > 0 || len(d.DeleteCookies) > 0 {
		t.Errorf("nothing has moved, and %d flows come and %d go", d.Flows, len(d.DeleteCookies))
	}
}

// TestManyServicesAtOnce does so with more services than are written before
// they are sent.
func TestManyServicesAtOnce(t *testing.T) {
	f, dp, all := grown(10, 300, 3)
	c, err := pipeline.NewCompiler(f, dp)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{flows: map[uint64]flow.Flow{}, groups: map[uint32]uint64{}, meters: map[uint32]flow.Meter{}}
	for fl := range c.Flows() {
		h.flows[fl.Cookie] = fl
	}
	for _, n := range []int{1, 300, 20, 280, 0, 300} {
		snap := mesh.Snapshot{Services: all.Services[:n], Upstreams: all.Upstreams[:n]}
		d := c.Update(snap)
		h.apply(t, d)
		want := mustCompile(t, f, dp, snap)
		for _, fl := range want.Flows {
			if _, ok := h.flows[fl.Cookie]; !ok {
				t.Fatalf("%d services: lacks %v", n, fl)
			}
		}
		if len(h.flows) != len(want.Flows) || len(h.groups) != len(want.Groups) {
			t.Fatalf("%d services: %d flows and %d groups, want %d and %d", n, len(h.flows), len(h.groups), len(want.Flows), len(want.Groups))
		}
		if !maps.Equal(c.Counters(), want.Counters) {
			t.Fatalf("%d services: counters differ", n)
		}
	}
}

// TestUpdatesAreTheWholeProgram changes a mesh and a network at random: a
// switch that has taken the difference of each change holds what one would get
// that knew the last state alone.
func TestUpdatesAreTheWholeProgram(t *testing.T) {
	for seed := range uint64(24) {
		network, dps := line()
		f, dp := network, dps[seed%2]
		m := &model{random: rand.New(rand.NewPCG(seed, 0)), services: map[string]*mesh.Service{}}
		c, err := pipeline.NewCompiler(f, dp)
		if err != nil {
			t.Fatal(err)
		}
		h := &holder{flows: map[uint64]flow.Flow{}, groups: map[uint32]uint64{}, meters: map[uint32]flow.Meter{}}
		for fl := range c.Flows() {
			h.flows[fl.Cookie] = fl
		}
		for _, meter := range c.Meters() {
			h.meters[meter.ID] = meter
		}
		for step := range 120 {
			snap := m.step()
			for seed >= 16 && m.random.IntN(3) == 0 { // twice, now and then
				f, dp = m.move(network, dp)
				if moved, err := c.Move(f, dp); err != nil || !moved {
					t.Fatalf("seed %d, step %d: moved %v, error %v", seed, step, moved, err)
				}
				if m.random.IntN(4) == 0 {
					h.apply(t, c.Update(snap))
				}
			}
			d := c.Update(snap)
			h.apply(t, d)
			want, err := pipeline.Compile(f, dp, snap)
			if err != nil {
				t.Fatal(err)
			}
			for _, fl := range want.Flows {
				if _, ok := h.flows[fl.Cookie]; !ok {
					t.Fatalf("seed %d, step %d: lacks %v (%s)", seed, step, fl, fl.Reason)
				}
			}
			if len(h.flows) != len(want.Flows) {
				for _, fl := range want.Flows {
					delete(h.flows, fl.Cookie)
				}
				t.Fatalf("seed %d, step %d: has too much: %v", seed, step, h.flows)
			}
			if flows, groups := c.Size(); flows != len(want.Flows) || groups != len(want.Groups) {
				t.Fatalf("seed %d, step %d: says it has %d flows and %d groups, and has %d and %d", seed, step, flows, groups, len(want.Flows), len(want.Groups))
			}
			for _, g := range want.Groups {
				if h.groups[g.ID] != g.Hash() {
					t.Fatalf("seed %d, step %d: group %d differs", seed, step, g.ID)
				}
			}
			meters := map[uint32]flow.Meter{}
			for _, meter := range want.Meters {
				meters[meter.ID] = meter
			}
			if len(h.groups) != len(want.Groups) || !maps.Equal(h.meters, meters) || !maps.Equal(c.Zones(), want.Zones) ||
				!maps.Equal(c.Counters(), want.Counters) || !slices.Equal(c.Warnings(), want.Warnings) {
				t.Fatalf("seed %d, step %d: groups, meters, zones, counters or warnings differ:\n%v\n%v\n%s\n%s", seed, step,
					h.meters, meters, strings.Join(c.Warnings(), "\n"), strings.Join(want.Warnings, "\n"))
			}
			seen := map[string]flow.Flow{}
			for _, fl := range want.Flows {
				key := fmt.Sprint(fl.Table, fl.Priority, fl.Match)
				if other, ok := seen[key]; ok {
					t.Fatalf("seed %d, step %d: one match, two flows: %v and %v", seed, step, fl, other)
				}
				seen[key] = fl
			}
		}
	}
}
