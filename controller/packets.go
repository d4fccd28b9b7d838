package controller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"meshlab.dev/meshlab/controller/eject"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/controller/pipeline"
)

// packets answers what the flows have handed over, until the connection ends.
func (w *worker) packets(ctx context.Context, sw EventSwitch) {
	where, moved := w.placement()
	dns := w.responder(ctx, sw, where.fabric)
	defer func() {
		if dns != nil {
			dns.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-moved:
			old := where.fabric
			where, moved = w.placement()
			if now := where.fabric; now.DNS != old.DNS || now.VIP != old.VIP || now.VIPMAC != old.VIPMAC {
				if dns != nil {
					dns.Close()
				}
				dns = w.responder(ctx, sw, now)
			}
		case <-sw.Done():
			return
		case in, ok := <-sw.PacketIns():
			if !ok {
				return
			}
			w.c.loop.packet(w.name, in.Table)
			var err error
			switch in.Table {
			case pipeline.TableRefuse:
				err = w.refuse(ctx, sw, in)
			case pipeline.TableDeny:
				err = w.deny(ctx, sw, in)
			case pipeline.TableDNS:
				if dns != nil {
					dns.Input(in.InPort, in.Data)
				}
			case pipeline.TableResetSeen:
				w.resetSeen(in)
			case pipeline.TableRepeatedSYN:
				w.notice(in, pipeline.CountRepeated, eject.Unanswered)
			}
			if err != nil {
				w.log.Debug("packet not answered", "table", pipeline.TableName(in.Table), "in_port", in.InPort, "error", err)
			}
		}
	}
}

// responder starts the DNS of this switch, at the fabric's virtual address;
// nil when there is none.
func (w *worker) responder(ctx context.Context, sw EventSwitch, fabric pipeline.Fabric) Responder {
	if w.c.cfg.DNS == nil || !fabric.DNS {
		return nil
	}
	dns, err := w.c.cfg.DNS(fabric, w.snapshot, func(port uint32, frame []byte) {
		if err := sw.PacketOut(ctx, flow.PortController, frame, []flow.Action{flow.Output{Port: port}}); err != nil {
			w.log.Debug("answer of DNS not sent", "error", err)
		}
	})
	if err != nil {
		w.log.Error("there is no DNS at this switch", "error", err)
		return nil
	}
	return dns
}

var errNoSegments = errors.New("this controller makes no resets")

// refuse resets the connection that a client of this switch tries to open.
func (w *worker) refuse(ctx context.Context, sw EventSwitch, in PacketIn) error {
	if w.c.cfg.Segments == nil {
		return errNoSegments
	}
	answer, err := w.c.cfg.Segments.Refuse(in.Data)
	if err != nil {
		return err
	}
	where, _ := w.placement()
	// The packet may carry the calling service in place of the client's MAC.
	if h, ok := hostAt(where, in.InPort); ok {
		copy(answer, h.MAC[:])
	}
	return sw.PacketOut(ctx, flow.PortController, answer, []flow.Action{flow.Output{Port: in.InPort}})
}

// deny resets a connection at both ends. The packet is on its way out to the
// instance, in the client's name. The client's reset runs through the tables
// as if the instance had sent it, here and at the client's switch.
func (w *worker) deny(ctx context.Context, sw EventSwitch, in PacketIn) error {
	s := w.c.cfg.Segments
	if s == nil {
		return errNoSegments
	}
	client, instance, err := s.Ends(in.Data)
	if err != nil {
		return err
	}
	where, _ := w.placement()
	at, ok := hostOf(where, instance.Addr())
	port, local := where.dp.Access[at.Name]
	if !ok || !local {
		return fmt.Errorf("deny %v: it is not at this switch", instance)
	}
	mac := where.fabric.VIPMAC // of the hairpin address
	if from, ok := hostOf(where, client.Addr()); ok {
		mac = from.MAC
	} else if client.Addr() != where.fabric.Hairpin {
		return fmt.Errorf("deny %v: it is no host", client)
	}
	toClient, errClient := s.Refuse(in.Data)
	if errClient == nil {
		copy(toClient, mac[:])
		copy(toClient[6:], at.MAC[:])
		errClient = sw.PacketOut(ctx, port, toClient, []flow.Action{flow.Output{Port: flow.PortTable}})
	}
	toInstance, errInstance := s.Abort(in.Data)
	if errInstance == nil {
		errInstance = sw.PacketOut(ctx, flow.PortController, toInstance, []flow.Action{flow.Output{Port: port}})
	}
	return errors.Join(errClient, errInstance)
}

func hostAt(where position, port uint32) (pipeline.Host, bool) {
	for name, p := range where.dp.Access {
		if p == port {
			return hostNamed(where, name)
		}
	}
	return pipeline.Host{}, false
}

func hostNamed(where position, name string) (pipeline.Host, bool) {
	i := slices.IndexFunc(where.fabric.Hosts, func(h pipeline.Host) bool { return h.Name == name })
	if i < 0 {
		return pipeline.Host{}, false
	}
	return where.fabric.Hosts[i], true
}

func hostOf(where position, addr netip.Addr) (pipeline.Host, bool) {
	i := slices.IndexFunc(where.fabric.Hosts, func(h pipeline.Host) bool { return h.Addr == addr })
	if i < 0 {
		return pipeline.Host{}, false
	}
	return where.fabric.Hosts[i], true
}

// resetSeen notes a reset of an instance in a connection of the mesh.
func (w *worker) resetSeen(in PacketIn) {
	if in.CTMark == 0 || in.CTMark != in.Regs[6] {
		return // a connection beside the mesh
	}
	var kind eject.Kind
	if w.c.cfg.Segments != nil && w.c.cfg.Segments.RefusesSYN(in.Data) {
		kind = eject.Refused
	}
	w.notice(in, pipeline.CountResets, kind)
}

// notice counts a sign of an instance, and tells of it when it is one of
// failure.
func (w *worker) notice(in PacketIn, counter pipeline.CounterKind, failure eject.Kind) {
	var service string
	var instance mesh.Instance
	found := false
	w.with(func(c *pipeline.Compiler) { service, instance, found = c.Instance(in.CTMark) })
	if !found {
		return // gone by now
	}
	if w.c.cfg.Metrics != nil {
		w.c.cfg.Metrics.Add(w.name, pipeline.Counter{Kind: counter, Destination: service, Instance: instance.ID}, 1)
	}
	if failure == 0 || w.c.cfg.Segments == nil {
		return
	}
	client, other, err := w.c.cfg.Segments.Ends(in.Data)
	if err != nil {
		return
	}
	if failure == eject.Refused { // it is the instance that sent this one
		client = other
	}
	select {
	case w.c.signs <- sign{eject.Sign{Service: service, Instance: instance.ID, Kind: failure, Client: client}, w.c.cfg.Now()}:
	default: // so many fail that one more says nothing
	}
}

// removals takes the last counters of flows that have gone.
func (w *worker) removals(ctx context.Context, sw EventSwitch) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-sw.Done():
			return
		case e, ok := <-sw.FlowsRemoved():
			if !ok {
				return
			}
			switch {
			case e.Cookie == flow.CookieLearned:
				if w.c.cfg.Traced != nil {
					w.c.cfg.Traced(w.name, e)
				}
			case w.c.cfg.Metrics != nil:
				w.c.cfg.Metrics.Removed(w.name, metrics.Stat{Cookie: e.Cookie, Packets: e.Packets, Bytes: e.Bytes})
			}
		}
	}
}
