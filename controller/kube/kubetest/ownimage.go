package kubetest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// accountFolder is where a container finds its service account (Kubernetes
// documentation, "Accessing the Kubernetes API from a Pod").
const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// mountAccount shows a program the folder of its service account, in a mount
// namespace of its own, and becomes it.
const mountAccount = `
mkdir -p ` + accountFolder + `
mount --bind "$0" ` + accountFolder + `
exec "$@"`

// SetImage lets containers of an image run a program of the machine: with the
// command of the container, whose first word is replaced, its arguments and its
// environment. Names are compared without registry and tag. It is to be called
// before there are pods.
func (c *Cluster) SetImage(name, program string) { c.images[name] = program }

// ownProgram is what a container of such an image runs.
func (c *Cluster) ownProgram(pod *corev1.Pod, container corev1.Container) (program, bool, error) {
	image, _, _ := strings.Cut(path.Base(container.Image), ":")
	file, ok := c.images[image]
	if !ok {
		return program{}, false, nil
	}
	p := program{path: file, env: map[string]string{}, pod: pod}
	if words := append(container.Command, container.Args...); len(words) > 0 {
		p.args = words[1:]
	}
	if len(p.args) == 2 && p.args[0] == "service" {
		p.name = p.args[1] // which of package builtin's it is
	}
	for _, e := range container.Env {
		if e.ValueFrom != nil {
			return p, true, fmt.Errorf("container %s: environment %s: valueFrom has no stand-in", container.Name, e.Name)
		}
		p.env[e.Name] = e.Value
	}
	server, err := url.Parse(c.Config.Host)
	if err != nil {
		return p, true, err
	}
	p.env["KUBERNETES_SERVICE_HOST"], p.env["KUBERNETES_SERVICE_PORT"] = clusterAddress, server.Port()
	return p, true, nil
}

// words are what is started for a program, in a folder that it has.
func (c *Cluster) words(ctx context.Context, p program, dir string) ([]string, error) {
	if p.path == "" {
		return append([]string{"/proc/self/exe"}, p.args...), nil
	}
	all := append([]string{p.path}, p.args...)
	if mount := p.pod.Spec.AutomountServiceAccountToken; mount == nil || !*mount {
		return all, nil // it does not say that it wants it
	}
	folder, err := c.account(ctx, p.pod, dir)
	if err != nil {
		return nil, err
	}
	return append([]string{"unshare", "--mount", "sh", "-ec", mountAccount, folder}, all...), nil
}

// account writes the files of a pod's service account.
func (c *Cluster) account(ctx context.Context, pod *corev1.Pod, dir string) (string, error) {
	hour := int64(time.Hour / time.Second)
	token, err := c.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, &authentication.TokenRequest{
		Spec: authentication.TokenRequestSpec{ExpirationSeconds: &hour, BoundObjectRef: &authentication.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask for a token of service account %s: %w", pod.Spec.ServiceAccountName, err)
	}
	folder := filepath.Join(dir, "serviceaccount")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	return folder, writeFiles(folder, map[string][]byte{
		"token": []byte(token.Status.Token), "ca.crt": c.Config.CAData, "namespace": []byte(pod.Namespace),
	})
}

// apiserverAddresses are those that the certificate of the API server is for.
func apiserverAddresses() []net.IP {
	return []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(clusterAddress)}
}
