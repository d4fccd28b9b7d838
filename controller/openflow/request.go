package openflow

import (
	"context"
	"errors"
	"fmt"
	"math"

	"meshlab.dev/meshlab/controller/flow"
)

// maxMultipart bounds the bytes of one multipart answer: some 1.5 million
// flows of 170 bytes. They are decoded as they come, and not kept. A switch
// that sends more is refused, not swapped for.
const maxMultipart = 256 << 20

var errTooLarge = fmt.Errorf("answer exceeds %d bytes", maxMultipart)

// request is a run of transaction ids that are waited for together; it is
// finished when the last one is answered. Conn.mu guards the fields.
type request struct {
	first, last uint32
	kind        uint16             // of multipart parts
	decode      func([]byte) error // takes a multipart part; runs with Conn.mu held
	done        chan struct{}
	finished    bool
	size        int // bytes of all multipart parts
	reply
}

// reply is what came back so far.
type reply struct {
	err    *SwitchError // the first
	bundle uint16       // kind of the bundle control reply
	body   []byte       // of the last message, unless it is multipart
	broken error        // what is wrong with the multipart parts
}

func (r *request) refuse(e *SwitchError) {
	if r.err == nil {
		r.err = e
	}
}

func (r *request) add(kind uint16, part []byte) {
	r.size += len(part)
	switch {
	case r.broken != nil:
	case r.decode == nil || kind != r.kind:
		r.broken = errors.New("answer is of another kind than the question")
	case r.size > maxMultipart:
		r.broken = errTooLarge
	default:
		r.broken = r.decode(part)
	}
}

// Transaction ids from firstRun on are for bundles, whose messages nobody
// has counted when the first ones are sent; those below are for all else. 0 is
// never used: unsolicited messages carry it.
const firstRun uint32 = 1 << 31

// register takes n consecutive transaction ids.
func (c *Conn) register(n int) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(c.nextXID)+uint64(n) >= uint64(firstRun) {
		c.nextXID = 0
	}
	r := &request{first: c.nextXID + 1, last: c.nextXID + uint32(n), done: make(chan struct{})}
	c.nextXID = r.last
	c.requests = append(c.requests, r)
	return r
}

// registerRun takes transaction ids without an end, which endRun sets. Only
// one such request has none at a time.
func (c *Conn) registerRun() *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nextRun < firstRun || c.nextRun > math.MaxUint32-firstRun/2 {
		c.nextRun = firstRun
	}
	r := &request{first: c.nextRun, last: math.MaxUint32, done: make(chan struct{})}
	c.requests = append(c.requests, r)
	return r
}

// endRun says which id of r is the last one. Saying it again does nothing.
func (c *Conn) endRun(r *request, last uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.last == math.MaxUint32 {
		r.last = last
		c.nextRun = last + 1
	}
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

// block is bytes for the socket. When they are written, the writer gives the
// memory back to free, if there is one; free has room for it.
type block struct {
	data []byte
	free chan<- []byte
}

// send hands bytes to the writer; they must not be touched afterwards.
func (c *Conn) send(ctx context.Context, b []byte) error {
	return c.enqueue(ctx, block{data: b})
}

func (c *Conn) enqueue(ctx context.Context, b block) error {
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
	r := c.register(1)
	defer c.forget(r)
	return c.exchange(ctx, r, kind, body)
}

func (c *Conn) exchange(ctx context.Context, r *request, kind msgType, body []byte) ([]byte, error) {
	if err := c.send(ctx, appendMessage(nil, kind, r.last, body)); err != nil {
		return nil, err
	}
	if err := c.await(ctx, r); err != nil {
		return nil, err
	}
	got := c.reply(r)
	if got.err != nil {
		return nil, got.err
	}
	return got.body, got.broken
}

// name is the switch in error messages.
func (c *Conn) name() string { return fmt.Sprintf("switch %016x", c.dpid) }

// readAll asks a multipart question and decodes the parts of the answer as
// they come; no entry is split between two (OpenFlow 1.3.5, section 7.3.5).
func readAll[T any](ctx context.Context, c *Conn, what string, kind uint16, body []byte, decode func([]T, []byte) ([]T, error)) ([]T, error) {
	var out []T
	r := c.register(1)
	defer c.forget(r)
	c.mu.Lock()
	r.kind = kind
	r.decode = func(part []byte) (err error) {
		out, err = decode(out, part)
		return err
	}
	c.mu.Unlock()
	if _, err := c.exchange(ctx, r, typeMultipartRequest, multipartRequest(kind, body)); err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", what, c.name(), err)
	}
	return out, nil
}

// Flows reads all flows of all tables, also those of others.
func (c *Conn) Flows(ctx context.Context) ([]FlowStats, error) {
	return c.TableFlows(ctx, flow.TableAll)
}

// TableFlows reads all flows of one table, also those of others.
func (c *Conn) TableFlows(ctx context.Context, table uint8) ([]FlowStats, error) {
	return readAll(ctx, c, "flows", multipartFlow, flowStatsRequest(table), decodeFlowStats)
}

// Groups reads the ids of all groups.
func (c *Conn) Groups(ctx context.Context) ([]uint32, error) {
	return readAll(ctx, c, "groups", multipartGroupDesc, nil, decodeGroupDesc)
}

// Meters reads the ids of all meters.
func (c *Conn) Meters(ctx context.Context) ([]uint32, error) {
	return readAll(ctx, c, "meters", multipartMeterConfig, meterConfigRequest(), decodeMeterConfig)
}

// Ports reads all ports, the bridge's own (flow.PortLocal) among them.
func (c *Conn) Ports(ctx context.Context) ([]PortDesc, error) {
	return readAll(ctx, c, "ports", multipartPortDesc, nil, decodePortDesc)
}

// PacketOut has the switch run actions on a packet as if it had come in by
// inPort; flow.PortController when it came from nowhere. An Output to
// flow.PortTable takes the packet through the tables. It returns when the
// message is on its way: a refusal by the switch is only logged.
func (c *Conn) PacketOut(ctx context.Context, inPort uint32, data []byte, actions []flow.Action) error {
	if len(data) == 0 {
		return fmt.Errorf("send packet by %s: there is no packet", c.name())
	}
	encoded, err := appendActions(nil, actions)
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

// Experiment sends experimenter messages (OpenFlow 1.3.5, section 7.5.4) with
// these bodies, and returns when the switch has carried them out. The error is
// that of the first one it refused.
func (c *Conn) Experiment(ctx context.Context, bodies [][]byte) error {
	r := c.register(len(bodies) + 1)
	defer c.forget(r)
	var buf []byte
	for i, body := range bodies {
		if headerLen+len(body) > maxLen {
			return fmt.Errorf("send experimenter message to %s: %d bytes exceed one OpenFlow message", c.name(), len(body))
		}
		buf = appendMessage(buf, typeExperimenter, r.first+uint32(i), body)
	}
	if err := c.send(ctx, appendMessage(buf, typeBarrierRequest, r.last, nil)); err != nil {
		return fmt.Errorf("send experimenter messages to %s: %w", c.name(), err)
	}
	if err := c.await(ctx, r); err != nil {
		return fmt.Errorf("await experimenter messages at %s: %w", c.name(), err)
	}
	if e := c.reply(r).err; e != nil {
		return fmt.Errorf("send experimenter messages to %s: %w", c.name(), e)
	}
	return nil
}
