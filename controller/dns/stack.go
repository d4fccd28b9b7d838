package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic = 1

	// How long a connection may be silent (RFC 7766, section 6.2.3, asks for
	// some seconds), and how long the stack keeps one that has been closed, or
	// whose client is gone. Clients are a few switches away, so a segment
	// lives for milliseconds and not for the two minutes of RFC 9293.
	tcpIdle    = 5 * time.Second
	tcpGone    = 5 * time.Second
	tcpClosed  = 5 * time.Second
	tcpBacklog = 64
)

// netStack is a TCP/IP stack at the virtual address, and the DNS servers on
// it.
type netStack struct {
	stack   *stack.Stack
	link    *link
	servers []*dns.Server
	stop    context.CancelFunc // of the link's goroutines
	running sync.WaitGroup
}

// startStack runs the handler behind UDP and TCP port 53 of addr.
func startStack(l *link, addr netip.Addr, h dns.Handler, log *slog.Logger) (*netStack, error) {
	st, err := newStack(l, addr)
	if err != nil {
		return nil, err
	}
	at := tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(addr.As4()), Port: Port}
	packets, err := listenPackets(st, at, &l.count.dropped)
	if err != nil {
		st.Destroy()
		return nil, fmt.Errorf("listen on UDP: %w", err)
	}
	conns, err := listen(st, at, newQuota(openConns, connsPerClient))
	if err != nil {
		packets.Close()
		st.Destroy()
		return nil, fmt.Errorf("listen on TCP: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &netStack{stack: st, link: l, stop: cancel}
	n.running.Go(func() { l.deliver(ctx) })
	n.running.Go(func() { l.emit(ctx) })
	n.serve(&dns.Server{PacketConn: packets, UDPSize: mtu, ReadTimeout: time.Hour}, h, log)
	n.serve(&dns.Server{Listener: conns, ReadTimeout: tcpIdle, IdleTimeout: func() time.Duration { return tcpIdle }}, h, log)
	return n, nil
}

// serve starts a server and returns when it runs.
func (n *netStack) serve(s *dns.Server, h dns.Handler, log *slog.Logger) {
	started := make(chan struct{})
	s.Handler, s.MsgAcceptFunc = h, accept
	s.NotifyStartedFunc = func() { close(started) }
	n.servers = append(n.servers, s)
	n.running.Go(func() {
		if err := s.ActivateAndServe(); err != nil {
			log.Error("dns server ended", "error", err)
		}
	})
	<-started
}

// close stops servers and stack and waits for their goroutines.
func (n *netStack) close() {
	for _, s := range n.servers {
		// The error says that the server has ended by itself.
		_ = s.Shutdown()
	}
	n.stop()
	n.running.Wait()
	n.stack.Destroy()
	n.link.Close()
}

func newStack(l *link, addr netip.Addr) (*stack.Stack, error) {
	st := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	fail := func(what string, err tcpip.Error) (*stack.Stack, error) {
		st.Destroy()
		return nil, fmt.Errorf("%s: %w", what, errors.New(err.String()))
	}
	if err := st.CreateNIC(nic, l); err != nil {
		return fail("create NIC", err)
	}
	own := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddrFrom4(addr.As4()).WithPrefix()}
	if err := st.AddProtocolAddress(nic, own, stack.AddressProperties{}); err != nil {
		return fail("add address "+addr.String(), err)
	}
	st.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})

	// A connection costs memory only once the client has shown that it gets
	// what is sent to it, and not for long after its end.
	cookies := tcpip.TCPAlwaysUseSynCookies(true)
	timeWait := tcpip.TCPTimeWaitTimeoutOption(tcpClosed)
	linger := tcpip.TCPLingerTimeoutOption(tcpClosed)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 16 << 10, Max: 64 << 10}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 128 << 10, Max: 128 << 10}
	for _, o := range []tcpip.SettableTransportProtocolOption{&cookies, &timeWait, &linger, &receive, &send} {
		if err := st.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fail(fmt.Sprintf("set option %T of TCP", o), err)
		}
	}
	return st, nil
}
