package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/controller/openflow"
	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/orchestrate/shape"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// LinkCounters is what a link of the lab has carried. A and B are its ends as
// in the lab file, "s1:3".
type LinkCounters struct {
	Name string            `json:"name"`
	A    string            `json:"a"`
	B    string            `json:"b"`
	AToB scenarios.Counter `json:"a_to_b"`
	BToA scenarios.Counter `json:"b_to_a"`

	Character *Character    `json:"character,omitempty"` // nil: as fast as the machine
	Means     shape.Means   `json:"means,omitempty"`     // what gives it that
	Shaped    *shape.Report `json:"shaped,omitempty"`    // what that has done
}

// Links tells what each link has carried, in the order of the lab file; the
// difference of two readings is what it carried meanwhile.
//
// Links to hosts and of isolated switches are counted by the kernel, up to this
// moment. Links between bridges of one Open vSwitch are counted by it up to a
// second late, and from zero again when it was started again: a later reading
// can be smaller. With a
// kernel datapath, segments that a host hands down in one piece count as one
// packet.
func (c *Client) Links(ctx context.Context) ([]LinkCounters, error) {
	var all []LinkCounters
	err := c.json(ctx, http.MethodGet, "/links", nil, &all)
	return all, err
}

func (s *Supervisor) serveLinks(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	lab, ready := s.lab, s.status.Ready
	s.mu.Unlock()
	if !ready {
		fail(w, http.StatusServiceUnavailable, errors.New("the lab is not up yet"))
		return
	}
	seen, err := readPorts(r.Context(), lab)
	if err == nil {
		var all []LinkCounters
		if all, err = linkCounters(lab, seen); err == nil {
			s.describeLinks(r.Context(), all)
			_ = json.NewEncoder(w).Encode(all)
			return
		}
	}
	fail(w, http.StatusInternalServerError, fmt.Errorf("read counters of links: %w", err))
}

// portCounters are counters at one end of a link, as a switch sees them: In
// came in to it.
type portCounters struct{ In, Out scenarios.Counter }

// portsSeen holds counters by what has them.
type portsSeen struct {
	devices map[link.End]portCounters      // in the namespaces of switches
	patches map[topo.Endpoint]portCounters // of links between bridges of one Open vSwitch
}

func readPorts(ctx context.Context, lab *topo.Lab) (portsSeen, error) {
	seen := portsSeen{devices: map[link.End]portCounters{}, patches: map[topo.Endpoint]portCounters{}}
	for _, v := range vswitches(lab) {
		err := netns.Do(v.Name, func() error { return readDevices(v.Name, seen.devices) })
		if err != nil {
			return seen, err
		}
	}
	if lab.Switches == topo.SwitchesIsolated {
		return seen, nil
	}
	// One end of each link between switches is enough.
	wanted := map[string]map[uint32]topo.Endpoint{}
	for _, l := range lab.Links {
		if l.A.Port == 0 || l.B.Port == 0 {
			continue
		}
		if wanted[l.A.Node] == nil {
			wanted[l.A.Node] = map[uint32]topo.Endpoint{}
		}
		wanted[l.A.Node][l.A.Port] = l.A
	}
	for bridge, ports := range wanted {
		if err := readPatches(ctx, instanceOf(lab, bridge), bridge, ports, seen.patches); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// readDevices reads what the kernel counts, in the namespace of that name, in
// which it runs.
func readDevices(ns string, into map[link.End]portCounters) error {
	devices, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list network devices: %w", err)
	}
	for _, d := range devices {
		if a := d.Attrs(); a.Statistics != nil {
			into[link.End{NetNS: ns, Device: a.Name}] = portCounters{
				In:  scenarios.Counter{Packets: a.Statistics.RxPackets, Bytes: a.Statistics.RxBytes},
				Out: scenarios.Counter{Packets: a.Statistics.TxPackets, Bytes: a.Statistics.TxBytes},
			}
		}
	}
	return nil
}

// readPatches asks a bridge. The counters are there in its database too, but
// up to five seconds late (ovs-vswitchd.conf.db(5), stats-update-interval).
func readPatches(ctx context.Context, at ovs.Instance, bridge string, ports map[uint32]topo.Endpoint, into map[topo.Endpoint]portCounters) error {
	conn, err := openflow.Dial(ctx, openflow.Config{Address: at.ManagementSocket(bridge)})
	if err != nil {
		return err
	}
	defer conn.Close()
	stats, err := conn.PortStats(ctx)
	if err != nil {
		return err
	}
	for _, p := range stats {
		if end, ok := ports[p.Number]; ok {
			into[end] = portCounters{
				In:  scenarios.Counter{Packets: p.RxPackets, Bytes: p.RxBytes},
				Out: scenarios.Counter{Packets: p.TxPackets, Bytes: p.TxBytes},
			}
		}
	}
	return nil
}

func linkCounters(lab *topo.Lab, seen portsSeen) ([]LinkCounters, error) {
	all := make([]LinkCounters, 0, len(lab.Links))
	names := lab.LinkNames()
	for i, l := range lab.Links {
		c := LinkCounters{Name: names[i], A: endName(l.A), B: endName(l.B)}
		var at portCounters
		var ok bool
		switch {
		case l.A.Port == 0: // a host: its switch is B
			at, ok = seen.devices[link.End{NetNS: instanceOf(lab, l.B.Node).Name, Device: l.A.Node}]
			c.AToB, c.BToA = at.In, at.Out
		case l.B.Port == 0:
			at, ok = seen.devices[link.End{NetNS: instanceOf(lab, l.A.Node).Name, Device: l.B.Node}]
			c.AToB, c.BToA = at.Out, at.In
		case lab.Switches == topo.SwitchesIsolated:
			at, ok = seen.devices[link.End{NetNS: l.A.Node, Device: patchName(l.A)}]
			c.AToB, c.BToA = at.Out, at.In
		default:
			at, ok = seen.patches[l.A]
			c.AToB, c.BToA = at.Out, at.In
		}
		if !ok {
			return nil, fmt.Errorf("no counters of the link %s to %s: is the switch being started again?", c.A, c.B)
		}
		all = append(all, c)
	}
	return all, nil
}

func endName(e topo.Endpoint) string { return e.Node + ":" + e.Interface }
