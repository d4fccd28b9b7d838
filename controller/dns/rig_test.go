package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"meshlab.dev/meshlab/controller/mesh"
)

var (
	testVIP    = netip.MustParseAddr("192.168.1.250")
	testVIPMAC = [6]byte{2, 0, 192, 168, 1, 250}
)

// fabric is a switch for tests: it has a server, and hosts with TCP/IP stacks
// of their own at its ports.
type fabric struct {
	t      testing.TB
	server *Server
	mu     sync.Mutex
	hosts  map[uint32]*host
	snap   atomic.Pointer[mesh.Snapshot]
}

// host is a client at a port.
type host struct {
	port  uint32
	addr  netip.Addr
	mac   [6]byte
	link  *channel.Endpoint
	stack *stack.Stack
}

// newFabric starts a server; change may be nil.
func newFabric(t testing.TB, snap mesh.Snapshot, change func(*Config)) *fabric {
	t.Helper()
	f := &fabric{t: t, hosts: map[uint32]*host{}}
	f.snap.Store(&snap)
	c := Config{
		Addr: testVIP, MAC: testVIPMAC, Domain: "consul", Datacenter: "dc1", TTL: 5 * time.Second,
		Snapshot: func() (mesh.Snapshot, bool) { return *f.snap.Load(), true },
		Send:     f.output,
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	f.server = s
	t.Cleanup(s.Close)
	return f
}

// output gives a frame of the server to the host at the port.
func (f *fabric) output(port uint32, frame []byte) {
	f.mu.Lock()
	h := f.hosts[port]
	f.mu.Unlock()
	if h == nil {
		f.t.Errorf("a frame to port %d, where nobody is", port)
		return
	}
	if [6]byte(frame[:6]) != h.mac || [6]byte(frame[6:12]) != testVIPMAC || frame[12] != 8 || frame[13] != 0 {
		f.t.Errorf("a frame with header %x to %x", frame[:etherLen], h.mac)
		return
	}
	if len(frame) > etherLen+mtu {
		f.t.Errorf("a frame of %d bytes", len(frame))
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame[etherLen:])})
	h.link.InjectInbound(ipv4.ProtocolNumber, pkt)
	pkt.DecRef()
}

// host puts a host at a port.
func (f *fabric) host(port uint32) *host {
	f.t.Helper()
	h := &host{
		port: port,
		addr: netip.AddrFrom4([4]byte{192, 168, 1, byte(port)}),
		mac:  [6]byte{0, 0, 0, 0, 1, byte(port)},
		link: channel.New(4096, mtu, ""),
	}
	h.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	if err := h.stack.CreateNIC(1, h.link); err != nil {
		f.t.Fatal(err)
	}
	own := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddrFrom4(h.addr.As4()).WithPrefix()}
	if err := h.stack.AddProtocolAddress(1, own, stack.AddressProperties{}); err != nil {
		f.t.Fatal(err)
	}
	h.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	f.mu.Lock()
	f.hosts[port] = h
	f.mu.Unlock()

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			pkt := h.link.ReadContext(ctx)
			if pkt == nil {
				return
			}
			view := pkt.ToView()
			f.server.Input(h.port, buildFrame(testVIPMAC, h.mac, view.AsSlice()))
			view.Release()
			pkt.DecRef()
		}
	})
	f.t.Cleanup(func() {
		cancel()
		wg.Wait()
		h.stack.Destroy()
		h.link.Close()
	})
	return h
}

func vipPort() tcpip.FullAddress {
	return tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFrom4(testVIP.As4()), Port: Port}
}

// dial opens a way to the server; network is udp or tcp.
func (h *host) dial(network string) (*dns.Conn, error) {
	if network == "udp" {
		to := vipPort()
		c, err := gonet.DialUDP(h.stack, nil, &to, ipv4.ProtocolNumber)
		if err != nil {
			return nil, err
		}
		return &dns.Conn{Conn: c, UDPSize: 4096}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := gonet.DialContextTCP(ctx, h.stack, vipPort(), ipv4.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	return &dns.Conn{Conn: c}, nil
}

// ask sends a question and waits for the answer.
func (h *host) ask(network string, m *dns.Msg) (*dns.Msg, error) {
	c, err := h.dial(network)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	client := dns.Client{Net: network, Timeout: 5 * time.Second, UDPSize: 4096}
	resp, _, err := client.ExchangeWithConn(m, c)
	return resp, err
}

func newQuestion(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype)
}

// await polls until ok is true.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ownGoroutines are those that run, or were started by, this package's
// servers or the libraries below them; what the test itself runs is left out.
func ownGoroutines() []string {
	buf := make([]byte, 1<<20)
	var own []string
	for i, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if i == 0 { // the caller
			continue
		}
		if strings.Contains(g, "gvisor.dev/") || strings.Contains(g, "miekg/dns") || strings.Contains(g, "controller/dns.(") {
			own = append(own, g)
		}
	}
	return own
}

// checkLeaks fails the test when goroutines are left after all cleanups that
// are registered later.
func checkLeaks(t *testing.T) {
	t.Cleanup(func() {
		var left []string
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if left = ownGoroutines(); len(left) == 0 {
				return
			}
		}
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	})
}

// udpFrame is a frame with a datagram to port 53 of the virtual address.
func udpFrame(src netip.Addr, port uint16, payload []byte) []byte {
	return ipFrame(src, protoUDP, join(be16(port), be16(Port), be16(uint16(udpLen+len(payload))), be16(0), payload))
}

// ipFrame is a frame with an IPv4 packet to the virtual address.
func ipFrame(src netip.Addr, proto byte, segment []byte) []byte {
	a, v := src.As4(), testVIP.As4()
	p := join([]byte{0x45, 0}, be16(uint16(ipv4MinLen+len(segment))), be16(1), be16(0x4000), []byte{64, proto}, be16(0), a[:], v[:])
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	return buildFrame(testVIPMAC, [6]byte{0, 0, 0, 0, 1, a[3]}, append(p, segment...))
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
