package dns

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// listener accepts connections as far as a quota goes, and resets the others.
// gonet's own listener does not give the endpoint of a connection away, which
// a reset needs.
type listener struct {
	ep    tcpip.Endpoint
	queue *waiter.Queue
	quota *quota
	done  chan struct{}
	once  sync.Once
}

func listen(st *stack.Stack, at tcpip.FullAddress, q *quota) (*listener, error) {
	l := &listener{queue: &waiter.Queue{}, quota: q, done: make(chan struct{})}
	ep, err := st.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, l.queue)
	if err != nil {
		return nil, errors.New(err.String())
	}
	gone := tcpip.TCPUserTimeoutOption(tcpGone) // connections inherit it
	for _, step := range []func() tcpip.Error{
		func() tcpip.Error { return ep.SetSockOpt(&gone) },
		func() tcpip.Error { return ep.Bind(at) },
		func() tcpip.Error { return ep.Listen(tcpBacklog) },
	} {
		if err := step(); err != nil {
			ep.Close()
			return nil, errors.New(err.String())
		}
	}
	l.ep = ep
	return l, nil
}

// Accept waits for a connection. Once the listener is closed it returns
// net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	l.queue.EventRegister(&entry)
	defer l.queue.EventUnregister(&entry)
	for {
		select {
		case <-l.done:
			return nil, net.ErrClosed
		default:
		}
		var from tcpip.FullAddress
		ep, queue, err := l.ep.Accept(&from)
		if _, none := err.(*tcpip.ErrWouldBlock); none {
			select {
			case <-l.done:
				return nil, net.ErrClosed
			case <-ready:
			}
			continue
		}
		if err != nil {
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: errors.New(err.String())}
		}
		client := netip.AddrFrom4(from.Addr.As4())
		if !l.quota.take(client) {
			ep.Abort()
			continue
		}
		return &conn{TCPConn: gonet.NewTCPConn(queue, ep), ep: ep, free: func() { l.quota.give(client) }}, nil
	}
}

// Close ends Accept. Connections stay open. It may be called again.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.ep.Close()
	})
	return nil
}

// Addr is the address that the listener was bound to.
func (l *listener) Addr() net.Addr {
	at, err := l.ep.GetLocalAddress()
	if err != nil {
		return &net.TCPAddr{}
	}
	return &net.TCPAddr{IP: at.Addr.AsSlice(), Port: int(at.Port)}
}

// packets is UDP that never waits. gonet's own WriteTo does, when the way out
// is full, and may then sleep until the next packet leaves, if there is one.
type packets struct {
	*gonet.UDPConn
	ep      tcpip.Endpoint
	dropped *atomic.Uint64
}

func listenPackets(st *stack.Stack, at tcpip.FullAddress, dropped *atomic.Uint64) (*packets, error) {
	queue := &waiter.Queue{}
	ep, err := st.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, queue)
	if err != nil {
		return nil, errors.New(err.String())
	}
	if err := ep.Bind(at); err != nil {
		ep.Close()
		return nil, errors.New(err.String())
	}
	return &packets{UDPConn: gonet.NewUDPConn(queue, ep), ep: ep, dropped: dropped}, nil
}

// WriteTo sends a datagram, or drops it when the way out is full.
func (p *packets) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("write datagram to %s: it is no UDP address", to)
	}
	dst := tcpip.FullAddress{Addr: tcpip.AddrFromSlice(addr.IP), Port: uint16(addr.Port)}
	if _, err := p.ep.Write(bytes.NewReader(b), tcpip.WriteOptions{To: &dst}); err != nil {
		p.dropped.Add(1)
		return 0, fmt.Errorf("write datagram to %s: %w", to, errors.New(err.String()))
	}
	return len(b), nil
}

// conn is a connection that gives up a client which does not read.
type conn struct {
	*gonet.TCPConn
	ep   tcpip.Endpoint
	free func()
	once sync.Once
}

// Write writes all of b within tcpIdle, or resets the connection.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(tcpIdle)); err != nil {
		return 0, err
	}
	n, err := c.TCPConn.Write(b)
	if err != nil {
		c.ep.Abort()
	}
	return n, err
}

// Close lets what was written reach the client. It may be called again.
func (c *conn) Close() error {
	c.once.Do(c.free)
	return c.TCPConn.Close()
}
