package kubetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/labs/builtin"
)

// program is what a container runs in place of its image: a service of
// package builtin, or one of the names below.
type program struct {
	name string
	env  map[string]string
	args []string
	path string      // of a program of the machine that is run in their place; empty: none, see SetImage
	pod  *corev1.Pod // that it is in; only with path
}

// Programs that are none of package builtin's.
const (
	idleProgram  = "idle"      // waits for its end: an image that only holds tools
	nginxProgram = "nginx"     // passes requests on as its configuration says
	textProgram  = "http-echo" // answers with a text
)

// errNoProgram is what a container gets whose image has no stand-in.
var errNoProgram = errors.New("no stand-in for this image: see kubetest, programFor")

// files answers the content of a file of a container that a volume mounts.
type files func(path string) ([]byte, error)

// programFor translates an image with its environment. Names of images are
// compared without registry and tag.
func programFor(container corev1.Container, read files) (program, error) {
	env := map[string]string{}
	for _, e := range container.Env {
		if e.ValueFrom != nil {
			return program{}, fmt.Errorf("container %s: environment %s: valueFrom has no stand-in", container.Name, e.Name)
		}
		env[e.Name] = e.Value
	}
	bind := ":80"
	if len(container.Ports) > 0 {
		bind = fmt.Sprint(":", container.Ports[0].ContainerPort)
	}
	p := program{env: map[string]string{"BIND_ADDRESS": bind}, args: container.Args}
	image, _, _ := strings.Cut(path.Base(container.Image), ":")
	switch image {
	case "product-api-db", "postgres":
		p.name = "hashicups/product-db"
	case "payments":
		p.name = "hashicups/payments"
	case "public-api":
		p.name = "hashicups/public-api"
		maps.Copy(p.env, env)
	case "frontend":
		// Its pages ask public-api under their own address, so it never does.
		p.name = "hashicups/frontend"
		p.env["PUBLIC_API_URI"] = "http://127.0.0.1:9"
	case "product-api":
		p.name = "hashicups/product-api"
		var file struct {
			Connection string `json:"db_connection"`
			Bind       string `json:"bind_address"`
		}
		text, err := read(env["CONFIG_FILE"])
		if err == nil {
			err = json.Unmarshal(text, &file)
		}
		if err != nil {
			return program{}, fmt.Errorf("container %s: CONFIG_FILE: %w", container.Name, err)
		}
		p.env["DB_CONNECTION"], p.env["BIND_ADDRESS"] = file.Connection, file.Bind
	case "nginx":
		p.name = nginxProgram
		text, err := read("/etc/nginx/conf.d/default.conf")
		if err != nil {
			return program{}, fmt.Errorf("container %s: %w", container.Name, err)
		}
		p.env["CONFIG"] = string(text)
	case "http-echo":
		p.name = textProgram
	case proxyProgram:
		p.name, p.env = proxyProgram, env
	case "fortio", "fortio-debian", "curl", "pause":
		p.name = idleProgram
	default:
		return program{}, fmt.Errorf("container %s: image %s: %w", container.Name, container.Image, errNoProgram)
	}
	return p, nil
}

// programs translates the containers of a pod.
func (c *Cluster) programs(ctx context.Context, pod *corev1.Pod) ([]program, error) {
	var all []program
	for _, container := range pod.Spec.Containers {
		if p, ok, err := c.ownProgram(pod, container); err != nil {
			return nil, err
		} else if ok {
			all = append(all, p)
			continue
		}
		p, err := programFor(container, func(path string) ([]byte, error) { return c.file(ctx, pod, container, path) })
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// file reads a file that a container has from a ConfigMap.
func (c *Cluster) file(ctx context.Context, pod *corev1.Pod, container corev1.Container, name string) ([]byte, error) {
	for _, mount := range container.VolumeMounts {
		for _, volume := range pod.Spec.Volumes {
			if volume.Name != mount.Name || volume.ConfigMap == nil || path.Dir(name) != mount.MountPath {
				continue
			}
			m, err := c.Client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, volume.ConfigMap.Name, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			key := path.Base(name)
			for _, item := range volume.ConfigMap.Items {
				if item.Path == key {
					key = item.Key
				}
			}
			if text, ok := m.Data[key]; ok {
				return []byte(text), nil
			}
		}
	}
	return nil, fmt.Errorf("file %q is in no ConfigMap that is mounted", name)
}

// keepRunning runs a container until ctx ends, which kills it, or term is
// closed, which lets it end. One that ends by itself is started again.
func (c *Cluster) keepRunning(ctx context.Context, term <-chan struct{}, pod *corev1.Pod, name string, p program) {
	where := fmt.Sprintf("pod %s, container %s", pod.Name, name)
	dir, err := os.MkdirTemp("", "container")
	if err != nil {
		c.note("%s: %v", where, err)
		return
	}
	defer os.RemoveAll(dir)
	for ctx.Err() == nil {
		code, err := c.runContainer(ctx, term, podNetNS(pod), dir, p)
		if pod.Spec.RestartPolicy == corev1.RestartPolicyNever && ctx.Err() == nil {
			c.reportEnd(ctx, pod, name, code, err)
			return
		}
		select {
		case <-term:
			return
		case <-ctx.Done():
			return
		case <-time.After(again):
			c.note("%s ended: %v", where, err)
		}
	}
}

// runContainer runs a program once, in a network namespace and a folder. It
// returns the exit code, and what it printed.
func (c *Cluster) runContainer(ctx context.Context, term <-chan struct{}, ns, dir string, p program) (int, error) {
	words, err := c.words(ctx, p, dir)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}
	if p.path == "" {
		cmd.Env = append(cmd.Env, containerVariable+"="+p.name)
	}
	for key, value := range p.env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if b, ok := builtin.Lookup(p.name); ok && b.Unprivileged {
		if err := otherUser(cmd.SysProcAttr); err != nil {
			return 0, err
		}
	}
	if err := inNetNS(ns, cmd.Start); err != nil {
		return 0, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err = <-done:
		return cmd.ProcessState.ExitCode(), fmt.Errorf("%w: %s", errors.Join(err, errors.New("it has printed")), out.Bytes())
	case <-ctx.Done():
	case <-term:
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
			return cmd.ProcessState.ExitCode(), nil
		case <-ctx.Done():
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	<-done
	return cmd.ProcessState.ExitCode(), nil
}

// otherUser lets a program that refuses user id 0 see itself under that of the
// user postgres, in a user namespace; files belong to it as they are.
func otherUser(attr *syscall.SysProcAttr) error {
	u, err := user.Lookup("postgres")
	if err != nil {
		return fmt.Errorf("find a user for Postgres: %w; install Postgres (make deps)", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	attr.Cloneflags = syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: 0, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: 0, Size: 1}}
	return nil
}

// containerMain is the process of a container.
func containerMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := contain(ctx, os.Getenv(containerVariable), log); err != nil {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
		return 1
	}
	return 0
}

func contain(ctx context.Context, name string, log *slog.Logger) error {
	switch name {
	case idleProgram:
		<-ctx.Done()
		return nil
	case nginxProgram:
		handler, err := standInNginx(os.Getenv("CONFIG"))
		if err != nil {
			return err
		}
		return serveHTTP(ctx, os.Getenv("BIND_ADDRESS"), handler)
	case proxyProgram:
		return standInProxy(ctx)
	case textProgram:
		address, handler := standInEcho(os.Args[1:])
		return serveHTTP(ctx, address, handler)
	}
	b, ok := builtin.Lookup(name)
	if !ok {
		return fmt.Errorf("no program is called %s", name)
	}
	return b.Run(ctx, os.Getenv, log)
}
