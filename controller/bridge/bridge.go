// Package bridge joins the controller with Open vSwitch bridges: it gives a
// connection of package openflow the shape that package controller asks for.
// It decides nothing.
package bridge

import (
	"context"
	"log/slog"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/openflow"
)

// Connector makes a controller.Config.Connect for addresses that are paths
// of unix sockets, <rundir>/<bridge>.mgmt.
func Connector(logger *slog.Logger) func(context.Context, string) (controller.Switch, error) {
	return func(ctx context.Context, address string) (controller.Switch, error) {
		conn, err := openflow.Dial(ctx, openflow.Config{Network: "unix", Address: address, Logger: logger})
		if err != nil {
			return nil, err
		}
		s := &connection{Conn: conn, packets: make(chan controller.PacketIn), removed: make(chan controller.FlowRemoved)}
		go forward(conn.Done(), conn.PacketIns(), s.packets, func(in openflow.PacketIn) controller.PacketIn { return controller.PacketIn(in) })
		go forward(conn.Done(), conn.FlowsRemoved(), s.removed, func(r openflow.FlowRemoved) controller.FlowRemoved { return controller.FlowRemoved(r) })
		return s, nil
	}
}

var _ controller.EventSwitch = (*connection)(nil)

// connection is an openflow.Conn in the types of package controller.
type connection struct {
	*openflow.Conn
	packets chan controller.PacketIn
	removed chan controller.FlowRemoved
}

// forward hands on what comes from in until the connection has ended.
func forward[From, To any](done <-chan struct{}, in <-chan From, out chan<- To, convert func(From) To) {
	for {
		select {
		case <-done:
			return
		case v, ok := <-in:
			if !ok {
				return
			}
			select {
			case <-done:
				return
			case out <- convert(v):
			}
		}
	}
}

// PacketIns implements controller.EventSwitch.
func (c *connection) PacketIns() <-chan controller.PacketIn { return c.packets }

// FlowsRemoved implements controller.EventSwitch.
func (c *connection) FlowsRemoved() <-chan controller.FlowRemoved { return c.removed }

// Flows implements controller.Holdings.
func (c *connection) Flows(ctx context.Context) ([]controller.FlowStats, error) {
	return c.TableFlows(ctx, flow.TableAll)
}

// TableFlows implements controller.Holdings.
func (c *connection) TableFlows(ctx context.Context, table uint8) ([]controller.FlowStats, error) {
	flows, err := c.Conn.TableFlows(ctx, table)
	out := make([]controller.FlowStats, len(flows))
	for i, f := range flows {
		out[i] = controller.FlowStats(f)
	}
	return out, err
}

// Apply implements controller.Switch.
func (c *connection) Apply(ctx context.Context, ch controller.Change) error {
	return c.Conn.Apply(ctx, openflow.Change(ch))
}
