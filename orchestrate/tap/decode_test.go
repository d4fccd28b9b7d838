package tap

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

// frame makes an Ethernet frame with IPv4 and TCP headers of the given
// lengths in words, and data.
func frame(ipWords, tcpWords, payload int) []byte {
	b := make([]byte, 14+4*ipWords+4*tcpWords+payload)
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	ip := b[14:]
	ip[0] = 0x40 | byte(ipWords)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8], ip[9] = 64, 6
	copy(ip[12:], []byte{192, 168, 1, 100, 192, 168, 1, 11})
	tcp := ip[4*ipWords:]
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], 9190)
	binary.BigEndian.PutUint32(tcp[4:], 0xfffffff0)
	tcp[12], tcp[13] = byte(tcpWords)<<4, 0x18
	if tcpWords > 5 {
		for i := 20; i < 4*tcpWords; i++ {
			tcp[i] = 1 // no-operation option
		}
	}
	if ipWords > 5 {
		for i := 20; i < 4*ipWords; i++ {
			ip[i] = 1
		}
	}
	return b
}

func with(b []byte, at int, v byte) []byte {
	b[at] = v
	return b
}

// packets are frames, and how many bytes of data each has for a tap; 0: it is
// nothing to keep.
var packets = map[string]struct {
	frame   []byte
	payload int
}{
	"a request":                {frame(5, 8, 120), 120},
	"one byte":                 {frame(5, 5, 1), 1},
	"all options":              {frame(15, 15, 7), 7},
	"cut off behind headers":   {frame(15, 15, 1400)[:snap], 1400},
	"an acknowledgement":       {frame(5, 8, 0), 0},
	"padded acknowledgement":   {append(frame(5, 5, 0), 0, 0, 0, 0, 0, 0), 0},
	"UDP":                      {with(frame(5, 8, 20), 23, 17), 0},
	"ARP":                      {with(frame(5, 8, 20), 13, 0x06), 0},
	"IPv6":                     {with(with(frame(5, 8, 20), 12, 0x86), 13, 0xdd), 0},
	"a later fragment":         {with(frame(5, 8, 20), 21, 5), 0},
	"no network layer":         {frame(5, 5, 0)[:14], 0},
	"cut off in IPv4":          {frame(5, 5, 9)[:30], 0},
	"cut off in TCP":           {frame(5, 5, 9)[:14+20+10], 0},
	"nothing":                  {nil, 0},
	"no length":                {with(with(frame(5, 5, 9), 16, 0), 17, 0), 0},
	"IPv4 in IPv4":             {with(append(frame(5, 5, 0)[:34], frame(5, 5, 9)[14:]...), 23, 4), 0},
	"longer headers than said": {with(with(frame(5, 5, 9), 16, 0), 17, 30), 0},
}

func TestDecode(t *testing.T) {
	d := newDecoder()
	for name, tc := range packets {
		t.Run(name, func(t *testing.T) {
			p, ok := d.decode(tc.frame)
			if ok != (tc.payload > 0) {
				t.Fatalf("decode: %v, %+v", ok, p)
			}
			want := Packet{Src: netip.MustParseAddrPort("192.168.1.100:40000"), Dst: netip.MustParseAddrPort("192.168.1.11:9190"), Seq: 0xfffffff0, Payload: tc.payload}
			if ok && p != want {
				t.Errorf("got %+v, want %+v", p, want)
			}
		})
	}
}

// TestFilter runs the kernel's program on the same frames.
func TestFilter(t *testing.T) {
	vm, err := bpf.NewVM(dataSegments())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range packets {
		t.Run(name, func(t *testing.T) {
			n, err := vm.Run(tc.frame)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: snap}[tc.payload > 0]; n != want {
				t.Errorf("keeps %d bytes, want %d", n, want)
			}
		})
	}
	if _, err := filter("sideways"); err == nil {
		t.Error("a filter for no direction")
	}
}

// FuzzDecode: whatever a device carries, decoding ends, and what it gives fits
// into the packet; and the kernel's filter keeps all that the decoder reads.
func FuzzDecode(f *testing.F) {
	for _, tc := range packets {
		f.Add(tc.frame)
	}
	vm, err := bpf.NewVM(dataSegments())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := newDecoder().decode(b)
		if !ok {
			return
		}
		if p.Payload < 1 || p.Payload > 65535-40 || !p.Src.IsValid() || !p.Dst.IsValid() {
			t.Errorf("%+v of %x", p, b)
		}
		if n, err := vm.Run(b); err != nil || n != snap {
			t.Errorf("the filter keeps %d bytes (%v) of %x, which decodes to %+v", n, err, b, p)
		}
	})
}
