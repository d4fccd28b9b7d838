package spans

import (
	"context"
	"math"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// The attributes that no convention names.
const (
	datapathKey        = attribute.Key("meshlab.datapath")         // the client's access switch
	sourceKey          = attribute.Key("meshlab.source.service")   // calling service
	hostKey            = attribute.Key("meshlab.source.host")      // host of the client
	bindPortKey        = attribute.Key("meshlab.bind_port")        // port at the virtual address
	instanceKey        = attribute.Key("meshlab.instance.id")      // chosen instance
	instanceServiceKey = attribute.Key("meshlab.instance.service") // whose it is
	bytesSentKey       = attribute.Key("meshlab.bytes.sent")       // client to instance, with Ethernet headers
	packetsSentKey     = attribute.Key("meshlab.packets.sent")
	bytesReceivedKey   = attribute.Key("meshlab.bytes.received") // instance to client
	packetsReceivedKey = attribute.Key("meshlab.packets.received")
)

// emit makes the span of a connection of one or two halves, unless too many
// wait for export already.
//
// The kind is client, and service.name of the resource is the calling service:
// the span is measured at the switch of the caller, on the caller's behalf, as
// the sidecar of a proxy mesh reports under the name of its workload.
// service.name is "the logical name of the service" (semantic conventions
// 1.43, service), and backends group, draw and search by it: under "meshlab"
// all spans of all services would be one node.
func (r *Recorder) emit(a, b *half) {
	if r.exporter.pending.Add(1) > mostPending {
		r.exporter.pending.Add(-1)
		r.dropped.Add(1)
		return
	}
	start, end, bindPort := a.start, a.end, a.bindPort
	attrs := []attribute.KeyValue{
		semconv.ClientAddress(a.client.Addr().String()),
		semconv.ClientPort(int(a.client.Port())),
		semconv.NetworkTransportTCP,
		semconv.NetworkTypeIPv4,
		datapathKey.String(a.datapath),
	}
	for _, h := range []*half{a, b} {
		if h == nil {
			continue
		}
		if h.start.Before(start) {
			start = h.start
		}
		if h.end.After(end) {
			end = h.end
		}
		if h.reply {
			attrs = append(attrs, bytesReceivedKey.Int64(signed(h.bytes)), packetsReceivedKey.Int64(signed(h.packets)))
		} else {
			bindPort = h.bindPort
			attrs = append(attrs, bytesSentKey.Int64(signed(h.bytes)), packetsSentKey.Int64(signed(h.packets)))
		}
	}
	n := r.names(a.client.Addr(), bindPort, a.instance)
	if n.InstanceAddr.IsValid() {
		// The conventions want the server behind an intermediary, not the
		// virtual address.
		attrs = append(attrs, semconv.ServerAddress(n.InstanceAddr.Addr().String()), semconv.ServerPort(int(n.InstanceAddr.Port())))
	}
	if bindPort != 0 {
		attrs = append(attrs, bindPortKey.Int(int(bindPort)))
	}
	destination := n.Destination
	if destination == "" {
		destination = n.InstanceService
	}
	for _, name := range []attribute.KeyValue{
		semconv.ServicePeerName(destination), sourceKey.String(n.Source), hostKey.String(n.Host),
		instanceKey.String(n.InstanceID), instanceServiceKey.String(n.InstanceService),
	} {
		if name.Value.AsString() != "" {
			attrs = append(attrs, name)
		}
	}
	name := "TCP"
	if destination != "" {
		name += " " + destination
	}
	_, span := r.tracer.Start(context.Background(), name, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(start), trace.WithAttributes(attrs...))
	span.End(trace.WithTimestamp(end))
}

// signed is a counter as an attribute can hold it.
func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// callerOf is the resource of a span: the calling service on its host.
func callerOf(attrs []attribute.KeyValue) *resource.Resource {
	service := "unknown_service" // what the conventions want when there is none
	var all []attribute.KeyValue
	for _, a := range attrs {
		switch a.Key {
		case sourceKey:
			service = a.Value.AsString()
		case hostKey:
			all = append(all, semconv.HostName(a.Value.AsString()))
		}
	}
	return resource.NewWithAttributes(semconv.SchemaURL, append(all, semconv.ServiceName(service))...)
}
