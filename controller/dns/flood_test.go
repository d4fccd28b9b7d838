package dns

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// heap is what is in use after a collection, in bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What one client can send without ever being heard of again: the server
// neither grows nor stops answering others.
func TestFloods(t *testing.T) {
	packed, err := newQuestion("web.service.consul.", dns.TypeSRV).Pack()
	if err != nil {
		t.Fatal(err)
	}
	framed := join(be16(uint16(len(packed))), packed)
	for name, frame := range map[string]func(w *wire, i int) []byte{
		"openings": func(_ *wire, i int) []byte {
			return tcpFrame(fuzzer, tcpSegment(uint16(1024+i), rand.Uint32(), 0, flagSYN, nil))
		},
		"openings from many addresses": func(_ *wire, i int) []byte {
			src := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0a000000+uint32(i))))
			return tcpFrame(src, tcpSegment(uint16(1024+i), rand.Uint32(), 0, flagSYN, nil))
		},
		"segments of no connection": func(_ *wire, i int) []byte {
			return tcpFrame(fuzzer, tcpSegment(uint16(1024+i), rand.Uint32(), rand.Uint32(), flagACK, framed))
		},
		"datagrams": func(_ *wire, i int) []byte { return udpFrame(fuzzer, uint16(1024+i), packed) },
		"bad datagrams": func(_ *wire, i int) []byte {
			return udpFrame(fuzzer, uint16(1024+i), packed[:len(packed)-1-i%len(packed)])
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			w := newWire(t)
			w.checkAlive(t)
			before, goroutines := heap(), runtime.NumGoroutine()
			for i := range 10000 {
				w.server.Input(1, frame(w, i))
				if i%queuedFrames == 0 {
					w.checkAlive(t) // the queue is empty again
				}
				select {
				case <-w.frames:
				default:
				}
			}
			w.checkAlive(t)
			await(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
			const most = 8 << 20
			if after := heap(); after > before+most {
				t.Errorf("%d MiB more in use", (after-before)>>20)
			}
		})
	}
}

// Connections that are opened in truth and then left alone: no more than the
// limit of one client are kept, and none when they have been silent.
func TestConnectionFlood(t *testing.T) {
	checkLeaks(t)
	w := newWire(t)
	before := heap()
	for i := range 300 {
		w.open(t, fuzzer, uint16(2000+i))
		if i%50 == 0 {
			w.checkAlive(t)
		}
	}
	w.checkAlive(t)
	st := w.server.stack.stack.Stats().TCP
	await(t, "connections above the limit reset", func() bool { return st.CurrentEstablished.Value() <= connsPerClient })
	if after := heap(); after > before+4<<20 {
		t.Errorf("%d MiB more in use", (after-before)>>20)
	}
	await(t, "silent connections closed", func() bool { return st.CurrentConnected.Value() == 0 })
}

// A datagram that finds no room is dropped: nobody may be there to wake up
// who waits.
func TestPacketsNeverWait(t *testing.T) {
	checkLeaks(t)
	l := newLink(testVIP, testVIPMAC, nil, &counters{})
	st, err := newStack(l, testVIP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Destroy)
	p, err := listenPackets(st, vipPort(), &l.count.dropped)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(fuzzer, 5000))
	if _, err := p.WriteTo([]byte("fits"), to); err != nil {
		t.Fatal(err)
	}
	p.ep.SocketOptions().SetSendBufferSize(0, false)
	done := make(chan error, 1)
	go func() {
		_, err := p.WriteTo([]byte("does not"), to)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || l.count.dropped.Load() != 1 {
			t.Errorf("%v, %d dropped", err, l.count.dropped.Load())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("WriteTo waits")
	}
}
