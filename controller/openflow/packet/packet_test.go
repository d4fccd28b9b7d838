package packet

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// syn is a SYN of 192.168.1.11:40000 to 192.168.1.250:9341, sequence number
// 0xfffffffe, with one option of 4 bytes, padded to the 60 bytes of Ethernet.
const syn = "02006d6c0001 020000000011 0800" +
	"4500002c 00004000 40060000 c0a8010b c0a801fa" +
	"9c40247d fffffffe 00000000 6002ffff 00000000 020405b4" + "0000"

func frame(t testing.TB, text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseTCP(t *testing.T) {
	p, err := ParseTCP(frame(t, syn))
	if err != nil {
		t.Fatal(err)
	}
	want := TCPPacket{
		EthDst: MAC{2, 0, 0x6d, 0x6c, 0, 1}, EthSrc: MAC{2, 0, 0, 0, 0, 0x11},
		Src: netip.MustParseAddrPort("192.168.1.11:40000"), Dst: netip.MustParseAddrPort("192.168.1.250:9341"),
		Seq: 0xfffffffe, Flags: SYN,
	}
	if p != want {
		t.Errorf("ParseTCP = %+v, want %+v", p, want)
	}
}

func TestParseTCPRefuses(t *testing.T) {
	change := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	for _, tt := range []struct {
		name string
		edit func([]byte) []byte
		want error
	}{
		{"no bytes", func([]byte) []byte { return nil }, ErrMalformed},
		{"Ethernet header alone", func(b []byte) []byte { return b[:14] }, ErrMalformed},
		{"cut in the TCP header", func(b []byte) []byte { return b[:50] }, ErrMalformed},
		{"VLAN tag", change(12, 0x81), ErrUnsupported},
		{"IPv6 behind the ethertype of IPv4", change(14, 0x65), ErrMalformed},
		{"IHL 1", change(14, 0x41), ErrMalformed},
		{"IHL 15 beyond the packet", change(14, 0x4f), ErrMalformed},
		{"total length beyond the frame", change(16, 0x01), ErrMalformed},
		{"total length below the header", change(17, 0x10), ErrMalformed},
		{"first fragment", change(20, 0x20), ErrUnsupported},
		{"later fragment", change(21, 0x01), ErrUnsupported},
		{"UDP", change(23, 17), ErrUnsupported},
		{"data offset 4", change(46, 0x40), ErrMalformed},
		{"data offset 15 beyond the segment", change(46, 0xf0), ErrMalformed},
		{"total length without a TCP header", change(17, 0x20), ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p, err := ParseTCP(tt.edit(frame(t, syn))); !errors.Is(err, tt.want) {
				t.Errorf("ParseTCP = %+v, %v, want %v", p, err, tt.want)
			}
		})
	}
}

func TestBuildReset(t *testing.T) {
	base, err := ParseTCP(frame(t, syn))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		flags    Flags
		ack      uint32
		payload  int
		seq      uint32 // wanted
		answered uint32 // wanted acknowledgement
		want     Flags
	}{
		{"SYN", SYN, 0, 0, 0, 0xffffffff, RST | ACK},
		{"SYN with data, over the end of the numbers", SYN, 0, 10, 0, 9, RST | ACK},
		{"FIN without ACK", FIN, 0, 1, 0, 0, RST | ACK},
		{"data with ACK", PSH | ACK, 1234, 100, 1234, 0, RST},
		{"SYN with ACK", SYN | ACK, 77, 0, 77, 0, RST},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := base
			p.Flags, p.Ack, p.PayloadLen = tt.flags, tt.ack, tt.payload
			b := BuildReset(p)
			got, err := ParseTCP(b)
			if err != nil {
				t.Fatal(err)
			}
			want := TCPPacket{EthSrc: p.EthDst, EthDst: p.EthSrc, Src: p.Dst, Dst: p.Src, Seq: tt.seq, Ack: tt.answered, Flags: tt.want}
			if got != want {
				t.Errorf("BuildReset = %+v, want %+v", got, want)
			}
			if !checksumsRight(b) {
				t.Errorf("wrong checksum in % x", b)
			}
		})
	}
	base.Flags = RST | ACK
	if b := BuildReset(base); b != nil {
		t.Errorf("a reset is answered by % x", b)
	}
}

func TestBuildAbort(t *testing.T) {
	p, err := ParseTCP(frame(t, syn))
	if err != nil {
		t.Fatal(err)
	}
	p.Flags, p.Ack, p.PayloadLen = PSH|ACK, 1234, 100
	b := BuildAbort(p)
	got, err := ParseTCP(b)
	if err != nil {
		t.Fatal(err)
	}
	want := TCPPacket{EthSrc: p.EthSrc, EthDst: p.EthDst, Src: p.Src, Dst: p.Dst, Seq: p.Seq, Flags: RST}
	if got != want || !checksumsRight(b) {
		t.Errorf("BuildAbort = %+v (checksums right: %v), want %+v", got, checksumsRight(b), want)
	}
	p.Flags = RST
	if b := BuildAbort(p); b != nil {
		t.Errorf("a reset is aborted by % x", b)
	}
}

// checksumsRight adds up word by word what a receiver adds up (RFC 1071),
// in 64 bits and not by the functions under test.
func checksumsRight(b []byte) bool {
	ip, tcp := b[14:34], b[34:]
	total := func(parts ...[]byte) uint64 {
		var s uint64
		for _, part := range parts {
			for i := 0; i < len(part); i += 2 {
				s += uint64(binary.BigEndian.Uint16(part[i : i+2]))
			}
		}
		return s % 0xffff
	}
	pseudo := []byte{0, 6, 0, byte(len(tcp))}
	return total(ip) == 0 && total(ip[12:], pseudo, tcp) == 0
}

func FuzzParseTCP(f *testing.F) {
	f.Add(frame(f, syn))
	f.Add(frame(f, syn)[:40])
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseTCP(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		reset := BuildReset(p)
		if (reset == nil) != (p.Flags&RST != 0) {
			t.Fatalf("reset % x for flags %#x", reset, p.Flags)
		}
		if reset == nil {
			return
		}
		back, err := ParseTCP(reset)
		if err != nil {
			t.Fatalf("our own reset: %v", err)
		}
		if back.Src != p.Dst || back.Dst != p.Src || !checksumsRight(reset) {
			t.Errorf("reset % x for %+v", reset, p)
		}
	})
}
