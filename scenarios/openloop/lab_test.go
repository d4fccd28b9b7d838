package openloop

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/scenarios"
)

// fakeLab stands for a lab's supervisor: it speaks the part of the exec
// socket's protocol that hands out sockets, and makes them in a network
// namespace of the test's choice.
type fakeLab struct {
	path   string
	socket func(kind int) (int, error)
	batch  int // sockets in a message

	asked atomic.Int64 // sockets, in requests for more than one
}

func newFakeLab(t *testing.T) *fakeLab {
	t.Helper()
	l := &fakeLab{batch: 200, socket: func(kind int) (int, error) {
		return unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	}}
	l.path = listenUnix(t, l.answer)
	return l
}

// listenUnix answers each connection by a call of f.
func listenUnix(t *testing.T, f func(*net.UnixConn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exec")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return path
}

// request reads what is asked for.
func request(c *net.UnixConn) (socketsOf, error) {
	var (
		head [4]byte
		r    socketRequest
	)
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return r.Sockets, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return r.Sockets, err
	}
	return r.Sockets, json.Unmarshal(body, &r)
}

func headed(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func (l *fakeLab) answer(c *net.UnixConn) {
	want, err := request(c)
	if err != nil {
		return
	}
	if want.Count > 1 {
		l.asked.Add(int64(want.Count))
	}
	kind := unix.SOCK_STREAM
	if want.Network == "udp4" {
		kind = unix.SOCK_DGRAM
	}
	text, _ := json.Marshal(map[string]int{"count": want.Count})
	if want.Node != "client" {
		text = []byte(`{"error":"no node ` + want.Node + `"}`)
		want.Count = 0
	}
	if _, err := c.Write(headed(string(text))); err != nil {
		return
	}
	for sent := 0; sent < want.Count; {
		var fds []int
		for range min(l.batch, want.Count-sent) {
			fd, err := l.socket(kind)
			if err != nil {
				return
			}
			fds = append(fds, fd)
		}
		_, _, err := c.WriteMsgUnix([]byte{'f'}, unix.UnixRights(fds...), nil)
		for _, fd := range fds {
			unix.Close(fd)
		}
		if err != nil {
			return
		}
		sent += len(fds)
	}
}

func TestSockets(t *testing.T) {
	lab := newFakeLab(t)
	s := serve(t, nil)
	to := netip.MustParseAddrPort(strings.TrimPrefix(s.url, "http://"))
	for _, n := range []int{1, 200, 201, 650} {
		got, err := Sockets(t.Context(), lab.path, "client", "tcp4", n)
		if err != nil || len(got) != n {
			t.Fatalf("%d sockets, want %d: %v", len(got), n, err)
		}
		c, err := got[n-1].Connect(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		if c.RemoteAddr().String() != to.String() {
			t.Errorf("connected to %v", c.RemoteAddr())
		}
		c.Close()
		for _, s := range got[:n-1] {
			if flags, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Fatalf("flags %x, %v: children would inherit it", flags, err)
			}
			s.Close()
		}
	}
	if _, err := Sockets(t.Context(), lab.path, "attic", "tcp4", 1); err == nil || !strings.Contains(err.Error(), "no node attic") {
		t.Errorf("got %v, want the lab's own words", err)
	}
	for _, n := range []int{0, -1, maxSockets + 1} {
		if _, err := Sockets(t.Context(), lab.path, "client", "tcp4", n); err == nil {
			t.Errorf("%d sockets were handed out", n)
		}
	}
	if _, err := Sockets(t.Context(), lab.path+"x", "client", "tcp4", 1); err == nil {
		t.Error("there is no lab")
	}
}

// files counts the open files of this process.
func files(t *testing.T) int {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestSocketsOfABrokenLab(t *testing.T) {
	send := func(c *net.UnixConn, make func() (int, error), n int) {
		var fds []int
		for range n {
			fd, err := make()
			if err != nil {
				return
			}
			defer unix.Close(fd)
			fds = append(fds, fd)
		}
		_, _, _ = c.WriteMsgUnix([]byte{'f'}, unix.UnixRights(fds...), nil)
	}
	stream := func() (int, error) { return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) }
	tests := []struct {
		name   string
		answer func(*net.UnixConn)
		want   string
	}{
		{"hangs up", func(*net.UnixConn) {}, "read the answer"},
		{"old program", func(c *net.UnixConn) {
			_, _ = c.Write([]byte(`{"exit":0,"error":"receive files of command: 0 instead of 3"}`))
		}, "too old"},
		{"cut", func(c *net.UnixConn) { _, _ = c.Write(headed(`{"count":3}`)[:9]) }, "unexpected EOF"},
		{"huge", func(c *net.UnixConn) { _, _ = c.Write([]byte{0x10, 0, 0, 0}) }, "over 65536"},
		{"no JSON", func(c *net.UnixConn) { _, _ = c.Write(headed("three")) }, "read the answer"},
		{"other count", func(c *net.UnixConn) { _, _ = c.Write(headed(`{"count":2}`)) }, "2 announced, 3 wanted"},
		{"too few", func(c *net.UnixConn) {
			_, _ = c.Write(headed(`{"count":3}`))
			send(c, stream, 2)
		}, "sent 2 of 3"},
		{"too many", func(c *net.UnixConn) {
			_, _ = c.Write(headed(`{"count":3}`))
			send(c, stream, 4)
		}, "after which there are 4 of 3"},
		{"none with the byte", func(c *net.UnixConn) {
			_, _ = c.Write(headed(`{"count":3}`))
			_, _ = c.Write([]byte("fff"))
		}, "a message with 0 of them"},
		{"of UDP", func(c *net.UnixConn) {
			_, _ = c.Write(headed(`{"count":3}`))
			send(c, func() (int, error) { return unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0) }, 3)
		}, "none of tcp4"},
		{"no sockets", func(c *net.UnixConn) {
			_, _ = c.Write(headed(`{"count":3}`))
			send(c, func() (int, error) { return unix.Open("/dev/null", unix.O_RDONLY, 0) }, 3)
		}, "socket operation on non-socket"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := listenUnix(t, func(c *net.UnixConn) {
				if _, err := request(c); err == nil {
					tt.answer(c)
				}
			})
			before := files(t)
			_, err := Sockets(t.Context(), path, "client", "tcp4", 3)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			for deadline := time.Now().Add(5 * time.Second); files(t) > before; {
				if time.Now().After(deadline) {
					t.Fatalf("%d files are open, %d were before", files(t), before)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

func TestSocketsGivesUp(t *testing.T) {
	path := listenUnix(t, func(c *net.UnixConn) { _, _ = io.Copy(io.Discard, c) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Sockets(ctx, path, "client", "tcp4", 1); err == nil {
		t.Error("a lab that does not answer gave sockets")
	}
}

// TestConnectionOutlivesItsDialing: the deadline of dialing is no other's.
func TestConnectionOutlivesItsDialing(t *testing.T) {
	lab := newFakeLab(t)
	s := serve(t, nil)
	got, err := Sockets(t.Context(), lab.path, "client", "tcp4", 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	c, err := got[0].Connect(ctx, "tcp", netip.MustParseAddrPort(strings.TrimPrefix(s.url, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-ctx.Done()
	if _, err := c.Write([]byte("GET")); err != nil {
		t.Error(err)
	}
}

func TestConnectFails(t *testing.T) {
	lab := newFakeLab(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	got, err := Sockets(t.Context(), lab.path, "client", "tcp4", 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got[0].Connect(t.Context(), "tcp", closed); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v, want a refused connection", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := got[1].Connect(ctx, "tcp", closed); err == nil {
		t.Error("connected after the end")
	}
	// A listener whose backlog is full does not answer.
	full, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(full)
	if err := unix.Bind(full, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(full, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(full)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	first, err := net.Dial("tcp4", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := got[2].Connect(ctx, "tcp", to); err == nil || time.Since(start) > 4*time.Second {
		t.Errorf("got %v after %v, want a timeout", err, time.Since(start))
	}
}

// labSpec is a generator whose sides send over sockets of the lab.
func labSpec(lab *fakeLab, targets ...*target) scenarios.GeneratorSpec {
	spec := generatorSpec(targets...)
	for i := range spec.Sides {
		spec.Sides[i].Lab, spec.Sides[i].Node = lab.path, "client"
	}
	return spec
}

func TestTrialOverSocketsOfALab(t *testing.T) {
	lab := newFakeLab(t)
	one, two := serve(t, nil), serve(t, nil)
	e := newEngine(t, labSpec(lab, one, two))
	for range 3 {
		o := mustTrial(t, e, trialSpec())
		for i, s := range o.Sides {
			if s.Errors != 0 {
				t.Errorf("side %d: %v", i, s.ErrorKind)
			}
		}
	}
	// Of each side the second trial replaces what the first one used.
	if want := int64(2 * (4 + reserve + 4)); lab.asked.Load() != want || one.connections.Load() != 4 {
		t.Errorf("the lab was asked for %d sockets, want %d; the server has %d connections", lab.asked.Load(), want, one.connections.Load())
	}
}

func TestConnectionPerRequestOverALab(t *testing.T) {
	lab := newFakeLab(t)
	s := serve(t, nil)
	spec := labSpec(lab, s)
	spec.Sides[0].Steps[0].Protocol = scenarios.HTTP1Close
	e := newEngine(t, spec)
	e.sides[0].pool.most = 60 // so that more are fetched meanwhile
	trial := trialSpec()
	trial.Requests = 200
	o := mustTrial(t, e, trial)
	if o.Sides[0].Errors != 0 || s.connections.Load() != 200 {
		t.Errorf("%d connections, errors %v", s.connections.Load(), o.Sides[0].ErrorKind)
	}
	// The last ones may still be on their way.
	for deadline := time.Now().Add(5 * time.Second); lab.asked.Load() < 200+reserve && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if asked := lab.asked.Load(); asked != 200+reserve {
		t.Errorf("%d sockets were asked for ahead of 200 requests, want %d more", asked, reserve)
	}
}

func TestEngineGivesBackItsFiles(t *testing.T) {
	lab := newFakeLab(t)
	s := serve(t, nil)
	mustTrial(t, newEngine(t, generatorSpec(s)), trialSpec()) // what stays open once
	before := files(t)
	e := newEngine(t, labSpec(lab, s))
	mustTrial(t, e, trialSpec())
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	s.hangUp()
	for deadline := time.Now().Add(5 * time.Second); files(t) > before; {
		if time.Now().After(deadline) {
			t.Fatalf("%d files are open, %d were before", files(t), before)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestTrialWithoutItsLab(t *testing.T) {
	lab := newFakeLab(t)
	s := serve(t, nil)
	spec := labSpec(lab, s)
	spec.Sides[0].Node = "attic"
	if _, err := newEngine(t, spec).Trial(t.Context(), trialSpec()); err == nil || !strings.Contains(err.Error(), "no node attic") {
		t.Errorf("got %v, want the lab's own words", err)
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add(headed(`{"count":3}`))
	f.Add(headed(`{"error":"no"}`))
	f.Add([]byte(`{"exit":1}`))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := readAnswer(strings.NewReader(string(b)), 3); err == nil && len(b) < 4+len(`{"count":3}`) {
			t.Errorf("%q is too short for an answer", b)
		}
	})
}

func FuzzRights(f *testing.F) {
	f.Add(unix.UnixRights(3, 4, 5))
	odd := unix.UnixRights(3, 4)
	binary.NativeEndian.PutUint64(odd, uint64(unix.CmsgLen(7))) // of cmsghdr, cmsg(3)
	f.Add(odd)
	f.Add(append(unix.UnixRights(1), unix.UnixRights(2, 3)...))
	f.Add(unix.UnixCredentials(&unix.Ucred{Pid: 1}))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 127})
	f.Fuzz(func(t *testing.T, b []byte) {
		if fds, err := rights(b); err == nil && len(fds)*4 > len(b) {
			t.Errorf("%d files out of %d bytes", len(fds), len(b))
		}
	})
}
