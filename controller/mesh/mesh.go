// Package mesh holds what a registry knows of a service mesh, as values:
// services, their instances, who calls whom, and who may. It knows nothing of
// switches; package pipeline turns these values into flows.
package mesh

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Snapshot is the state of the mesh at one moment. It is immutable once
// made: whoever wants another state makes another snapshot.
//
// What has not changed from one snapshot to the next keeps its pointer, or
// the whole slice: readers find what changed by comparing these, which costs
// nanoseconds a service.
type Snapshot struct {
	Services   []*Service  // sorted by name
	Upstreams  []Upstream  // sorted by Client, then BindPort
	Intentions []Intention // sorted by Precedence, highest first
	// DefaultDeny says what holds between services that no intention names.
	DefaultDeny bool
	// Warnings name what the registry asks for and layer 4 cannot honour.
	Warnings []string // sorted
	// Since is when the registry learned what is new in this state; zero when it
	// does not say.
	Since time.Time
}

// Service is a name, all instances the registry lists under it, healthy or
// not, and how connections to it are treated. It is immutable.
type Service struct {
	Name      string
	Instances []Instance // sorted by ID
	// Legs says where connections to this name go. None: to its own
	// instances. A connection takes one leg, by their weights.
	Legs []Leg
	// Affinity sends all connections of one client address to one instance.
	Affinity bool
	Limits   Limits
}

// Leg is one share of the connections to a service. Of its targets, the
// first that has a healthy instance gets them; if none has, they are refused.
type Leg struct {
	Weight  uint32 // share of new connections, relative to the other legs; 0: none
	Targets []Target
}

// Target is a set of instances: those of a service, or of a subset of it.
type Target struct {
	Service string
	Subset  string // one of Instance.Subsets; empty: all instances
}

// Limits protect a service. A zero is no limit.
type Limits struct {
	Connections       uint32 // open at a time, from the hosts of one switch
	ConnectionsPerSec uint32 // new ones, from the hosts of one switch
	Ejection          Ejection
}

// Ejection takes instances that fail out of the choice for a while. The zero
// value ejects nothing.
type Ejection struct {
	Failures   uint32        // in a row, within Interval: refused or unanswered connections
	Interval   time.Duration // 0: 10 s
	BaseTime   time.Duration // out for this long, times how often it has been out; 0: 30 s
	MaxPercent uint32        // of the healthy instances that may be out; one may always, all never; 0: 10
}

// Instance is one running copy of a service.
type Instance struct {
	ID      string // unique within the registry
	Node    string // name of the host, as the registry knows it
	Addr    netip.AddrPort
	Healthy bool     // all checks pass: it may get new connections
	Weight  uint16   // share of new connections, relative to its siblings; at least 1
	Subsets []string // of its service, that it belongs to; sorted
}

// Upstream says that processes on the host with address Client reach
// service Destination at the virtual address and port BindPort.
type Upstream struct {
	Client      netip.Addr
	Source      string // name of the calling service
	Destination string // name of the service called
	BindPort    uint16
}

// CompareUpstreams orders upstreams as snapshots do.
func CompareUpstreams(a, b Upstream) int {
	return cmp.Or(a.Client.Compare(b.Client), cmp.Compare(a.BindPort, b.BindPort),
		cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
}

// JoinUpstreams is all upstreams of two snapshots, each once. When one of them
// has none, it is the other's slice.
func JoinUpstreams(a, b []Upstream) []Upstream {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	all := slices.Concat(a, b)
	slices.SortFunc(all, CompareUpstreams)
	return slices.Compact(all)
}

// Wildcard is the name in an Intention that means every service.
const Wildcard = "*"

// Intention allows or denies connections from one service to another. Of
// those that fit a connection, the one with the highest precedence decides.
type Intention struct {
	Source      string // or Wildcard
	Destination string // or Wildcard
	Allow       bool
	Precedence  int // as Consul computes it: 9 exact, 8 any source, 6 any destination, 5 any
}
