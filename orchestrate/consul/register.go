package consul

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/topo"
)

// MeshConnect is the mesh in which every service has a sidecar process. In
// all others the sidecar registrations only say who calls whom.
const MeshConnect = "consul-connect"

const (
	// ClientID is both service name and instance ID of the lab's client.
	ClientID = "client"

	// AppTag marks the services of the application in the catalog.
	AppTag = "app"

	// sidecarSuffix is what Consul appends to name and ID of a service for
	// its sidecar's.
	sidecarSuffix = "-sidecar-proxy"

	defaultInterval = time.Second
	minCheckTimeout = time.Second

	// localConnectTimeoutMS is how long a sidecar waits for its own service to
	// take a connection: Envoy's default for both proxies. The built-in
	// proxy's own default of 1 s resets clients when hundreds connect at once
	// on a small machine, and an error is not a latency.
	localConnectTimeoutMS = 5000

	// upstreamAddr is where a sidecar offers its upstreams to its service.
	upstreamAddr = "127.0.0.1"
)

// Registration says how the agent of the service's host registers it. The
// instance starts critical and becomes healthy when its check first passes.
// A service of which the lab file says nothing about health is asked for a
// TCP connection every second. One that is to be asked nothing is healthy.
func Registration(lab *topo.Lab, svc topo.Service, mesh string) (*api.AgentServiceRegistration, error) {
	addr, err := hostAddr(lab, svc.Node)
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", svc.Name, err)
	}
	sidecar, err := newSidecar(lab, sidecarOf{id: svc.Name, node: svc.Node, upstreams: svc.Upstreams}, mesh)
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", svc.Name, err)
	}
	// The sidecar reaches its service at the address at which the other
	// meshes reach it too, so that a service listens alike in all of them.
	sidecar.Proxy.LocalServiceAddress = addr.String()
	sidecar.Proxy.LocalServicePort = int(svc.Port)
	return &api.AgentServiceRegistration{
		ID:      svc.Name,
		Name:    svc.Service,
		Tags:    []string{AppTag},
		Meta:    svc.Meta,
		Address: addr.String(),
		Port:    int(svc.Port),
		Weights: &api.AgentWeights{Passing: 1, Warning: 1},
		Checks:  healthChecks(svc.Healthcheck, net.JoinHostPort(addr.String(), strconv.Itoa(int(svc.Port)))),
		Connect: &api.AgentServiceConnect{SidecarService: sidecar},
	}, nil
}

// ClientRegistration registers the lab's client: a service without a port and
// without checks that has upstreams. The lab must have a client.
func ClientRegistration(lab *topo.Lab, mesh string) (*api.AgentServiceRegistration, error) {
	if lab.Client == nil {
		return nil, fmt.Errorf("register the client: lab %s has none", lab.Name)
	}
	addr, err := hostAddr(lab, lab.Client.Node)
	if err != nil {
		return nil, fmt.Errorf("register the client: %w", err)
	}
	sidecar, err := newSidecar(lab, sidecarOf{id: ClientID, node: lab.Client.Node, upstreams: lab.Client.Upstreams}, mesh)
	if err != nil {
		return nil, fmt.Errorf("register the client: %w", err)
	}
	return &api.AgentServiceRegistration{
		ID:      ClientID,
		Name:    ClientID,
		Address: addr.String(),
		Connect: &api.AgentServiceConnect{SidecarService: sidecar},
	}, nil
}

// Registrations returns those of all services and of the client, by host.
func Registrations(lab *topo.Lab, mesh string) (map[string][]*api.AgentServiceRegistration, error) {
	byHost := map[string][]*api.AgentServiceRegistration{}
	for _, svc := range lab.Services {
		reg, err := Registration(lab, svc, mesh)
		if err != nil {
			return nil, err
		}
		byHost[svc.Node] = append(byHost[svc.Node], reg)
	}
	if lab.Client != nil {
		reg, err := ClientRegistration(lab, mesh)
		if err != nil {
			return nil, err
		}
		byHost[lab.Client.Node] = append(byHost[lab.Client.Node], reg)
	}
	return byHost, nil
}

// sidecarOf is what a sidecar registration depends on.
type sidecarOf struct {
	id        string
	node      string
	upstreams []topo.Upstream
}

func newSidecar(lab *topo.Lab, of sidecarOf, mesh string) (*api.AgentServiceRegistration, error) {
	addr, err := hostAddr(lab, of.node)
	if err != nil {
		return nil, err
	}
	port, err := SidecarPort(lab, of.id)
	if err != nil {
		return nil, err
	}
	s := &api.AgentServiceRegistration{
		Address: addr.String(),
		Port:    int(port),
		Proxy:   &api.AgentServiceConnectProxyConfig{Config: map[string]any{"local_connect_timeout_ms": localConnectTimeoutMS}},
		Checks:  sidecarChecks(of.id, net.JoinHostPort(addr.String(), strconv.Itoa(int(port))), mesh),
	}
	for _, u := range of.upstreams {
		s.Proxy.Upstreams = append(s.Proxy.Upstreams, api.Upstream{
			DestinationType:  api.UpstreamDestTypeService,
			DestinationName:  u.Service,
			LocalBindAddress: upstreamAddr,
			LocalBindPort:    int(u.BindPort),
		})
	}
	return s, nil
}

// sidecarChecks are the two that Consul gives a sidecar by itself, except
// that the first runs every second and not every ten, which is how long a
// lab would wait for it. Where no sidecar runs only the second remains, and
// so it is for the client: behind its sidecar nothing listens, and every
// check would make the sidecar try.
func sidecarChecks(id, address, mesh string) api.AgentServiceChecks {
	alias := &api.AgentServiceCheck{Name: "Connect Sidecar Aliasing " + id, AliasService: id}
	if mesh != MeshConnect || id == ClientID {
		return api.AgentServiceChecks{alias}
	}
	listening := &api.AgentServiceCheck{
		Name:     "Connect Sidecar Listening",
		TCP:      address,
		Interval: defaultInterval.String(),
		Timeout:  minCheckTimeout.String(),
	}
	return api.AgentServiceChecks{listening, alias}
}

func healthChecks(h topo.Healthcheck, address string) api.AgentServiceChecks {
	if h.None {
		return nil
	}
	interval := h.Interval
	if interval <= 0 {
		interval = defaultInterval
	}
	c := &api.AgentServiceCheck{
		Interval: interval.String(),
		Timeout:  max(interval, minCheckTimeout).String(),
		Status:   api.HealthCritical,
	}
	if h.HTTP != "" {
		c.Name = "GET " + h.HTTP
		c.HTTP = "http://" + address + h.HTTP
		return api.AgentServiceChecks{c}
	}
	c.Name = "TCP " + address
	c.TCP = address
	return api.AgentServiceChecks{c}
}
