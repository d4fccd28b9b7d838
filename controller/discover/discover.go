// Package discover finds out where the hosts of a network are, without a lab
// file: bridges and ports from the database of Open vSwitch, addresses and
// hosts of other machines from Consul's catalog. It only reads, and makes
// the fabric and the datapaths of package pipeline of what it read; which
// flows follow from these it does not know. docs/controller.md lists the
// external_ids and the wirings that it understands.
package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/controller/pipeline"
)

// Config says where to look, and what the network's own addresses are.
type Config struct {
	OVSDB   string          // where the database listens: unix:/path
	Bridges []string        // to manage; none: those with external_ids:meshlab=true
	Node    string          // what tunnels of other machines call this one
	Fabric  pipeline.Fabric // without hosts
	// Nodes calls emit, from one goroutine, with each state of the catalog
	// until ctx ends, and returns ctx's error then. nil: there is no catalog,
	// and each host must have its address in OVSDB.
	Nodes func(ctx context.Context, emit func([]Node)) error
	// Sparse says that a tunnel may well lead to a machine without hosts.
	Sparse bool
	// Split says that each machine has one bridge here, and tunnels to all
	// others: frames for everybody go to each machine from that of who sends
	// them. Otherwise they go by way of one machine, as machines with several
	// bridges need it (see graph.flood). It must be the same for all.
	Split  bool
	Logger *slog.Logger // nil: silent
}

// Network is what was found. It is immutable.
type Network struct {
	Fabric    pipeline.Fabric     // always valid
	Datapaths []pipeline.Datapath // sorted by name; valid in Fabric
	// Types are those of the datapaths that carry these bridges, sorted, as
	// ovs-dpctl(8) names them: netdev, system.
	Types []string
	// Partial says that the catalog has not answered yet: hosts may be
	// missing that have been there all the time.
	Partial  bool
	Warnings []string  // sorted: what could not be used, and what to do about it
	Since    time.Time // when that was known which makes it differ from the last one
}

// Node is a node of Consul's catalog.
type Node struct {
	Name  string
	Addrs []netip.Addr // IPv4: its address first, then those of other networks
	Meta  map[string]string
	// Pod is the interface by which a pod of Kubernetes is attached; the zero
	// value is none. A port that ovs-cni made for it is that of this node.
	Pod PodInterface
}

// PodInterface is an interface of a pod, as ovs-cni's ports name it.
type PodInterface struct{ UID, Name string }

// Metadata of nodes that tell of hosts.
const (
	MetaMAC = "meshlab-mac" // MAC address of a host
	MetaAt  = "meshlab-at"  // the machine whose bridges it is attached to
)

// Watch calls emit, from one goroutine, with each new state of the network
// until ctx ends, and returns ctx's error then. It does not emit before the
// database has answered. While the database or the catalog is away, what it
// said last stands; both are tried again for ever.
func Watch(ctx context.Context, cfg Config, emit func(Network)) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Fabric.Hosts) > 0 {
		return errors.New("discover network: Config.Fabric has hosts; these are to be found")
	}
	if err := cfg.Fabric.Validate(); err != nil {
		return fmt.Errorf("discover network: %w", err)
	}
	bridges, nodes := make(chan []bridge), make(chan []Node)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		return watchDatabase(ctx, cfg.OVSDB, cfg.Logger, func(b []bridge) { send(ctx, bridges, b) })
	})
	if cfg.Nodes != nil {
		all.Go(func() error {
			if err := cfg.Nodes(ctx, func(n []Node) { send(ctx, nodes, n) }); err != nil {
				return fmt.Errorf("watch nodes: %w", err)
			}
			return nil
		})
	}
	all.Go(func() error {
		var have state
		var last *Network
		partial := cfg.Nodes != nil
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case have.bridges = <-bridges:
				have.known = true
			case have.nodes = <-nodes:
				partial = false
			}
			at := time.Now()
			if !have.known {
				continue
			}
			n := plan(cfg, have, partial)
			if last != nil && reflect.DeepEqual(n, *last) {
				continue
			}
			if err := valid(n); err != nil { // plan leaves out what is not valid; this guards it
				cfg.Logger.Error("the network that was found is not valid; the last one stands", "error", err)
				continue
			}
			report(cfg.Logger, last, n)
			last = &n
			told := n
			told.Since = at
			emit(told)
		}
	})
	return all.Wait()
}

// state is what the sources said last.
type state struct {
	known   bool // the database has answered
	bridges []bridge
	nodes   []Node
}

func send[T any](ctx context.Context, to chan<- T, v T) {
	select {
	case to <- v:
	case <-ctx.Done():
	}
}

// valid checks a network by the rules of the compiler.
func valid(n Network) error {
	errs := []error{n.Fabric.Validate()}
	hosts := map[string]bool{}
	for _, h := range n.Fabric.Hosts {
		hosts[h.Name] = true
	}
	for _, d := range n.Datapaths {
		at := map[uint32]string{}
		for _, ways := range []map[string]uint32{d.Access, d.ToHost} {
			for host := range ways {
				if !hosts[host] {
					errs = append(errs, fmt.Errorf("datapath %s has a way to %s, which is no host", d.Name, host))
				}
			}
		}
		for host, port := range d.Access {
			if other, ok := at[port]; ok {
				errs = append(errs, fmt.Errorf("datapath %s: %s and %s are at one port", d.Name, host, other))
			}
			at[port] = host
		}
	}
	return errors.Join(errs...)
}

func report(log *slog.Logger, last *Network, n Network) {
	var known []string
	if last != nil {
		known = last.Warnings
	}
	for _, w := range n.Warnings {
		if !slices.Contains(known, w) {
			log.Warn("part of the network is not used", "reason", w)
		}
	}
	log.Info("network", "bridges", len(n.Datapaths), "hosts", len(n.Fabric.Hosts), "complete", !n.Partial, "warnings", len(n.Warnings))
}
