//go:build integration

package emulator_test

import (
	"encoding/binary"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/internal/ovstest"
)

// TestGroupsChooseAsOpenVSwitchDoes sends packets into a real port, and
// compares the buckets that they take with those that the emulator names.
func TestGroupsChooseAsOpenVSwitchDoes(t *testing.T) {
	weights := func(w ...uint16) []uint16 { return w }
	equal := func(n int) []uint16 {
		w := make([]uint16, n)
		for i := range w {
			w[i] = 1
		}
		return w
	}
	for _, c := range []struct {
		name    string
		weights []uint16
		passes  int // through ct, before the group
	}{
		{"two", equal(2), 0},
		{"64 slots after one pass", equal(64), 1},
		{"256 slots after one pass", equal(256), 1},
		{"256 slots after two passes", equal(256), 2},
		{"weights", weights(100, 200, 300), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			flows, groups := selecting(c.weights, c.passes)
			memory, err := emulator.NewSwitch(flows, groups)
			if err != nil {
				t.Fatal(err)
			}
			ovs := ovstest.Start(t)
			ovs.AddBridge("s1")
			ovs.Vsctl("add-port", "s1", "p1", "--", "set", "Interface", "p1", "type=internal", "ofport_request=1")
			for _, g := range groups {
				ovs.Ofctl("add-group", "s1", g.String())
			}
			for _, f := range flows {
				ovs.Ofctl("add-flow", "s1", f.String())
			}
			// Which source port came with which bucket is kept as learned flows.
			ovs.Ofctl("add-flow", "s1", "table=9,tcp actions=learn(table=10,eth_type=0x800,nw_proto=6,NXM_OF_TCP_SRC[],NXM_NX_REG1[])")

			const ports = 200
			want := map[uint16]int{}
			send := sender(t, ovs.NetNS, "p1")
			for i := range ports {
				p := emulator.TCP("02:00:00:00:00:01", "02:00:00:00:00:02", "192.168.1.11:1", "192.168.1.250:9000", emulator.SYN)
				p[flow.TCPSrc] = uint64(32768 + i*37)
				r, err := memory.Trace(1, p)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range r.Path {
					if s.Choice != nil {
						want[uint16(p[flow.TCPSrc])] = s.Choice.Bucket
					}
				}
				send(frame(p))
			}
			got := map[uint16]int{}
			for deadline := time.Now().Add(10 * time.Second); len(got) < ports; {
				if time.Now().After(deadline) {
					t.Fatalf("%d of %d packets met the group\n%s", len(got), ports, ovs.Ofctl("dump-flows", "s1"))
				}
				for _, m := range regexp.MustCompile(`reg1=(0x[0-9a-f]+|\d+),tp_src=(\d+)`).FindAllStringSubmatch(ovs.Ofctl("dump-flows", "s1", "table=10"), -1) {
					bucket, err1 := strconv.ParseUint(m[1], 0, 16)
					port, err2 := strconv.ParseUint(m[2], 10, 16)
					if err1 != nil || err2 != nil {
						t.Fatal(err1, err2)
					}
					got[uint16(port)] = int(bucket) - 1
				}
			}
			wrong := 0
			for port, bucket := range want {
				if got[port] != bucket {
					wrong++
				}
			}
			if wrong > 0 {
				t.Errorf("%d of %d packets took another bucket than in memory", wrong, ports)
			}
		})
	}
}

// selecting is a program that changes the packet, passes it through ct some
// times and shows the bucket in reg1, from 1, at table 9.
func selecting(weights []uint16, passes int) ([]flow.Flow, []flow.Group) {
	ip, tcp := flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP)
	g := flow.Group{ID: 1, Type: flow.GroupSelect}
	for i, w := range weights {
		g.Buckets = append(g.Buckets, flow.Bucket{Weight: w, Actions: []flow.Action{
			flow.Load{Dst: flow.Reg1.All(), Value: uint64(i + 1)}, flow.Resubmit{Table: 9}}})
	}
	flows := []flow.Flow{{Table: uint8(passes), Priority: 1, Match: flow.Match{ip, tcp}, Actions: []flow.Action{
		flow.SetField{Field: flow.IPv4Dst, Value: 0xf0000001}, flow.UseGroup{ID: 1}}}}
	for i := range passes {
		next := uint8(i + 1)
		flows = append(flows, flow.Flow{Table: uint8(i), Priority: 1, Match: flow.Match{ip, tcp}, Actions: []flow.Action{
			flow.SetField{Field: flow.IPv4Dst, Value: 0xf0000001}, flow.CT{Zone: 1, Table: &next}}})
	}
	return flows, []flow.Group{g}
}

// sender gives a function that writes frames to a device of a namespace.
func sender(t *testing.T, ns, device string) func([]byte) {
	t.Helper()
	type opened struct {
		fd, index int
		err       error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() (o opened) {
			h, err := netns.GetFromName(ns)
			if err != nil {
				return opened{err: err}
			}
			defer h.Close()
			if o.err = netns.Set(h); o.err != nil {
				return o
			}
			if o.fd, o.err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); o.err != nil {
				return o
			}
			req, err := unix.NewIfreq(device)
			if err != nil {
				return opened{err: err}
			}
			if o.err = unix.IoctlIfreq(o.fd, unix.SIOCGIFFLAGS, req); o.err != nil {
				return o
			}
			req.SetUint16(req.Uint16() | unix.IFF_UP)
			if o.err = unix.IoctlIfreq(o.fd, unix.SIOCSIFFLAGS, req); o.err != nil {
				return o
			}
			o.err = unix.IoctlIfreq(o.fd, unix.SIOCGIFINDEX, req)
			o.index = int(req.Uint32())
			return o
		}()
	}()
	o := <-done
	if o.err != nil {
		t.Fatalf("open %s in %s: %v", device, ns, o.err)
	}
	t.Cleanup(func() { unix.Close(o.fd) })
	return func(b []byte) {
		if err := unix.Sendto(o.fd, b, 0, &unix.SockaddrLinklayer{Ifindex: o.index}); err != nil {
			t.Fatalf("send a frame to %s: %v", device, err)
		}
	}
}

// frame is a TCP segment without data as bytes (RFC 791, section 3.1; RFC
// 9293, section 3.1).
func frame(p emulator.Packet) []byte {
	var b []byte
	b = append(b, be48(p[flow.EthDst])...)
	b = append(b, be48(p[flow.EthSrc])...)
	b = binary.BigEndian.AppendUint16(b, flow.EthTypeIPv4)
	ip := []byte{0x45, 0, 0, 40, 0, 1, 0, 0, 64, flow.IPProtoTCP, 0, 0}
	ip = binary.BigEndian.AppendUint32(ip, uint32(p[flow.IPv4Src]))
	ip = binary.BigEndian.AppendUint32(ip, uint32(p[flow.IPv4Dst]))
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	tcp := binary.BigEndian.AppendUint16(nil, uint16(p[flow.TCPSrc]))
	tcp = binary.BigEndian.AppendUint16(tcp, uint16(p[flow.TCPDst]))
	tcp = append(tcp, 0, 0, 0, 1, 0, 0, 0, 0, 5<<4, byte(p[flow.TCPFlags]), 0xff, 0xff, 0, 0, 0, 0)
	pseudo := append(append([]byte{}, ip[12:20]...), 0, flow.IPProtoTCP, 0, 20)
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))
	return append(append(b, ip...), tcp...)
}

func be48(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v)[2:] }

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
