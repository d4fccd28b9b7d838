package controller

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Kubernetes says what an agent reads off its cluster, and how.
type Kubernetes struct {
	Kubeconfig string   `json:"kubeconfig,omitempty"`   // file; none: the service account of the agent's pod
	Context    string   `json:"context,omitempty"`      // of that file; its current one when not given
	Registry   string   `json:"registry,omitempty"`     // one of the Registry constants; RegistryConsul when Consul is given
	Network    string   `json:"network,omitempty"`      // of pods that name none: NAME or NAMESPACE/NAME of a network attachment
	Selector   string   `json:"pod_selector,omitempty"` // of labels: pods that can be of the mesh; all when not given
	Lease      Duration `json:"lease,omitempty"`        // how long registrations outlive the agent; DefaultLease when not given
	TunnelPort uint16   `json:"tunnel_port,omitempty"`  // UDP port of VXLAN; 4789 when not given
}

// Registries of an agent.
const (
	RegistryConsul     = "consul"     // pods are registered in Consul, and services are read there
	RegistryKubernetes = "kubernetes" // services are those of the cluster
)

// Leases.
const (
	DefaultLease  = Duration(30 * time.Second)
	shortestLease = Duration(3 * time.Second) // a third of it is a renewal
)

func (c *FileConfig) completeAgent() {
	k := c.Kubernetes
	if k == nil {
		return
	}
	if k.Registry == "" {
		k.Registry = RegistryKubernetes
		if c.Consul != nil {
			k.Registry = RegistryConsul
		}
	}
	k.Lease = cmp.Or(k.Lease, DefaultLease)
	if !c.Hairpin.IsValid() && c.VIP.Is4() {
		c.Hairpin = c.VIP.Prev() // in the same network, so that answers come back by it
	}
}

func (c FileConfig) validateAgent() error {
	k := c.Kubernetes
	if k == nil {
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.Static():
		bad("kubernetes: an agent finds its network itself; remove datapaths and fabric")
	case len(c.Bridges) != 1:
		bad("kubernetes: an agent keeps one bridge; write its name in bridges (it has %d)", len(c.Bridges))
	}
	switch {
	case k.Registry != RegistryConsul && k.Registry != RegistryKubernetes:
		bad("kubernetes: registry is %q; write %s or %s", k.Registry, RegistryConsul, RegistryKubernetes)
	case k.Registry == RegistryConsul && c.Consul == nil:
		bad("kubernetes: registry is consul; say in consul how to reach it")
	case k.Registry == RegistryKubernetes && c.Consul != nil:
		bad("kubernetes: with registry kubernetes Consul is not asked; remove one of the two")
	case k.Registry == RegistryKubernetes && c.DefaultPolicy == PolicyDeny:
		bad("default_policy is deny; without Consul's intentions nobody could call anybody: use registry consul")
	}
	if k.Lease < shortestLease {
		bad("kubernetes: lease is %v; at least %v, as a third of it is between two renewals", time.Duration(k.Lease), time.Duration(shortestLease))
	}
	return errors.Join(errs...)
}
