package supervisor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// askSockets does by hand what scenarios/openloop does: it sends body with
// its length, and returns the answer and the sockets, which the test closes.
func askSockets(t testing.TB, path, body string) (socketAnswer, []int) {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(append(head(len(body)), body...)); err != nil {
		t.Fatal(err)
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(c, size); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, min(binary.BigEndian.Uint32(size), 1<<16))
	if _, err := io.ReadFull(c, text); err != nil {
		t.Fatal(err)
	}
	var a socketAnswer
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var fds []int
	t.Cleanup(func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	for data, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(253*4)); ; {
		n, oobn, flags, _, err := c.ReadMsgUnix(data, oob)
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return a, fds
		}
		if err != nil || data[0] != 'f' || flags&unix.MSG_CTRUNC != 0 {
			t.Fatalf("%d bytes %q, flags %#x, %v", n, data, flags, err)
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(msgs) != 1 {
			t.Fatalf("%d messages, %v", len(msgs), err)
		}
		got, err := unix.ParseUnixRights(&msgs[0])
		if err != nil || len(got) > socketBatch {
			t.Fatalf("%d sockets in one message, %v", len(got), err)
		}
		fds = append(fds, got...)
	}
}

func TestSockets(t *testing.T) {
	path := execServer(t)
	for network, kind := range map[string]int{"tcp4": unix.SOCK_STREAM, "udp4": unix.SOCK_DGRAM} {
		for _, count := range []int{1, socketBatch, socketBatch + 1, 5 * socketBatch} {
			a, fds := askSockets(t, path, fmt.Sprintf(`{"sockets":{"network":%q,"count":%d}}`, network, count))
			if a != (socketAnswer{Count: count}) || len(fds) != count {
				t.Fatalf("%s: %+v, %d sockets instead of %d", network, a, len(fds), count)
			}
			for _, fd := range fds {
				if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); got != kind || err != nil {
					t.Fatalf("%s: a socket of type %d, %v", network, got, err)
				}
				if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 || err != nil {
					t.Fatalf("%s: flags %#x, %v: it blocks", network, flags, err)
				}
				if _, err := unix.Getpeername(fd); !errors.Is(err, unix.ENOTCONN) {
					t.Fatalf("%s: it is connected: %v", network, err)
				}
			}
		}
	}
}

func TestSocketsRefused(t *testing.T) {
	path := execServer(t)
	for body, want := range map[string]string{
		`{"sockets":{"network":"tcp4","count":0}}`:                    "0 wanted; one request may ask for 1 to 20000",
		`{"sockets":{"network":"tcp4","count":-1}}`:                   "-1 wanted",
		`{"sockets":{"network":"tcp4","count":20001}}`:                "20001 wanted",
		`{"sockets":{"network":"tcp4","count":99999999999999999999}}`: "receive command",
		`{"sockets":{"network":"tcp6","count":1}}`:                    `unknown network "tcp6"`,
		`{"sockets":{"node":"h1","network":"tcp4","count":1}}`:        "the lab is not up yet",
		`{"sockets":{}}`:                "0 wanted",
		`{"sockets":[]}`:                "receive command",
		`{"sockets":null}`:              "0 instead of 3",
		`{"node":"h1","args":["true"]}`: "0 instead of 3",
		``:                              "receive command",
	} {
		a, fds := askSockets(t, path, body)
		if a.Count != 0 || len(fds) != 0 || !strings.Contains(a.Error, want) {
			t.Errorf("%s: %+v, %d sockets; want the error %q", body, a, len(fds), want)
		}
	}
}

// A caller that goes away without its sockets leaves none open here, and the
// next one is served.
func TestSocketsCallerGone(t *testing.T) {
	path := execServer(t)
	body := `{"sockets":{"network":"udp4","count":20000}}`
	for range 3 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(append(head(len(body)), body...)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil { // the first batch is there
			t.Fatal(err)
		}
		c.Close()
	}
	if a, fds := askSockets(t, path, `{"sockets":{"network":"udp4","count":3}}`); len(fds) != 3 {
		t.Errorf("%+v, %d sockets", a, len(fds))
	}
	open := func() int {
		var n int
		for fd := range 4096 {
			if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil && kind == unix.SOCK_DGRAM {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(10 * time.Second); open() > 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sockets stay open", open()-3)
		}
	}
}
