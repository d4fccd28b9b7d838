package kube

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/topo"
)

// Tell is told what is being waited for. It may be nil.
type Tell func(format string, args ...any)

func (t Tell) say(format string, args ...any) {
	if t != nil {
		t(format, args...)
	}
}

// Prepare checks a plan and returns what Raise makes of it. Nothing is made.
func (c Cluster) Prepare(p Plan) (*Deployment, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return &Deployment{cluster: c, plan: p, namespace: p.Namespace()}, nil
}

// Namespace is where the lab is.
func (d *Deployment) Namespace() string { return d.namespace }

// Raise makes the services of all meshes and returns when they are ready, with
// the addresses of their pods by name. The error tells what is not, and why; what
// was made by then stays until Remove.
func (d *Deployment) Raise(ctx context.Context, tell Tell) (map[string]netip.Addr, error) {
	if err := d.makeNamespace(ctx); err != nil {
		return nil, err
	}
	if err := d.makeMeshes(ctx); err != nil {
		return nil, err
	}
	own, err := d.assign(ctx)
	if err != nil {
		return nil, err
	}
	pods := map[string]netip.Addr{}
	for _, m := range d.plan.Meshes {
		if m == orchestrate.Direct {
			continue
		}
		for _, s := range d.plan.Lab.Services {
			if err := d.makePod(ctx, s, m, pods, own); err != nil {
				return nil, err
			}
		}
	}
	if d.plan.has(orchestrate.Direct) {
		all, err := layers(d.plan.Lab)
		if err != nil {
			return nil, err
		}
		for _, layer := range all {
			var names []string
			for _, s := range layer {
				names = append(names, podName(s.Name, orchestrate.Direct))
				if err := d.makePod(ctx, s, orchestrate.Direct, pods, own); err != nil {
					return nil, err
				}
			}
			// Their callers are told their addresses.
			have, err := d.await(ctx, names, hasAddress, tell)
			if err != nil {
				return nil, err
			}
			maps.Copy(pods, have)
		}
	}
	var names []string
	for _, m := range d.plan.Meshes {
		for _, s := range d.plan.Lab.Services {
			names = append(names, podName(s.Name, m))
		}
	}
	have, err := d.await(ctx, names, isReady, tell)
	maps.Copy(pods, have)
	return pods, err
}

// assign chooses the addresses that pods ask for, among those that are free now.
func (d *Deployment) assign(ctx context.Context) (map[string]netip.Prefix, error) {
	if !d.plan.has(orchestrate.OVS) || !d.plan.Switches.Assign {
		return nil, nil
	}
	taken, err := d.cluster.taken(ctx)
	if err != nil {
		return nil, err
	}
	d.plan.Switches.Reserved = taken
	d.given, err = d.plan.assign()
	return d.given, err
}

// makeMeshes makes what meshes need beside pods.
func (d *Deployment) makeMeshes(ctx context.Context) error {
	if d.plan.has(orchestrate.OVS) && d.plan.Switches.Network == "" {
		if err := d.make(ctx, attachments, d.plan.attachment()); err != nil {
			return err
		}
	}
	if d.plan.has(orchestrate.ConsulConnect) {
		core := d.cluster.Client.CoreV1()
		accounts, services := d.plan.connectServices()
		for i := range accounts {
			if _, err := core.ServiceAccounts(d.namespace).Create(ctx, accounts[i], metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create service account %s: %w", accounts[i].Name, err)
			}
			if _, err := core.Services(d.namespace).Create(ctx, services[i], metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create service %s: %w", services[i].Name, err)
			}
		}
	}
	if d.plan.Intentions {
		for _, o := range d.plan.intentions() {
			if err := d.make(ctx, intentions, o); err != nil {
				return err
			}
		}
	}
	role, binding := d.plan.rights()
	rbac := d.cluster.Client.RbacV1()
	if _, err := rbac.Roles(d.namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("let the load write ConfigMaps: %w", err)
	}
	if _, err := rbac.RoleBindings(d.namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("let the load write ConfigMaps: %w", err)
	}
	return nil
}

func (d *Deployment) make(ctx context.Context, kind schema.GroupVersionResource, o *unstructured.Unstructured) error {
	if _, err := d.cluster.Dynamic.Resource(kind).Namespace(d.namespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

func (d *Deployment) makePod(ctx context.Context, s topo.Service, m orchestrate.Mesh, pods map[string]netip.Addr, own map[string]netip.Prefix) error {
	pod, err := d.plan.servicePod(s, m, pods, own[podName(s.Name, m)])
	if err != nil {
		return err
	}
	return d.createPod(ctx, pod)
}

// createPod creates a pod, and once more where a webhook did not answer at
// once: those of consul-k8s and others have little time.
func (d *Deployment) createPod(ctx context.Context, pod *corev1.Pod) error {
	var made *corev1.Pod
	err := retry.OnError(retry.DefaultBackoff, retriable, func() (err error) {
		made, err = d.cluster.Client.CoreV1().Pods(d.namespace).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("create pod %s: %w", pod.Name, err)
	}
	if pod.Annotations[keyInject] == "true" && len(made.Spec.Containers)+len(made.Spec.InitContainers) == len(pod.Spec.Containers) {
		return fmt.Errorf("create pod %s: it got no sidecar: the injector of consul-k8s does not look at namespace %s (its values connectInject.k8sAllowNamespaces, k8sDenyNamespaces and namespaceSelector say at which)", pod.Name, d.namespace)
	}
	return nil
}

// StartLoad lets the load find its plan, starts it and returns when it runs.
func (d *Deployment) StartLoad(ctx context.Context, plan []byte, tell Tell) error {
	_, err := d.cluster.Client.CoreV1().ConfigMaps(d.namespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: planMap, Labels: d.plan.labels()}, BinaryData: map[string][]byte{keyText: plan},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("write the load's plan: %w", err)
	}
	if err := d.createPod(ctx, d.plan.loadPod(d.given[loadName])); err != nil {
		return err
	}
	_, err = d.await(ctx, []string{loadName}, hasStarted, tell)
	return err
}

// Sidecars are the images of the containers that an injector has added to the
// pods of the lab, without those that many pods have twice.
func (d *Deployment) Sidecars(ctx context.Context) ([]string, error) {
	pods, err := d.cluster.Client.CoreV1().Pods(d.namespace).List(ctx, metav1.ListOptions{LabelSelector: labelMesh + "=" + string(orchestrate.ConsulConnect)})
	if err != nil {
		return nil, fmt.Errorf("look at the sidecars: %w", err)
	}
	var all []string
	for _, pod := range pods.Items {
		containers := pod.Spec.Containers
		for _, c := range pod.Spec.InitContainers { // those that go on beside the others
			if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				containers = append(containers, c)
			}
		}
		for _, c := range containers {
			if c.Name != serviceContainer && !slices.Contains(all, c.Image) {
				all = append(all, c.Image)
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

// Result waits for what the load has measured. progress gets what it says
// meanwhile, whenever that is new. A load that has died or that says nothing for
// the given time is an error, as is an API server that is away for too long.
func (d *Deployment) Result(ctx context.Context, silent time.Duration, progress func(text []byte)) ([]byte, error) {
	post := NewPost(d.cluster.Client.CoreV1(), d.namespace)
	heard, answered := time.Now(), time.Now()
	last := ""
	for {
		result, err := post.result(ctx)
		if err == nil {
			return result, nil
		}
		if isNothing(err) {
			var text []byte
			if text, err = post.progress(ctx); err == nil && string(text) != last {
				last, heard = string(text), time.Now()
				progress(text)
			}
		}
		if err == nil || isNothing(err) {
			var pod *corev1.Pod
			if pod, err = d.cluster.Client.CoreV1().Pods(d.namespace).Get(ctx, loadName, metav1.GetOptions{}); err == nil {
				if why := loadDied(pod); why != "" {
					// Its last words may have come since.
					if result, err := post.result(ctx); err == nil {
						return result, nil
					}
					return nil, fmt.Errorf("the pod that sends the load has ended before its result was there: %s", why)
				}
				answered = time.Now()
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && lasting(err):
			return nil, fmt.Errorf("follow the load: %w", err)
		case time.Since(answered) > outage:
			return nil, fmt.Errorf("follow the load: the API server has not answered for %v: %w", outage, err)
		case err == nil && time.Since(heard) > silent:
			return nil, fmt.Errorf("the pod that sends the load runs, and has said nothing for %v: %s", silent.Round(time.Second), d.where(loadName))
		}
		select {
		case <-ctx.Done():
		case <-time.After(poll):
		}
	}
}

// where is a hint at a pod that cannot be looked at later.
func (d *Deployment) where(pod string) string {
	return fmt.Sprintf("'kubectl -n %s logs %s' shows its log while the run goes on", d.namespace, pod)
}
