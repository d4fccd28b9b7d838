package openflow

import (
	"bufio"
	"errors"
	"fmt"
	"time"
)

// readLoop never waits for anything but the socket: a full queue drops, and
// answers go to buffers. So the switch can always write, and requests of any
// size cannot lock both sides up.
func (c *Conn) readLoop(r *bufio.Reader) {
	defer c.loops.Done()
	defer c.packets.close()
	defer c.removed.close()
	for {
		m, err := readMessage(r)
		if err != nil {
			c.fail(fmt.Errorf("connection to switch at %s is lost: %w", c.address, err))
			return
		}
		c.heard.Store(true)
		if m.version != version {
			c.fail(fmt.Errorf("switch at %s sent a message of version %#x after agreeing on %#x", c.address, m.version, version))
			return
		}
		if err := c.dispatch(m); err != nil {
			c.fail(fmt.Errorf("switch at %s: %w", c.address, err))
			return
		}
	}
}

// dispatch handles one message. Its error means that the switch and this
// package no longer understand each other.
func (c *Conn) dispatch(m message) error {
	switch m.kind {
	case typeEchoRequest:
		select {
		case c.out <- block{data: appendMessage(nil, typeEchoReply, m.xid, m.body)}:
		default:
			c.log.Warn("echo request not answered: requests wait for the switch to read them")
		}
	case typeEchoReply, typeHello:
	case typePacketIn:
		p, err := decodePacketIn(m.body)
		if err != nil {
			return err
		}
		if c.packets.put(p) {
			c.log.Warn("packets for the controller are dropped: it does not keep up")
		}
	case typeFlowRemoved:
		r, err := decodeFlowRemoved(m.body)
		if err != nil {
			return err
		}
		if c.removed.put(r) {
			c.log.Warn("notices of removed flows are dropped: the controller does not keep up")
		}
	case typeError:
		e, err := decodeError(m.xid, m.body)
		if err != nil {
			return err
		}
		if !c.complete(m.xid, func(r *request) { r.refuse(e) }) {
			c.log.Warn("switch refused a message that awaits no answer", "xid", m.xid, "error", e)
		}
	case typeMultipartReply:
		return c.multipart(m)
	case typeExperimenter:
		if _, kind, ok := decodeBundleControl(m.body); ok {
			c.complete(m.xid, func(r *request) { r.bundle = kind })
		}
	case typeBarrierReply, typeFeaturesReply:
		c.complete(m.xid, func(r *request) { r.body = m.body })
	default:
		c.log.Debug("message of the switch ignored", "type", m.kind, "xid", m.xid)
	}
	return nil
}

func (c *Conn) multipart(m message) error {
	kind, more, part, err := decodeMultipart(m.body)
	if err != nil {
		return err
	}
	if more {
		c.progress(m.xid, func(r *request) { r.add(kind, part) })
		return nil
	}
	c.complete(m.xid, func(r *request) { r.add(kind, part) })
	return nil
}

// writeLoop is the only writer of the socket after the handshake.
func (c *Conn) writeLoop() {
	defer c.loops.Done()
	for {
		select {
		case b := <-c.out:
			if _, err := c.nc.Write(b.data); err != nil {
				c.fail(fmt.Errorf("connection to switch at %s is lost: send: %w", c.address, err))
				return
			}
			if b.free != nil {
				b.free <- b.data[:0]
			}
		case <-c.done:
			return
		}
	}
}

var errSilent = errors.New("no sign of life")

// echoLoop asks a silent switch for a sign of life, and gives up on it.
func (c *Conn) echoLoop() {
	defer c.loops.Done()
	tick := time.NewTicker(c.interval)
	defer tick.Stop()
	silent := 0
	for {
		select {
		case <-tick.C:
		case <-c.done:
			return
		}
		if c.heard.Swap(false) {
			silent = 0
			continue
		}
		if silent++; silent > silentIntervals {
			c.fail(fmt.Errorf("connection to switch at %s is lost: %w for %v", c.address, errSilent, c.interval*silentIntervals))
			return
		}
		select {
		case c.out <- block{data: appendMessage(nil, typeEchoRequest, 0, nil)}:
		default: // so many requests wait that another would say nothing
		}
	}
}
