//go:build integration

package shape

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// oneWay sends n datagrams from A to B, with pauses, and returns how long each
// took: from just before it is handed to the kernel to the kernel's time of its
// reception. So it is the link that is measured, and not how soon the receiver
// wakes up. Lost ones are left out.
func (r rig) oneWay(t testing.TB, n int, pause time.Duration) []time.Duration {
	t.Helper()
	to, from := listen(t, r.b, r.addrB), listen(t, r.a, r.addrA)
	defer from.Close()
	defer to.Close()
	raw, err := to.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer atOnce()()
	buf := make([]byte, 64)
	for range n {
		begin := time.Now()
		binary.NativeEndian.PutUint64(buf, uint64(begin.UnixNano()))
		if _, err := from.WriteToUDPAddrPort(buf, udpAddr(to)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause) // the distance of datagrams, not a wait for something
	}
	var all []time.Duration
	control := make([]byte, controlSize)
	for {
		if err := to.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, oob, _, _, err := to.ReadMsgUDPAddrPort(buf, control)
		if err != nil {
			return all
		}
		at := timestamp(control[:oob])
		if n < 8 || at.IsZero() {
			t.Fatalf("%d bytes at %v", n, at)
		}
		all = append(all, time.Duration(at.UnixNano()-int64(binary.NativeEndian.Uint64(buf))))
	}
}

// roundTrips is a ping between threads that do nothing else.
func (r rig) roundTrips(t testing.TB, n int) []time.Duration {
	t.Helper()
	open := func(ns string, addr netip.Addr) (fd int) {
		err := netns.Do(ns, func() (err error) {
			if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			tv := unix.Timeval{Sec: 2}
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
				return err
			}
			return unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.As4(), Port: 7777})
		})
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	client, server := open(r.a, r.addrA), open(r.b, r.addrB)
	defer unix.Close(client)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(server)
		defer atOnce()()
		buf := make([]byte, 64)
		for range n {
			if err := receive(server, buf); err != nil {
				return
			}
			_ = unix.Sendto(server, buf, 0, &unix.SockaddrInet4{Addr: r.addrA.As4(), Port: 7777})
		}
	}()
	defer atOnce()()
	all := make([]time.Duration, 0, n)
	buf := make([]byte, 64)
	for range n {
		begin := time.Now()
		if err := unix.Sendto(client, buf, 0, &unix.SockaddrInet4{Addr: r.addrB.As4(), Port: 7777}); err != nil {
			t.Fatal(err)
		}
		if err := receive(client, buf); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(begin))
	}
	<-done
	return all
}

// atOnce gives the calling thread the priority of the shaper's own, so that it
// is the link that is measured and not who else is busy, until the returned
// function is called.
func atOnce() (back func()) {
	runtime.LockOSThread()
	if err := realTime(0, othersPriority); err != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		param := struct{ priority int32 }{}
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_NORMAL, uintptr(unsafe.Pointer(&param)))
		runtime.UnlockOSThread()
	}
}

// receive waits for a datagram; signals of Go's scheduler do not end that.
func receive(fd int, buf []byte) error {
	for {
		if _, _, err := unix.Recvfrom(fd, buf, 0); err != unix.EINTR {
			return err
		}
	}
}

// quantile of values, which it sorts.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
