package kube

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/topo"
)

// workloadAccount is the service account of pods that need none: a namespace's
// account default is made some time after it.
const workloadAccount = "workload"

// loadAccount is that of the pod that sends the load, when Consul Connect does
// not ask for one of another name.
const loadAccount = "load"

// ownAddress is how an environment refers to the address of its pod, which
// nobody knows before it is there.
const ownAddress = "MESHLAB_POD_IP"

// workFolder is where services keep their files: a folder of the pod's own, as
// that of the image may be read-only.
const workFolder = "/work"

// pullSecret is the name of the copy of the user's Secret.
const pullSecret = "pull"

// servicePod is an instance of the lab under a mesh. pods are the addresses of
// the pods that are there already.
func (p Plan) servicePod(s topo.Service, m orchestrate.Mesh, pods map[string]netip.Addr, own netip.Prefix) (*corev1.Pod, error) {
	pod := p.pod(podName(s.Name, m), s.Node)
	pod.Labels[labelMesh] = string(m)
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	view := p.View(m, pods)
	funcs := topo.Funcs{Address: "$(" + ownAddress + ")", Port: s.Port, Upstream: func(name string) (string, error) {
		for _, u := range s.Upstreams {
			if u.Service == name {
				return address(view, m, u)
			}
		}
		return "", fmt.Errorf("service %s has no upstream %q", s.Name, name)
	}}
	c := corev1.Container{Name: serviceContainer, Resources: limits(s.Limits), ReadinessProbe: probe(s),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError}
	c.Ports = []corev1.ContainerPort{{ContainerPort: int32(s.Port)}}
	for _, key := range slices.Sorted(maps.Keys(s.Environment)) {
		value, err := topo.Expand(s.Environment[key], funcs)
		if err != nil {
			return nil, fmt.Errorf("service %s: environment %s: %w", s.Name, key, err)
		}
		c.Env = append(c.Env, corev1.EnvVar{Name: key, Value: value})
	}
	for _, word := range s.Command {
		value, err := topo.Expand(word, funcs)
		if err != nil {
			return nil, fmt.Errorf("service %s: command: %w", s.Name, err)
		}
		c.Args = append(c.Args, value)
	}
	c.Image = s.Image
	if s.Builtin != "" {
		c.Image, c.Args = p.Image, nil
		c.Command = []string{p.Program, "service", s.Builtin}
		user := int64(nobody)
		if slices.Contains(p.Named, s.Builtin) {
			user = p.NamedUser
		}
		confine(pod, &c, user)
	}
	if slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return strings.Contains(e.Value, ownAddress) }) ||
		slices.ContainsFunc(c.Args, func(a string) bool { return strings.Contains(a, ownAddress) }) {
		c.Env = append([]corev1.EnvVar{{Name: ownAddress, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}}, c.Env...)
	}
	pod.Spec.Containers = []corev1.Container{c}
	p.join(pod, m, s.Service, s.Port, s.Upstreams, own)
	return pod, nil
}

// address is where a caller finds an upstream. It is an error if that has none
// yet.
func address(view *topo.Lab, m orchestrate.Mesh, u topo.Upstream) (string, error) {
	if m == orchestrate.Direct {
		for _, s := range view.Services {
			if s.Service == u.Service && !orchestrate.HostAddr(view, s.Node).IsValid() {
				return "", fmt.Errorf("service %s has no pod yet", u.Service)
			} else if s.Service == u.Service {
				break
			}
		}
	}
	return m.Address(view, u)
}

// join makes a pod take part in one mesh, and keeps it out of the others'.
func (p Plan) join(pod *corev1.Pod, m orchestrate.Mesh, service string, port uint16, upstreams []topo.Upstream, own netip.Prefix) {
	name := p.service(service, m)
	switch m {
	case orchestrate.OVS:
		p.joinSwitches(&pod.ObjectMeta, name, upstreams, own)
	case orchestrate.ConsulConnect:
		pod.Labels[keySelect] = name
		p.joinConnect(pod, name, port, upstreams)
	}
}

// nobody is the user of services that do not mind who they are.
const nobody = 65534

// confine takes from a container of ours what it does not need; it satisfies the
// Pod Security Standard "restricted".
func confine(pod *corev1.Pod, c *corev1.Container, user int64) {
	yes, no := true, false
	c.WorkingDir = workFolder
	c.SecurityContext = &corev1.SecurityContext{
		RunAsUser: &user, RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	for _, v := range []struct{ name, path string }{{"work", workFolder}, {"tmp", "/tmp"}} {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: v.name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: v.name, MountPath: v.path})
	}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &user} // so that it may write to the volumes
}

// pod is what all pods have in common. host is that of the lab.
func (p Plan) pod(name, host string) *corev1.Pod {
	no, seconds, grace := false, int64(lifetime.Seconds()), int64(5)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.Namespace(), Labels: p.labels(), Annotations: map[string]string{keyInject: "false"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: workloadAccount, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			NodeSelector:          map[string]string{corev1.LabelHostname: p.Hosts[host]},
			ActiveDeadlineSeconds: &seconds, TerminationGracePeriodSeconds: &grace,
		},
	}
	pod.Labels[labelPod] = name
	if p.PullSecret != "" {
		pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: pullSecret}}
	}
	return pod
}

// probe asks a service what the lab's file says.
func probe(s topo.Service) *corev1.Probe {
	handler := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(s.Port))}}
	switch {
	case s.Healthcheck.HTTP != "":
		handler = corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: s.Healthcheck.HTTP, Port: intstr.FromInt32(int32(s.Port))}}
	case !s.Healthcheck.TCP:
		return nil
	}
	return &corev1.Probe{ProbeHandler: handler, PeriodSeconds: 1, TimeoutSeconds: 5}
}

func limits(l topo.Limits) corev1.ResourceRequirements {
	all := corev1.ResourceList{}
	if l.CPUs > 0 {
		all[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(l.CPUs*1000), resource.DecimalSI)
	}
	if l.Memory > 0 {
		all[corev1.ResourceMemory] = *resource.NewQuantity(l.Memory, resource.BinarySI)
	}
	if len(all) == 0 {
		return corev1.ResourceRequirements{}
	}
	return corev1.ResourceRequirements{Limits: all}
}

func (p Plan) account(name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.Namespace(), Labels: p.labels()}}
}
