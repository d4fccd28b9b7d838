package kubetest

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// endNamespaces is the stand-in for the namespace controller: what is in a
// namespace that is deleted goes, and after it the namespace. It returns an
// error if something remains, and is to be called again then.
func (c *Cluster) endNamespaces(ctx context.Context, namespaces cache.Store) error {
	var last error
	for _, o := range namespaces.List() {
		if ns := o.(*corev1.Namespace); ns.DeletionTimestamp != nil {
			if err := c.endNamespace(ctx, ns.Name); err != nil {
				last = fmt.Errorf("end namespace %s: %w", ns.Name, err)
			}
		}
	}
	return last
}

func (c *Cluster) endNamespace(ctx context.Context, name string) error {
	lists, err := c.Client.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		return err
	}
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return err
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "deletecollection") {
				continue
			}
			err := c.dynamic.Resource(group.WithResource(r.Name)).Namespace(name).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("delete %s: %w", r.Name, err)
			}
		}
	}
	pods, err := c.Client.CoreV1().Pods(name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if len(pods.Items) > 0 {
		return fmt.Errorf("%d pods are there", len(pods.Items))
	}
	ns, err := c.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		ns.Spec.Finalizers = nil
		_, err = c.Client.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
	}
	if gone(err) {
		return nil
	}
	return err
}
