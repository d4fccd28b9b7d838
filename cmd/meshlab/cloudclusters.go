package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"meshlab.dev/meshlab/terraform"
	"meshlab.dev/meshlab/terraform/remote"
	"meshlab.dev/meshlab/terraform/standin"
)

// The clusters of a lab.
const (
	aksCluster = "aks"
	ovsCluster = "ovs"
)

const (
	// clusterLimit bounds the wait for a cluster that was made just now: its
	// machines install Kubernetes by themselves.
	clusterLimit = 30 * time.Minute
	clusterAgain = 3 * time.Second // between two looks
	adminConfig  = "/etc/kubernetes/admin.conf"
	// howItEnded prints the end of a machine's first start, when that has ended.
	// https://cloudinit.readthedocs.io/en/latest/reference/modules.html#final-message
	howItEnded = "test -e /var/lib/cloud/instance/boot-finished && sudo tail -n 15 /var/log/cloud-init-output.log"
)

// cloudCluster is a cluster of a lab, as far as it is known.
type cloudCluster struct {
	name       string
	meshes     []string // that it is there for; plain pods beside them are the floor
	kubeconfig string   // path
	workers    int
	machine    *remote.Machine // whose kubeconfig is to be fetched first; nil: it is there
	err        error           // why it cannot be reached
}

// reach finds a lab's clusters and registry. With stand-ins they are those that
// the stand-in cloud's file names.
func reach(lab *terraform.Lab, a terraform.Access) (all []cloudCluster, registry string, err error) {
	s, registry := lab.Settings, a.Registry
	given := map[string]string{}
	if s.StandIns != "" {
		state, err := standin.Cloud{Path: s.StandIns}.Load()
		if err != nil {
			return nil, "", err
		}
		if given, registry = state.Clusters, state.Registry; registry == "" {
			return nil, "", fmt.Errorf(`lab %s has stand-ins, so there is nothing to measure; for a rehearsal add clusters and a registry of yours to %s: "clusters": {"aks": "KUBECONFIG", "ovs": "KUBECONFIG"}, "registry": "HOST:PORT"`, s.Name, s.StandIns)
		}
	}
	for _, name := range s.Clusters {
		c := cloudCluster{name: name, workers: s.Nodes, kubeconfig: lab.Kubeconfig(name), meshes: []string{"direct", "consul-connect"}}
		if name == ovsCluster {
			c.meshes = []string{"direct", "ovs"}
		}
		switch user, host, ok := strings.Cut(a.SSH, "@"); {
		case s.StandIns != "":
			if c.kubeconfig = given[name]; c.kubeconfig == "" {
				c.err = fmt.Errorf(`"clusters" in %s has no kubeconfig for %s`, s.StandIns, name)
			}
		case name == aksCluster && a.Kubeconfig == "":
			c.err = errors.New("the state of Terraform has no kubeconfig of AKS: `meshlab cloud up` goes on where it stopped")
		case name == ovsCluster && a.Bastion != "":
			c.err = errors.New("the machines have no public address (--bastion), so this machine cannot reach their API server; make the lab without --bastion, or with --clusters aks")
		case name == ovsCluster && !ok:
			c.err = errors.New("the state of Terraform has no address of the cluster with Open vSwitch: `meshlab cloud up` goes on where it stopped")
		case name == ovsCluster:
			c.machine = &remote.Machine{User: user, Address: net.JoinHostPort(host, "22"), Key: lab.SSHKey(), KnownHosts: lab.KnownHosts()}
		}
		all = append(all, c)
	}
	return all, registry, nil
}

// await fetches the kubeconfig and waits until the nodes are ready, image of
// which they have, if any is given.
func (c cloudCluster) await(ctx context.Context, p *progress, image string) error {
	if c.err != nil {
		return c.err
	}
	begin := time.Now()
	p.start("cluster")
	if c.machine != nil {
		if err := fetchKubeconfig(ctx, p, *c.machine, c.kubeconfig); err != nil {
			return err
		}
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("use %s: %w", c.kubeconfig, err)
	}
	what := fmt.Sprintf("%d nodes of cluster %s", c.workers, c.name)
	err = until(ctx, p, what, func(ctx context.Context) error {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		return c.enough(nodes.Items, image)
	})
	if err != nil {
		return err
	}
	p.finish("cluster", fmt.Sprintf("%d nodes are ready", c.workers), time.Since(begin))
	return nil
}

func (c cloudCluster) config() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of cluster %s: %w", c.name, err)
	}
	return cfg, nil
}

// controlPlane labels nodes whose pods are the cluster's own.
// https://kubernetes.io/docs/reference/labels-annotations-taints/
const controlPlane = "node-role.kubernetes.io/control-plane"

// enough says what nodes still lack: that so many for pods are ready, and have
// an image. On the virtual machines the control plane is there before any of them;
// in a cluster of another kind the only node may be both.
func (c cloudCluster) enough(nodes []corev1.Node, image string) error {
	want, ready, with := c.workers, 0, 0
	for _, n := range nodes {
		if _, own := n.Labels[controlPlane]; own && (c.name == ovsCluster || len(nodes) > 1) {
			continue
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				ready++
			}
		}
		for _, i := range n.Status.Images {
			for _, name := range i.Names {
				if name == image {
					with++
				}
			}
		}
	}
	switch {
	case ready < want:
		return fmt.Errorf("%d of %d nodes are ready", ready, want)
	case image != "" && with < want:
		return fmt.Errorf("%d of %d nodes have pulled the image", with, want)
	}
	return nil
}

// fetchKubeconfig asks a control plane for its kubeconfig until it has one, and
// writes it, for this user alone, with the address that reaches it from here.
func fetchKubeconfig(ctx context.Context, p *progress, m remote.Machine, path string) error {
	var text []byte
	err := until(ctx, p, "the control plane "+m.Address, func(ctx context.Context) (err error) {
		text, err = m.Output(ctx, "sudo cat "+adminConfig)
		if errors.Is(err, remote.ErrHostKey) {
			return fatal{err}
		}
		if missing := (*remote.Fault)(nil); errors.As(err, &missing) {
			if end, e := m.Output(ctx, howItEnded); e == nil {
				return fatal{fmt.Errorf("%w; its first start has ended without Kubernetes, with\n%s", err, strings.TrimSpace(string(end)))}
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(m.Address)
	if err != nil {
		return err
	}
	config, err := clientcmd.Load(text)
	if err != nil || len(config.Clusters) == 0 {
		return fmt.Errorf("read %s of %s: %w", adminConfig, host, errors.Join(err, errors.New("it names no cluster")))
	}
	for _, cluster := range config.Clusters {
		server, err := url.Parse(cluster.Server)
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", adminConfig, host, err)
		}
		// The certificate always has the address inside the network, and the public
		// one only if the machine had that at its first start.
		cluster.TLSServerName = server.Hostname()
		cluster.Server = "https://" + net.JoinHostPort(host, "6443")
	}
	if text, err = clientcmd.Write(*config); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// Not into a file that others may read already.
	if err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Chmod(path+".new", 0o600), os.Rename(path+".new", path)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// fatal is an error that no further try can mend.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// until looks again and again until check is content, and tells meanwhile what it
// said last. It gives up after clusterLimit.
func until(ctx context.Context, p *progress, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, clusterLimit, fmt.Errorf("it has taken longer than %s", clusterLimit))
	defer cancel()
	tick := time.NewTicker(clusterAgain)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		var f fatal
		switch {
		case err == nil:
			return nil
		case errors.As(err, &f):
			return fmt.Errorf("wait for %s: %w", what, err)
		case ctx.Err() == nil:
			last = err
			p.report(err.Error())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; the last look: %v", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
