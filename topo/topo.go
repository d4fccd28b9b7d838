// Package topo holds a lab as values: what the lab file says, parsed,
// validated and completed with automatic addresses. It never touches the
// kernel, a file system or a socket; orchestrate does that with the values
// it finds here.
package topo

import (
	"net"
	"net/netip"
	"time"
)

// Kind tells what a node is.
type Kind string

// The kinds of nodes.
const (
	KindHost   Kind = "host"   // a network namespace with one address, where services run
	KindSwitch Kind = "switch" // an Open vSwitch bridge
)

// Lab is one lab: everything in it is complete and consistent once Parse
// has returned it without an error.
type Lab struct {
	Name        string
	Description string
	Mesh        Mesh
	Switches    Switches
	Nodes       []Node // in the order of the file, automatic nodes last
	Links       []Link
	Services    []Service
	Client      *Client            // nil: the lab has no load generator
	Requests    map[string]Request // by name; what the client host can ask for
}

// Switches says where the switches of a lab run.
type Switches string

// The ways to run switches.
const (
	SwitchesShared   Switches = "shared"   // bridges of one Open vSwitch, joined by patch ports
	SwitchesIsolated Switches = "isolated" // each an Open vSwitch in a network namespace of its own, joined by veth pairs or tunnels
)

// Mesh holds the addresses that the mesh itself takes in the lab's network.
type Mesh struct {
	VIP     netip.Addr       // virtual address under which upstreams are reached
	VIPMAC  net.HardwareAddr // MAC address that answers ARP for VIP and Hairpin
	Hairpin netip.Addr       // source address of connections from a host to itself
	Server  string           // node that runs the Consul server
}

// Node is a host or a switch.
type Node struct {
	Name string
	Kind Kind
	IPv4 netip.Prefix     // hosts: address and prefix length of its one interface
	MAC  net.HardwareAddr // hosts: 6 bytes
	DPID uint64           // switches: OpenFlow datapath id
}

// Endpoint is one end of a link.
type Endpoint struct {
	Node      string
	Interface string // hosts: the device's name; switches: the decimal of Port
	Port      uint32 // switches: the OpenFlow port number; hosts: 0
}

// Link joins two nodes, at least one of them a switch.
type Link struct {
	A, B      Endpoint
	MTU       int // bytes
	Tunnel    Tunnel
	Character Character
}

// Tunnel says what carries the frames of a link between isolated switches.
type Tunnel string

// The kinds of tunnels.
const (
	TunnelNone  Tunnel = ""      // a cable
	TunnelVXLAN Tunnel = "vxlan" // VXLAN (RFC 7348) over the underlay that joins all switches
)

// Character is what a link does to frames, in each of its two directions. The
// zero Character is a link as fast as the machine.
type Character struct {
	Bandwidth uint64        // bits per second of whole frames; 0: no limit
	Delay     time.Duration // one way, so a round trip takes twice that
	Jitter    time.Duration // at most this much less or more than Delay, uniformly; never above Delay
	Loss      float64       // probability that a frame is lost, 0 to 1, each by itself
}

// Service is one instance of a service, running on one host.
type Service struct {
	Name        string // the instance, unique in the lab: the key in the file
	Line        int    // of the key in the file, from 1, for messages
	Service     string // the service it belongs to, as registered; Name when the file says nothing
	Node        string
	Port        uint16
	Builtin     string   // either Builtin ...
	Image       string   // ... or Image: a reference, or the path of an archive that ends in .tar; needs the Docker runtime
	Command     []string // ... or Command; with Image: what replaces the image's own command, if anything
	Limits      Limits   // need the Docker runtime
	Environment map[string]string
	Upstreams   []Upstream        // sorted by BindPort
	Meta        map[string]string // what the registry keeps beside it; nil: nothing
	Healthcheck Healthcheck
	Publish     *uint16 // loopback port of the user that is forwarded here; 0: any free one
}

// Limits bound what a service may use. The zero Limits do not.
type Limits struct {
	CPUs   float64 // processors, as in 0.5
	Memory int64   // bytes
}

// Upstream is a service that a service or the client calls, and the port at
// which the mesh offers it to the caller.
type Upstream struct {
	Service  string // as in Service.Service
	BindPort uint16
}

// Healthcheck is what the host's Consul agent asks the service.
type Healthcheck struct {
	TCP      bool   // a connection is enough
	HTTP     string // path of a GET that must answer 2xx; excludes TCP
	None     bool   // nothing is asked: the service counts as healthy; excludes TCP and HTTP
	Interval time.Duration
}

// Client is the host from which load and readiness requests come. It is
// registered like a service that has upstreams and no port of its own.
type Client struct {
	Node      string
	Upstreams []Upstream
}

// Protocol is how a request travels.
type Protocol string

// The protocols of requests.
const (
	ProtocolHTTP1      Protocol = "http1"       // HTTP/1.1, connections kept
	ProtocolHTTP1Close Protocol = "http1-close" // HTTP/1.1, a connection of its own for each request
	ProtocolHTTP2      Protocol = "http2"       // HTTP/2 without TLS, by prior knowledge
	ProtocolGRPC       Protocol = "grpc"        // Fortio's ping service over gRPC
	ProtocolTCP        Protocol = "tcp"         // the body is sent, and must come back
	ProtocolUDP        Protocol = "udp"         // the same in one datagram
)

// Protocols returns all protocols.
func Protocols() []Protocol {
	return []Protocol{ProtocolHTTP1, ProtocolHTTP1Close, ProtocolHTTP2, ProtocolGRPC, ProtocolTCP, ProtocolUDP}
}

// Request is one request of the client, and what makes an answer right.
type Request struct {
	To       string // a service among Client.Upstreams
	Protocol Protocol
	Method   string            // HTTP; else ""
	Path     string            // HTTP; else ""
	Headers  map[string]string // HTTP, and metadata of gRPC
	Body     string            // payload of the others
	Expect   Expect
}

// Expect is what an answer must be to count as a success. An echo of TCP or
// UDP must be the body, and nothing else is expected of it.
type Expect struct {
	Status   int      // HTTP; else 0
	Contains []string // substrings of the body, all of them
	Matches  string   // regular expression (RE2) that the body matches; "": any does
}
