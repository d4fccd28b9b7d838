package kubetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serviceAccountFolder is where a pod finds who it is (Kubernetes'
// documentation, "Access the Kubernetes API from a Pod").
const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// Daemon is the process of a DaemonSet's pod on a node.
type Daemon struct {
	Name string
	Node *Node

	c         *Cluster
	container corev1.Container
	grace     time.Duration
	cmd       *exec.Cmd
	mu        sync.Mutex
	out       bytes.Buffer
}

// Write takes what the process prints.
func (d *Daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(p)
}

// Log is what the process has printed.
func (d *Daemon) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

// PID is that of the process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// RunDaemonSet runs the one container of a DaemonSet for a node, with a program
// in place of its image, as its pod says: arguments, environment, volumes, the
// token of its service account, user, capabilities, a root of its own. Its
// network is the test's, where the API server is, and a node's /run/openvswitch
// is the folder of that node's switch. It ends with the test.
func (c *Cluster) RunDaemonSet(n *Node, namespace, name, program string) *Daemon {
	c.t.Helper()
	set, err := c.Client.AppsV1().DaemonSets(namespace).Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatalf("run DaemonSet %s: %v", name, err)
	}
	pod := set.Spec.Template.Spec
	d := &Daemon{Name: name, Node: n, c: c, container: pod.Containers[0], grace: time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second}
	con, err := c.confine(n, namespace, pod, program)
	if err != nil {
		c.t.Fatalf("run DaemonSet %s: %v", name, err)
	}
	text, err := json.Marshal(con)
	if err != nil {
		c.t.Fatalf("run DaemonSet %s: %v", name, err)
	}
	d.cmd = exec.Command("/proc/self/exe")
	d.cmd.Env = append(c.environment(n, d.container), confinedVariable+"="+string(text))
	d.cmd.Stdout, d.cmd.Stderr = d, d
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if err := d.cmd.Start(); err != nil {
		c.t.Fatalf("run DaemonSet %s: %v", name, err)
	}
	c.t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait() // its output tells
		}
		if c.t.Failed() {
			c.t.Logf("%s on %s printed:\n%s", name, n.Name, d.Log())
		}
	})
	return d
}

// Ready waits until the readiness probe is content.
func (d *Daemon) Ready() {
	d.c.t.Helper()
	probe := d.container.ReadinessProbe.HTTPGet
	at := slices.IndexFunc(d.container.Ports, func(p corev1.ContainerPort) bool { return p.Name == probe.Port.StrVal })
	if at < 0 {
		d.c.t.Fatalf("%s has no port %s", d.Name, probe.Port.StrVal)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d%s", d.container.Ports[at].ContainerPort, probe.Path)
	Eventually(d.c.t, d.Name+" to be ready", func(context.Context) error {
		response, err := http.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			var text bytes.Buffer
			_, _ = text.ReadFrom(response.Body) // the status tells enough
			return fmt.Errorf("%s: %s", response.Status, &text)
		}
		return nil
	})
}

// Stop ends the process by SIGTERM, as a kubelet does, and fails the test when
// that takes longer than the pod has.
func (d *Daemon) Stop() {
	d.c.t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(d.grace, func() { _ = d.cmd.Process.Kill() })
	_ = d.cmd.Wait() // its output tells
	if !late.Stop() {
		d.c.t.Errorf("%s on %s did not end within %v of SIGTERM", d.Name, d.Node.Name, d.grace)
	}
}

// environment is what a container is given.
func (c *Cluster) environment(n *Node, container corev1.Container) []string {
	server, err := url.Parse(c.Config.Host)
	if err != nil {
		c.t.Fatalf("read address of the API server: %v", err)
	}
	values := map[string]string{"KUBERNETES_SERVICE_HOST": server.Hostname(), "KUBERNETES_SERVICE_PORT": server.Port()}
	var all []string
	for name, value := range values {
		all = append(all, name+"="+value)
	}
	for _, e := range container.Env {
		value := os.Expand(strings.NewReplacer("$(", "${", ")", "}").Replace(e.Value), func(name string) string { return values[name] })
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			switch e.ValueFrom.FieldRef.FieldPath {
			case "spec.nodeName":
				value = n.Name
			case "status.hostIP":
				value = n.Addr
			default:
				c.t.Fatalf("environment %s: field %s has no stand-in", e.Name, e.ValueFrom.FieldRef.FieldPath)
			}
		}
		values[e.Name] = value
		all = append(all, e.Name+"="+value)
	}
	return all
}

// confine says how the container is confined.
func (c *Cluster) confine(n *Node, namespace string, pod corev1.PodSpec, program string) (confinement, error) {
	container := pod.Containers[0]
	s := container.SecurityContext
	con := confinement{
		Root: c.t.TempDir(), ReadOnlyRoot: s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem, Files: map[string][]byte{},
		KeepAll: s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") || *s.AllowPrivilegeEscalation,
		Binds:   []bind{{program, "/program", true}},
		Args:    append([]string{"/program"}, container.Args...),
	}
	if s.RunAsUser != nil {
		con.User = int(*s.RunAsUser)
	}
	token := c.ServiceAccount(namespace, pod.ServiceAccountName)
	con.Files[path.Join(serviceAccountFolder, "token")] = []byte(token.BearerToken)
	con.Files[path.Join(serviceAccountFolder, "ca.crt")] = token.CAData
	con.Files[path.Join(serviceAccountFolder, "namespace")] = []byte(namespace)
	for _, m := range container.VolumeMounts {
		at := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if at < 0 {
			return con, fmt.Errorf("volume %s is missing", m.Name)
		}
		v := pod.Volumes[at]
		switch {
		case v.HostPath != nil && v.HostPath.Path == "/run/openvswitch":
			con.Binds = append(con.Binds, bind{n.RunDir, m.MountPath, m.ReadOnly})
		case v.EmptyDir != nil:
			con.Memory = append(con.Memory, m.MountPath)
		case v.Projected != nil:
			for _, source := range v.Projected.Sources {
				if err := c.project(con.Files, namespace, m.MountPath, source); err != nil {
					return con, err
				}
			}
		default:
			return con, fmt.Errorf("volume %s has no stand-in", m.Name)
		}
	}
	return con, nil
}

// project adds the files of one source of a projected volume.
func (c *Cluster) project(files map[string][]byte, namespace, folder string, source corev1.VolumeProjection) error {
	switch {
	case source.ConfigMap != nil:
		m, err := c.Client.CoreV1().ConfigMaps(namespace).Get(c.t.Context(), source.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for key, text := range m.Data {
			files[path.Join(folder, key)] = []byte(text)
		}
	case source.Secret != nil:
		m, err := c.Client.CoreV1().Secrets(namespace).Get(c.t.Context(), source.Secret.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for key, text := range m.Data {
			files[path.Join(folder, key)] = text
		}
	}
	return nil
}
