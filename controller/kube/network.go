package kube

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Annotations that Multus writes when it has attached a pod (Network Plumbing
// Working Group, "Kubernetes Network Custom Resource Definition De-facto
// Standard", 1.3, section 5.3); the second is the name of old versions.
const (
	keyStatus    = "k8s.v1.cni.cncf.io/network-status"
	keyStatusOld = "k8s.v1.cni.cncf.io/networks-status"
)

// attachment is an entry of such an annotation.
type attachment struct {
	Name      string   `json:"name"`
	Interface string   `json:"interface"`
	IPs       []string `json:"ips"`
	MAC       string   `json:"mac"`
	Default   bool     `json:"default"`
}

// attach finds the pod's place in the mesh's network.
func (p *Pod) attach(pod *corev1.Pod, network string) {
	key, want := annotation(pod, keyNetwork, thesisNetwork)
	if key == "" {
		want = network
	}
	status, text := annotation(pod, keyStatus, keyStatusOld)
	if text == "" {
		if p.Service != "" && pod.Status.Phase == corev1.PodRunning && !pod.Spec.HostNetwork {
			p.bad(ReasonNetwork, "the pod runs without the annotation %s: it is not attached to the mesh's network; set k8s.v1.cni.cncf.io/networks on the pod, and look whether Multus runs on its node", keyStatus)
		} else if p.Service != "" && pod.Spec.HostNetwork {
			p.bad(ReasonNetwork, "the pod has hostNetwork: the node itself cannot be a host of its bridge")
		}
		return
	}
	var all []attachment
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		if p.Service != "" || key != "" {
			p.bad(ReasonAnnotation, "%s is no list of networks in JSON: %v", status, err)
		}
		return
	}
	at, why := choose(all, pod.Namespace, want)
	if why != "" {
		if p.Service != "" || key != "" {
			p.bad(ReasonNetwork, "%s", why)
		}
		return
	}
	// Whether the only network of a pod that says nothing is the mesh's, nobody
	// has said: another needs neither MAC nor IPv4 addresses.
	stranger := p.Service == "" && want == ""
	mac, err := net.ParseMAC(at.MAC)
	if err != nil || len(mac) != 6 {
		if stranger {
			return
		}
		p.bad(ReasonNetwork, "%s: network %.80s has the MAC address %.40q, and a port of a switch is known by it; six bytes are needed", status, at.Name, at.MAC)
		return
	}
	for _, text := range at.IPs {
		text, _, _ = strings.Cut(text, "/")
		if addr, err := netip.ParseAddr(text); err == nil && addr.Unmap().Is4() {
			p.Addr, p.MAC, p.Interface = addr.Unmap(), mac.String(), at.Interface
			return
		}
	}
	if stranger {
		return
	}
	p.bad(ReasonNetwork, "%s: network %.80s gave the pod no IPv4 address; name one in k8s.v1.cni.cncf.io/networks (ips), or give the network an ipam", status, at.Name)
}

// choose picks the attachment to the network want; "" is the only one besides
// that of the cluster. why tells why there is none.
func choose(all []attachment, namespace, want string) (at attachment, why string) {
	var names []string
	found := -1
	for i, a := range all {
		if a.Default && want == "" {
			continue
		}
		names = append(names, a.Name)
		if want == "" || a.Name == want || !strings.Contains(want, "/") && a.Name == namespace+"/"+want {
			if found >= 0 && want == "" {
				return attachment{}, "the pod is in several networks (" + list(all) + ") and names none of them: set the annotation " + keyNetwork
			}
			if found < 0 {
				found = i
			}
		}
	}
	switch {
	case found >= 0:
		return all[found], ""
	case want == "":
		return attachment{}, "the pod is in no network but the cluster's: set k8s.v1.cni.cncf.io/networks"
	case len(names) == 0:
		return attachment{}, "the pod is not in the network " + clip(want) + ", nor in any other"
	}
	return attachment{}, "the pod is not in the network " + clip(want) + "; it is in " + list(all)
}

// list names networks, for a message.
func list(all []attachment) string {
	var names []string
	for _, a := range all {
		names = append(names, clip(a.Name))
	}
	slices.Sort(names)
	if len(names) > 8 {
		names = append(names[:8], "...")
	}
	return strings.Join(names, ", ")
}

func clip(text string) string {
	if len(text) > 80 {
		return strings.ToValidUTF8(text[:80], "") + "..."
	}
	return strings.ToValidUTF8(text, "")
}
