package client

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// within runs f, which reads and writes conn, until the deadline or until ctx
// is done. It returns an error when ctx was done before f returned: conn is of
// no more use then, as after any other error.
func within(ctx context.Context, deadline time.Time, conn net.Conn, f func() error) error {
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	// A deadline that has passed wakes up whoever reads or writes.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return err
}

// silent tells that nothing is to be read from conn, and that the other end
// has not closed it: that the next bytes will belong to the next request. A
// connection that cannot be looked at is taken for silent.
func silent(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := c.SyscallConn()
	if err != nil || conn.SetDeadline(time.Time{}) != nil { // an old deadline would keep raw.Read from looking
		return false
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		_, _, peeked = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true
	})
	return err == nil && peeked == unix.EAGAIN
}
