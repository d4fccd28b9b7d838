// Package flow describes OpenFlow state as plain values: flows, matches,
// actions, groups. Every value prints itself in the syntax of ovs-ofctl(8)
// and ovs-actions(7), so that an expectation in a test can be read and typed by a
// person. It knows neither the wire (package openflow) nor the mesh
// (package pipeline).
package flow

// Flow is one entry of a flow table.
type Flow struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Match    Match
	Meter    uint32   // id of the meter that the packet must pass first; 0: none
	Notify   bool     // the switch tells the last counters when the flow goes
	Actions  []Action // none: drop
	Reason   string   // for people; never sent to the switch
}

// Meter drops the packets above a rate (OpenFlow 1.3.5, section 5.7).
type Meter struct {
	ID     uint32 // 1 and up
	Rate   uint32 // packets per second
	Burst  uint32 // packets that may come at once after a quiet time
	Reason string // for people; never sent to the switch
}

// Group is an entry of the group table.
type Group struct {
	ID      uint32
	Type    GroupType
	Buckets []Bucket
	Reason  string // for people; never sent to the switch
}

// GroupType tells how a group uses its buckets.
type GroupType uint8

// The group types in use (OpenFlow 1.3.5, section 5.6.1).
const (
	GroupAll    GroupType = 0
	GroupSelect GroupType = 1
)

// Bucket is one alternative of a group.
type Bucket struct {
	Weight  uint16 // relative to the other buckets of a select group
	Actions []Action
}

// Match is a conjunction of field tests; an empty Match matches every
// packet. The order carries no meaning: printing, hashing and encoding put
// the fields into the order of ovs-ofctl.
type Match []FieldMatch

// FieldMatch tests one field: packet & Mask == Value & Mask. Mask is never
// zero; an exact test carries Field.FullMask().
type FieldMatch struct {
	Field Field
	Value uint64
	Mask  uint64
}

// Range is a run of bits inside a field, as NXM[Start..Start+Bits-1].
type Range struct {
	Field Field
	Start uint16
	Bits  uint16
}

// Action is one of the action types of this package.
type Action interface {
	String() string
	action()
}

// The actions (ovs-actions(7)).
type (
	// Output sends the packet out of a port; never back out of the port it
	// came in by.
	Output struct{ Port uint32 }
	// OutputReg sends the packet out of the port whose number a field holds.
	OutputReg struct{ From Range }
	// InPort sends the packet back out of the port it came in by.
	InPort struct{}
	// Controller sends the packet to the controller, at most MaxLen bytes of it.
	Controller struct{ MaxLen uint16 }
	// SetField writes a whole header field.
	SetField struct {
		Field Field
		Value uint64
	}
	// Load writes the low bits of Value into a range.
	Load struct {
		Dst   Range
		Value uint64
	}
	// Move copies bits; both ranges have the same length.
	Move struct{ Src, Dst Range }
	// Resubmit continues at another table, and comes back afterwards.
	Resubmit struct{ Table uint8 }
	// UseGroup runs a group.
	UseGroup struct{ ID uint32 }
	// CT passes the packet through connection tracking in Zone. With Commit the
	// connection is stored, and Exec (Load, Move to ct_mark or ct_label) is
	// applied to it. With Table not nil the packet continues there with its
	// ct_* fields known.
	CT struct {
		Commit bool
		Zone   uint16
		Table  *uint8
		Exec   []Action
	}
	// Learn installs a flow without actions, made of the packet at hand, with
	// CookieLearned (ovs-actions(7), "learn"). It counts what follows.
	Learn struct {
		Table       uint8
		Priority    uint16
		IdleTimeout uint16 // seconds without a packet until the flow goes
		FinIdle     uint16 // the same, after a FIN or RST; 0: no difference
		Notify      bool   // tell the counters when it goes
		Match       []LearnMatch
	}
)

// LearnMatch is one test of a learned flow: that Dst equals what Src holds in
// the packet at hand or, when Src is the zero Range, Value.
type LearnMatch struct {
	Dst   Range
	Src   Range
	Value uint64
}

func (Output) action()     {}
func (OutputReg) action()  {}
func (InPort) action()     {}
func (Controller) action() {}
func (SetField) action()   {}
func (Load) action()       {}
func (Move) action()       {}
func (Resubmit) action()   {}
func (UseGroup) action()   {}
func (CT) action()         {}
func (Learn) action()      {}
