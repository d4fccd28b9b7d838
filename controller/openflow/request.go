package openflow

import (
	"context"
	"errors"
	"fmt"
	"math"

	"meshlab.dev/meshlab/controller/flow"
)

// maxMultipart bounds the bytes kept of one multipart answer: some 300,000
// flows of 200 bytes. A switch that sends more is refused, not swapped for.
const maxMultipart = 64 << 20

var errTooLarge = fmt.Errorf("answer exceeds %d bytes", maxMultipart)

// request is a run of transaction ids that are waited for together; it is
// finished when the last one is answered. Conn.mu guards the fields.
type request struct {
	first, last uint32
	kind        uint16 // of multipart parts
	done        chan struct{}
	finished    bool
	reply
}

// reply is what came back so far.
type reply struct {
	err      *SwitchError // the first
	bundle   uint16       // kind of the bundle control reply
	body     []byte       // of all multipart parts, or of the last message
	oversize bool
	foreign  bool // a part was not of the kind asked for
}

func (r *request) refuse(e *SwitchError) {
	if r.err == nil {
		r.err = e
	}
}

func (r *request) add(kind uint16, part []byte) {
	switch {
	case kind != r.kind:
		r.foreign = true
	case len(r.body)+len(part) > maxMultipart:
		r.oversize, r.body = true, nil
	case !r.oversize:
		r.body = append(r.body, part...)
	}
}

// register takes n consecutive transaction ids, never 0, which unsolicited
// messages carry.
func (c *Conn) register(n int) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(c.nextXID)+uint64(n) > math.MaxUint32 {
		c.nextXID = 0
	}
	r := &request{first: c.nextXID + 1, last: c.nextXID + uint32(n), done: make(chan struct{})}
	c.nextXID = r.last
	c.requests = append(c.requests, r)
	return r
}

func (c *Conn) forget(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.requests {
		if other == r {
			c.requests = append(c.requests[:i], c.requests[i+1:]...)
			return
		}
	}
}

// progress lets f note an answer with this xid; false when nobody waits.
func (c *Conn) progress(xid uint32, f func(*request)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(xid, f) != nil
}

// complete is progress with the final answer to xid.
func (c *Conn) complete(xid uint32, f func(*request)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.find(xid, f)
	if r != nil && xid == r.last && !r.finished {
		r.finished = true
		close(r.done)
	}
	return r != nil
}

func (c *Conn) find(xid uint32, f func(*request)) *request {
	for _, r := range c.requests {
		if xid >= r.first && xid <= r.last {
			f(r)
			return r
		}
	}
	return nil
}

// reply is what has come for r up to now.
func (c *Conn) reply(r *request) reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.reply
}

// send hands bytes to the writer; they must not be touched afterwards.
func (c *Conn) send(ctx context.Context, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.out <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.Err()
	}
}

func (c *Conn) await(ctx context.Context, r *request) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.Err()
	}
}

// call sends one message and returns the body of its answer.
func (c *Conn) call(ctx context.Context, kind msgType, body []byte) ([]byte, error) {
	return c.exchange(ctx, kind, body, 0)
}

func (c *Conn) exchange(ctx context.Context, kind msgType, body []byte, multipart uint16) ([]byte, error) {
	r := c.register(1)
	defer c.forget(r)
	c.mu.Lock()
	r.kind = multipart
	c.mu.Unlock()
	if err := c.send(ctx, appendMessage(nil, kind, r.last, body)); err != nil {
		return nil, err
	}
	if err := c.await(ctx, r); err != nil {
		return nil, err
	}
	got := c.reply(r)
	switch {
	case got.err != nil:
		return nil, got.err
	case got.oversize:
		return nil, errTooLarge
	case got.foreign:
		return nil, errors.New("answer is of another kind than the question")
	default:
		return got.body, nil
	}
}

func (c *Conn) multipartCall(ctx context.Context, kind uint16, body []byte) ([]byte, error) {
	return c.exchange(ctx, typeMultipartRequest, multipartRequest(kind, body), kind)
}

// name is the switch in error messages.
func (c *Conn) name() string { return fmt.Sprintf("switch %016x", c.dpid) }

// Flows reads all flows of all tables, also those of others.
func (c *Conn) Flows(ctx context.Context) ([]FlowStats, error) {
	b, err := c.multipartCall(ctx, multipartFlow, flowStatsRequest())
	if err != nil {
		return nil, fmt.Errorf("read flows of %s: %w", c.name(), err)
	}
	flows, err := decodeFlowStats(b)
	if err != nil {
		return nil, fmt.Errorf("read flows of %s: %w", c.name(), err)
	}
	return flows, nil
}

// Groups reads the ids of all groups.
func (c *Conn) Groups(ctx context.Context) ([]uint32, error) {
	b, err := c.multipartCall(ctx, multipartGroupDesc, nil)
	if err != nil {
		return nil, fmt.Errorf("read groups of %s: %w", c.name(), err)
	}
	groups, err := decodeGroupDesc(b)
	if err != nil {
		return nil, fmt.Errorf("read groups of %s: %w", c.name(), err)
	}
	return groups, nil
}

// Ports reads all ports, the bridge's own (flow.PortLocal) among them.
func (c *Conn) Ports(ctx context.Context) ([]PortDesc, error) {
	b, err := c.multipartCall(ctx, multipartPortDesc, nil)
	if err != nil {
		return nil, fmt.Errorf("read ports of %s: %w", c.name(), err)
	}
	ports, err := decodePortDesc(b)
	if err != nil {
		return nil, fmt.Errorf("read ports of %s: %w", c.name(), err)
	}
	return ports, nil
}

// PacketOut has the switch run actions on a packet as if it had come in by
// inPort; flow.PortController when it came from nowhere. It returns when the
// message is on its way: a refusal by the switch is only logged.
func (c *Conn) PacketOut(ctx context.Context, inPort uint32, data []byte, actions []flow.Action) error {
	if len(data) == 0 {
		return fmt.Errorf("send packet by %s: there is no packet", c.name())
	}
	encoded, err := marshalActions(actions)
	if err != nil {
		return fmt.Errorf("send packet by %s: %w", c.name(), err)
	}
	body := packetOutBody(inPort, encoded, data)
	if len(encoded) > maxLen || headerLen+len(body) > maxLen {
		return fmt.Errorf("send packet by %s: %d bytes exceed one OpenFlow message", c.name(), len(body))
	}
	// The id is taken, not kept: an answer finds nobody, and is logged.
	r := c.register(1)
	c.forget(r)
	if err := c.send(ctx, appendMessage(nil, typePacketOut, r.last, body)); err != nil {
		return fmt.Errorf("send packet by %s: %w", c.name(), err)
	}
	return nil
}
