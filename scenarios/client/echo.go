package client

import (
	"bytes"
	"context"
	"io"
	"net"
	"time"
)

// echo is a connection whose other end sends back what it gets.
type echo struct {
	conn net.Conn
	udp  bool
	buf  []byte
}

func openTCP(ctx context.Context, d Dialer, address string) (link, error) {
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &echo{conn: conn, buf: make([]byte, maxEcho)}, nil
}

func openUDP(ctx context.Context, d Dialer, address string) (link, error) {
	conn, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	// One byte more than a datagram has, so that a longer one shows.
	return &echo{conn: conn, udp: true, buf: make([]byte, maxEcho+1)}, nil
}

func (l *echo) exchange(ctx context.Context, deadline time.Time, r *Request, _ *bytes.Buffer) (answer, error) {
	return answer{}, within(ctx, deadline, l.conn, func() error {
		if _, err := l.conn.Write(r.wire); err != nil {
			return err
		}
		n, err := l.receive(len(r.wire))
		if err != nil {
			return err
		}
		if !bytes.Equal(l.buf[:n], r.wire) {
			return errDiffers
		}
		return nil
	})
}

// receive reads one datagram, or as many bytes as were sent.
func (l *echo) receive(sent int) (int, error) {
	if l.udp {
		return l.conn.Read(l.buf)
	}
	return io.ReadFull(l.conn, l.buf[:sent])
}

func (l *echo) usable() bool { return silent(l.conn) }

func (*echo) ended() bool { return false }

func (l *echo) close() { _ = l.conn.Close() }
