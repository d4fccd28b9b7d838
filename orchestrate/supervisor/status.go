package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/topo"
)

// currentStatus describes the lab as it is now.
func (s *Supervisor) currentStatus(ctx context.Context) (Status, error) {
	s.mu.Lock()
	st, lab, req, procs := s.status, s.lab, s.req, s.procs
	s.mu.Unlock()
	if lab == nil {
		return Status{}, errors.New("the lab is not up yet")
	}
	st.Lab, st.Mesh, st.Published, st.Runtime = lab.Name, req.Mesh, req.Publish, cmp.Or(req.Runtime, orchestrate.Namespaces)
	st.Processes = procs.List()
	ports := map[string]int{}
	for _, l := range lab.Links {
		ports[l.A.Node]++
		ports[l.B.Node]++
	}
	for _, n := range lab.Nodes {
		ns := NodeStatus{Name: n.Name, Kind: string(n.Kind), Ports: ports[n.Name]}
		if n.Kind == topo.KindHost {
			ns.IPv4, ns.MAC = n.IPv4.String(), n.MAC.String()
		} else {
			ns.DPID = fmt.Sprintf("%016x", n.DPID)
		}
		st.Nodes = append(st.Nodes, ns)
	}
	st.Controller = controllerHealth(ctx)
	health := s.health(ctx, lab, req)
	for _, svc := range lab.Services {
		info := ServiceStatus{
			Name: svc.Name, Service: svc.Service, Node: svc.Node, Health: "unknown",
			Address: fmt.Sprintf("%s:%d", orchestrate.HostAddr(lab, svc.Node), svc.Port),
		}
		if h, ok := health[svc.Name]; ok {
			info.Health = h
		}
		for _, u := range svc.Upstreams {
			addr, err := req.Mesh.Address(lab, u)
			if err != nil {
				return Status{}, err
			}
			info.Upstreams = append(info.Upstreams, u.Service+" at "+addr)
		}
		st.Services = append(st.Services, info)
	}
	return st, nil
}

// controllerHealth is nil when the controller does not answer.
func controllerHealth(ctx context.Context) *controller.Health {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	client := controller.NewClient(controllerSocket)
	defer client.Close()
	h, err := client.Health(ctx)
	if err != nil {
		return nil
	}
	return &h
}

// healthLimit is how long Consul may take to answer: a lab without it goes on,
// and can be looked at.
const healthLimit = 2 * time.Second

// health asks the server for the state of every instance; what it does not
// know is missing.
func (s *Supervisor) health(ctx context.Context, lab *topo.Lab, req UpRequest) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	agents, err := consul.Agents(lab, req.Consul, consulDir)
	if err != nil || len(agents) == 0 {
		return nil
	}
	client, err := consul.Client(agents[0].Socket)
	if err != nil {
		return nil
	}
	checks, _, err := client.Health().State(api.HealthAny, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil
	}
	byInstance := map[string]api.HealthChecks{}
	for _, c := range checks {
		if c.ServiceID != "" {
			byInstance[c.ServiceID] = append(byInstance[c.ServiceID], c)
		}
	}
	health := map[string]string{}
	for id, list := range byInstance {
		health[id] = list.AggregatedStatus()
	}
	return health
}
