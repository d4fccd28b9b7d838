package kubetest

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// control is the stand-in for the scheduler, the deployment controller and the
// namespace controller: on each change it looks at everything, as a test's
// cluster is small.
func (c *Cluster) control(deployments, namespaces cache.Store) {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.change:
		}
		if !c.pods.HasSynced() {
			continue
		}
		err := c.schedule(c.ctx)
		for _, o := range deployments.List() {
			if e := c.deploy(c.ctx, o.(*appsv1.Deployment)); err == nil {
				err = e
			}
		}
		if e := c.endNamespaces(c.ctx, namespaces); err == nil {
			err = e
		}
		if err != nil && c.ctx.Err() == nil {
			c.note("%v", err)
			time.AfterFunc(again, c.wake) // it may lack what no watch tells of
		}
	}
}

// schedule binds pods that have no node: to the one with fewest pods of those
// that their nodeSelector allows, the first of equals.
func (c *Cluster) schedule(ctx context.Context) error {
	count := map[string]int{}
	var waiting []*corev1.Pod
	for _, o := range c.pods.GetStore().List() {
		pod := o.(*corev1.Pod)
		if pod.DeletionTimestamp != nil {
			continue // it makes room
		}
		count[pod.Spec.NodeName]++
		if pod.Spec.NodeName == "" {
			waiting = append(waiting, pod)
		}
	}
	slices.SortFunc(waiting, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	for _, pod := range waiting {
		var to *Node
		for _, n := range c.Nodes {
			if want := pod.Spec.NodeSelector[corev1.LabelHostname]; want != "" && want != n.Name || c.kubelet[n.Name].ctx.Err() != nil {
				continue
			}
			if to == nil || count[n.Name] < count[to.Name] {
				to = n
			}
		}
		if to == nil {
			return fmt.Errorf("schedule pod %s: no node is for it", pod.Name)
		}
		err := c.Client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: to.Name},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) { // bound, and the watch has yet to tell
			return fmt.Errorf("schedule pod %s: %w", pod.Name, err)
		}
		count[to.Name]++
	}
	return nil
}

// templateLabel tells pods of one template from those of another
// (apps/v1, DefaultDeploymentUniqueLabelKey).
const templateLabel = appsv1.DefaultDeploymentUniqueLabelKey

// deploy makes and deletes pods until a Deployment has what it asks for. It
// asks the API server and not the watch, so it never makes one twice.
func (c *Cluster) deploy(ctx context.Context, d *appsv1.Deployment) error {
	hash := fnv.New32a()
	fmt.Fprintf(hash, "%v", d.Spec.Template.String())
	template := fmt.Sprintf("%08x", hash.Sum32())
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return fmt.Errorf("deployment %s: %w", d.Name, err)
	}
	pods := c.Client.CoreV1().Pods(d.Namespace)
	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return fmt.Errorf("deployment %s: %w", d.Name, err)
	}
	var current []corev1.Pod
	for _, pod := range list.Items {
		switch {
		case !metav1.IsControlledBy(&pod, d) || pod.DeletionTimestamp != nil:
		case pod.Labels[templateLabel] == template:
			current = append(current, pod)
		default: // of an older template; there is no rolling, they go at once
			if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("deployment %s: %w", d.Name, err)
			}
		}
	}
	want := 1
	if d.Spec.Replicas != nil {
		want = int(*d.Spec.Replicas)
	}
	for len(current) > want {
		last := len(current) - 1
		if err := pods.Delete(ctx, current[last].Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deployment %s: %w", d.Name, err)
		}
		current = current[:last]
	}
	for len(current) < want {
		pod := &corev1.Pod{ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy(), Spec: *d.Spec.Template.Spec.DeepCopy()}
		pod.Name, pod.GenerateName, pod.Namespace = "", d.Name+"-", d.Namespace
		pod.Labels[templateLabel] = template
		pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
		made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("deployment %s: %w", d.Name, err)
		}
		current = append(current, *made)
	}
	return c.reportDeployment(ctx, d, current)
}

func (c *Cluster) reportDeployment(ctx context.Context, d *appsv1.Deployment, pods []corev1.Pod) error {
	status := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: int32(len(pods)), UpdatedReplicas: int32(len(pods))}
	for _, pod := range pods {
		if ready(pod) {
			status.ReadyReplicas++
			status.AvailableReplicas++
		}
	}
	old := d.Status
	if old.ObservedGeneration == status.ObservedGeneration && old.Replicas == status.Replicas && old.ReadyReplicas == status.ReadyReplicas {
		return nil
	}
	d = d.DeepCopy()
	d.Status = status
	_, err := c.Client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) { // the watch will tell of it
		return nil
	}
	return err
}
