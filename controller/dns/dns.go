// Package dns answers the DNS questions of the hosts of one switch, inside
// the switch: questions to the virtual address come as packet-ins, answers go
// as packet-outs, and in between is a TCP/IP stack in user space. No socket
// of the machine takes part, except for names that are passed on.
//
// The package owns the names and what they mean (resolve.go), the protocol
// around them (handler.go), and the way between frames and the DNS library
// (stack.go). It does not own the snapshot, the check of who sent a frame,
// and the rate at which frames come: the switch has checked and limited both.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
)

// Port is the UDP and TCP port of DNS (RFC 1035, section 4.2).
const Port = 53

// Bounds, so that no host can make a server grow.
const (
	queuedFrames    = 512  // in each direction
	knownClients    = 4096 // addresses that answers can go to
	openConns       = 256  // TCP connections
	connsPerClient  = 16
	openForwards    = 128 // questions at recursors
	forwardsPerHost = 16
)

// Config is what a Server needs. Without Forward, questions for other names
// are refused; without Logger, nothing is logged.
type Config struct {
	Addr       netip.Addr    // the virtual address, IPv4
	MAC        [6]byte       // of the virtual address
	Domain     string        // of all names answered here, such as "consul"
	Datacenter string        // that may follow the kind of a name, as in web.service.dc1.consul; empty: none may
	TTL        time.Duration // of answers, positive and negative; whole seconds; 0: nobody keeps them
	Forward    []netip.AddrPort
	// Snapshot is the state to answer from. It is false as long as none is
	// known: questions about services are failures then, not denials. It is
	// called for each question, by several goroutines at once.
	Snapshot func() (mesh.Snapshot, bool)
	// Send sends a frame out of a port of the switch. It is called by one
	// goroutine, and may keep the frame. While it blocks, answers queue up to
	// a bound and are then dropped.
	Send   func(port uint32, frame []byte)
	Logger *slog.Logger
}

// Server answers the questions of the hosts of one switch. Its methods may be
// called by several goroutines at once.
type Server struct {
	zone     *zone
	forward  *forwarder
	snapshot func() (mesh.Snapshot, bool)
	log      *slog.Logger
	link     *link
	stack    *netStack
	stop     context.CancelFunc
	count    counters
}

// Stats counts since the start of a server.
type Stats struct {
	Frames    uint64 // taken in
	Malformed uint64 // frames not taken: no UDP or TCP over IPv4 to port 53 of the virtual address
	Dropped   uint64 // frames that met a full queue, coming or going, and answers to forgotten clients
	Sent      uint64 // frames sent
	Answers   uint64 // messages sent as answer, whatever they say
	Failures  uint64 // answers that say SERVFAIL
	Forwarded uint64 // questions passed on
}

type counters struct {
	frames, malformed, dropped, sent, answers, failures, forwarded atomic.Uint64
}

// New starts a server. It fails when the configuration is not valid.
func New(c Config) (*Server, error) {
	s, err := newServer(c)
	if err != nil {
		return nil, fmt.Errorf("start dns server: %w", err)
	}
	return s, nil
}

func newServer(c Config) (*Server, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	z, err := newZone(c.Domain, c.Datacenter, c.Addr, c.TTL)
	if err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		zone:     z,
		forward:  newForwarder(ctx, c.Forward, c.Logger),
		snapshot: c.Snapshot,
		log:      c.Logger,
		stop:     cancel,
	}
	s.link = newLink(c.Addr, c.MAC, c.Send, &s.count)
	s.stack, err = startStack(s.link, c.Addr, dns.HandlerFunc(s.serve), c.Logger)
	if err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

func (c *Config) validate() error {
	switch {
	case !c.Addr.Is4() || !isHost(c.Addr):
		return fmt.Errorf("%s cannot be the virtual address: it must be an IPv4 address of one host", c.Addr)
	case !isHostMAC(c.MAC):
		return fmt.Errorf("%x cannot be the MAC address of the virtual address", c.MAC)
	case c.Snapshot == nil || c.Send == nil:
		return errors.New("it needs Snapshot and Send")
	}
	if i := slices.IndexFunc(c.Forward, func(a netip.AddrPort) bool {
		return !a.IsValid() || a.Port() == 0 || a.Addr().Unmap() == c.Addr
	}); i >= 0 {
		return fmt.Errorf("cannot forward to %s: it must be another server's address and port", c.Forward[i])
	}
	return nil
}

// Input takes a frame that came in at a port of the switch. It copies the
// frame, never blocks, and takes any bytes: a frame that is no packet for
// the server is counted and forgotten, as is one that finds the queue full.
func (s *Server) Input(port uint32, frame []byte) { s.link.input(port, frame) }

// Stats returns the counters. Each is exact; together they are not of one
// moment.
func (s *Server) Stats() Stats {
	return Stats{
		Frames:    s.count.frames.Load(),
		Malformed: s.count.malformed.Load(),
		Dropped:   s.count.dropped.Load(),
		Sent:      s.count.sent.Load(),
		Answers:   s.count.answers.Load(),
		Failures:  s.count.failures.Load(),
		Forwarded: s.count.forwarded.Load(),
	}
}

// Close stops the server, and returns when all its goroutines have ended.
// Send is not called any more then, and Input does nothing. It must be called
// once. It waits for a call of Send that blocks.
func (s *Server) Close() {
	s.stop()
	s.stack.close()
}
