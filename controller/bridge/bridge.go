// Package bridge joins the controller with Open vSwitch bridges: it gives a
// connection of package openflow the shape that package controller asks for.
// It decides nothing.
package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/certificate"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/openflow"
)

// Config is what all connections have in common.
type Config struct {
	TLS    func() controller.TLS // completes that of a datapath; nil: no file
	Logger *slog.Logger          // nil: silent
}

// Connector makes a controller.Config.Connect. Files with certificates are
// read for each connection, so the next one takes on what has changed.
func Connector(cfg Config) func(context.Context, controller.Datapath) (controller.Switch, error) {
	return func(ctx context.Context, dp controller.Datapath) (controller.Switch, error) {
		network, address, err := dp.Way()
		if err != nil {
			return nil, err
		}
		dial := openflow.Config{Network: network, Address: address, Logger: cfg.Logger}
		if network == controller.NetworkTLS {
			var common controller.TLS
			if cfg.TLS != nil {
				common = cfg.TLS()
			}
			id, name, err := Identity(dp, common)
			if err != nil {
				return nil, err
			}
			dial.TLS = id.Client(name, time.Now)
		}
		conn, err := openflow.Dial(ctx, dial)
		if certificate.Refused(err) {
			return nil, fmt.Errorf("%w: the switch refused what the controller showed; it must know the CA of the controller's certificate (ovs-vsctl get-ssl), and its clock must be right", err)
		}
		if err != nil {
			return nil, err
		}
		s := &connection{Conn: conn, packets: make(chan controller.PacketIn), removed: make(chan controller.FlowRemoved)}
		go forward(conn.Done(), conn.PacketIns(), s.packets, func(in openflow.PacketIn) controller.PacketIn { return controller.PacketIn(in) })
		go forward(conn.Done(), conn.FlowsRemoved(), s.removed, func(r openflow.FlowRemoved) controller.FlowRemoved { return controller.FlowRemoved(r) })
		return s, nil
	}
}

// Identity reads what the controller shows to a datapath by TLS, and tells
// whose certificate the datapath must show. common completes what the
// datapath does not say.
func Identity(dp controller.Datapath, common controller.TLS) (*certificate.Identity, string, error) {
	t := dp.TLS.Or(common).Or(controller.TLS{Name: dp.Name})
	id, err := certificate.Load(certificate.Files{CA: t.CA, Certificate: t.Certificate, Key: t.Key}, time.Now())
	if err != nil {
		return nil, "", fmt.Errorf("datapath %s: tls: %w", dp.Name, err)
	}
	return id, t.Name, nil
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
