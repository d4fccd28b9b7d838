// Package controller keeps switches in the state that the mesh asks for: it
// takes snapshots from a registry, compiles them for each switch, compares
// with what the switch holds, and applies the difference. How to speak with
// a switch and with a registry is handed in; what the flows are, package
// pipeline knows.
package controller

import (
	"context"
	"time"

	"meshlab.dev/meshlab/controller/flow"
)

// Switch is a connection to one switch. Methods may be called from several
// goroutines. A connection that has ended stays ended.
type Switch interface {
	Flows(ctx context.Context) ([]FlowStats, error)
	Groups(ctx context.Context) ([]uint32, error)
	// Apply carries out all of the change or, when it returns an error, none
	// of it as far as it knows.
	Apply(ctx context.Context, ch Change) error
	Done() <-chan struct{} // closed when the connection has ended
	Close() error
}

// PacketSwitch is a Switch that hands packets over, for answers that its
// flows cannot give. Without it, nothing is refused: callers time out.
type PacketSwitch interface {
	Switch
	PacketIns() <-chan PacketIn // closed, or silent, when the connection has ended
	PacketOut(ctx context.Context, inPort uint32, data []byte, actions []flow.Action) error
}

// FlowStats is what a switch tells of one flow.
type FlowStats struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Packets  uint64        // matched since it was installed
	Bytes    uint64        // in them
	Duration time.Duration // since it was installed
}

// Change is applied in the order of the fields: nothing is taken away before
// all that is new is there.
type Change struct {
	AddGroups     []flow.Group
	ModifyGroups  []flow.Group
	AddFlows      []flow.Flow // one with the same table, priority and match is replaced
	DeleteCookies []uint64    // every flow with exactly this cookie, in any table
	DeleteGroups  []uint32
}

// Empty tells whether there is nothing to do.
func (c Change) Empty() bool {
	return len(c.AddGroups)+len(c.ModifyGroups)+len(c.AddFlows)+len(c.DeleteCookies)+len(c.DeleteGroups) == 0
}

// PacketIn is a packet that a flow sent to the controller.
type PacketIn struct {
	InPort uint32
	Data   []byte // an Ethernet frame, as a workload sent it: trust nothing in it
}
