package client

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// farewell is how long a connection that the server was asked to close may
// take to end, outside the measured time. Whoever closes first keeps the port
// for a minute (TIME-WAIT, RFC 9293, section 3.6.1); the server has room for
// that, the client would run out of ports.
const farewell = 10 * time.Millisecond

// http1 is a connection of HTTP/1.1.
type http1 struct {
	conn   net.Conn
	reader *bufio.Reader
	asked  bool // the server was asked to close it
}

func openHTTP1(ctx context.Context, d Dialer, address string) (link, error) {
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &http1{conn: conn, reader: bufio.NewReader(conn)}, nil
}

func (l *http1) exchange(ctx context.Context, deadline time.Time, r *Request, body *bytes.Buffer) (answer, error) {
	l.asked = r.http.Close
	var resp *http.Response
	err := within(ctx, deadline, l.conn, func() (err error) {
		if _, err := l.conn.Write(r.wire); err != nil {
			return err
		}
		if resp, err = l.head(r.http); err != nil {
			return err
		}
		return readBody(resp.Body, body)
	})
	if err != nil {
		l.asked = false
		return answer{}, err
	}
	// Or the server asked for it, or sent more than it announced.
	return answer{status: resp.StatusCode, last: l.asked || resp.Close || l.reader.Buffered() > 0}, nil
}

// head reads the head of the final answer, past any interim one (RFC 9110,
// section 15.2).
func (l *http1) head(req *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(l.reader, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
	}
}

func (l *http1) usable() bool { return silent(l.conn) }

func (*http1) ended() bool { return false }

// close closes the connection. An error of Close tells nothing about the
// requests that went over it, nor does one of the wait for the server's.
func (l *http1) close() {
	if l.asked && l.conn.SetReadDeadline(time.Now().Add(farewell)) == nil {
		_, _ = l.reader.Peek(1)
	}
	_ = l.conn.Close()
}

// readBody reads all, up to maxBody.
func readBody(from io.Reader, to *bytes.Buffer) error {
	n, err := to.ReadFrom(io.LimitReader(from, maxBody+1))
	if err == nil && n > maxBody {
		err = errTooLong
	}
	return err
}
