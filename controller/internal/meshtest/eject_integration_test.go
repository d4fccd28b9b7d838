//go:build integration

package meshtest_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/controller/mesh"
)

// silent listens at an address and answers no SYN: its queue is full
// (listen(2): a backlog of 0 has room for one). answer ends that.
func (r *rig) silent(host, addr string) (answer func()) {
	r.t.Helper()
	at := netip.MustParseAddrPort(addr)
	var fd int
	if err := r.ovs.In(host, func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		return errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}), unix.Listen(fd, 0))
	}); err != nil {
		r.t.Fatalf("listen on %s: %v", host, err)
	}
	filler, err := r.dial(host, 0, addr, patience)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { filler.Close() })
	if conn, err := r.dial(host, 0, addr, 300*time.Millisecond); err == nil {
		conn.Close()
		r.t.Fatal("the full queue takes a connection")
	}
	return func() { unix.Close(fd) }
}

// fragile is api with a rule of ejection.
func fragile(snap mesh.Snapshot, base time.Duration, percent uint32) mesh.Snapshot {
	s := *snap.Services[0]
	s.Limits.Ejection = mesh.Ejection{Failures: 3, Interval: 10 * time.Second, BaseTime: base, MaxPercent: percent}
	snap.Services = []*mesh.Service{&s}
	return snap
}

// TestFailingInstanceIsEjected has one of three instances fail.
func TestFailingInstanceIsEjected(t *testing.T) {
	const bad = h3 + ":8009"
	for name, fail := range map[string]func(*rig) (mend func()){
		"refuses": func(*rig) func() { return func() {} }, // nothing listens there
		"silent":  func(r *rig) func() { return r.silent("h3", bad) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			mend := fail(r)
			servers := []*server{r.serve("h2", h2+":8001"), r.serve("h3", h3+":8002"), {Instance: instance(bad)}}
			r.begin(fragile(api(t, servers...), 8*time.Second, 50))
			// No port twice: the opening of a connection that was not answered stays
			// stored for some 30 s, and would bring another from its port to the
			// same instance, as if the SYN had been sent again.
			port := uint16(1999)
			call := func() error {
				port++
				conn, err := r.dial("h1", port, apiAt, 1500*time.Millisecond) // a SYN is sent again after 1 s
				if err == nil {
					err = conn.(*net.TCPConn).SetLinger(0)
					conn.Close()
				}
				return err
			}
			start, failed := time.Now(), 0
			r.until("the ejection", func() bool {
				if call() != nil {
					failed++
				}
				return len(r.ctl.Health().Ejected) > 0
			})
			out := r.ctl.Health().Ejected[0]
			t.Logf("ejected after %v and %d failed calls: %+v", time.Since(start).Round(time.Millisecond), failed, out)
			if out.Instance != bad {
				t.Fatalf("%s is ejected, want %s", out.Instance, bad)
			}
			if failed < 3 {
				t.Errorf("ejected after %d failures, want 3 at least", failed)
			}
			r.until("the switches in step", func() bool { return r.ctl.Health().OK })
			r.ovs.Appctl("revalidator/wait")
			calls := 0
			for ; calls < 100 && time.Until(out.Until) > time.Second; calls++ {
				if err := call(); err != nil {
					t.Errorf("call %d while the instance is out: %v", calls, err)
				}
			}
			t.Logf("while it was out, %d calls", calls)
			mend()
			mended := r.serve("h3", bad)
			r.until("new connections to the instance that is back", func() bool {
				if err := call(); err != nil {
					t.Errorf("a call after the instance works again: %v", err)
				}
				return mended.accepted.Load() > 0
			})
			if back := time.Until(out.Until); back > 0 {
				t.Errorf("the instance was back %v too early", back)
			}
		})
	}
}

// TestNotAllAreEjected has all instances fail, and the rule allow all to go.
func TestNotAllAreEjected(t *testing.T) {
	r := newRig(t)
	var servers []*server
	for i := range 3 {
		servers = append(servers, &server{Instance: instance(fmt.Sprintf("%s:%d", h2, 8001+i))})
	}
	r.begin(fragile(api(t, servers...), time.Minute, 100))
	most := 0
	call := func() {
		if _, err := r.dial("h1", 0, apiAt, patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("a call of instances that are not there: %v", err)
		}
		most = max(most, len(r.ctl.Health().Ejected))
	}
	r.until("two ejections", func() bool { call(); return most == 2 })
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); {
		call()
	}
	if most > 2 {
		t.Errorf("%d of 3 instances were out at a time", most)
	}
}
