package kube

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/orchestrate"
)

// LoadVerb is the hidden verb of meshlab that the pod which sends the load runs,
// with the flag --namespace.
const LoadVerb = "kube-load"

// loadPod is the pod that sends the load. It takes part in all meshes.
func (p Plan) loadPod(own netip.Prefix) *corev1.Pod {
	pod := p.pod(loadName, p.Lab.Client.Node)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever // what it has measured goes with it
	c := corev1.Container{
		Name: loadContainer, Image: p.Image, Command: []string{p.Program, LoadVerb, "--namespace", p.Namespace()},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	confine(pod, &c, nobody)
	pod.Spec.Containers = []corev1.Container{c}
	for _, m := range p.Meshes {
		p.join(pod, m, loadName, 0, p.Lab.Client.Upstreams, own)
	}
	pod.Spec.ServiceAccountName = p.loadAccount()
	yes := true
	pod.Spec.AutomountServiceAccountToken = &yes // it writes what it has measured to the API server
	return pod
}

// loadAccount is the service account of the load: Consul's access lists ask for
// one that is called as its service.
func (p Plan) loadAccount() string {
	if p.has(orchestrate.ConsulConnect) {
		return p.service(loadName, orchestrate.ConsulConnect)
	}
	return loadAccount
}

// rights let the load read its plan and write what it has measured: it may do
// that with ConfigMaps of its namespace, and nothing else.
func (p Plan) rights() (*rbacv1.Role, *rbacv1.RoleBinding) {
	meta := metav1.ObjectMeta{Name: loadAccount, Namespace: p.Namespace(), Labels: p.labels()}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "create", "update"},
	}}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: loadAccount},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: p.Namespace(), Name: p.loadAccount()}},
	}
	return role, binding
}
