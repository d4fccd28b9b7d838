package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/discover"
	"meshlab.dev/meshlab/controller/kube"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/register"
	"meshlab.dev/meshlab/controller/tunnel"
)

// cluster is what an agent adds to a controller: pods as hosts and services,
// tunnels to other nodes, registrations.
type cluster struct {
	source *kube.Source
	cfg    controller.FileConfig
	log    *slog.Logger
}

func newCluster(cfg controller.FileConfig, log *slog.Logger) (*cluster, error) {
	client, err := kubeClient(*cfg.Kubernetes)
	if err != nil {
		return nil, err
	}
	source, err := kube.New(kube.Config{
		Client: client, Node: cfg.Node, Network: cfg.Kubernetes.Network, Selector: cfg.Kubernetes.Selector,
		Services: cfg.Kubernetes.Registry == controller.RegistryKubernetes, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return &cluster{source, cfg, log}, nil
}

// start begins all that the agent does besides the loop of the controller,
// once it works. d has the settings in force.
func (c *cluster) start(ctx context.Context, d *daemon, all *errgroup.Group, active <-chan struct{}) {
	all.Go(func() error { return c.source.Run(ctx) })
	working := func(task func(context.Context) error) {
		all.Go(func() error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-active:
				return task(ctx)
			}
		})
	}
	working(c.source.Report)
	working(func(ctx context.Context) error {
		return tunnel.Keep(ctx, tunnel.Config{
			OVSDB: c.cfg.OVSDB, Bridge: c.cfg.Bridges[0], Port: c.cfg.Kubernetes.TunnelPort, Logger: c.log,
			Peers: func(ctx context.Context, emit func([]tunnel.Peer)) error {
				var last []tunnel.Peer
				first := true
				return c.source.Hosts(ctx, func(hosts []kube.Host) {
					if peers := peersOf(hosts, c.cfg.Node); first || !slices.Equal(peers, last) {
						last, first = peers, false
						emit(peers)
					}
				})
			},
		})
	})
	if c.cfg.Kubernetes.Registry == controller.RegistryConsul {
		working(func(ctx context.Context) error { return following(ctx, d, consulSettings, c.register) })
	}
}

// register keeps the registrations of the node's pods in step.
func (c *cluster) register(ctx context.Context, cfg controller.FileConfig) error {
	client, err := consulClient(cfg)
	if err != nil {
		return err
	}
	return register.Keep(ctx, register.Config{
		Client: client, Owner: c.cfg.Node, Lease: time.Duration(c.cfg.Kubernetes.Lease), Logger: c.log,
		Instances: func(ctx context.Context, emit func([]register.Instance)) error {
			var last []register.Instance
			first := true
			return c.source.Local(ctx, func(pods []*kube.Pod) {
				if now := instancesOf(pods); first || !slices.Equal(now, last) {
					last, first = now, false
					emit(now)
				}
			})
		},
	})
}

// peersOf are the other nodes that pods of the mesh run on. A node without
// any needs no tunnel; one where no agent runs would swallow what is flooded
// to it.
func peersOf(hosts []kube.Host, self string) []tunnel.Peer {
	used, at := map[string]bool{}, map[string]netip.Addr{}
	for _, h := range hosts {
		if h.MAC == "" {
			at[h.Name] = h.Addr
		} else {
			used[h.At] = true
		}
	}
	var out []tunnel.Peer
	for _, h := range hosts {
		if h.MAC == "" && used[h.Name] && h.Name != self {
			out = append(out, tunnel.Peer{Name: h.Name, Addr: h.Addr, Local: at[self]})
		}
	}
	return out
}

// instancesOf are the pods that are to be registered: those that have a name
// and an address of their own. Without a port they are callers.
func instancesOf(pods []*kube.Pod) []register.Instance {
	var out []register.Instance
	for _, p := range pods {
		if p.Service == "" || !p.Attached() {
			continue
		}
		out = append(out, register.Instance{
			// No namespace has a dot, so no two pods have one ID.
			ID: "meshlab." + p.Namespace + "." + p.Name, Service: p.Service, Addr: p.Addr, Port: p.Port, Ready: p.Ready, Source: p.Key(),
		})
	}
	return out
}

// nodes gives the network its hosts.
func (c *cluster) nodes(ctx context.Context, emit func([]discover.Node)) error {
	return c.source.Hosts(ctx, func(hosts []kube.Host) {
		out := make([]discover.Node, 0, len(hosts))
		for _, h := range hosts {
			n := discover.Node{Name: h.Name, Addrs: []netip.Addr{h.Addr}}
			if h.MAC != "" {
				n.Meta = map[string]string{discover.MetaMAC: h.MAC, discover.MetaAt: h.At}
				n.Pod = discover.PodInterface{UID: h.PodUID, Name: h.Interface}
			}
			out = append(out, n)
		}
		emit(out)
	})
}

// join makes one registry of two: services and policy from Consul, and the
// calls of pods, which are where their switches are, from the cluster.
func (c *cluster) join(ctx context.Context, watch func(context.Context, func(mesh.Snapshot)) error, emit func(mesh.Snapshot)) error {
	all, ctx := errgroup.WithContext(ctx)
	consul, pods := make(chan mesh.Snapshot), make(chan mesh.Snapshot)
	into := func(to chan<- mesh.Snapshot) func(mesh.Snapshot) {
		return func(s mesh.Snapshot) {
			select {
			case to <- s:
			case <-ctx.Done():
			}
		}
	}
	all.Go(func() error { return watch(ctx, into(consul)) })
	all.Go(func() error { return c.source.Snapshots(ctx, into(pods)) })
	all.Go(func() error {
		var j joined
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case s := <-consul:
				j.consul, j.known[0], j.stale = s, true, j.stale || !slices.Equal(s.Upstreams, j.consul.Upstreams)
			case s := <-pods:
				if j.known[1] && slices.Equal(s.Upstreams, j.pods.Upstreams) {
					continue // its services are Consul's business
				}
				j.pods, j.known[1], j.stale = s, true, true
			}
			if j.known[0] && j.known[1] {
				emit(j.snapshot())
			}
		}
	})
	return all.Wait()
}

// joined is the last word of Consul and of the cluster.
type joined struct {
	consul, pods mesh.Snapshot
	known        [2]bool
	stale        bool // upstreams are to be made anew
	upstreams    []mesh.Upstream
}

func (j *joined) snapshot() mesh.Snapshot {
	if j.stale {
		j.upstreams, j.stale = mesh.JoinUpstreams(j.consul.Upstreams, j.pods.Upstreams), false
	}
	out := j.consul
	out.Upstreams = j.upstreams
	return out
}
