package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"meshlab.dev/meshlab/controller/flow"
)

// Change is what Apply does, in the order of the fields: nothing is taken
// away before all that is new is there. A group must not be in use by a
// flow that stays when it is deleted: its flows go with it.
type Change struct {
	AddGroups     []flow.Group
	ModifyGroups  []flow.Group
	AddFlows      []flow.Flow // one with the same table, priority and match is replaced
	DeleteCookies []uint64    // every flow with exactly this cookie, in any table
	DeleteGroups  []uint32
}

// Empty tells whether there is nothing to do.
func (c Change) Empty() bool { return c.size() == 0 }

func (c Change) size() int {
	return len(c.AddGroups) + len(c.ModifyGroups) + len(c.AddFlows) + len(c.DeleteCookies) + len(c.DeleteGroups)
}

// Bundle messages are ONF extension 230 in OpenFlow 1.3; their numbers and
// layout are those of OpenFlow 1.4, section 7.3.9, as an experimenter message.
const (
	bundleControl uint32 = 2300
	bundleAdd     uint32 = 2301

	bundleOpen          uint16 = 0
	bundleOpenReply     uint16 = 1
	bundleCommit        uint16 = 4
	bundleCommitReply   uint16 = 5
	bundleDiscard       uint16 = 6
	bundleAtomicOrdered uint16 = 1 | 2
)

// bundleControlBody is a bundle control message; also what replies look like.
func bundleControlBody(id uint32, kind uint16) []byte {
	b := binary.BigEndian.AppendUint32(nil, experimenterONF)
	b = binary.BigEndian.AppendUint32(b, bundleControl)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint16(b, kind)
	return binary.BigEndian.AppendUint16(b, bundleAtomicOrdered)
}

// decodeBundleControl reads the id and kind of a bundle control reply; ok is
// false for any other experimenter message.
func decodeBundleControl(body []byte) (id uint32, kind uint16, ok bool) {
	if len(body) < 16 || binary.BigEndian.Uint32(body) != experimenterONF ||
		binary.BigEndian.Uint32(body[4:]) != bundleControl {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(body[8:]), binary.BigEndian.Uint16(body[12:]), true
}

// appendBundleAdd wraps an encoded message into a bundle-add message of the
// same xid, as the extension demands.
func appendBundleAdd(b []byte, id, xid uint32, inner []byte) []byte {
	setXID(inner, xid)
	body := make([]byte, 0, 16+len(inner))
	body = binary.BigEndian.AppendUint32(body, experimenterONF)
	body = binary.BigEndian.AppendUint32(body, bundleAdd)
	body = binary.BigEndian.AppendUint32(body, id)
	body = append(body, 0, 0)
	body = binary.BigEndian.AppendUint16(body, bundleAtomicOrdered)
	body = append(body, inner...)
	return appendMessage(b, typeExperimenter, xid, body)
}

// encodeChange makes all messages of a change, in order, xids open.
func encodeChange(ch Change) ([][]byte, error) {
	out := make([][]byte, 0, ch.size())
	add := func(msg []byte, err error) error {
		out = append(out, msg)
		return err
	}
	for _, g := range ch.AddGroups {
		if err := add(encodeGroup(g, groupAdd)); err != nil {
			return nil, err
		}
	}
	for _, g := range ch.ModifyGroups {
		if err := add(encodeGroup(g, groupModify)); err != nil {
			return nil, err
		}
	}
	for _, f := range ch.AddFlows {
		if err := add(encodeFlow(f)); err != nil {
			return nil, err
		}
	}
	for _, cookie := range ch.DeleteCookies {
		if err := add(encodeDelete(cookie)); err != nil {
			return nil, err
		}
	}
	for _, id := range ch.DeleteGroups {
		if err := add(encodeGroupDelete(id)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// describe says which part of the change its i-th message is.
func (c Change) describe(i int) (what string, index int, text string) {
	if i < len(c.AddGroups) {
		return "add group", i, c.AddGroups[i].String()
	}
	i -= len(c.AddGroups)
	if i < len(c.ModifyGroups) {
		return "modify group", i, c.ModifyGroups[i].String()
	}
	i -= len(c.ModifyGroups)
	if i < len(c.AddFlows) {
		return "add flow", i, c.AddFlows[i].String()
	}
	i -= len(c.AddFlows)
	if i < len(c.DeleteCookies) {
		return "delete flows by cookie", i, fmt.Sprintf("%#x", c.DeleteCookies[i])
	}
	i -= len(c.DeleteCookies)
	return "delete group", i, fmt.Sprint(c.DeleteGroups[i])
}

// Apply carries out the change as one atomic, ordered bundle and returns
// once a barrier has confirmed it. Refused by the switch, it returns an
// *ApplyError and nothing was applied; likewise when a flow or group does
// not pass flow.Check. When ctx ends or the connection breaks while the
// commit is under way, errors.Is(err, ErrOutcomeUnknown): read the flows
// back. Calls of several goroutines run one after the other.
func (c *Conn) Apply(ctx context.Context, ch Change) error {
	if ch.Empty() {
		return nil
	}
	msgs, err := encodeChange(ch)
	if err != nil {
		return fmt.Errorf("apply change to %s: %w", c.name(), err)
	}
	select {
	case c.applying <- struct{}{}:
		defer func() { <-c.applying }()
	case <-ctx.Done():
		return fmt.Errorf("apply change to %s: %w", c.name(), ctx.Err())
	case <-c.done:
		return fmt.Errorf("apply change to %s: %w", c.name(), c.Err())
	}
	if err := c.applyBundle(ctx, ch, msgs); err != nil {
		return fmt.Errorf("apply change to %s: %w", c.name(), err)
	}
	return nil
}

// ErrOutcomeUnknown is in the error of an Apply that ended between the
// commit and its confirmation.
var ErrOutcomeUnknown = errors.New("unknown whether the change was applied")

// applyBundle fills the bundle first and commits it only when the switch has
// accepted every message: Open vSwitch answers a message it cannot read with
// an error and leaves it out, and would then commit the rest.
func (c *Conn) applyBundle(ctx context.Context, ch Change, msgs [][]byte) error {
	id := c.bundles.Add(1)
	fill := c.register(len(msgs) + 2) // open, the messages, barrier
	defer c.forget(fill)
	size := 64
	for _, msg := range msgs {
		size += headerLen + 16 + len(msg)
	}
	buf := appendMessage(make([]byte, 0, size), typeExperimenter, fill.first, bundleControlBody(id, bundleOpen))
	for i, msg := range msgs {
		buf = appendBundleAdd(buf, id, fill.first+1+uint32(i), msg)
	}
	buf = appendMessage(buf, typeBarrierRequest, fill.last, nil)
	if err := c.send(ctx, buf); err != nil {
		return err
	}
	if err := c.awaitBundle(ctx, fill, ch); err != nil {
		c.discard(id)
		return err
	}

	commit := c.register(2)
	defer c.forget(commit)
	buf = appendMessage(nil, typeExperimenter, commit.first, bundleControlBody(id, bundleCommit))
	buf = appendMessage(buf, typeBarrierRequest, commit.last, nil)
	if err := c.send(ctx, buf); err != nil {
		c.discard(id)
		return err
	}
	return c.awaitCommit(ctx, fill, commit, ch)
}

// awaitBundle waits until the switch has seen the whole bundle.
func (c *Conn) awaitBundle(ctx context.Context, fill *request, ch Change) error {
	if err := c.await(ctx, fill); err != nil {
		return err
	}
	r := c.reply(fill)
	switch {
	case r.err != nil:
		return applyError(r.err, fill, ch)
	case r.bundle != bundleOpenReply:
		return errors.New("open bundle: switch did not confirm it")
	default:
		return nil
	}
}

// awaitCommit waits for the barrier behind the commit. What is wrong with a
// single message may show only now, under the xid it was added with: that
// error says more than the one about the commit.
func (c *Conn) awaitCommit(ctx context.Context, fill, commit *request, ch Change) error {
	if err := c.await(ctx, commit); err != nil {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	r := c.reply(commit)
	if r.err == nil {
		if r.bundle != bundleCommitReply {
			return fmt.Errorf("%w: switch did not confirm the commit", ErrOutcomeUnknown)
		}
		return nil
	}
	if single := c.reply(fill).err; single != nil {
		return applyError(single, fill, ch)
	}
	return applyError(r.err, fill, ch)
}

// applyError finds the part of the change that an error is about.
func applyError(e *SwitchError, fill *request, ch Change) error {
	if i := int64(e.xid) - int64(fill.first) - 1; i >= 0 && i < int64(ch.size()) {
		what, index, text := ch.describe(int(i))
		return &ApplyError{What: what, Index: index, Text: text, Cause: e}
	}
	return &ApplyError{What: "commit bundle", Index: -1, Cause: e}
}

// discard drops an open bundle; without an answer, as the caller has an
// error to return already. A switch drops forgotten ones after 10 s.
func (c *Conn) discard(id uint32) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r := c.register(1)
	defer c.forget(r)
	_ = c.send(ctx, appendMessage(nil, typeExperimenter, r.first, bundleControlBody(id, bundleDiscard)))
}
