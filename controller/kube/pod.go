// Package kube reads a mesh off a Kubernetes cluster: pods that say in
// annotations which service they are and whom they call, their addresses in
// the mesh's network, nodes, and EndpointSlices. It makes values of these: a
// snapshot of the mesh, the hosts behind each node, the tunnels between nodes,
// what is to be registered elsewhere. What cannot be used it tells on the pod
// itself, as an event and a condition. It knows nothing of switches.
package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotations of pods. Those of the thesis mean the same; ours come first.
const (
	keyService   = "meshlab.dev/service"   // name of the service that the pod is
	keyUpstreams = "meshlab.dev/upstreams" // whom it calls: "product-api:9090,payments:9091"
	keyNetwork   = "meshlab.dev/network"   // network attachment that joins it to the mesh: NAME or NAMESPACE/NAME
	keyPort      = "meshlab.dev/port"      // where it listens: a number, or the name of a container's port

	thesisRegister  = "ovs.servicemesh.arkadiuss.dev/consul-register" // "true": the pod is named by its labels
	thesisUpstreams = "ovs.servicemesh.arkadiuss.dev/upstreams"
	thesisNetwork   = "ovs.servicemesh.arkadiuss.dev/ovs-cni-network-name"
)

// ConditionType is the condition of a pod by which its node's agent tells
// whether the pod takes part in the mesh. A pod that never had a problem has
// none.
const ConditionType corev1.PodConditionType = "meshlab.dev/mesh"

// Pod is what the mesh needs to know of a pod. It is immutable once made, and
// takes some 500 bytes: agents keep one for each pod of the cluster.
type Pod struct {
	Namespace, Name, UID string
	Node                 string // that it runs on; empty: not placed yet
	Service              string // as the pod says; empty: none
	Port                 uint16 // where its service listens; 0: it only calls others
	Upstreams            []Upstream
	Addr                 netip.Addr // IPv4 in the mesh's network; not valid: it has none yet
	MAC                  string     // in that network
	Interface            string     // of that network, in the pod
	Ready                bool       // all readiness gates pass, and it is not about to stop
	Stopping             bool       // it has been told to stop: its connections may end, it gets no new ones
	Gone                 bool       // its containers have ended for good: its address is free
	Created              time.Time
	Problems             []Problem // sorted; what keeps it, or a part of what it says, out of the mesh
	Condition            Condition // as it stands on the pod

	version string // of the object, for the informer
}

// Upstream is a service that a pod calls at the virtual address.
type Upstream struct {
	Service string
	Port    uint16
}

// Problem is something that a pod's owner must mend.
type Problem struct {
	Reason string // one word, as events and conditions have it
	Text   string
}

// Reasons of problems.
const (
	ReasonAnnotation = "BadAnnotation"
	ReasonNetwork    = "NoMeshNetwork"
	ReasonAddress    = "AddressTaken"
)

// Condition is the condition ConditionType of a pod.
type Condition struct {
	Set  bool // the pod has it
	True bool
	Text string // its message
}

// Key is namespace and name: NAMESPACE/NAME.
func (p *Pod) Key() string { return p.Namespace + "/" + p.Name }

// Joins tells whether the pod is of the mesh: it names itself, or is in its
// network. One that did, and still has a condition that says what was wrong,
// has to be told that this is over.
func (p *Pod) Joins() bool {
	return p.Service != "" || p.Addr.IsValid() || len(p.Problems) > 0 || p.Condition.Set && !p.Condition.True
}

// Attached tells whether the pod has an address that is its own. It is for
// pods that Source.Local gave.
func (p *Pod) Attached() bool {
	return p.Addr.IsValid() && !slices.ContainsFunc(p.Problems, func(b Problem) bool { return b.Reason == ReasonAddress })
}

// GetObjectMeta gives informers what they tell objects apart by.
func (p *Pod) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, ResourceVersion: p.version}
}

// Parse makes the value of a pod. network is the network of pods that do not
// name one; empty: then a pod must be in one network besides the cluster's.
// Whatever a pod says, Parse does not fail: what cannot be understood is among
// the problems, and the rest counts.
func Parse(p *corev1.Pod, network string) *Pod {
	out := &Pod{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Node: p.Spec.NodeName, Created: p.CreationTimestamp.Time,
		Stopping: p.DeletionTimestamp != nil,
		Gone:     p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed, version: p.ResourceVersion,
	}
	for _, c := range p.Status.Conditions {
		switch c.Type {
		case corev1.PodReady:
			out.Ready = c.Status == corev1.ConditionTrue && !out.Stopping && !out.Gone
		case ConditionType:
			out.Condition = Condition{Set: true, True: c.Status == corev1.ConditionTrue, Text: c.Message}
		}
	}
	out.name(p)
	out.upstreams(p)
	out.port(p)
	out.attach(p, network)
	slices.SortFunc(out.Problems, compareProblems)
	return out
}

func compareProblems(a, b Problem) int {
	return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Text, b.Text))
}

func (p *Pod) bad(reason, format string, args ...any) {
	p.Problems = append(p.Problems, Problem{reason, fmt.Sprintf(format, args...)})
}

// annotation is the value of the first key that is there.
func annotation(p *corev1.Pod, keys ...string) (key, value string) {
	for _, key := range keys {
		if value, ok := p.Annotations[key]; ok {
			return key, strings.TrimSpace(value)
		}
	}
	return "", ""
}

// name finds the service that the pod is. A pod that the thesis registers is
// named by its label service, else app.
func (p *Pod) name(pod *corev1.Pod) {
	if key, name := annotation(pod, keyService); key != "" {
		if !validName(name) {
			p.bad(ReasonAnnotation, "%s: %.80q is no name of a service; write letters, digits, - and _, such as product-api", key, name)
			return
		}
		p.Service = name
		return
	}
	key, text := annotation(pod, thesisRegister)
	if key != "" {
		if yes, err := strconv.ParseBool(text); err != nil {
			p.bad(ReasonAnnotation, "%s: %.80q is neither \"true\" nor \"false\"", key, text)
			return
		} else if !yes {
			return
		}
	} else if key, _ = annotation(pod, keyUpstreams, keyPort); key == "" {
		return
	}
	p.Service = cmp.Or(pod.Labels["service"], pod.Labels["app"])
	if p.Service == "" {
		p.bad(ReasonAnnotation, "%s is set, and the pod has no name: set the annotation %s, or the label service or app", key, keyService)
	} else if !validName(p.Service) { // labels may have dots
		p.bad(ReasonAnnotation, "the label %.80q is no name of a service; set the annotation %s to letters, digits, - and _", p.Service, keyService)
		p.Service = ""
	}
}

// validName tells whether a name can be that of a service: as Consul and
// Kubernetes take it both, but for upper case and _, which Consul alone takes.
func validName(name string) bool {
	if name == "" || len(name) > 63 { // a label of DNS, RFC 1035, section 2.3.4
		return false
	}
	for i, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case (c == '-' || c == '_') && i > 0 && i < len(name)-1:
		default:
			return false
		}
	}
	return true
}

// Bounds: what one pod may ask of its switch, and how much of what is wrong
// with its list is told. All agents keep both.
const (
	maxUpstreams = 256
	maxMistakes  = 8
)

// upstreams reads "product-api:9090,payments:9091". An entry that cannot be
// read is left out.
func (p *Pod) upstreams(pod *corev1.Pod) {
	key, text := annotation(pod, keyUpstreams, thesisUpstreams)
	if text == "" {
		return
	}
	if key == thesisUpstreams && p.Service == "" { // the thesis reads those of registered pods alone
		return
	}
	seen := map[uint16]string{}
	before := len(p.Problems)
	for entry := range strings.SplitSeq(text, ",") {
		if len(p.Problems)-before == maxMistakes {
			p.bad(ReasonAnnotation, "%s: it has more mistakes; what follows the %dth is left out", key, maxMistakes)
			return
		}
		entry = strings.TrimSpace(entry)
		at := strings.LastIndexByte(entry, ':')
		if at < 0 {
			p.bad(ReasonAnnotation, "%s: %.80q has no port; write NAME:PORT, such as product-api:9090", key, entry)
			continue
		}
		name, digits := strings.TrimSpace(entry[:at]), strings.TrimSpace(entry[at+1:])
		port, err := strconv.ParseUint(digits, 10, 16)
		base, namespace, scoped := strings.Cut(name, ".")
		switch {
		case err != nil || port == 0:
			p.bad(ReasonAnnotation, "%s: %.80q: the port must be a number in 1..65535", key, entry)
		case !validName(base) || scoped && !validName(namespace):
			p.bad(ReasonAnnotation, "%s: %.80q: the part before the port is no name of a service", key, entry)
		case seen[uint16(port)] != "":
			p.bad(ReasonAnnotation, "%s: port %d is that of %s and %s; give each a port of its own", key, port, seen[uint16(port)], name)
		case len(p.Upstreams) == maxUpstreams:
			p.bad(ReasonAnnotation, "%s: it has more than %d entries; the rest is left out", key, maxUpstreams)
			return
		default:
			seen[uint16(port)] = name
			p.Upstreams = append(p.Upstreams, Upstream{name, uint16(port)})
		}
	}
}

// port finds where the service listens: what the annotation says, else the
// first TCP port of a container.
func (p *Pod) port(pod *corev1.Pod) {
	key, text := annotation(pod, keyPort)
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP || port.ContainerPort < 1 || port.ContainerPort > 65535 {
				continue
			}
			if key == "" || port.Name != "" && port.Name == text {
				p.Port = uint16(port.ContainerPort)
				return
			}
		}
	}
	if key == "" {
		return
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		p.bad(ReasonAnnotation, "%s: %.80q is neither a number in 1..65535 nor the name of a container's TCP port", key, text)
		return
	}
	p.Port = uint16(number)
}
