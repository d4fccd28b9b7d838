package kube

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Slice is a part of the endpoints of a Kubernetes Service. It is immutable.
type Slice struct {
	Namespace, Name string
	Service         string // Kubernetes' name of it
	Port            uint16 // the first TCP port, at the pods; 0: none
	Pods            []Endpoint

	version string
}

// Endpoint is a pod behind a Service.
type Endpoint struct {
	Pod   string // in the namespace of the slice
	Ready bool
}

// GetObjectMeta gives informers what they tell objects apart by.
func (s *Slice) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, ResourceVersion: s.version}
}

// ParseSlice makes the value of a slice. Endpoints that are no pods are left
// out: the mesh's network has no way to them. Of which family a slice is does
// not count: pods have other addresses in the mesh.
func ParseSlice(s *discoveryv1.EndpointSlice) *Slice {
	out := &Slice{Namespace: s.Namespace, Name: s.Name, Service: s.Labels[discoveryv1.LabelServiceName], version: s.ResourceVersion}
	for _, p := range s.Ports {
		if (p.Protocol == nil || *p.Protocol == corev1.ProtocolTCP) && p.Port != nil && *p.Port > 0 && *p.Port <= 65535 {
			out.Port = uint16(*p.Port)
			break
		}
	}
	for _, e := range s.Endpoints {
		if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			// No value means ready (EndpointConditions, "ready").
			out.Pods = append(out.Pods, Endpoint{e.TargetRef.Name, e.Conditions.Ready == nil || *e.Conditions.Ready})
		}
	}
	return out
}

// Node is a node of the cluster. It is immutable.
type Node struct {
	Name    string
	Addr    string // its InternalIP, IPv4; empty: none
	Created time.Time

	version string
}

// GetObjectMeta gives informers what they tell objects apart by.
func (n *Node) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Name: n.Name, ResourceVersion: n.version}
}

func isIPv4(text string) bool {
	addr, err := netip.ParseAddr(text)
	return err == nil && addr.Is4()
}
