package kubetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// again is the time between two tries of what did not work.
const again = 200 * time.Millisecond

// standInKubelet runs the pods of one node: network, containers, status, and
// their end. It probes nothing: a container that runs is ready.
type standInKubelet struct {
	cluster *Cluster
	node    *Node
	ctx     context.Context // of all pods; its end is the node's
	cancel  context.CancelFunc

	mu   sync.Mutex
	pods map[types.UID]*podRun
	next int // the last number of a podIP
}

// podRun is a pod that is being run.
type podRun struct {
	stop chan time.Duration // takes the time to end in, once
	once sync.Once
	done chan struct{} // closed when nothing of it is left here

	term       chan struct{} // closed to let its containers end
	containers sync.WaitGroup
}

func newKubelet(c *Cluster, n *Node) *standInKubelet {
	k := &standInKubelet{cluster: c, node: n, pods: map[types.UID]*podRun{}}
	k.ctx, k.cancel = context.WithCancel(c.ctx)
	return k
}

// update takes note of a pod of this node.
func (k *standInKubelet) update(pod *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.pods[pod.UID]
	switch {
	case k.ctx.Err() != nil:
	case r == nil && pod.DeletionTimestamp == nil:
		k.next++
		r = &podRun{stop: make(chan time.Duration, 1), done: make(chan struct{}), term: make(chan struct{})}
		k.pods[pod.UID] = r
		podIP := fmt.Sprintf("%s%d.%d", podPrefix, k.node.number, k.next)
		go func() {
			defer close(r.done)
			k.run(pod.DeepCopy(), podIP, r)
		}()
	case r == nil: // deleted before it ran here
		go k.remove(pod)
	case pod.DeletionTimestamp != nil:
		grace := time.Duration(0)
		if s := pod.DeletionGracePeriodSeconds; s != nil {
			grace = time.Duration(*s) * time.Second
		}
		r.end(grace)
	}
}

// forget ends a pod whose object has gone without the kubelet's doing.
func (k *standInKubelet) forget(pod *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.pods[pod.UID]; r != nil {
		r.end(0)
		delete(k.pods, pod.UID)
	}
}

func (r *podRun) end(grace time.Duration) { r.once.Do(func() { r.stop <- grace }) }

// end kills all containers and waits. Objects stay as they are.
func (k *standInKubelet) end() {
	k.cancel()
	k.mu.Lock()
	var all []*podRun
	for _, r := range k.pods {
		all = append(all, r)
	}
	k.mu.Unlock()
	for _, r := range all {
		<-r.done
	}
}

// run runs a pod from its network to its end.
func (k *standInKubelet) run(pod *corev1.Pod, podIP string, r *podRun) {
	c, where := k.cluster, fmt.Sprintf("pod %s/%s at %s", pod.Namespace, pod.Name, k.node.Name)
	ctx, kill := context.WithCancel(k.ctx)
	defer kill()
	begin := func() error {
		networks, err := c.addNetwork(ctx, k.node, pod, podIP)
		if err != nil {
			return err
		}
		programs, err := c.programs(ctx, pod)
		if err != nil {
			return err
		}
		if err := k.annotate(ctx, pod, networks); err != nil {
			return err
		}
		for i, p := range programs {
			r.containers.Go(func() { c.keepRunning(ctx, r.term, pod, pod.Spec.Containers[i].Name, p) })
		}
		return nil
	}
	started := time.Now()
	report := func() error { return k.report(ctx, pod, podIP, started) }
	for _, step := range []func() error{begin, report} {
		if grace, err := k.untilDone(ctx, r, where, step); err != nil {
			r.stop <- grace
			break
		}
	}
	k.await(ctx, kill, pod, r)
}

// untilDone tries a step until it works. If the pod is to end before that, the
// error is errEnded, with the time that it has for that.
func (k *standInKubelet) untilDone(ctx context.Context, r *podRun, where string, step func() error) (grace time.Duration, err error) {
	for {
		err := step()
		if err == nil {
			return 0, nil
		}
		if ctx.Err() == nil {
			k.cluster.note("%s: %v", where, err)
		}
		select {
		case <-time.After(again):
		case grace := <-r.stop:
			return grace, errEnded
		case <-ctx.Done():
			return 0, errEnded
		}
	}
}

// await ends a pod when it is to, and removes it.
func (k *standInKubelet) await(ctx context.Context, kill context.CancelFunc, pod *corev1.Pod, r *podRun) {
	select {
	case grace := <-r.stop:
		close(r.term)
		ended := make(chan struct{})
		go func() {
			r.containers.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(grace):
		case <-ctx.Done():
		}
	case <-ctx.Done(): // the node's power is gone
		r.containers.Wait()
		_ = run(context.Background(), "ip", "netns", "del", podNetNS(pod)) // if it was made
		return
	}
	kill()
	r.containers.Wait()
	if err := k.cluster.patchReady(k.ctx, pod, corev1.ConditionFalse, "PodCompleted"); err != nil && !gone(err) {
		k.cluster.note("pod %s: %v", pod.Name, err)
	}
	k.cluster.removeNetwork(k.ctx, k.node, pod)
	k.remove(pod)
}

// gone says that an object is not there any more, or is another one by now.
func gone(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

// remove lets the API server drop the object of a pod that has ended.
func (k *standInKubelet) remove(pod *corev1.Pod) {
	now := int64(0)
	for k.ctx.Err() == nil {
		err := k.cluster.Client.CoreV1().Pods(pod.Namespace).Delete(k.ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
		if err == nil || gone(err) {
			return
		}
		select {
		case <-time.After(again): // the API server may be away
		case <-k.ctx.Done():
		}
	}
}

// annotate writes what Multus writes.
func (k *standInKubelet) annotate(ctx context.Context, pod *corev1.Pod, networks []networkStatus) error {
	text, err := json.MarshalIndent(networks, "", "    ")
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": pod.UID, "annotations": map[string]string{statusAnnotation: string(text)},
	}})
	if err != nil {
		return err
	}
	_, err = k.cluster.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// report writes the status of a pod that runs.
func (k *standInKubelet) report(ctx context.Context, pod *corev1.Pod, podIP string, started time.Time) error {
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: podIP, PodIPs: []corev1.PodIP{{IP: podIP}},
		HostIP: k.node.Addr, HostIPs: []corev1.HostIP{{IP: k.node.Addr}}, StartTime: &metav1.Time{Time: started},
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()})
	}
	yes := true
	for _, container := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: true, Started: &yes,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		})
	}
	return k.cluster.patchStatus(ctx, pod, status)
}

// reportEnd writes the end of a container that is not started again. It is
// that of its pod if that has no other.
func (c *Cluster) reportEnd(ctx context.Context, pod *corev1.Pod, name string, code int, printed error) {
	phase := corev1.PodSucceeded
	if code != 0 {
		phase = corev1.PodFailed
	}
	if len(pod.Spec.Containers) > 1 {
		phase = corev1.PodRunning
	}
	message := ""
	if printed != nil {
		message = printed.Error()
	}
	for ctx.Err() == nil {
		err := c.patchStatus(ctx, pod, corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
			Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code), Message: message}},
		}}})
		if err == nil || gone(err) {
			return
		}
		c.note("pod %s: %v", pod.Name, err)
		select {
		case <-time.After(again): // the API server may be away
		case <-ctx.Done():
		}
	}
}

// patchReady writes one condition of a pod and leaves the others.
func (c *Cluster) patchReady(ctx context.Context, pod *corev1.Pod, ready corev1.ConditionStatus, reason string) error {
	return c.patchStatus(ctx, pod, map[string]any{"conditions": []corev1.PodCondition{
		{Type: corev1.PodReady, Status: ready, Reason: reason, LastTransitionTime: metav1.Now()},
	}})
}

// patchStatus merges into the status of a pod: conditions by their types,
// container statuses as a whole (API reference, PodStatus, patch strategies).
func (c *Cluster) patchStatus(ctx context.Context, pod *corev1.Pod, status any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return err
	}
	_, err = c.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

var errEnded = errors.New("it is to end")
