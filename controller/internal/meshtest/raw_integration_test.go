//go:build integration

package meshtest_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/controller/pipeline"
)

// rawSocket sends and hears whole frames at eth0 of a host (packet(7)).
type rawSocket struct{ fd int }

// raw opens a raw socket in a host. It hears nothing of before.
func (r *rig) raw(host string) *rawSocket {
	r.t.Helper()
	s := &rawSocket{}
	if err := r.ovs.In(host, func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
			return err
		}
		return unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: eth0.Index})
	}); err != nil {
		r.t.Fatalf("open a raw socket on %s: %v", host, err)
	}
	r.t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

// send sends one frame.
func (s *rawSocket) send(frame []byte) error {
	for {
		_, err := unix.Write(s.fd, frame)
		if err != unix.EINTR && err != unix.ENOBUFS {
			return err
		}
	}
}

// heard is one frame at a host.
type heard struct {
	frame    []byte
	outgoing bool // the host sent it
}

// listen gives f each frame until stop, which returns how many frames the
// kernel has dropped for want of room.
func (s *rawSocket) listen(f func(heard)) (stop func() uint32) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := unix.Recvfrom(s.fd, buf, 0)
			if err != nil || n == 0 {
				select {
				case <-done: // and there is nothing more to hear
					return
				default:
					continue
				}
			}
			out := false
			if at, ok := from.(*unix.SockaddrLinklayer); ok {
				out = at.Pkttype == unix.PACKET_OUTGOING
			}
			f(heard{bytes.Clone(buf[:n]), out})
		}
	})
	return func() uint32 {
		close(done)
		ended.Wait()
		stats, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			return ^uint32(0)
		}
		return stats.Drops
	}
}

// frame is what a raw socket sends, field by field.
type frame struct {
	dst, src pipeline.MAC
	kind     uint16 // EtherType
	body     []byte
}

func (f frame) bytes() []byte {
	b := append(f.dst[:], f.src[:]...)
	return append(binary.BigEndian.AppendUint16(b, f.kind), f.body...)
}

// EtherTypes (IEEE 802).
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
)

// ipv4 is a packet (RFC 791, section 3.1) with a right checksum.
func ipv4(src, dst string, protocol byte, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	b[8], b[9] = 64, protocol
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, payload...)
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// udp is a datagram without a checksum (RFC 768).
func udp(src, dst uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// syn opens a connection (RFC 9293, section 3.1).
func syn(src, dst string, sport, dport uint16, payload []byte) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, sport)
	binary.BigEndian.PutUint16(b[2:], dport)
	b[12], b[13] = 5<<4, 2
	binary.BigEndian.PutUint16(b[14:], 64240)
	b = append(b, payload...)
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	pseudo := append(append(append([]byte{}, s[:]...), d[:]...), 0, 6)
	pseudo = append(binary.BigEndian.AppendUint16(pseudo, uint16(len(b))), b...)
	if len(pseudo)%2 == 1 {
		pseudo = append(pseudo, 0)
	}
	binary.BigEndian.PutUint16(b[16:], checksum(pseudo))
	return ipv4(src, dst, 6, b)
}

// arp is a packet of ARP for Ethernet and IPv4 (RFC 826), with a trailer.
func arp(op uint16, sha pipeline.MAC, spa string, tha pipeline.MAC, tpa string, trailer []byte) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	s, d := netip.MustParseAddr(spa).As4(), netip.MustParseAddr(tpa).As4()
	b = append(append(b, sha[:]...), s[:]...)
	b = append(append(b, tha[:]...), d[:]...)
	return append(b, trailer...)
}

// collector notes the frames that carry a mark.
type collector struct {
	mu  sync.Mutex
	got map[string]int // by mark
}

// collect listens at a host for marks, which begin with "mark:" and end with
// a semicolon.
func (r *rig) collect(host string) (*collector, func() uint32) {
	r.t.Helper()
	c := &collector{got: map[string]int{}}
	stop := r.raw(host).listen(func(h heard) {
		if h.outgoing {
			return
		}
		if _, rest, ok := bytes.Cut(h.frame, []byte("mark:")); ok {
			name, _, _ := bytes.Cut(rest, []byte(";"))
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got[string(name)]++
		}
	})
	return c, stop
}

func (c *collector) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[name]
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.got)
}

// marked is the payload that a collector looks for.
func marked(name string) []byte { return fmt.Appendf(nil, "mark:%s;%d", name, time.Now().UnixNano()) }

// fragments are the packet in two, the first of which has so many bytes of
// its payload, a multiple of 8 (RFC 791, section 3.2).
func fragments(packet []byte, first int) [][]byte {
	piece := func(payload []byte, offset int, more bool) []byte {
		b := append(append([]byte{}, packet[:20]...), payload...)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		binary.BigEndian.PutUint16(b[4:], 77)
		binary.BigEndian.PutUint16(b[6:], uint16(offset/8))
		if more {
			b[6] |= 0x20
		}
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], checksum(b[:20]))
		return b
	}
	return [][]byte{piece(packet[20:20+first], 0, true), piece(packet[20+first:], first, false)}
}
