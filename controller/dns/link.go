package dns

import (
	"context"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link joins the stack to the ports of a switch. The stack sees packets
// without Ethernet: which MAC address and port belong to an address is known
// from the frames that came from there.
type link struct {
	*channel.Endpoint
	addr    netip.Addr
	mac     [6]byte
	send    func(port uint32, frame []byte)
	clients *clients
	in      chan *stack.PacketBuffer
	count   *counters
}

func newLink(addr netip.Addr, mac [6]byte, send func(uint32, []byte), count *counters) *link {
	return &link{
		Endpoint: channel.New(queuedFrames, mtu, ""),
		addr:     addr,
		mac:      mac,
		send:     send,
		clients:  newClients(knownClients),
		in:       make(chan *stack.PacketBuffer, queuedFrames),
		count:    count,
	}
}

func (l *link) input(port uint32, b []byte) {
	f, ok := parseFrame(b, l.addr, l.mac)
	if !ok {
		l.count.malformed.Add(1)
		return
	}
	// Before the frame goes on: an answer may come at once.
	l.clients.learn(f.src, place{port, f.srcMAC})
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(f.packet)})
	select {
	case l.in <- pkt:
		l.count.frames.Add(1)
	default:
		pkt.DecRef()
		l.count.dropped.Add(1)
	}
}

// WritePackets queues packets of the stack, and drops what finds the queue
// full. It never blocks.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	n, err := l.Endpoint.WritePackets(pkts)
	l.count.dropped.Add(uint64(pkts.Len() - n))
	return n, err
}

// deliver hands the stack the frames that came, until ctx ends.
func (l *link) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case pkt := <-l.in:
			l.InjectInbound(ipv4.ProtocolNumber, pkt)
			pkt.DecRef()
		}
	}
}

// emit sends the packets of the stack, until ctx ends.
func (l *link) emit(ctx context.Context) {
	for {
		pkt := l.ReadContext(ctx)
		if pkt == nil {
			return
		}
		l.emitPacket(pkt)
		pkt.DecRef()
	}
}

func (l *link) emitPacket(pkt *stack.PacketBuffer) {
	view := pkt.ToView()
	defer view.Release()
	packet := view.AsSlice()
	dst, ok := destination(packet)
	if !ok {
		l.count.dropped.Add(1)
		return
	}
	p, ok := l.clients.find(dst)
	if !ok {
		l.count.dropped.Add(1)
		return
	}
	l.send(p.port, buildFrame(p.mac, l.mac, packet))
	l.count.sent.Add(1)
}
