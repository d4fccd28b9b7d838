package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/features"
	"k8s.io/klog/v2"

	"meshlab.dev/meshlab/controller"
)

func newAgent() *cobra.Command {
	var file string
	var check bool
	var f agentFlags
	c := &cobra.Command{
		Use:   "agent [--config FILE] --vip ADDRESS",
		Short: "Make this node's bridge a part of a mesh on Kubernetes",
		Long: `Run the agent of a node: it follows the pods of a Kubernetes cluster, and keeps
the flows of this node's Open vSwitch bridge in the state that the mesh asks
for. It joins the bridge to those of other nodes by VXLAN, and registers the
node's pods in Consul, or takes services from the cluster itself. On pods that
cannot take part as they say it leaves an event and a condition.

Pods say what they are in annotations: meshlab.dev/service, meshlab.dev/upstreams,
meshlab.dev/network. docs/kubernetes.md explains them, the configuration file
(that of 'meshlab controller', and the key kubernetes), and what the agent asks
of the API server. Flags count before the file.

In a cluster a DaemonSet starts it: 'meshlab agent manifests' writes that.
SIGTERM ends the agent; the bridge keeps its flows, and registrations stay
for as long as their lease.`,
		Example: `  meshlab agent --vip 10.1.1.254 --bridge br1
  meshlab agent --vip 10.1.1.254 --consul 10.0.0.4:8500 --network ovs-net-vlan-hashicups
  meshlab agent --kubeconfig ~/.kube/config --node worker-1 --vip 10.1.1.254 --check
  meshlab agent manifests --image registry.example/meshlab:1.0 --vip 10.1.1.254 | kubectl apply -f -`,
		RunE: func(c *cobra.Command, _ []string) error {
			load := func() (controller.FileConfig, error) {
				return controller.LoadAgentConfig(file, func(cfg *controller.FileConfig) { f.override(c, cfg) })
			}
			cfg, err := load()
			if err != nil {
				return usageError{err}
			}
			if err := usable(cfg); err != nil {
				return usageError{err}
			}
			// What client-go says by itself, the agent says with what mends it.
			klog.SetSlogLogger(slog.New(slog.DiscardHandler))
			features.ReplaceFeatureGates(streamLists{features.FeatureGates()})
			if _, err := kubeClient(*cfg.Kubernetes); err != nil {
				return usageError{err}
			}
			if check {
				fmt.Fprintln(c.OutOrStdout(), "the configuration is good")
				return nil
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(agentGarbage)
			}
			// SIGHUP ends the other verbs, by the context that main hands in.
			ctx, stop := signal.NotifyContext(context.WithoutCancel(c.Context()), os.Interrupt, syscall.SIGTERM)
			defer stop()
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			d := newDaemon(file, cfg, os.Stderr)
			d.load = load
			if d.cluster, err = newCluster(cfg, d.log); err != nil {
				return usageError{err}
			}
			return d.run(ctx, reload)
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	c.Flags().BoolVar(&check, "check", false, "say whether the configuration is good, and end")
	f.define(c)
	c.AddCommand(newAgentManifests())
	return c
}

// agentGarbage is how much garbage an agent lets come together, in per cent of
// what it keeps. It is on every node, and works seldom: memory counts more than
// the time of the collector.
const agentGarbage = 40

// streamLists has client-go read lists one object at a time: an agent keeps
// little of each, and all at once would be some times its memory. An API server
// that cannot (before 1.32) is asked for a list.
type streamLists struct{ features.Gates }

func (s streamLists) Enabled(f features.Feature) bool {
	return f == features.WatchListClient || s.Gates.Enabled(f)
}

// agentFlags are the keys of the configuration that a node needs most.
type agentFlags struct {
	node, kubeconfig, context, registry, network, selector, bridge, ovsdb, consul, metrics, status string
	vip, hairpin                                                                                   string
	tunnelPort                                                                                     uint16
	lease                                                                                          time.Duration
}

func (f *agentFlags) define(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.node, "node", "", "name of this node in the cluster (default: $NODE_NAME, else the host name)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "how to reach the cluster (default: the service account of this pod)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig (default: its current one)")
	flags.StringVar(&f.registry, "registry", "", "consul: register pods there, and read services there; kubernetes: services of the cluster (default: consul if it is given)")
	flags.StringVar(&f.consul, "consul", "", "address of a Consul agent, such as 127.0.0.1:8500")
	flags.StringVar(&f.vip, "vip", "", "virtual address of all upstreams, in the pods' network")
	flags.StringVar(&f.hairpin, "hairpin", "", "source address of calls of a pod to itself (default: the address before --vip)")
	flags.StringVar(&f.bridge, "bridge", "br1", "Open vSwitch bridge of this node")
	flags.StringVar(&f.ovsdb, "ovsdb", "", "socket of Open vSwitch's database (default: "+controller.DefaultOVSDB+")")
	flags.StringVar(&f.network, "network", "", "network attachment of pods that name none: NAME or NAMESPACE/NAME")
	flags.StringVar(&f.selector, "pod-selector", "", "labels of pods that can be of the mesh, such as mesh=on (default: all pods)")
	flags.Uint16Var(&f.tunnelPort, "tunnel-port", 0, "UDP port of VXLAN between nodes (default: 4789)")
	flags.DurationVar(&f.lease, "lease", 0, "how long registrations in Consul outlive the agent (default: 30s)")
	flags.StringVar(&f.metrics, "metrics", "", "host:port to serve /metrics and /healthz at")
	flags.StringVar(&f.status, "status", "", "unix socket to serve the state at, for 'meshlab trace --controller'")
}

// override puts what the command line says into the configuration. An address
// that is none stays as the text that the file would have: validation tells.
func (f *agentFlags) override(c *cobra.Command, cfg *controller.FileConfig) {
	set := func(name string, to *string, from string) {
		if c.Flags().Changed(name) {
			*to = from
		}
	}
	k := cfg.Kubernetes
	set("kubeconfig", &k.Kubeconfig, f.kubeconfig)
	set("context", &k.Context, f.context)
	set("registry", &k.Registry, f.registry)
	set("network", &k.Network, f.network)
	set("pod-selector", &k.Selector, f.selector)
	set("ovsdb", &cfg.OVSDB, f.ovsdb)
	set("metrics", &cfg.Metrics, f.metrics)
	set("status", &cfg.Status, f.status)
	set("node", &cfg.Node, f.node)
	if cfg.Node == "" {
		host, _ := os.Hostname() // without one, the API server knows no such node, and the log says so
		cfg.Node = cmp.Or(os.Getenv("NODE_NAME"), host)
	}
	if c.Flags().Changed("bridge") || len(cfg.Bridges) == 0 {
		cfg.Bridges = []string{f.bridge}
	}
	if c.Flags().Changed("consul") {
		if cfg.Consul == nil {
			cfg.Consul = &controller.Consul{}
		}
		cfg.Consul.Address = f.consul
	}
	if c.Flags().Changed("tunnel-port") {
		k.TunnelPort = f.tunnelPort
	}
	if c.Flags().Changed("lease") {
		k.Lease = controller.Duration(f.lease)
	}
	for name, to := range map[string]*netip.Addr{"vip": &cfg.VIP, "hairpin": &cfg.Hairpin} {
		if c.Flags().Changed(name) {
			*to, _ = netip.ParseAddr(c.Flag(name).Value.String())
		}
	}
}
