package kube

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/topo"
)

// The annotations of consul-k8s (developer.hashicorp.com/consul/docs,
// "Annotations and labels").
const (
	keyInject           = "consul.hashicorp.com/connect-inject"
	keyConnectService   = "consul.hashicorp.com/connect-service"
	keyConnectPort      = "consul.hashicorp.com/connect-service-port"
	keyConnectUpstreams = "consul.hashicorp.com/connect-service-upstreams"
	keyTransparentProxy = "consul.hashicorp.com/transparent-proxy"
)

// intentions are the kind of consul-k8s' intentions.
var intentions = schema.GroupVersionResource{Group: "consul.hashicorp.com", Version: "v1alpha1", Resource: "serviceintentions"}

// placeholderPort is what the Service of the load has: a Service has a port, and
// nobody listens there.
const placeholderPort = 80

// joinConnect annotates a pod for Consul Connect. Its service account has the
// name of the service, which Consul's access lists ask for.
func (p Plan) joinConnect(pod *corev1.Pod, service string, port uint16, upstreams []topo.Upstream) {
	set(&pod.Annotations, keyInject, "true")
	set(&pod.Annotations, keyTransparentProxy, "false")
	set(&pod.Annotations, keyConnectService, service)
	if port != 0 {
		set(&pod.Annotations, keyConnectPort, strconv.Itoa(int(port)))
	}
	if len(upstreams) > 0 {
		set(&pod.Annotations, keyConnectUpstreams, p.upstreams(upstreams, orchestrate.ConsulConnect))
	}
	pod.Spec.ServiceAccountName = service
	pod.Spec.AutomountServiceAccountToken = nil // the sidecar shows it to Consul
}

// connectServices are the accounts and Services of Consul Connect: consul-k8s
// registers the pods that a Service selects.
func (p Plan) connectServices() (accounts []*corev1.ServiceAccount, services []*corev1.Service) {
	seen := map[string]bool{}
	add := func(service string, port int32) {
		if seen[service] {
			return
		}
		seen[service] = true
		accounts = append(accounts, p.account(service))
		services = append(services, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: service, Namespace: p.Namespace(), Labels: p.labels()},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{keySelect: service}, Ports: []corev1.ServicePort{{Port: port}}},
		})
	}
	for _, s := range p.Lab.Services {
		add(p.service(s.Service, orchestrate.ConsulConnect), int32(s.Port))
	}
	add(p.service(loadName, orchestrate.ConsulConnect), placeholderPort)
	return accounts, services
}

// keySelect is the label by which a Service of Consul Connect finds its pods.
const keySelect = "meshlab.dev/connect-service"

// intentions allow the calls that the lab's file names, in clusters where
// others are refused: those of sidecars, and those in the switches if their
// agents ask Consul too.
func (p Plan) intentions() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, m := range p.Meshes {
		if m == orchestrate.ConsulConnect || m == orchestrate.OVS && p.Switches.Consul {
			all = append(all, p.intentionsOf(m)...)
		}
	}
	return all
}

func (p Plan) intentionsOf(m orchestrate.Mesh) []*unstructured.Unstructured {
	callers := map[string][]any{}
	var order []string
	allow := func(from, to string) {
		if callers[to] == nil {
			order = append(order, to)
		}
		callers[to] = append(callers[to], map[string]any{"name": p.service(from, m), "action": "allow"})
	}
	told := map[[2]string]bool{}
	once := func(from string, upstreams []topo.Upstream) {
		for _, u := range upstreams {
			if !told[[2]string{from, u.Service}] {
				told[[2]string{from, u.Service}] = true
				allow(from, u.Service)
			}
		}
	}
	for _, s := range p.Lab.Services {
		once(s.Service, s.Upstreams)
	}
	once(loadName, p.Lab.Client.Upstreams)
	var all []*unstructured.Unstructured
	for _, to := range order {
		name := p.service(to, m)
		labels := map[string]any{}
		for key, value := range p.labels() {
			labels[key] = value
		}
		all = append(all, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": intentions.GroupVersion().String(), "kind": "ServiceIntentions",
			"metadata": map[string]any{"name": name, "namespace": p.Namespace(), "labels": labels},
			"spec":     map[string]any{"destination": map[string]any{"name": name}, "sources": callers[to]},
		}})
	}
	return all
}
