package supervisor

import (
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/connect"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/fault"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// CheckFaults tells whether a lab will have what faults are to strike, before
// it is up. The error names what it has instead.
func CheckFaults(lab *topo.Lab, mesh orchestrate.Mesh, faults []scenarios.Fault) error {
	if len(faults) == 0 {
		return nil
	}
	processes, err := futureProcesses(lab, mesh)
	if err != nil {
		return err
	}
	for _, f := range faults {
		if _, err := fault.Plan(lab, processes, f); err != nil {
			return err
		}
	}
	return nil
}

// futureProcesses are those that a lab will have once it is up.
func futureProcesses(lab *topo.Lab, mesh orchestrate.Mesh) ([]fault.Process, error) {
	all := []fault.Process{{Name: "controller"}}
	for _, v := range vswitches(lab) {
		for _, name := range v.Processes() {
			all = append(all, fault.Process{Name: name, Node: v.Name})
		}
	}
	for _, svc := range lab.Services {
		all = append(all, fault.Process{Name: svc.Name, Node: svc.Node})
	}
	const anywhere = "/" // nothing is started
	agents, err := consul.Agents(lab, anywhere, consulDir)
	if err != nil {
		return nil, err
	}
	sockets := map[string]string{}
	for _, a := range agents {
		all = append(all, fault.Process{Name: a.Spec.Name, Node: a.Spec.Node})
		sockets[a.Spec.Node] = a.Socket
	}
	if mesh != orchestrate.ConsulConnect {
		return all, nil
	}
	sidecars, err := connect.Sidecars(connect.Config{
		Lab: lab, Consul: consul.Binary{Path: anywhere}, Proxy: connect.Proxy{Name: connect.BuiltIn}, Sockets: sockets, Dir: stateDir,
	})
	if err != nil {
		return nil, err
	}
	for _, s := range sidecars {
		all = append(all, fault.Process{Name: s.Name, Node: s.Node})
	}
	return all, nil
}
