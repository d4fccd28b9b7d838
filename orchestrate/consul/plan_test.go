package consul

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/topo"
)

func testLab() *topo.Lab {
	host := func(name, prefix string) topo.Node {
		return topo.Node{Name: name, Kind: topo.KindHost, IPv4: netip.MustParsePrefix(prefix)}
	}
	return &topo.Lab{
		Name: "test",
		Mesh: topo.Mesh{Server: "h3"},
		Nodes: []topo.Node{
			host("h1", "192.168.1.11/24"), host("h2", "192.168.1.12/24"),
			{Name: "s1", Kind: topo.KindSwitch, DPID: 1},
			host("h3", "192.168.1.13/24"),
		},
		Services: []topo.Service{
			{Name: "web1", Service: "web", Node: "h1", Port: 21000, Upstreams: []topo.Upstream{{Service: "db", BindPort: 21002}},
				Meta: map[string]string{"version": "v2"}, Healthcheck: topo.Healthcheck{HTTP: "/health", Interval: 3 * time.Second}},
			{Name: "db", Service: "db", Node: "h1", Port: 5432, Healthcheck: topo.Healthcheck{TCP: true}},
		},
		Client: &topo.Client{Node: "h1", Upstreams: []topo.Upstream{{Service: "web", BindPort: 9000}}},
	}
}

func TestAgents(t *testing.T) {
	agents, err := Agents(testLab(), "/bin/consul", "/run/lab/consul")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, a := range agents {
		names = append(names, a.Spec.Name)
		var f fileConfig
		if err := json.Unmarshal(a.Files["agent.json"], &f); err != nil {
			t.Fatal(err)
		}
		if server := i == 0; f.Server != server || (f.BootstrapExpect == 1) != server || (len(f.RetryJoin) == 0) != server || (f.Connect != nil) != server {
			t.Errorf("%s: server %v, bootstrap %d, join %v, connect %v", a.Spec.Name, f.Server, f.BootstrapExpect, f.RetryJoin, f.Connect)
		}
		if i > 0 && f.RetryJoin[0] != "192.168.1.13" {
			t.Errorf("%s joins %v, want the server's address", a.Spec.Name, f.RetryJoin)
		}
		if f.NodeName != a.Spec.Node || f.ClientAddr != "127.0.0.1" || f.Addresses.HTTP != "127.0.0.1 unix://"+a.Socket {
			t.Errorf("%s: node %s, client %s, HTTP %s", a.Spec.Name, f.NodeName, f.ClientAddr, f.Addresses.HTTP)
		}
		if f.Limits.HTTPMaxConnsPerClient <= 200 { // the built-in proxy reset clients at 200 connections
			t.Errorf("%s: %d connections of one client at most", a.Spec.Name, f.Limits.HTTPMaxConnsPerClient)
		}
		if f.EnableScriptChecks || f.LeaveOnTerminate || f.Ports.DNS != -1 {
			t.Errorf("%s: script checks, leave on terminate or DNS are on", a.Spec.Name)
		}
	}
	if got := strings.Join(names, " "); got != "consul@h3 consul@h1" {
		t.Errorf("agents %s, want the server first, none on h2, which has nothing to register, and none on the switch", got)
	}
	if agents[1].Spec.Dir != "/run/lab/consul/h1" || agents[1].Socket != "/run/lab/consul/h1/http.sock" {
		t.Errorf("folder %s, socket %s", agents[1].Spec.Dir, agents[1].Socket)
	}
}

func TestAgentsWhereSomethingRegisters(t *testing.T) {
	lab := testLab()
	lab.Client.Node = "h2"
	agents, err := Agents(lab, "/bin/consul", "/run/lab/consul")
	if err != nil || len(agents) != 3 || agents[2].Spec.Node != "h2" {
		t.Errorf("client on h2: %d agents, %v", len(agents), err)
	}
	lab.Client, lab.Services = nil, nil
	agents, err = Agents(lab, "/bin/consul", "/run/lab/consul")
	if err != nil || len(agents) != 0 || Needed(lab) {
		t.Errorf("a network alone: %d agents, %v", len(agents), err)
	}
}

func TestAgentErrors(t *testing.T) {
	good := AgentConfig{Program: "/bin/consul", Node: "h1", Address: netip.MustParseAddr("10.0.0.1"), Dir: "/run/c"}
	for name, tc := range map[string]struct {
		change func(*AgentConfig)
		plan   func(AgentConfig) (Agent, error)
		want   string
	}{
		"server that joins":    {func(c *AgentConfig) { c.Join = c.Address }, ServerSpec, "cannot join"},
		"agent without server": {func(*AgentConfig) {}, AgentSpec, "no server"},
		"no address":           {func(c *AgentConfig) { c.Address = netip.Addr{} }, ServerSpec, "not IPv4"},
		"no name":              {func(c *AgentConfig) { c.Node = "" }, ServerSpec, "no name"},
		"relative program":     {func(c *AgentConfig) { c.Program = "consul" }, ServerSpec, "absolute"},
		"relative folder":      {func(c *AgentConfig) { c.Dir = "c" }, ServerSpec, "absolute"},
		"long socket":          {func(c *AgentConfig) { c.Dir = "/" + strings.Repeat("x", 107) }, ServerSpec, "at most 107"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			tc.change(&c)
			if _, err := tc.plan(c); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	lab := testLab()
	lab.Mesh.Server = "s1"
	if _, err := Agents(lab, "/bin/consul", "/run"); err == nil || !strings.Contains(err.Error(), `no host "s1"`) {
		t.Errorf("server on a switch: %v", err)
	}
}

func TestRegistration(t *testing.T) {
	lab := testLab()
	reg, err := Registration(lab, lab.Services[0], "ovs")
	if err != nil {
		t.Fatal(err)
	}
	if reg.ID != "web1" || reg.Name != "web" || reg.Address != "192.168.1.11" || reg.Port != 21000 || reg.Tags[0] != "app" {
		t.Errorf("registered %+v", reg)
	}
	check := reg.Checks[0]
	if check.HTTP != "http://192.168.1.11:21000/health" || check.Interval != "3s" || check.Status != api.HealthCritical || check.TCP != "" {
		t.Errorf("check %+v", check)
	}
	unasked := lab.Services[1]
	unasked.Healthcheck = topo.Healthcheck{None: true}
	if reg, err := Registration(lab, unasked, "ovs"); err != nil || len(reg.Checks) != 0 {
		t.Errorf("a service that is asked nothing: checks %+v, %v", reg.Checks, err)
	}
	side := reg.Connect.SidecarService
	if side.Port != 21001 {
		t.Errorf("sidecar port %d, want 21001: 21000 is the service's own", side.Port)
	}
	up := side.Proxy.Upstreams[0]
	if up.DestinationName != "db" || up.LocalBindPort != 21002 || up.LocalBindAddress != "127.0.0.1" {
		t.Errorf("upstream %+v", up)
	}
	if side.Proxy.LocalServiceAddress != "192.168.1.11" || side.Proxy.LocalServicePort != 21000 {
		t.Errorf("sidecar reaches the service at %s:%d", side.Proxy.LocalServiceAddress, side.Proxy.LocalServicePort)
	}
	if reg.Meta["version"] != "v2" || len(reg.Meta) != 1 {
		t.Errorf("meta %v", reg.Meta)
	}
	if db, err := Registration(lab, lab.Services[1], "ovs"); err != nil || db.Checks[0].TCP != "192.168.1.11:5432" || db.Checks[0].Interval != "1s" {
		t.Errorf("TCP check: %+v, %v", db, err)
	}
}

func TestSidecarChecks(t *testing.T) {
	for mesh, want := range map[string]string{
		"direct":    "alias web1",
		"ovs":       "alias web1",
		MeshConnect: "tcp 192.168.1.11:21001, alias web1",
	} {
		t.Run(mesh, func(t *testing.T) {
			lab := testLab()
			reg, err := Registration(lab, lab.Services[0], mesh)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range reg.Connect.SidecarService.Checks {
				if c.TCP != "" {
					got = append(got, "tcp "+c.TCP)
				}
				if c.AliasService != "" {
					got = append(got, "alias "+c.AliasService)
				}
			}
			if strings.Join(got, ", ") != want {
				t.Errorf("checks %v, want %s", got, want)
			}
		})
	}
}

func TestClientRegistration(t *testing.T) {
	lab := testLab()
	reg, err := ClientRegistration(lab, "direct")
	if err != nil {
		t.Fatal(err)
	}
	if reg.ID != ClientID || reg.Port != 0 || len(reg.Checks) != 0 || reg.Connect.SidecarService.Proxy.Upstreams[0].DestinationName != "web" {
		t.Errorf("client %+v", reg)
	}
	lab.Client = nil
	if _, err := ClientRegistration(lab, "direct"); err == nil {
		t.Error("a lab without a client registers one")
	}
}

// A check of the client's sidecar that connects makes it dial a service that
// is not there.
func TestNobodyConnectsToTheClientsSidecar(t *testing.T) {
	reg, err := ClientRegistration(testLab(), MeshConnect)
	if err != nil {
		t.Fatal(err)
	}
	checks := reg.Connect.SidecarService.Checks
	if len(checks) == 0 {
		t.Error("no check")
	}
	for _, c := range checks {
		if c.TCP != "" {
			t.Errorf("check %s connects to %s", c.Name, c.TCP)
		}
	}
}

func TestSidecarPort(t *testing.T) {
	lab := testLab()
	for id, want := range map[string]uint16{
		"web1":   21001, // 21000 is its own service port
		"db":     21003, // 21002 is an upstream of web1
		ClientID: 21004,
	} {
		if got, err := SidecarPort(lab, id); got != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", id, got, err, want)
		}
	}
	if _, err := SidecarPort(lab, "nobody"); err == nil {
		t.Error("a service that does not exist has a sidecar")
	}
}
