package client

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

// http2Link is a connection of HTTP/2, with one stream at a time.
type http2Link struct{ conn *http.ClientConn }

func openHTTP2(ctx context.Context, d Dialer, address string) (link, error) {
	t := &http.Transport{
		DialContext:        d.DialContext,
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	conn, err := t.NewClientConn(ctx, "http", address)
	if err != nil {
		return nil, err
	}
	return &http2Link{conn}, nil
}

func (l *http2Link) exchange(ctx context.Context, deadline time.Time, r *Request, body *bytes.Buffer) (answer, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	req := r.http.WithContext(ctx)
	req.Body, req.GetBody = http.NoBody, nil
	if len(r.body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(r.body))
	}
	resp, err := l.conn.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close() // of an answer that was read whole, or whose connection ends
	if err := readBody(resp.Body, body); err != nil {
		return answer{}, err
	}
	return answer{status: resp.StatusCode, last: l.ended()}, nil
}

func (l *http2Link) usable() bool { return !l.ended() }

func (l *http2Link) ended() bool { return l.conn.Err() != nil }

func (l *http2Link) close() { _ = l.conn.Close() }
