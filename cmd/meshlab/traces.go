package main

import (
	"log/slog"
	"net/netip"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/pipeline"
	"meshlab.dev/meshlab/controller/spans"
)

// newRecorder makes spans of traced connections. names is asked whose they
// are.
func newRecorder(cfg controller.FileConfig, names spans.Lookup, log *slog.Logger) (*spans.Recorder, error) {
	return spans.New(spans.Config{Endpoint: cfg.Traces.Endpoint, Names: names, Logger: log, Now: time.Now})
}

// half is what a recorder wants of the last of a learned flow.
func half(e controller.FlowRemoved) spans.Event {
	addr, port := e.Fields[flow.IPv4Src], e.Fields[flow.TCPSrc]
	reply := e.Table == pipeline.TableReplySpans
	if reply {
		addr, port = e.Fields[flow.IPv4Dst], e.Fields[flow.TCPDst]
	}
	client := netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)})
	return spans.Event{
		Reply: reply, Client: netip.AddrPortFrom(client, uint16(port)),
		BindPort: uint16(e.Fields[flow.Reg5]), Instance: uint32(e.Fields[flow.Reg6]),
		Duration: e.Duration, Idle: e.Idle, Packets: e.Packets, Bytes: e.Bytes,
	}
}

// namesOf asks a controller for the names of a connection.
func namesOf(c *controller.Controller, client netip.Addr, bindPort uint16, instance uint32) spans.Names {
	n := c.Names(client, bindPort, instance)
	return spans.Names{
		Source: n.Call.Source, Destination: n.Call.Destination, Host: n.Host,
		InstanceID: n.Instance.ID, InstanceService: n.Service, InstanceAddr: n.Instance.Addr,
	}
}
