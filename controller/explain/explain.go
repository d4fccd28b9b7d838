// Package explain tells the way of one packet through the switches in words,
// from what the compiler has written: which flow it meets in which table and
// why, what that changes, where the packet ends, and how the answer comes back.
// It asks the emulator, never a switch; Check compares what it says with Open
// vSwitch's own account.
package explain

import (
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// Network is all that a controller knows of its switches at one moment. A
// packet is followed from switch to switch along the Trunks of Datapaths.
type Network struct {
	Fabric    pipeline.Fabric
	Datapaths []pipeline.Datapath
	Programs  map[string]pipeline.Program // by name of the datapath
	Snapshot  mesh.Snapshot
}

// Question asks for the way of a packet.
type Question struct {
	// From is a host, an address of a host, a service, or service@host.
	From string
	// To is a service that From calls, a host:port, an address:port; a service
	// may have the bind port behind a colon too.
	To         string
	Protocol   string // tcp, udp, icmp or arp; empty: tcp
	Flags      string // TCP flags, joined by commas; empty: syn
	SourcePort uint16 // 0: DefaultSourcePort
}

// DefaultSourcePort is the client's port when the question names none.
const DefaultSourcePort = 40000

// Trace is the answer.
type Trace struct {
	From   Party    `json:"from"`
	To     Party    `json:"to"` // as the client sees it: a host, or a service at the virtual address
	Packet string   `json:"packet"`
	There  Way      `json:"there"`
	Answer string   `json:"answer,omitempty"` // the packet that answers; empty: there is none to trace
	Back   *Way     `json:"back,omitempty"`
	Shares []Share  `json:"shares,omitempty"` // of those that get new connections, when there was a choice
	Notes  []string `json:"notes"`
}

// Party is one end of a connection.
type Party struct {
	Host    string `json:"host,omitempty"`
	Service string `json:"service,omitempty"`
	Address string `json:"address"` // with port, if the protocol has ports
}

// Way is a packet's way from a host to its end.
type Way struct {
	Hops    []Hop   `json:"hops"`
	Verdict Verdict `json:"verdict"`
}

// Hop is a switch on the way.
type Hop struct {
	Switch string `json:"switch"`
	InPort uint32 `json:"in_port"`
	From   string `json:"from"` // host or switch behind that port
	Packet string `json:"packet"`
	Steps  []Step `json:"steps"`
	Out    []Exit `json:"out,omitempty"`
	// OVS is the same question to Open vSwitch: the arguments of ovs-appctl.
	OVS []string `json:"ovs"`
}

// Exit is a port by which the packet leaves a switch.
type Exit struct {
	Port uint32 `json:"port"`
	To   string `json:"to"` // host or switch behind it; empty: not known
}

// Step is a flow that the packet meets. In a table without a flow for the
// packet, Miss is set and there is no more than the table.
type Step struct {
	Table    uint8    `json:"table"`
	Name     string   `json:"name"` // of the table
	Miss     bool     `json:"miss,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Changes  []string `json:"changes,omitempty"` // what the flow does to the packet, in words
	Cookie   string   `json:"cookie,omitempty"`  // hexadecimal, 0x...
	Priority uint16   `json:"priority,omitempty"`
	Match    string   `json:"match,omitempty"`   // in the syntax of ovs-ofctl
	Actions  string   `json:"actions,omitempty"` // the same
	Group    bool     `json:"group,omitempty"`   // it chooses one of several by a hash
}

// Outcome is how a packet's way ends.
type Outcome string

// The outcomes.
const (
	Reaches    Outcome = "reaches"    // a host
	Answered   Outcome = "answered"   // by a switch
	Refused    Outcome = "refused"    // the controller resets the client's connection
	Denied     Outcome = "denied"     // an intention forbids it: the controller resets both ends
	Controller Outcome = "controller" // the controller deals with it
	Dropped    Outcome = "dropped"
	Leaves     Outcome = "leaves" // by a port that leads to nothing known
)

// Verdict is an outcome, in words too.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Text    string  `json:"text"`
}

// Share is the part of new connections that an instance gets.
type Share struct {
	Service  string  `json:"service,omitempty"`
	Instance string  `json:"instance"` // "refused" for the part that is refused
	Address  string  `json:"address,omitempty"`
	Slots    int     `json:"slots"`
	Ratio    float64 `json:"ratio"` // of all slots
	Chosen   bool    `json:"chosen,omitempty"`
}
