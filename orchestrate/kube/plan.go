package kube

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/topo"
)

// Plan says what is to be made of a lab. All its meshes stand side by side, and
// one pod sends the load of all of them.
type Plan struct {
	Run    string // id of the run
	Suffix string // tells the namespaces of a run apart, as in "mn"
	Lab    *topo.Lab
	Meshes []orchestrate.Mesh
	Hosts  map[string]string // host of the lab -> value of the label kubernetes.io/hostname of its node; see Place

	Image      string   // of this program
	Program    string   // path of this program in it
	Named      []string // services of this program that run only as a user who has a name in the image,
	NamedUser  int64    // and the id of that user
	PullSecret string   // name of the Secret to pull images with, in namespace default; empty: none is needed
	By         string   // who runs this, for whoever finds what is left

	Switches   Switches // of mesh ovs
	Intentions bool     // consul-k8s is asked to allow the calls
}

// loadName is the pod that sends the load.
const loadName = "load"

// Validate returns all that keeps the lab from being pods, joined.
func (p Plan) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Lab.Client == nil {
		bad("lab %s has no client to send requests from", p.Lab.Name)
	}
	if p.Image == "" {
		bad("no image of meshlab: the pod that sends the load runs it; 'meshlab image push REF' makes it, --image REF names it")
	}
	names := map[string]string{loadName: "the load"}
	for _, s := range p.Lab.Services {
		name := dnsName(s.Name)
		if other, ok := names[name]; ok {
			bad("lab %s: service %s and %s would both be called %s as pods", p.Lab.Name, s.Name, other, name)
		}
		names[name] = "service " + s.Name
		if len(p.service(s.Service, orchestrate.ConsulConnect)) > 63 { // RFC 1035, section 2.3.4
			bad("lab %s: service %s: its name is too long for one in a cluster", p.Lab.Name, s.Service)
		}
		if s.Builtin == "" && s.Image == "" {
			bad("lab %s: service %s runs a command of this machine: on a cluster a service is an image or one of meshlab's own ('builtin')", p.Lab.Name, s.Name)
		}
		if strings.HasSuffix(s.Image, ".tar") {
			bad("lab %s: service %s: image %s is a file: a cluster pulls from registries", p.Lab.Name, s.Name, s.Image)
		}
	}
	if p.has(orchestrate.Direct) {
		if _, err := layers(p.Lab); err != nil {
			errs = append(errs, err)
		}
	}
	if p.has(orchestrate.OVS) {
		errs = append(errs, p.Switches.validate())
	}
	return errors.Join(errs...)
}

func (p Plan) has(m orchestrate.Mesh) bool {
	for _, have := range p.Meshes {
		if have == m {
			return true
		}
	}
	return false
}

// Namespace is the name of the namespace.
func (p Plan) Namespace() string {
	name := "meshlab-" + strings.ToLower(p.Run)
	if p.Suffix != "" {
		name += "-" + strings.ToLower(p.Suffix)
	}
	return name
}

// tags are short names of meshes, which are parts of names.
var tags = map[orchestrate.Mesh]string{orchestrate.Direct: "direct", orchestrate.OVS: "ovs", orchestrate.ConsulConnect: "connect"}

// service is the name of a service in a mesh. Registries may be shared with
// other runs, and keep what a killed one has registered, so it has the last
// part of the run's id in it.
func (p Plan) service(name string, m orchestrate.Mesh) string {
	return fmt.Sprintf("%s-%s-%s", dnsName(name), tags[m], dnsName(p.Run[strings.LastIndexByte(p.Run, '-')+1:]))
}

// podName is that of an instance of a lab under a mesh.
func podName(instance string, m orchestrate.Mesh) string { return dnsName(instance) + "-" + tags[m] }

// dnsName makes a name of a lab one that Kubernetes takes: a DNS label (RFC
// 1123, section 2.1), if it is short enough.
func dnsName(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name), "-")
}

// labels are those of everything.
func (p Plan) labels() map[string]string {
	return map[string]string{LabelRun: strings.ToLower(p.Run), labelManager: manager}
}

// View is the lab as callers see it under a mesh: each instance is on a host of
// its own, which has the address of its pod, and the virtual address is that of
// the cluster's mesh. pods are the addresses of pods by their names; an instance
// that is not among them has none.
func (p Plan) View(m orchestrate.Mesh, pods map[string]netip.Addr) *topo.Lab {
	lab := *p.Lab
	lab.Mesh.VIP = p.Switches.VIP
	lab.Nodes, lab.Services = nil, nil
	for _, s := range p.Lab.Services {
		s.Node = s.Name
		lab.Services = append(lab.Services, s)
		if addr, ok := pods[podName(s.Name, m)]; ok {
			lab.Nodes = append(lab.Nodes, topo.Node{Name: s.Name, Kind: topo.KindHost, IPv4: netip.PrefixFrom(addr, addr.BitLen())})
		}
	}
	return &lab
}

// layers are the services in an order in which each has its upstreams before
// it: pods that call each other at their own addresses must know these.
func layers(lab *topo.Lab) ([][]topo.Service, error) {
	var all [][]topo.Service
	placed := map[string]bool{} // services
	left := lab.Services
	for len(left) > 0 {
		var now, later []topo.Service
		for _, s := range left {
			if ready(s, placed) {
				now = append(now, s)
			} else {
				later = append(later, s)
			}
		}
		if len(now) == 0 {
			var names []string
			for _, s := range later {
				names = append(names, s.Name)
			}
			return nil, fmt.Errorf("lab %s: %s call each other in a circle, and mesh %s gives each the address of a pod that is there before it: leave %s out with --mesh",
				lab.Name, strings.Join(names, ", "), orchestrate.Direct, orchestrate.Direct)
		}
		for _, s := range now {
			placed[s.Service] = true
		}
		all, left = append(all, now), later
	}
	return all, nil
}

func ready(s topo.Service, placed map[string]bool) bool {
	for _, u := range s.Upstreams {
		if !placed[u.Service] {
			return false
		}
	}
	return true
}
