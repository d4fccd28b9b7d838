package consul

import (
	"math"
	"slices"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// chain is a compiled discovery chain, as /v1/discovery-chain answers.
type chain struct {
	ServiceName string
	Namespace   string
	Partition   string
	Datacenter  string
	StartNode   string
	Nodes       map[string]*chainNode
	Targets     map[string]*chainTarget
}

type chainNode struct {
	Type         string
	Routes       []chainRoute
	Splits       []chainSplit
	Resolver     *chainResolver
	LoadBalancer *api.LoadBalancer
}

type chainRoute struct {
	Definition *api.ServiceRoute
	NextNode   string
}

type chainSplit struct {
	Weight   float64 // per cent
	NextNode string
}

type chainResolver struct {
	Target   string
	Failover *struct{ Targets []string }
}

type chainTarget struct {
	Service       string
	ServiceSubset string
	Namespace     string
	Partition     string
	Datacenter    string
	Peer          string
}

// fullWeight is 100 %, in the hundredths that Consul rounds weights to.
const fullWeight = 10_000

// flatten turns the chain into legs, none if it leads to the service's own
// instances alone, and says whether a client's connections stay together.
func (c *chain) flatten(n *notes) (legs []mesh.Leg, affinity bool) {
	node := c.Nodes[c.StartNode]
	if node != nil && node.Type == api.DiscoveryGraphNodeTypeRouter {
		at := slices.IndexFunc(node.Routes, func(r chainRoute) bool { return catchesAll(r.Definition) })
		if at < 0 {
			node = nil // Consul always adds one
		} else {
			node = c.Nodes[node.Routes[at].NextNode]
		}
	}
	if node == nil {
		n.addf("service %s: connections are refused, its discovery chain leads nowhere", c.ServiceName)
		return []mesh.Leg{{Weight: fullWeight}}, false
	}
	if node.Type == api.DiscoveryGraphNodeTypeSplitter {
		for _, split := range node.Splits {
			legs = c.share(legs, c.Nodes[split.NextNode], split.Weight, n)
		}
	} else {
		legs = c.share(nil, node, 100, n)
	}
	if len(legs) == 0 {
		// Consul's rules keep the sum of a splitter's weights at 100 %.
		n.addf("service %s: connections are refused, no share of them leads anywhere", c.ServiceName)
		return []mesh.Leg{{Weight: fullWeight}}, false
	}
	if len(legs) == 1 && slices.Equal(legs[0].Targets, []mesh.Target{{Service: c.ServiceName}}) {
		legs = nil
	}
	return legs, hashesSource(node.LoadBalancer)
}

// share adds a leg for the share of connections that reaches a resolver.
// Splitters do not lead to splitters: Consul flattens them.
func (c *chain) share(legs []mesh.Leg, node *chainNode, percent float64, n *notes) []mesh.Leg {
	weight := uint32(min(max(math.Round(percent*fullWeight/100), 0), fullWeight))
	if weight == 0 {
		return legs
	}
	var targets []mesh.Target
	if node != nil && node.Resolver != nil {
		targets = c.targets(node.Resolver, n)
	} else {
		n.addf("service %s: a share of %.2f %% of the connections is refused, its discovery chain leads nowhere", c.ServiceName, percent)
	}
	for i := range legs {
		if slices.Equal(legs[i].Targets, targets) {
			legs[i].Weight += weight
			return legs
		}
	}
	return append(legs, mesh.Leg{Weight: weight, Targets: targets})
}

// targets are the places that one leg may lead to, the best first. Those
// that are not of this datacenter are left out.
func (c *chain) targets(r *chainResolver, n *notes) []mesh.Target {
	ids := []string{r.Target}
	if r.Failover != nil {
		ids = append(ids, r.Failover.Targets...)
	}
	var out []mesh.Target
	for i, id := range ids {
		t := c.Targets[id]
		if t == nil {
			continue
		}
		if t.Peer != "" || t.Datacenter != c.Datacenter || t.Namespace != c.Namespace || t.Partition != c.Partition {
			effect := "failover passes it by"
			if i == 0 {
				effect = "connections meant for it take the failover, if there is one, or are refused"
			}
			n.addf("service %s: target %s is of another datacenter, peer, namespace or partition; %s", c.ServiceName, id, effect)
			continue
		}
		if target := (mesh.Target{Service: t.Service, Subset: t.ServiceSubset}); !slices.Contains(out, target) {
			out = append(out, target)
		}
	}
	return out
}

// catchesAll is true for a route that every request matches.
func catchesAll(r *api.ServiceRoute) bool {
	if r == nil || r.Match == nil || r.Match.HTTP == nil {
		return true
	}
	m := r.Match.HTTP
	return m.PathExact == "" && m.PathRegex == "" && (m.PathPrefix == "" || m.PathPrefix == "/") &&
		len(m.Header) == 0 && len(m.QueryParam) == 0 && len(m.Methods) == 0
}

// hashesSource is true for a policy that sends one client to one instance.
func hashesSource(lb *api.LoadBalancer) bool {
	return hashBased(lb) && slices.ContainsFunc(lb.HashPolicies, func(p api.HashPolicy) bool { return p.SourceIP })
}

func hashBased(lb *api.LoadBalancer) bool {
	return lb != nil && (lb.Policy == "ring_hash" || lb.Policy == "maglev")
}
