package openflow

import (
	"context"
	"encoding/binary"

	"meshlab.dev/meshlab/controller/flow"
)

const (
	blockSize  = 64 << 10 // bytes of messages that are sent at a time
	blockCount = 4        // blocks between encoder and socket
)

// fill is the filling of one bundle: the messages from its opening to a
// barrier, under consecutive transaction ids, sent in blocks while they are
// made. It belongs to one goroutine.
type fill struct {
	c       *Conn
	ctx     context.Context
	id      uint32 // of the bundle
	change  Change
	request *request
	xid     uint32 // of the last message
	counts  [partCount]int
	buf     []byte      // whole messages, not yet sent
	free    chan []byte // blocks that the writer is done with
	sent    bool        // whether the switch may know of the bundle
}

func (c *Conn) newFill(ctx context.Context, id uint32, ch Change) *fill {
	f := &fill{c: c, ctx: ctx, id: id, change: ch, request: c.registerRun(), free: make(chan []byte, blockCount)}
	f.xid = f.request.first
	for range blockCount - 1 {
		f.free <- nil
	}
	return f
}

// end gives back the transaction ids.
func (f *fill) end() {
	f.c.endRun(f.request, f.xid)
	f.c.forget(f.request)
}

// run encodes and sends everything; a part that the switch refuses early ends it.
func (f *fill) run() error {
	f.buf = appendMessage(f.buf, typeExperimenter, f.xid, bundleControlBody(f.id, bundleOpen))
	for g := range each(f.change.AddGroups) {
		if err := f.add(addGroups, func(b []byte) ([]byte, error) { return appendGroup(b, f.xid, g, groupAdd) }); err != nil {
			return err
		}
	}
	for g := range each(f.change.ModifyGroups) {
		if err := f.add(modifyGroups, func(b []byte) ([]byte, error) { return appendGroup(b, f.xid, g, groupModify) }); err != nil {
			return err
		}
	}
	for _, cookie := range f.change.DeleteCookies {
		if err := f.add(deleteCookies, func(b []byte) ([]byte, error) { return appendDelete(b, f.xid, cookie), nil }); err != nil {
			return err
		}
	}
	for v := range each(f.change.AddFlows) {
		if err := f.add(addFlows, func(b []byte) ([]byte, error) { return appendFlow(b, f.xid, v) }); err != nil {
			return err
		}
	}
	for _, id := range f.change.DeleteGroups {
		if err := f.add(deleteGroups, func(b []byte) ([]byte, error) { return appendGroupDelete(b, f.xid, id) }); err != nil {
			return err
		}
	}
	f.xid++
	f.c.endRun(f.request, f.xid)
	f.buf = appendMessage(f.buf, typeBarrierRequest, f.xid, nil)
	return f.flush()
}

// add wraps the message that encode appends into a bundle-add message of
// the same xid, as the extension demands.
func (f *fill) add(p part, encode func([]byte) ([]byte, error)) error {
	f.xid++
	start := len(f.buf)
	b := startMessage(f.buf, typeExperimenter, f.xid)
	b = binary.BigEndian.AppendUint32(b, experimenterONF)
	b = binary.BigEndian.AppendUint32(b, bundleAdd)
	b = binary.BigEndian.AppendUint32(b, f.id)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, bundleAtomicOrdered)
	b, err := encode(b)
	if err != nil {
		return err
	}
	endMessage(b, start)
	f.buf = b
	f.counts[p]++
	if len(b) < blockSize {
		return nil
	}
	if e := f.c.reply(f.request).err; e != nil {
		return f.refusal(e) // the rest would be for nothing
	}
	return f.flush()
}

// flush hands the messages to the writer and takes a block that is free.
func (f *fill) flush() error {
	if err := f.c.enqueue(f.ctx, block{data: f.buf, free: f.free}); err != nil {
		return err
	}
	f.sent = true
	select {
	case f.buf = <-f.free:
	case <-f.ctx.Done():
		return f.ctx.Err()
	case <-f.c.done:
		return f.c.Err()
	}
	if f.buf == nil {
		f.buf = make([]byte, 0, 2*blockSize) // the last message may be as large as a block
	}
	return nil
}

// refusal finds the part of the change that an error is about.
func (f *fill) refusal(e *SwitchError) error {
	i := int64(e.xid) - int64(f.request.first) - 1
	for p, n := range f.counts {
		if i >= 0 && i < int64(n) {
			what, text := f.change.describe(part(p), int(i))
			return &ApplyError{What: what, Index: int(i), Text: text, Cause: e}
		}
		i -= int64(n)
	}
	return &ApplyError{What: "commit bundle", Index: -1, Cause: e}
}

// addMeters sends what no bundle takes (Open vSwitch refuses meter-mods
// there). A meter that is there is modified.
func (c *Conn) addMeters(ctx context.Context, meters []flow.Meter) error {
	if len(meters) == 0 {
		return nil
	}
	for _, m := range meters {
		if err := flow.CheckMeter(m); err != nil {
			return err
		}
	}
	have, err := c.Meters(ctx)
	if err != nil {
		return err
	}
	there := map[uint32]bool{}
	for _, id := range have {
		there[id] = true
	}
	r := c.register(len(meters) + 1)
	defer c.forget(r)
	var buf []byte
	for i, m := range meters {
		command := meterAdd
		if there[m.ID] {
			command = meterModify
		}
		there[m.ID] = true
		if buf, err = appendMeter(buf, r.first+uint32(i), m, command); err != nil {
			return err
		}
	}
	e, err := c.barrier(ctx, r, buf)
	if err != nil || e == nil {
		return err
	}
	if i := int(e.xid - r.first); i < len(meters) {
		return &ApplyError{What: "add meter", Index: i, Text: meters[i].String(), Cause: e}
	}
	return e
}

func (c *Conn) deleteMeters(ctx context.Context, ids []uint32) error {
	if len(ids) == 0 {
		return nil
	}
	r := c.register(len(ids) + 1)
	defer c.forget(r)
	var buf []byte
	for i, id := range ids {
		var err error
		if buf, err = appendMeterDelete(buf, r.first+uint32(i), id); err != nil {
			return err
		}
	}
	e, err := c.barrier(ctx, r, buf)
	if err == nil && e != nil {
		err = e
	}
	return err
}

// barrier sends messages and a barrier behind them, under the last of r's
// ids, and returns the first error that the switch answered.
func (c *Conn) barrier(ctx context.Context, r *request, msgs []byte) (*SwitchError, error) {
	if err := c.send(ctx, appendMessage(msgs, typeBarrierRequest, r.last, nil)); err != nil {
		return nil, err
	}
	if err := c.await(ctx, r); err != nil {
		return nil, err
	}
	return c.reply(r).err, nil
}
