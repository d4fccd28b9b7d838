// Package client sends one request at a time and says when its answer was
// complete, and what was wrong with it. It speaks every scenarios.Protocol
// over connections that it is handed. When requests are sent, and what their
// times come to, is the business of the packages that use it.
//
// HTTP/1.1 goes over connections of this package, not over net/http's or
// Fortio's clients: these repeat a request silently on a new connection when a
// used one breaks, and Fortio's reports every fault of a socket as the same
// -1; each of these would hide an error from a run that must count all of
// them.
package client

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// Dialer opens connections, of the networks "tcp" and "udp".
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Client sends requests, one at a time, over one connection per protocol and
// address. It opens a connection when a request needs one that is not there,
// and keeps it until it breaks, or the server asks to close it; requests of
// HTTP1Close have one each.
//
// A Client is for one goroutine.
type Client struct {
	dialer Dialer
	links  map[target]link // open connections
	body   bytes.Buffer    // of the last answer
}

// target is what requests that share a connection have in common.
type target struct {
	protocol scenarios.Protocol
	address  string
}

// link is a connection as its protocol uses it.
type link interface {
	// exchange sends the request and reads the whole answer; what can be
	// checked in it goes to body. After an error the link is of no more use.
	exchange(ctx context.Context, deadline time.Time, r *Request, body *bytes.Buffer) (answer, error)
	// usable tells that the server has not closed it, after a look.
	usable() bool
	// ended tells, without a look, that the server has said or shown that it
	// takes no more requests here.
	ended() bool
	close()
}

// answer is what a protocol says of an answer that is complete.
type answer struct {
	status int  // of HTTP
	last   bool // the connection is of no more use
}

// New returns a Client without connections.
func New(d Dialer) *Client {
	return &Client{dialer: d, links: make(map[target]link)}
}

// Connect opens the connection that r would go over, so that no request has to
// wait for it. A connection that is there stays, unless the server has closed
// it. Requests of HTTP1Close have nothing to open.
func (c *Client) Connect(ctx context.Context, deadline time.Time, r *Request) error {
	if r.protocol == scenarios.HTTP1Close {
		return nil
	}
	if l := c.links[r.target]; l != nil {
		if l.usable() {
			return nil
		}
		c.drop(r.target)
	}
	_, err := c.open(ctx, deadline, r)
	return err
}

// Do sends the request and waits for its answer, until the deadline or until
// ctx is done. It returns when the last byte of the answer was read, and what
// was wrong: nothing if kind is empty, Cancelled if ctx was done, else the few
// words under which such errors are counted. Status and content are checked
// after end. Nothing is sent twice: a connection of HTTP/1.1 or of an echo that
// the server closes without having said so is an error of the request that
// meets it. HTTP/2 has words for that (GOAWAY, RFC 9113, section 6.8): a
// connection that is known to have ended is opened anew.
func (c *Client) Do(ctx context.Context, deadline time.Time, r *Request) (end time.Time, kind string) {
	if ctx.Err() != nil {
		return time.Now(), Cancelled
	}
	c.body.Reset()
	a, err := c.exchange(ctx, deadline, r)
	end = time.Now()
	if err != nil || a.last {
		c.drop(r.target)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return end, Cancelled
	case err != nil:
		return end, kindOf(r.protocol, err)
	}
	return end, r.verdict(a.status, c.body.Bytes())
}

func (c *Client) exchange(ctx context.Context, deadline time.Time, r *Request) (answer, error) {
	l := c.links[r.target]
	if l != nil && l.ended() {
		c.drop(r.target)
		l = nil
	}
	if l == nil {
		var err error
		if l, err = c.open(ctx, deadline, r); err != nil {
			return answer{}, err
		}
	}
	return l.exchange(ctx, deadline, r, &c.body)
}

func (c *Client) open(ctx context.Context, deadline time.Time, r *Request) (link, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	l, err := openers[r.protocol](ctx, c.dialer, r.address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	c.links[r.target] = l
	return l, nil
}

// openers of connections, by protocol.
var openers = map[scenarios.Protocol]func(ctx context.Context, d Dialer, address string) (link, error){
	scenarios.HTTP1:      openHTTP1,
	scenarios.HTTP1Close: openHTTP1,
	scenarios.HTTP2:      openHTTP2,
	scenarios.GRPC:       openPing,
	scenarios.TCPEcho:    openTCP,
	scenarios.UDPEcho:    openUDP,
}

// drop closes the connection, if there is one.
func (c *Client) drop(t target) {
	if l := c.links[t]; l != nil {
		l.close()
		delete(c.links, t)
	}
}

// Close closes all connections. The Client can be used again.
func (c *Client) Close() {
	for t := range c.links {
		c.drop(t)
	}
}
