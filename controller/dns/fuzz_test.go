package dns

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
)

// wire is a fuzzer's end of a server's link: frames to port 1 are checked
// and kept, and those to port 9 are answers to a question of its own.
type wire struct {
	server *Server
	frames chan []byte
	alive  chan struct{}
}

func newWire(t testing.TB) *wire {
	w := &wire{frames: make(chan []byte, 4096), alive: make(chan struct{}, 1)}
	snap := testSnapshot()
	s, err := New(Config{
		Addr: testVIP, MAC: testVIPMAC, Domain: "consul", Datacenter: "dc1",
		Snapshot: func() (mesh.Snapshot, bool) { return snap, true },
		Send: func(port uint32, frame []byte) {
			if port == 9 {
				select {
				case w.alive <- struct{}{}:
				default:
				}
				return
			}
			select {
			case w.frames <- frame:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.server = s
	t.Cleanup(s.Close)
	return w
}

var fuzzer, observer = netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("192.168.1.9")

// checkAlive fails the test unless another client gets an answer.
func (w *wire) checkAlive(t *testing.T) {
	t.Helper()
	packed, err := newQuestion("web.service.consul.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := udpFrame(observer, 5000, packed)
	for range 200 {
		w.server.Input(9, q)
		select {
		case <-w.alive:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("the server answers no more")
}

// tcpFrame is a frame with a segment whose checksum is made right.
func tcpFrame(src netip.Addr, segment []byte) []byte {
	s := append([]byte(nil), segment...)
	if len(s) >= tcpMinLen {
		s[16], s[17] = 0, 0
		a, v := src.As4(), testVIP.As4()
		pseudo := join(a[:], v[:], []byte{0, protoTCP}, be16(uint16(len(s))), s)
		if len(pseudo)%2 == 1 {
			pseudo = append(pseudo, 0)
		}
		var sum uint32
		for i := 0; i < len(pseudo); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(pseudo[i:]))
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(s[16:], ^uint16(sum))
	}
	return ipFrame(src, protoTCP, s)
}

const (
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

// tcpSegment has no options.
func tcpSegment(port uint16, seq, ack uint32, flags byte, payload []byte) []byte {
	return join(be16(port), be16(Port), binary.BigEndian.AppendUint32(nil, seq), binary.BigEndian.AppendUint32(nil, ack),
		[]byte{5 << 4, flags}, be16(65535), be16(0), be16(0), payload)
}

// open shakes hands from a port, and returns the server's first number.
func (w *wire) open(t *testing.T, src netip.Addr, port uint16) uint32 {
	t.Helper()
	deadline := time.After(10 * time.Second)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	syn := tcpFrame(src, tcpSegment(port, 1000, 0, flagSYN, nil))
	w.server.Input(1, syn)
	for {
		select {
		case f := <-w.frames:
			s := f[etherLen+ipv4MinLen:]
			if f[etherLen+9] == protoTCP && binary.BigEndian.Uint16(s[2:]) == port && s[13] == flagSYN|flagACK {
				seq := binary.BigEndian.Uint32(s[4:])
				w.server.Input(1, tcpFrame(src, tcpSegment(port, 1001, seq+1, flagACK, nil)))
				return seq + 1
			}
		case <-again.C:
			w.server.Input(1, syn)
		case <-deadline:
			t.Fatal("no connection")
		}
	}
}

// FuzzInput gives the server any frames, with as much of them right as the
// shape says, and asserts that another client still gets its answer.
func FuzzInput(f *testing.F) {
	packed, err := newQuestion("web.service.consul.", dns.TypeSRV).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), udpFrame(fuzzer, 5000, packed))
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), packed)
	f.Add(uint8(1), packed[:12])
	f.Add(uint8(2), tcpSegment(5000, 1, 0, flagSYN, nil))
	f.Add(uint8(2), join(tcpSegment(5000, 1, 0, flagSYN, nil), []byte{2, 4, 5, 0xb4, 8, 0}))
	f.Add(uint8(3), join([]byte{flagACK, 0, 0, byte(2 + len(packed))}, be16(uint16(len(packed))), packed))
	f.Add(uint8(3), []byte{flagACK, 0, 0, 3, 0xff, 0xff, 0, flagRST, 0, 0, 0})
	w := newWire(f)
	port := uint16(1024)
	f.Fuzz(func(t *testing.T, shape uint8, data []byte) {
		switch shape % 4 {
		case 0: // bytes
			w.server.Input(1, data)
		case 1: // a datagram
			w.server.Input(1, udpFrame(fuzzer, 5000, data))
		case 2: // a segment, from a client of its own
			s := append([]byte(nil), data...)
			if len(s) >= 4 {
				binary.BigEndian.PutUint16(s[2:], Port)
			}
			w.server.Input(1, tcpFrame(fuzzer, s))
		case 3: // segments of a connection: flags, offsets, length, payload
			port = max(port+1, 1024)
			seq, ack := uint32(1001), w.open(t, fuzzer, port)
			for len(data) >= 4 {
				n := min(int(data[3]), len(data)-4)
				s := tcpSegment(port, seq+uint32(int8(data[1])), ack+uint32(int8(data[2])), data[0], data[4:4+n])
				w.server.Input(1, tcpFrame(fuzzer, s))
				seq += uint32(n)
				data = data[4+n:]
			}
			w.server.Input(1, tcpFrame(fuzzer, tcpSegment(port, seq, ack, flagRST, nil)))
		}
		w.checkAlive(t)
	})
}

// FuzzAnswer asserts that any message gets one that can be packed, fits, has
// its number, and names the question's name alone.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.service.consul.", "web.virtual.consul.", "c0a8010b.addr.dc1.consul.", "consul.", "_web._tcp.service.consul.", "a.b."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeANY, dns.TypeNS} {
			m := newQuestion(name, qtype)
			m.SetEdns0(700, true)
			packed, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packed, true)
		}
	}
	w := newWire(f)
	f.Fuzz(func(t *testing.T, data []byte, udp bool) {
		req := new(dns.Msg)
		if req.Unpack(data) != nil {
			return
		}
		resp, size := w.server.answer(req, fuzzer, udp)
		fit(resp, size, udp)
		packed, err := resp.Pack()
		if err != nil {
			t.Fatalf("pack: %v", err)
		}
		if len(packed) > size {
			t.Errorf("%d bytes of %d", len(packed), size)
		}
		if resp.Id != req.Id || !resp.Response || resp.Truncated && !udp {
			t.Errorf("header: %v", resp)
		}
		for _, rr := range resp.Answer {
			if h := rr.Header(); h.Name != req.Question[0].Name {
				t.Errorf("%q was asked, and %q answered", req.Question[0].Name, h.Name)
			}
		}
	})
}

// FuzzResolve asserts that each name below the domain is answered or denied,
// and that the case of its letters does not count.
func FuzzResolve(f *testing.F) {
	for _, name := range []string{"web.service", "_web._tcp.service.dc1", "web.virtual", "ns", `a\.b\000.service`, "Mixed.service", "c0a80101.addr"} {
		f.Add(name, uint16(dns.TypeA), uint32(0xc0a80101))
	}
	z, err := newZone("consul", "dc1", testVIP, 0)
	if err != nil {
		f.Fatal(err)
	}
	snap := testSnapshot()
	f.Fuzz(func(t *testing.T, name string, qtype uint16, client uint32) {
		name += ".consul."
		labels, ok := splitName(name)
		if !ok {
			return
		}
		labels, ok = z.below(labels)
		if !ok {
			return // an escape at the end
		}
		q := question{name: name, labels: labels, qtype: qtype, size: maxUDP}
		q.client = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, client)))
		r := z.resolve(q, snap, true)
		if r.rcode != dns.RcodeSuccess && r.rcode != dns.RcodeNameError || r.rcode != 0 && len(r.answer) > 0 {
			t.Errorf("%s: %s", name, text(r))
		}
		flipped, ok := splitName(strings.ToUpper(name))
		if strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f }) || !ok {
			return // other letters than ASCII's change as bytes
		}
		q.labels, _ = z.below(flipped)
		if got := z.resolve(q, snap, true); got.rcode != r.rcode || len(got.answer) != len(r.answer) {
			t.Errorf("%s: %s, and in upper case %s", name, text(r), text(got))
		}
	})
}
