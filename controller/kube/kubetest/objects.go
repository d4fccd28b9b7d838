package kubetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// makers is how many requests of ObjectPods are under way at once.
const makers = 8

// ObjectNode is the name of the node with a number from 0 of those that
// ObjectNodes makes.
func ObjectNode(i int) string { return fmt.Sprint("object-", i) }

// objectAccount is the service account of pods that ObjectPods makes.
const objectAccount = "object"

// ObjectNodes makes nodes that are objects of the API and nothing else, with
// addresses of the underlay that nobody has: at most 150. They are for
// ObjectPods.
func (c *Cluster) ObjectNodes(count int) {
	c.t.Helper()
	c.ApplyText("{apiVersion: v1, kind: ServiceAccount, metadata: {name: " + objectAccount + "}}")
	for i := range count {
		c.createNode(&Node{Name: ObjectNode(i), Addr: fmt.Sprint(underlayPrefix, 100+i)})
	}
}

// ObjectPod is a pod that is an object of the API and nothing else: it says
// that it has an address, which nobody has.
type ObjectPod struct {
	Name, Node  string
	Number      int // from 0: of its addresses
	Service     string
	Port        int32
	Annotations map[string]string
}

// Addr is its address in the mesh's network.
func (p ObjectPod) Addr() string {
	return fmt.Sprintf("10.64.%d.%d", p.Number/200, 1+p.Number%200)
}

// MAC is its address there.
func (p ObjectPod) MAC() string {
	return fmt.Sprintf("06:00:00:%02x:%02x:%02x", p.Number>>16&255, p.Number>>8&255, p.Number&255)
}

// status is what Multus would write.
func (p ObjectPod) status() string {
	return fmt.Sprintf(`[{"name":"kubetest","interface":"eth0","ips":["10.250.0.1"],"default":true},{"name":"default/%s","interface":"net1","ips":[%q],"mac":%q}]`,
		HashiCupsNetwork, p.Addr(), p.MAC())
}

// ObjectPods makes such pods, with a network and ready.
func (c *Cluster) ObjectPods(pods ...ObjectPod) {
	c.t.Helper()
	c.concurrently(len(pods), func(i int) error {
		if err := c.CreateObjectPod(c.t.Context(), pods[i], true); err != nil {
			return err
		}
		return c.ReadyObjectPod(c.t.Context(), pods[i], true)
	})
}

// CreateObjectPod makes such a pod, which is not ready: in its network, or
// before that.
func (c *Cluster) CreateObjectPod(ctx context.Context, p ObjectPod, attached bool) error {
	annotations := map[string]string{"meshlab.dev/service": p.Service}
	for key, value := range p.Annotations {
		annotations[key] = value
	}
	if attached {
		annotations[statusAnnotation] = p.status()
	}
	no := false
	_, err := c.Client.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name, Labels: map[string]string{"app": p.Service}, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeName: p.Node, ServiceAccountName: objectAccount, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "main", Image: "none", Ports: []corev1.ContainerPort{{ContainerPort: p.Port}}}},
		},
	}, metav1.CreateOptions{})
	return err
}

// AttachObjectPod annotates such a pod as Multus does.
func (c *Cluster) AttachObjectPod(ctx context.Context, p ObjectPod) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, statusAnnotation, p.status())
	_, err := c.Client.CoreV1().Pods(metav1.NamespaceDefault).Patch(ctx, p.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// ReadyObjectPod lets such a pod run, ready or not.
func (c *Cluster) ReadyObjectPod(ctx context.Context, p ObjectPod, ready bool) error {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	patch := fmt.Sprintf(`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":%q}]}}`, status)
	_, err := c.Client.CoreV1().Pods(metav1.NamespaceDefault).Patch(ctx, p.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	return err
}

// DeleteObjectPod deletes such a pod at once.
func (c *Cluster) DeleteObjectPod(ctx context.Context, p ObjectPod) error {
	now := int64(0)
	return c.Client.CoreV1().Pods(metav1.NamespaceDefault).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
}

// concurrently calls do for each number below count, some at a time.
func (c *Cluster) concurrently(count int, do func(i int) error) {
	c.t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make(chan error, makers)
	for range makers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		c.t.Fatalf("make objects: %v", err)
	default:
	}
}
