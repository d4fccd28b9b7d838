package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"meshlab.dev/meshlab/controller/flow"
)

// Change is what Apply does. What may be large comes by iterators, nil for
// none, so that nobody has to hold all of it. Each must yield the same values
// every time, as slices.Values does: a part that is refused is looked up again
// for the error.
//
// All but the meters is one atomic bundle: packets meet all of it or nothing.
// Deletion comes before addition only for the sake of flows with Notify that
// another replaces: deleted they tell their last counters, overwritten they
// do not.
//
// With a group or a meter go all flows that use it.
type Change struct {
	Meters        []flow.Meter // added, or replaced when there; before the bundle
	AddGroups     iter.Seq[flow.Group]
	ModifyGroups  iter.Seq[flow.Group]
	DeleteCookies []uint64            // every flow with exactly this cookie, in any table
	AddFlows      iter.Seq[flow.Flow] // one with the same table, priority and match is replaced
	DeleteGroups  []uint32
	DeleteMeters  []uint32 // after the bundle
}

// Empty tells whether there is nothing to do.
func (c Change) Empty() bool {
	return len(c.Meters)+len(c.DeleteMeters) == 0 && c.bundleEmpty()
}

func (c Change) bundleEmpty() bool {
	for range each(c.AddFlows) {
		return false
	}
	for range each(c.AddGroups) {
		return false
	}
	for range each(c.ModifyGroups) {
		return false
	}
	return len(c.DeleteCookies)+len(c.DeleteGroups) == 0
}

// each is seq, also when that is nil.
func each[T any](seq iter.Seq[T]) iter.Seq[T] {
	if seq == nil {
		return func(func(T) bool) {}
	}
	return seq
}

// part is a part of a bundle, by its place in the order.
type part int

const (
	addGroups part = iota
	modifyGroups
	deleteCookies
	addFlows
	deleteGroups
	partCount
)

// describe says what the i-th message of a part is, as an ApplyError does.
func (c Change) describe(p part, i int) (what, text string) {
	switch p {
	case addGroups:
		return "add group", textOf(c.AddGroups, i)
	case modifyGroups:
		return "modify group", textOf(c.ModifyGroups, i)
	case deleteCookies:
		return "delete flows by cookie", fmt.Sprintf("%#x", c.DeleteCookies[i])
	case addFlows:
		return "add flow", textOf(c.AddFlows, i)
	default:
		return "delete group", fmt.Sprint(c.DeleteGroups[i])
	}
}

// textOf prints the i-th value, counted from 0.
func textOf[T fmt.Stringer](seq iter.Seq[T], i int) string {
	for v := range each(seq) {
		if i == 0 {
			return v.String()
		}
		i--
	}
	return "it was not yielded again"
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

// ErrOutcomeUnknown is in the error of an Apply that ended between the
// commit and its confirmation.
var ErrOutcomeUnknown = errors.New("unknown whether the change was applied")

// Apply carries out the change and returns once the switch has confirmed it.
// Refused by the switch, it returns an *ApplyError and nothing was applied,
// but for meters; likewise when a flow, group or meter does not pass the check
// of package flow. When ctx ends or the connection breaks while the commit is
// under way, errors.Is(err, ErrOutcomeUnknown): read the flows back. Calls of
// several goroutines run one after the other.
//
// Messages are sent while further ones are encoded, a quarter of a MiB ahead
// of the switch at most.
func (c *Conn) Apply(ctx context.Context, ch Change) error {
	if ch.Empty() {
		return nil
	}
	if err := c.apply(ctx, ch); err != nil {
		return fmt.Errorf("apply change to %s: %w", c.name(), err)
	}
	return nil
}

func (c *Conn) apply(ctx context.Context, ch Change) error {
	select {
	case c.applying <- struct{}{}:
		defer func() { <-c.applying }()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.Err()
	}
	if err := c.addMeters(ctx, ch.Meters); err != nil {
		return err
	}
	if !ch.bundleEmpty() {
		if err := c.applyBundle(ctx, ch); err != nil {
			return err
		}
	}
	return c.deleteMeters(ctx, ch.DeleteMeters)
}

// applyBundle fills the bundle first and commits it only when the switch has
// accepted every message: Open vSwitch answers a message it cannot read with
// an error and leaves it out, and would then commit the rest.
func (c *Conn) applyBundle(ctx context.Context, ch Change) error {
	f := c.newFill(ctx, c.bundles.Add(1), ch)
	defer f.end()
	err := f.run()
	if err == nil {
		err = c.awaitBundle(ctx, f)
	}
	if err != nil {
		if f.sent {
			c.discard(f.id)
		}
		return err
	}

	commit := c.register(2)
	defer c.forget(commit)
	buf := appendMessage(nil, typeExperimenter, commit.first, bundleControlBody(f.id, bundleCommit))
	buf = appendMessage(buf, typeBarrierRequest, commit.last, nil)
	if err := c.send(ctx, buf); err != nil {
		c.discard(f.id)
		return err
	}
	return c.awaitCommit(ctx, f, commit)
}

// awaitBundle waits until the switch has seen the whole bundle.
func (c *Conn) awaitBundle(ctx context.Context, f *fill) error {
	if err := c.await(ctx, f.request); err != nil {
		return err
	}
	r := c.reply(f.request)
	switch {
	case r.err != nil:
		return f.refusal(r.err)
	case r.bundle != bundleOpenReply:
		return errors.New("open bundle: switch did not confirm it")
	default:
		return nil
	}
}

// awaitCommit waits for the barrier behind the commit. What is wrong with a
// single message may show only now, under the xid it was added with: that
// error says more than the one about the commit.
func (c *Conn) awaitCommit(ctx context.Context, f *fill, commit *request) error {
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
	if single := c.reply(f.request).err; single != nil {
		return f.refusal(single)
	}
	return f.refusal(r.err)
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
