// Package controller keeps switches in the state that the mesh asks for: it
// takes snapshots from a registry, compiles them for each switch, compares
// with what the switch holds, and applies the difference. It also does what
// flows cannot: it resets connections, answers DNS, adds up counters, and takes
// failing instances out of the choice. How to speak with a switch and with a
// registry is handed in; what the flows are, package pipeline knows.
package controller

import (
	"context"
	"iter"
	"net/netip"
	"time"

	"meshlab.dev/meshlab/controller/flow"
)

// Switch is a connection to one switch. Methods may be called from several
// goroutines. A connection that has ended stays ended.
type Switch interface {
	Holdings
	// Apply carries out all of the change or, when it returns an error, none
	// of its flows and groups as far as it knows.
	Apply(ctx context.Context, ch Change) error
	Done() <-chan struct{} // closed when the connection has ended
	Close() error
}

// Holdings tells what a switch holds.
type Holdings interface {
	Flows(ctx context.Context) ([]FlowStats, error)
	TableFlows(ctx context.Context, table uint8) ([]FlowStats, error)
	Groups(ctx context.Context) ([]uint32, error)
	Meters(ctx context.Context) ([]uint32, error)
}

// EventSwitch is a Switch that tells of packets and of flows that have gone.
// Without it, nothing is refused: callers time out.
type EventSwitch interface {
	Switch
	PacketIns() <-chan PacketIn // closed, or silent, when the connection has ended
	FlowsRemoved() <-chan FlowRemoved
	// PacketOut has the switch run actions on a frame as if it had come in by
	// inPort.
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

// Change is applied in the order of the fields. All between the two kinds of
// meters takes effect at once: no packet meets a part of it. Nil sequences
// are empty.
type Change struct {
	Meters        []flow.Meter // added, or replaced
	AddGroups     iter.Seq[flow.Group]
	ModifyGroups  iter.Seq[flow.Group]
	DeleteCookies []uint64            // every flow with exactly this cookie, in any table
	AddFlows      iter.Seq[flow.Flow] // one with the same table, priority and match is replaced
	DeleteGroups  []uint32
	DeleteMeters  []uint32
}

// Empty tells whether there is nothing to do. A sequence that is not nil
// counts as something.
func (c Change) Empty() bool {
	return c.AddGroups == nil && c.ModifyGroups == nil && c.AddFlows == nil &&
		len(c.Meters)+len(c.DeleteCookies)+len(c.DeleteGroups)+len(c.DeleteMeters) == 0
}

// PacketIn is a packet that a flow sent to the controller.
type PacketIn struct {
	InPort uint32
	Table  uint8
	Cookie uint64    // of the flow
	Regs   [8]uint32 // reg0 to reg7
	CTMark uint32
	Data   []byte // an Ethernet frame, as a workload sent it: trust nothing in it
}

// FlowRemoved tells the last of a flow.
type FlowRemoved struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Reason   flow.RemovedReason
	Duration time.Duration // since it was installed
	Idle     time.Duration // idle timeout in force; 0: none
	Packets  uint64
	Bytes    uint64
	Fields   map[flow.Field]uint64 // fields tested as a whole
}

// Segments makes TCP segments in answer to others. Frames are as workloads
// sent them; an error says that there is no segment in one, or none to make.
type Segments interface {
	// Refuse is the reset that answers a frame, to its sender.
	Refuse(frame []byte) ([]byte, error)
	// Abort is the reset that ends the connection of a frame in the name of
	// its sender, to its receiver.
	Abort(frame []byte) ([]byte, error)
	// Ends are the two ends of the segment in a frame.
	Ends(frame []byte) (src, dst netip.AddrPort, err error)
	// RefusesSYN tells whether a frame is the reset that answers a SYN.
	RefusesSYN(frame []byte) bool
}

// Responder takes frames that are questions to the mesh itself, from the
// hosts of one switch, and answers in its own time.
type Responder interface {
	// Input must not block.
	Input(port uint32, frame []byte)
	Close()
}
