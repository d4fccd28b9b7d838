// Package openflow is a connection to one Open vSwitch bridge by OpenFlow
// 1.3: it reads what the switch holds, applies changes atomically, and takes
// and sends packets. It encodes with the builders of libOpenflow where they
// are right and decodes only by itself, with every length checked. What
// flows there should be, it does not know.
package openflow

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config says which bridge to connect to.
type Config struct {
	Network string      // "unix" (default), "tcp" or "tls"
	Address string      // path of <rundir>/<bridge>.mgmt, or host:port
	TLS     *tls.Config // for "tls"
	Logger  *slog.Logger
	// EchoInterval is how often an idle switch is asked whether it lives,
	// 5 s by default; after three in silence the connection ends.
	EchoInterval time.Duration
}

const (
	defaultEchoInterval = 5 * time.Second
	silentIntervals     = 3
	packetInQueue       = 256  // packets waiting for the controller, at up to 64 KiB each
	flowRemovedQueue    = 8192 // notices waiting for the controller, at some 500 bytes each
	writeQueue          = 64   // encoded requests waiting for the socket
)

// Conn is a live connection. Its methods may be called by any number of
// goroutines at the same time. Once it has ended it stays ended: dial again.
type Conn struct {
	address  string
	log      *slog.Logger
	interval time.Duration
	nc       net.Conn
	dpid     uint64

	out      chan block
	packets  queue[PacketIn]
	removed  queue[FlowRemoved]
	heard    atomic.Bool // since the last tick of the echo timer
	bundles  atomic.Uint32
	applying chan struct{} // holds one token while an Apply is under way

	mu       sync.Mutex // guards what follows, and the fields of requests
	nextXID  uint32
	nextRun  uint32
	requests []*request
	err      error

	done     chan struct{}
	failOnce sync.Once
	loops    sync.WaitGroup
}

// Dial connects, agrees on OpenFlow 1.3, reads the datapath id and asks for
// packet-ins and flow-removed messages. ctx bounds the handshake, not the life of the connection.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := newConn(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to switch at %s: %w", cfg.Address, err)
	}
	if err := c.handshake(ctx); err != nil {
		_ = c.Close() // the handshake's error is the one to tell
		return nil, fmt.Errorf("connect to switch at %s: %w", cfg.Address, err)
	}
	return c, nil
}

func newConn(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.Network == "" {
		cfg.Network = "unix"
	}
	switch {
	case cfg.Network == "tls" && cfg.TLS == nil:
		return nil, errors.New("network tls: Config.TLS is missing")
	case cfg.Network != "unix" && cfg.Network != "tcp" && cfg.Network != "tls":
		return nil, fmt.Errorf("network %q: use unix, tcp or tls", cfg.Network)
	}
	if cfg.EchoInterval <= 0 {
		cfg.EchoInterval = defaultEchoInterval
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	nc, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Conn{
		address:  cfg.Address,
		log:      cfg.Logger.With("switch", cfg.Address),
		interval: cfg.EchoInterval,
		nc:       nc,
		out:      make(chan block, writeQueue),
		packets:  newQueue[PacketIn](packetInQueue),
		removed:  newQueue[FlowRemoved](flowRemovedQueue),
		applying: make(chan struct{}, 1),
		done:     make(chan struct{}),
	}, nil
}

// dial makes the stream that messages go by.
func dial(ctx context.Context, cfg Config) (net.Conn, error) {
	var dialer net.Dialer
	if cfg.Network != "tls" {
		return dialer.DialContext(ctx, cfg.Network, cfg.Address)
	}
	raw, err := dialer.DialContext(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, err
	}
	nc := tls.Client(raw, cfg.TLS)
	if err := nc.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("agree on TLS: %w", err)
	}
	return nc, nil
}

// handshake follows OpenFlow 1.3.5, section 6.3.1. The loops start after the
// hello, so that the rest are ordinary requests.
func (c *Conn) handshake(ctx context.Context) error {
	r := bufio.NewReaderSize(c.nc, maxLen+1)
	if err := c.hello(ctx, r); err != nil {
		c.packets.close()
		c.removed.close()
		return err
	}
	c.loops.Add(3)
	go c.readLoop(r)
	go c.writeLoop()
	go c.echoLoop()

	features, err := c.call(ctx, typeFeaturesRequest, nil)
	if err != nil {
		return fmt.Errorf("ask for features: %w", err)
	}
	if c.dpid, err = decodeFeatures(features); err != nil {
		return err
	}
	setup := c.register(2)
	defer c.forget(setup)
	buf := appendMessage(nil, typeSetConfig, setup.first, setConfigBody())
	if err := c.send(ctx, appendMessage(buf, typeBarrierRequest, setup.last, nil)); err != nil {
		return fmt.Errorf("set configuration: %w", err)
	}
	if err := c.await(ctx, setup); err != nil {
		return fmt.Errorf("set configuration: %w", err)
	}
	if e := c.reply(setup).err; e != nil {
		return fmt.Errorf("set configuration: %w", e)
	}
	return nil
}

func (c *Conn) hello(ctx context.Context, r *bufio.Reader) error {
	// A deadline in the past ends a blocked read or write at once.
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.nc.Write(appendMessage(nil, typeHello, 0, helloBody())); err != nil {
		return fmt.Errorf("send hello: %w", err)
	}
	m, err := readMessage(r)
	if err != nil {
		return fmt.Errorf("await hello: %w", errors.Join(ctx.Err(), err))
	}
	if m.kind != typeHello {
		return fmt.Errorf("await hello: got message type %d; is this an OpenFlow switch?", m.kind)
	}
	ok, err := decodeHello(m.version, m.body)
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("switch does not speak OpenFlow 1.3: ovs-vsctl set Bridge <bridge> protocols=OpenFlow13")
	}
	if !stop() { // ctx ended, and its deadline may be set by now
		return ctx.Err()
	}
	return nil
}

// DPID is the datapath id, which tells this bridge from all others.
func (c *Conn) DPID() uint64 { return c.dpid }

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err tells why the connection ended: ErrClosed after Close, nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and waits for its goroutines. The switch keeps
// its flows when its fail-mode is secure. Calling it again does nothing.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.loops.Wait()
	return nil
}

// PacketIns is where packets for the controller arrive. It is closed when
// the connection ends. Nobody reading, 256 packets wait and all further ones
// are dropped and counted.
func (c *Conn) PacketIns() <-chan PacketIn { return c.packets.items }

// DroppedPacketIns is how many packets found the queue full.
func (c *Conn) DroppedPacketIns() uint64 { return c.packets.dropped.Load() }

// FlowsRemoved tells of flows with Notify that went, also while the
// controller deletes them. It is closed when the connection ends. Nobody
// reading, 8192 notices wait and all further ones are dropped and counted.
func (c *Conn) FlowsRemoved() <-chan FlowRemoved { return c.removed.items }

// DroppedFlowsRemoved is how many notices found the queue full.
func (c *Conn) DroppedFlowsRemoved() uint64 { return c.removed.dropped.Load() }

// queue holds what the switch sends unasked. It drops what finds it full, so
// that the reader of the socket never waits.
type queue[T any] struct {
	items   chan T
	dropped *atomic.Uint64
}

func newQueue[T any](size int) queue[T] {
	return queue[T]{items: make(chan T, size), dropped: new(atomic.Uint64)}
}

// put tells whether this is the first item that is dropped.
func (q queue[T]) put(item T) (firstDropped bool) {
	select {
	case q.items <- item:
		return false
	default:
		return q.dropped.Add(1) == 1
	}
}

func (q queue[T]) close() { close(q.items) }

// fail ends the connection; the first reason is the one that Err tells.
func (c *Conn) fail(err error) {
	c.failOnce.Do(func() {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		close(c.done)
		_ = c.nc.Close()
	})
}
