package pipeline

// Counter says what a flow counts. Flows with the same Counter add up.
type Counter struct {
	Kind        CounterKind
	Source      string // calling service; mesh.Wildcard: any; empty: does not apply
	Destination string // service called, or of the instance; mesh.Wildcard: any
	Instance    string // id of the instance
	Host        string // for CountSpoofed: the host at the access port
}

// CounterKind is what the packets of a counted flow have in common.
type CounterKind uint8

// The kinds of counters, and which of Counter's fields they have.
const (
	CountSent     CounterKind = iota + 1 // Source, Destination: packets of clients to a service, openings excepted
	CountOpened                          // Source, Destination: SYNs of clients to a service, repeated ones too
	CountChosen                          // Destination, Instance: new connections that got this instance
	CountReceived                        // Destination, Instance: packets of an instance to its clients
	CountDenied                          // Source, Destination: packets that an intention or the default forbids
	CountSpoofed                         // Host: packets with an address that is not the host's
	CountRefused                         // packets answered with a reset: nothing called there, no healthy instance, or instance gone
	CountResets                          // resets that instances sent
	CountRepeated                        // SYNs sent again, because nothing answered the first
	CountDNS                             // DNS questions
)

// String is the kind as metrics name it.
func (k CounterKind) String() string {
	switch k {
	case CountSent:
		return "sent"
	case CountOpened:
		return "opened"
	case CountChosen:
		return "chosen"
	case CountReceived:
		return "received"
	case CountDenied:
		return "denied"
	case CountSpoofed:
		return "spoofed"
	case CountRefused:
		return "refused"
	case CountResets:
		return "resets"
	case CountRepeated:
		return "repeated"
	case CountDNS:
		return "dns"
	default:
		return ""
	}
}

// CountingTables are the tables whose flows have counters.
func CountingTables() []uint8 {
	return []uint8{TableIdentity, TableService, TableCommit, TableRestore, TableIntention, TableRefuse, TableDNS, TableResetSeen, TableRepeatedSYN}
}
