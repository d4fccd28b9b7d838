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
// # Who may call whom
//
// A host gets packets in by its access port only under its own MAC and IP
// address (table 0); what it sends under another name is dropped. Which of the
// host's services calls is told by the bind port, and travels to the
// destination's switch as source MAC address: a prefix that no access port
// lets in, and the number of the calling service. There, table 80 tells the
// service of the instance, and table 82 looks both up, for every packet that
// goes to the instance. A packet without such an address was sent beside the
// mesh and names no service, so it may reach only services that everybody may
// call.
//
// # Tables
//
//	  0 identity      address of a host, by its port only; from other switches -> 18
//	  5 ARP           answers for VIP and Hairpin on access ports
//	 10 classify      DNS -> 102, calls to the VIP, hairpin answers, other connections, the rest
//	 12 direct        first packet of a connection to an instance without the VIP: ct -> 13
//	 13 stray         a reset that answers nothing the client knows: drop; the rest -> 18
//	 18 deliver       TCP to a local host -> 70; the rest -> 90
//	 20 service       client and bind port -> service, who calls; ct
//	 30 state         known connection -> 32; stray -> drop; new -> 40
//	 32 pinned        known connection: number of the instance -> address and port
//	 34 bind port     the packet's bind port is the connection's -> 50
//	 40 balance       service -> one instance, a group of them, or a reset
//	 42 affinity      client's address -> instance
//	 45 commit        number of the instance -> address and port; store the choice -> 50
//	 46 limit         not stored: too many connections
//	 47 learn         traced connections: flows that count them, in 48 and 76
//	 48 forward spans one flow per traced connection
//	 49 forward trace traced connections pass 48 -> 50
//	 50 translate     destination becomes the instance; hairpin -> 80
//	 60 L3            address of a host -> its MAC; local -> 80, else -> 90
//	 70 reply         source is an instance: service, ct; else -> 80
//	 72 hairpin       answer of a host to itself: restore its address -> 70
//	 74 reset         the controller sees a copy of an instance's reset
//	 75 restore       source becomes VIP and bind port, or what it was -> 80
//	 76 reply spans   one flow per traced connection
//	 77 reply trace   traced connections pass 76 -> 75
//	 80 guard         destination is a local instance of a guarded service -> 82; else out
//	 82 intention     service and who calls -> out, or reset
//	 90 L2            MAC -> port; broadcast -> tree
//	 92 arrived       broadcast that has come by a tunnel of a full mesh -> hosts
//	100 refuse        to the controller: reset the client
//	101 deny          to the controller: reset both ends
//	102 DNS           to the controller: answer
//	103 reset seen    to the controller: an instance has sent a reset
//	104 repeated SYN  to the controller: an instance has not answered
//
// # Size
//
// Table 20 has two flows per upstream of a local host, 34 one per bind port,
// 40 one per service called from here, 12, 32, 45, 70 and 75 one per instance
// of these, 80 one per local instance of a guarded service, 82 one per
// intention and a few, 60 and 90 one per host, the others a few per access
// port. Nothing is a product of two of these, and nothing depends on
// connections but the flows of those that are traced.
package pipeline

import "meshlab.dev/meshlab/controller/flow"

// The tables.
const (
	TableIdentity     uint8 = 0
	TableARP          uint8 = 5
	TableClassify     uint8 = 10
	TableDirect       uint8 = 12
	TableStray        uint8 = 13
	TableDeliver      uint8 = 18
	TableService      uint8 = 20
	TableState        uint8 = 30
	TablePinned       uint8 = 32
	TableBindPort     uint8 = 34
	TableBalance      uint8 = 40
	TableAffinity     uint8 = 42
	TableCommit       uint8 = 45
	TableLimit        uint8 = 46
	TableLearn        uint8 = 47
	TableForwardSpans uint8 = 48
	TableForwardTrace uint8 = 49
	TableTranslate    uint8 = 50
	TableL3           uint8 = 60
	TableReply        uint8 = 70
	TableHairpin      uint8 = 72
	TableReset        uint8 = 74
	TableRestore      uint8 = 75
	TableReplySpans   uint8 = 76
	TableReplyTrace   uint8 = 77
	TableGuard        uint8 = 80
	TableIntention    uint8 = 82
	TableL2           uint8 = 90
	TableArrived      uint8 = 92
	TableRefuse       uint8 = 100
	TableDeny         uint8 = 101
	TableDNS          uint8 = 102
	TableResetSeen    uint8 = 103
	TableRepeatedSYN  uint8 = 104
)

// TableName is a table's name for people; empty for a table not in use.
func TableName(table uint8) string {
	return map[uint8]string{
		TableIdentity: "identity", TableARP: "arp", TableClassify: "classify", TableDirect: "direct", TableStray: "stray",
		TableDeliver: "deliver", TableService: "service", TableState: "state", TablePinned: "pinned",
		TableBindPort: "bind-port", TableBalance: "balance", TableAffinity: "affinity", TableCommit: "commit",
		TableLimit: "limit", TableLearn: "learn", TableForwardSpans: "forward-spans", TableForwardTrace: "forward-trace",
		TableTranslate: "translate", TableL3: "l3", TableReply: "reply", TableHairpin: "hairpin",
		TableReset: "reset", TableRestore: "restore", TableReplySpans: "reply-spans", TableReplyTrace: "reply-trace",
		TableGuard: "guard", TableIntention: "intention", TableL2: "l2", TableArrived: "arrived", TableRefuse: "refuse",
		TableDeny: "deny", TableDNS: "dns", TableResetSeen: "reset-seen", TableRepeatedSYN: "repeated-syn",
	}[table]
}

// The registers. On the way back regAddr and regPort hold the source that the
// packet came with.
const (
	regAddr     = flow.Reg1 // address of the instance
	regPort     = flow.Reg2 // TCP port of the instance
	regService  = flow.Reg3 // number of the service called; in tables 80 and 82, of the instance's
	regOut      = flow.Reg4 // port to leave by, OFPP numbers of 16 bits
	regBind     = flow.Reg5 // bind port of the packet
	regInstance = flow.Reg6 // number of the instance
	regPinned   = flow.Reg7 // bind port of the connection
)

// Source MAC addresses that say who calls: 20 bits of prefix, which make it a
// locally administered unicast address, and the 28-bit number of a service.
const (
	identityPrefix = 0x0a4d4 << 28
	identityMask   = 0xfffff << 28
)

// canonicalNet and canonicalPort make the service's side of the canonical
// tuple.
const (
	canonicalNet  = 240 << 24
	canonicalPort = 1
)

// zones is how many zones of connection tracking the mesh uses, 1 and up: one
// for each pool of services, by its number.
const zones = 65_534

// outInPort is OFPP_IN_PORT in the 16-bit numbers that output to a register
// understands (ovs-actions(7), "output:field").
const outInPort = 0xfff8

// dnsPort is the port of DNS (RFC 1035, section 4.2).
const dnsPort = 53

// labelBind is the part of ct_label that holds the bind port.
func labelBind() flow.Range { return flow.CTLabel.Sub(0, 15) }

// The priorities; in most tables flows of one priority exclude each other.
const (
	priorityMiss    = 1
	priorityDefault = 10
	priorityMain    = 100
	priorityFirst   = 200
)

// Meters. Those of the controller's tables bound what one host can ask of it.
const (
	meterDeny     = 1
	meterSigns    = 2
	meterServices = 1000    // and up: services with a limited rate
	meterPorts    = 0x10000 // and up: what an access port may send to the controller

	puntRate  = 1000 // packets per second
	puntBurst = 500
)

// Bits of the TCP flags (RFC 9293, section 3.1).
const (
	tcpSYN = 1 << 1
	tcpRST = 1 << 2
	tcpACK = 1 << 4
)
