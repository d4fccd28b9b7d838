// Package pipeline turns a snapshot of the mesh and the place of a switch in
// the network into the flows and groups of that switch. It is pure: the same
// input gives the same program, and nothing is read or written elsewhere.
//
// # How a connection is followed
//
// A client C on this switch opens C:p -> VIP:b. The switch chooses an
// instance I:q, and from then on every packet of the connection has to go to
// I:q, and every answer I:q -> C:p has to leave as VIP:b -> C:p. Connection
// tracking remembers the choice, without its NAT. For that both directions
// are rewritten, before they reach ct, to one canonical tuple
//
//	C:p <-> N:1, where N is 240.0.0.0/4 plus a 28-bit number of the service
//
// (240.0.0.0/4 is reserved, RFC 1112 section 4, so that N is never the
// address of anybody): VIP:b of this client names the service, and so does
// I:q. The entry carries the number of the instance in ct_mark and the bind
// port b in ct_label. Only the switch that the client is attached to does
// this, once per direction; all others switch on addresses.
//
// # Connections beside the mesh
//
// A host may also connect to I:q directly. Answers to that pass ct as well,
// find nothing, and leave as they came. Two things can go wrong when the host
// takes for it a port p that it has just used to the same instance through
// the mesh; to the host these are two connections, to the instance one.
//
// The stored connection, closed but not yet expired, would claim the answers.
// So the first packet of a direct connection is shown to ct under the
// canonical tuple: a SYN removes a closed entry. One that is not closed stays,
// and the SYN reaches an instance for which C:p -> I:q is open: it answers to
// the connection that it knows, and the direct one has to wait for its end.
//
// The instance may hold C:p -> I:q in TIME_WAIT, which drops a SYN whose
// timestamp is older than the last one it has seen (RFC 6191, section 2). As
// Linux gives each destination address an offset of its own (tcp_timestamps
// in Documentation/networking/ip-sysctl.rst), the timestamps of VIP and I are
// not in order: in one of the two directions of change such SYNs are lost and
// sent again a second later. No switch can mend this. It takes a client that
// opens hundreds of connections a second both ways to the same instance to
// notice; tcp_timestamps=2 on its host cures it.
//
// # Tables
//
//	 0 classify   ARP, calls to the VIP, hairpin answers, other connections, the rest
//	 5 ARP        answers for VIP and Hairpin on access ports
//	10 direct     first packet of a connection to an instance without the VIP: ct -> 15
//	15 deliver    TCP to a local host -> 70; the rest -> 90
//	20 service    client and bind port -> service; ct
//	30 state      known connection -> 32; stray -> drop; new -> 40
//	32 pinned     known connection: number of the instance -> address and port
//	34 bind port  the packet's bind port is the connection's -> 50
//	40 balance    service -> one instance, a group of them, or a reset
//	45 commit     store the choice -> 50
//	50 translate  destination becomes the instance; hairpin -> back out
//	60 L3         address of a host -> its MAC
//	70 reply      source is an instance: service, ct; else out
//	72 hairpin    answer of a host to itself: restore its address -> 70
//	75 restore    source becomes VIP and bind port, or what it was
//	90 L2         MAC -> port; broadcast -> tree
//
// # Size
//
// Table 20 has a flow per upstream of a local host, 34 one per bind port, 40
// one per service called from here, 10, 32, 70 and 75 one per instance of
// these, 60 and 90 one per host, 0, 15, 50 and 72 a few per access port.
// Nothing is a product of two of these, and nothing depends on connections.
package pipeline

import "meshlab.dev/meshlab/controller/flow"

// The tables.
const (
	TableClassify  uint8 = 0
	TableARP       uint8 = 5
	TableDirect    uint8 = 10
	TableDeliver   uint8 = 15
	TableService   uint8 = 20
	TableState     uint8 = 30
	TablePinned    uint8 = 32
	TableBindPort  uint8 = 34
	TableBalance   uint8 = 40
	TableCommit    uint8 = 45
	TableTranslate uint8 = 50
	TableL3        uint8 = 60
	TableReply     uint8 = 70
	TableHairpin   uint8 = 72
	TableRestore   uint8 = 75
	TableL2        uint8 = 90
)

// TableName is a table's name for people; empty for a table not in use.
func TableName(table uint8) string {
	switch table {
	case TableClassify:
		return "classify"
	case TableARP:
		return "arp"
	case TableDirect:
		return "direct"
	case TableDeliver:
		return "deliver"
	case TableService:
		return "service"
	case TableState:
		return "state"
	case TablePinned:
		return "pinned"
	case TableBindPort:
		return "bind-port"
	case TableBalance:
		return "balance"
	case TableCommit:
		return "commit"
	case TableTranslate:
		return "translate"
	case TableL3:
		return "l3"
	case TableReply:
		return "reply"
	case TableHairpin:
		return "hairpin"
	case TableRestore:
		return "restore"
	case TableL2:
		return "l2"
	default:
		return ""
	}
}

// The registers. On the way back regAddr and regPort hold the source that the
// packet came with.
const (
	regAddr     = flow.Reg1 // address of the instance
	regPort     = flow.Reg2 // TCP port of the instance
	regService  = flow.Reg3 // number of the service
	regOut      = flow.Reg4 // port to leave by, OFPP numbers of 16 bits
	regBind     = flow.Reg5 // bind port of the packet
	regInstance = flow.Reg6 // number of the instance
	regPinned   = flow.Reg7 // bind port of the connection
)

// zone is the connection tracking zone of the mesh.
const zone = 1

// canonicalNet and canonicalPort make the service's side of the canonical
// tuple.
const (
	canonicalNet  = 240 << 24
	canonicalPort = 1
)

// outInPort is OFPP_IN_PORT in the 16-bit numbers that output to a register
// understands (ovs-actions(7), "output:field").
const outInPort = 0xfff8

// labelBind is the part of ct_label that holds the bind port.
func labelBind() flow.Range { return flow.CTLabel.Sub(0, 15) }

// The priorities; in most tables flows of one priority exclude each other.
const (
	priorityMiss    = 1
	priorityDefault = 10
	priorityMain    = 100
	priorityFirst   = 200
)

// Bits of the TCP flags (RFC 9293, section 3.1).
const (
	tcpSYN = 1 << 1
	tcpRST = 1 << 2
	tcpACK = 1 << 4
)
