// Package mesh holds what a registry knows of a service mesh, as values:
// services, their instances, and who calls whom. It knows nothing of
// switches; package pipeline turns these values into flows.
package mesh

import "net/netip"

// Snapshot is the state of the mesh at one moment. It is immutable once
// made: whoever wants another state makes another snapshot.
type Snapshot struct {
	Services  []Service  // sorted by name
	Upstreams []Upstream // sorted by Client, then BindPort
}

// Service is a name and all instances the registry lists under it, healthy
// or not.
type Service struct {
	Name      string
	Instances []Instance // sorted by ID
}

// Instance is one running copy of a service.
type Instance struct {
	ID      string // unique within the registry
	Node    string // name of the host, as the registry knows it
	Addr    netip.AddrPort
	Healthy bool   // all checks pass: it may get new connections
	Weight  uint16 // share of new connections, relative to its siblings; at least 1
}

// Upstream says that processes on the host with address Client reach
// service Destination at the virtual address and port BindPort.
type Upstream struct {
	Client      netip.Addr
	Source      string // name of the calling service, for people
	Destination string // name of the service called
	BindPort    uint16
}
