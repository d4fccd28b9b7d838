package controller_test

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
)

// memoryBridge is a bridge in memory that outlives its connections.
type memoryBridge struct {
	sw *emulator.Switch

	mu      sync.Mutex // guards what follows
	flows   []flow.Flow
	groups  map[uint32]flow.Group
	changes []taken
	conn    *memoryConn
	refuse  int // how many of the next changes fail
	read    int // how often all flows were asked for
}

func newMemoryBridge(t *testing.T, flows ...flow.Flow) *memoryBridge {
	t.Helper()
	sw, err := emulator.NewSwitch(flows, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &memoryBridge{sw: sw, flows: flows, groups: map[uint32]flow.Group{}}
}

func (b *memoryBridge) connect(context.Context, controller.Datapath) (controller.Switch, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = &memoryConn{bridge: b, done: make(chan struct{}), in: make(chan controller.PacketIn), out: make(chan []byte, 1)}
	return b.conn, nil
}

// cut ends the present connection.
func (b *memoryBridge) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.conn.Close() // never fails
}

// trace sends a packet through what is installed now.
func (b *memoryBridge) trace(t *testing.T, port uint32, p emulator.Packet) emulator.Result {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.sw.Trace(port, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *memoryBridge) history() []taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.changes)
}

func (b *memoryBridge) installed() []flow.Flow {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.flows)
}

// taken is a change as lists.
type taken struct {
	AddGroups, ModifyGroups []flow.Group
	AddFlows                []flow.Flow
	DeleteCookies           []uint64
}

func list[T any](all iter.Seq[T]) []T {
	if all == nil {
		return nil
	}
	return slices.Collect(all)
}

// memoryConn is one connection to it.
type memoryConn struct {
	bridge *memoryBridge
	once   sync.Once
	done   chan struct{}
	in     chan controller.PacketIn
	out    chan []byte
}

func (c *memoryConn) Done() <-chan struct{}                       { return c.done }
func (c *memoryConn) Close() error                                { c.once.Do(func() { close(c.done) }); return nil }
func (c *memoryConn) PacketIns() <-chan controller.PacketIn       { return c.in }
func (c *memoryConn) FlowsRemoved() <-chan controller.FlowRemoved { return nil }
func (c *memoryConn) Meters(context.Context) ([]uint32, error)    { return nil, nil }

func (c *memoryConn) PacketOut(_ context.Context, _ uint32, data []byte, actions []flow.Action) error {
	if len(actions) == 1 && actions[0] == flow.Action(flow.Output{Port: 7}) {
		c.out <- data
	}
	return nil
}

func (c *memoryConn) Flows(context.Context) ([]controller.FlowStats, error) {
	c.bridge.mu.Lock()
	defer c.bridge.mu.Unlock()
	c.bridge.read++
	var out []controller.FlowStats
	for _, f := range c.bridge.flows {
		out = append(out, controller.FlowStats{Table: f.Table, Priority: f.Priority, Cookie: f.Cookie, Packets: 3, Bytes: 180})
	}
	return out, nil
}

func (c *memoryConn) TableFlows(ctx context.Context, table uint8) ([]controller.FlowStats, error) {
	all, err := c.Flows(ctx)
	return slices.DeleteFunc(all, func(f controller.FlowStats) bool { return f.Table != table }), err
}

func (c *memoryConn) Groups(context.Context) ([]uint32, error) {
	c.bridge.mu.Lock()
	defer c.bridge.mu.Unlock()
	return slices.Sorted(maps.Keys(c.bridge.groups)), nil
}

func (c *memoryConn) Apply(_ context.Context, ch controller.Change) error {
	b := c.bridge
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse > 0 {
		b.refuse--
		return errors.New("refused by the test")
	}
	groups, flows := maps.Clone(b.groups), slices.Clone(b.flows)
	got := taken{AddGroups: list(ch.AddGroups), ModifyGroups: list(ch.ModifyGroups), AddFlows: list(ch.AddFlows), DeleteCookies: ch.DeleteCookies}
	for _, g := range got.AddGroups {
		if _, ok := groups[g.ID]; ok {
			return errors.New("the group to add is there")
		}
		groups[g.ID] = g
	}
	for _, g := range got.ModifyGroups {
		if _, ok := groups[g.ID]; !ok {
			return errors.New("the group to modify is not there")
		}
		groups[g.ID] = g
	}
	flows = slices.DeleteFunc(flows, func(f flow.Flow) bool { return slices.Contains(ch.DeleteCookies, f.Cookie) })
	for _, f := range got.AddFlows {
		flows = slices.DeleteFunc(flows, func(old flow.Flow) bool {
			return old.Table == f.Table && old.Priority == f.Priority && old.Match.String() == f.Match.String()
		})
		flows = append(flows, f)
	}
	for _, id := range ch.DeleteGroups {
		delete(groups, id)
	}
	if err := b.sw.Replace(flows, slices.Collect(maps.Values(groups))); err != nil {
		return err
	}
	b.groups, b.flows, b.changes = groups, flows, append(b.changes, got)
	return nil
}
