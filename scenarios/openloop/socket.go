package openloop

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxSockets is the most that a lab hands out at once.
	maxSockets = 20_000
	// maxAnswer bounds the head of the answer, in bytes.
	maxAnswer = 64 << 10
	// maxRights is the most files that one message carries (unix(7), SCM_MAX_FD).
	maxRights = 253
	// socketTimeout bounds one request for sockets.
	socketTimeout = 30 * time.Second
)

// Socket is a socket of some network namespace, not connected yet.
type Socket struct{ fd int }

// Close gives the socket up, unless Connect was called.
func (s Socket) Close() { _ = unix.Close(s.fd) }

type socketRequest struct {
	Sockets socketsOf `json:"sockets"`
}

type socketsOf struct {
	Node    string `json:"node"`
	Network string `json:"network"`
	Count   int    `json:"count"`
}

type socketAnswer struct {
	Count int    `json:"count"`
	Error string `json:"error"`
}

// Sockets asks the lab whose exec socket is at path for sockets of a node's
// network namespace; network is tcp4 or udp4. It returns as many as were asked
// for, or an error.
//
// The request is a length of 4 bytes, big-endian, and so much JSON:
// {"sockets":{"node":...,"network":...,"count":...}}. The answer has the same
// form, {"count":...} or {"error":...}; behind it come the sockets, some in
// each message (SCM_RIGHTS, unix(7)) with one byte of data.
func Sockets(ctx context.Context, path, node, network string, count int) (_ []Socket, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("get sockets of %s from the lab: %w", node, err)
		}
	}()
	if count < 1 || count > maxSockets {
		return nil, fmt.Errorf("%d wanted: 1 to %d can be had at once", count, maxSockets)
	}
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	body, err := json.Marshal(socketRequest{socketsOf{node, network, count}})
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return nil, err
	}
	if err := readAnswer(c, count); err != nil {
		return nil, err
	}
	return receive(c.(*net.UnixConn), network, count) // a unix address gives nothing else
}

// readAnswer reads the head of an answer, which must announce as many sockets
// as were wanted.
func readAnswer(r io.Reader, wanted int) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if head[0] == '{' { // what a program answers that knows commands only
		return errors.New("the program that runs the lab is too old: it hands out no sockets")
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxAnswer {
		return fmt.Errorf("read the answer: %d bytes, over %d", size, maxAnswer)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	var a socketAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	if a.Count != wanted {
		return fmt.Errorf("%d announced, %d wanted", a.Count, wanted)
	}
	return nil
}

// receive reads the messages that carry the sockets. After an error none stays
// open.
func receive(c *net.UnixConn, network string, count int) (all []Socket, err error) {
	defer func() {
		if err != nil {
			for _, s := range all {
				s.Close()
			}
			all = nil
		}
	}()
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(maxRights*4))
	for len(all) < count {
		n, controls, flags, _, err := c.ReadMsgUnix(data, control)
		fds, perr := rights(control[:max(controls, 0)])
		for _, fd := range fds {
			all = append(all, Socket{fd})
		}
		switch {
		case errors.Is(err, io.EOF), err == nil && n == 0:
			return all, fmt.Errorf("receive sockets: the lab sent %d of %d", len(all), count)
		case err != nil:
			return all, fmt.Errorf("receive sockets: %w", err)
		case perr != nil:
			return all, fmt.Errorf("receive sockets: %w", perr)
		case flags&unix.MSG_CTRUNC != 0, len(fds) == 0, len(all) > count:
			return all, fmt.Errorf("receive sockets: a message with %d of them, after which there are %d of %d", len(fds), len(all), count)
		}
	}
	for _, s := range all {
		if err := s.prepare(network); err != nil {
			return all, fmt.Errorf("receive sockets: %w", err)
		}
	}
	return all, nil
}

// rights returns the files that came with a message.
func rights(control []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		for d := m.Data; len(d) >= 4; d = d[4:] { // unix.ParseUnixRights panics at a rest of 1 to 3
			fds = append(fds, int(int32(binary.NativeEndian.Uint32(d))))
		}
	}
	return fds, nil
}

// prepare checks that it is a socket of the network.
func (s Socket) prepare(network string) error {
	domain, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err // ENOTSOCK, for example
	}
	kind, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	want := unix.SOCK_STREAM
	if network == "udp4" {
		want = unix.SOCK_DGRAM
	}
	if domain != unix.AF_INET || kind != want {
		return fmt.Errorf("one of domain %d and type %d is none of %s", domain, kind, network)
	}
	if want == unix.SOCK_STREAM {
		// As net does; all connections of the generator are alike.
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return err
		}
	}
	return unix.SetNonblock(s.fd, true)
}

// Connect connects the socket to an IPv4 address, until ctx is done. The
// socket belongs to the connection then, and is closed after an error.
func (s Socket) Connect(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	c, err := s.connect(ctx, to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return c, nil
}

func (s Socket) connect(ctx context.Context, to netip.AddrPort) (*conn, error) {
	if err := ctx.Err(); err != nil {
		s.Close()
		return nil, err
	}
	begun := unix.Connect(s.fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if begun != nil && begun != unix.EINPROGRESS && begun != unix.EINTR { // which goes on too, connect(2)
		s.Close()
		return nil, os.NewSyscallError("connect", begun)
	}
	c := &conn{File: os.NewFile(uintptr(s.fd), to.String()), remote: to}
	if begun != nil {
		if err := c.await(ctx); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// conn is a connected socket. An os.File reads and writes sockets as net does;
// net itself takes no socket that is not connected, and doubles one that is
// (net.FileConn).
type conn struct {
	*os.File
	remote netip.AddrPort
}

// await waits until the connection stands.
func (c *conn) await(ctx context.Context) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err == nil {
			if _, err = unix.Getpeername(int(fd)); err == unix.ENOTCONN {
				return false
			}
		}
		failed = os.NewSyscallError("connect", err)
		return true
	})
	if !stop() {
		return ctx.Err()
	}
	return errors.Join(err, failed, c.SetWriteDeadline(time.Time{}))
}

func (c *conn) LocalAddr() net.Addr {
	return &net.TCPAddr{} // nobody asks: it is here for net.Conn
}

func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }
