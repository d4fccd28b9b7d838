package docker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const testTimeout = 20 * time.Second

func listen(t *testing.T) (*net.UnixListener, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "docker") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "hosts.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, path
}

func open(t testing.TB, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

func dial(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestHandOver(t *testing.T) {
	l, path := listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	var here, there syscall.Stat_t
	if err := syscall.Stat("/proc/self/ns/net", &here); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	names := []string{"h1", "h2"}
	for _, name := range names {
		go func() { ended <- HostMain(path, name) }()
	}
	hosts, err := Accept(ctx, l, names)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := syscall.Fstat(int(hosts[name].NetNS.Fd()), &there); err != nil || here.Ino != there.Ino {
			t.Errorf("host %s: namespace %d, %v, want %d", name, there.Ino, err, here.Ino)
		}
	}
	// More may come later, as when a host is started again.
	go func() { ended <- HostMain(path, "h3") }()
	more, err := Accept(ctx, l, []string{"h3"})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Errorf("a host ended while the lab holds it: %v", err)
	default:
	}
	for _, h := range []*Host{hosts["h1"], hosts["h2"], more["h3"]} {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the host ended with %v", err)
		}
	}
}

func TestHostMainWithoutLab(t *testing.T) {
	err := HostMain(filepath.Join(t.TempDir(), "none.sock"), "h1")
	if err == nil || !strings.Contains(err.Error(), "hand over host h1") {
		t.Errorf("error %v", err)
	}
	if err := HostMain("/none", "h1\nh2"); !errors.Is(err, errNotHello) {
		t.Errorf("a name of two lines: %v", err)
	}
}

// TestStrangeHosts has a container send all that is wrong before a good host
// comes; none of it may stay open.
func TestStrangeHosts(t *testing.T) {
	netns, mntns, file := open(t, "/proc/self/ns/net"), open(t, "/proc/self/ns/mnt"), open(t, os.DevNull)
	before := openFDs(t)
	func() {
		l, path := listen(t)
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		defer cancel()
		for _, strange := range []struct {
			msg string
			fds []int
		}{
			{"meshlab-host/1 h1\n", nil},
			{"meshlab-host/1 h1\n", []int{file}},
			{"meshlab-host/1 h1\n", []int{mntns}},
			{"meshlab-host/1 h1\n", []int{netns, netns}},
			{"meshlab-host/1 h1\n", []int{netns, netns, netns, netns, netns, netns, netns, netns, netns}},
			{"meshlab-host/1 h2\n", []int{netns}}, // was not waited for
			{"meshlab-host/2 h1\n", []int{netns}},
			{"meshlab-host/1 h1", []int{netns}},
			{"meshlab-host/1 \n", []int{netns}},
			{"meshlab-host/1 ../h1\n", []int{netns}},
			{"meshlab-host/1 " + strings.Repeat("h", 4000) + "\n", []int{netns}},
			{"", []int{netns}},
		} {
			conn := dial(t, path)
			if _, _, err := conn.WriteMsgUnix([]byte(strange.msg), unix.UnixRights(strange.fds...), nil); err != nil {
				t.Fatal(err)
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 1)) // ends when the lab has closed it
			}()
		}
		ended := make(chan error)
		go func() { ended <- HostMain(path, "h1") }()
		hosts, err := Accept(ctx, l, []string{"h1"})
		if err != nil {
			t.Fatal(err)
		}
		if err := hosts["h1"].Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for end := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		after := openFDs(t)
		if after <= before {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d files open, before %d", after, before)
		}
	}
}

func openFDs(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestMissingHosts(t *testing.T) {
	l, path := listen(t)
	wanted := errors.New("the container has ended")
	came, cancel := context.WithTimeoutCause(t.Context(), time.Second, wanted)
	defer cancel()
	good := dial(t, path)
	if _, _, err := good.WriteMsgUnix([]byte("meshlab-host/1 h1\n"), unix.UnixRights(open(t, "/proc/self/ns/net")), nil); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, path)
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	_, err := Accept(came, l, []string{"h1", "h2", "h3"})
	if !errors.Is(err, ErrMissing) || !errors.Is(err, wanted) || !errors.Is(err, errNotHello) || !strings.Contains(err.Error(), "h2, h3") {
		t.Errorf("error %v", err)
	}
	// The one that came is let go, as is the strange one.
	for _, c := range []*net.UnixConn{good, conn} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("closed connection: %v", err)
		}
	}
	// A listener that is closed is no reason to wait.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Accept(t.Context(), l, []string{"h1"}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed listener: %v", err)
	}
	if hosts, err := Accept(t.Context(), l, nil); err != nil && !errors.Is(err, net.ErrClosed) || len(hosts) > 0 {
		t.Errorf("no hosts wanted: %v, %v", hosts, err)
	}
}

// FuzzReceive sends a message and a number of descriptors as a container
// could. Only the right message with one network namespace may pass, and
// nothing else may stay open.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("meshlab-host/1 h1\n"), byte(1), false)
	f.Add([]byte("meshlab-host/1 h1\n"), byte(1), true)
	f.Add([]byte("meshlab-host/1 h1\n"), byte(0), false)
	f.Add([]byte("meshlab-host/1 h1\n"), byte(3), false)
	f.Add([]byte("meshlab-host/1 h1\n"), byte(9), false)
	f.Add([]byte("meshlab-host/1 a b\n"), byte(1), false)
	f.Add([]byte{}, byte(0), false)
	f.Fuzz(func(t *testing.T, msg []byte, count byte, plain bool) {
		path := "/proc/self/ns/net"
		if plain {
			path = os.DevNull
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds := make([]int, int(count%16))
		for i := range fds {
			fds[i] = int(file.Fd())
		}
		var oob []byte
		if len(fds) > 0 {
			oob = unix.UnixRights(fds...)
		}
		sendErr := unix.Sendmsg(pair[0], msg, oob, nil, unix.MSG_DONTWAIT)
		_ = unix.Close(pair[0])
		end := os.NewFile(uintptr(pair[1]), "pair")
		conn, err := net.FileConn(end)
		_ = end.Close()
		if err != nil {
			t.Fatal(err)
		}
		before := openFDs(t)
		name, host, err := receive(conn.(*net.UnixConn))
		if err != nil {
			if after := openFDs(t); after != before-1 {
				t.Errorf("%d files open after it was refused, %d before: %v", after, before, err)
			}
			return
		}
		defer host.Close()
		if sendErr != nil || plain || len(fds) != 1 || string(msg) != helloWord+name+"\n" || sanitize(name) != name || len(name) > longestKey {
			t.Errorf("took %q with %d descriptors, plain %v (send: %v)", msg, len(fds), plain, sendErr)
		}
	})
}
