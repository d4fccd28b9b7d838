package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ErrLeft says that a namespace is left in the cluster.
var ErrLeft = errors.New("a namespace is left in the cluster")

// Leftover is a namespace of another run, which goes on or was killed.
type Leftover struct {
	Name    string
	By      string // user@machine
	Started string // RFC 3339
}

// Command is what removes it.
func (l Leftover) Command() string { return "kubectl delete namespace " + l.Name }

// Leftovers finds the namespaces of other runs.
func (c Cluster) Leftovers(ctx context.Context) ([]Leftover, error) {
	list, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: LabelRun})
	if err != nil {
		return nil, fmt.Errorf("look for namespaces of other runs: %w", err)
	}
	var all []Leftover
	for _, n := range list.Items {
		if n.DeletionTimestamp == nil { // the others are going
			all = append(all, Leftover{n.Name, n.Annotations[annotationBy], n.Annotations[annotationStarted]})
		}
	}
	return all, nil
}

// makeNamespace makes the namespace with the accounts that pods need.
func (d *Deployment) makeNamespace(ctx context.Context) error {
	core := d.cluster.Client.CoreV1()
	made, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: d.namespace, Labels: d.plan.labels(),
		Annotations: map[string]string{annotationBy: d.plan.By, annotationStarted: time.Now().UTC().Format(time.RFC3339)},
	}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create namespace %s: %w", d.namespace, err)
	}
	d.uid = made.UID
	accounts := []string{workloadAccount}
	if d.plan.loadAccount() == loadAccount {
		accounts = append(accounts, loadAccount)
	}
	for _, name := range accounts {
		if _, err := core.ServiceAccounts(d.namespace).Create(ctx, d.plan.account(name), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create service account %s: %w", name, err)
		}
	}
	return d.copyPullSecret(ctx)
}

// copyPullSecret brings the user's Secret to where the pods are.
func (d *Deployment) copyPullSecret(ctx context.Context) error {
	if d.plan.PullSecret == "" {
		return nil
	}
	core := d.cluster.Client.CoreV1()
	s, err := core.Secrets(metav1.NamespaceDefault).Get(ctx, d.plan.PullSecret, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the Secret to pull images with: %w; 'kubectl create secret docker-registry %s' makes it in namespace default", err, d.plan.PullSecret)
	}
	if s.Type != corev1.SecretTypeDockerConfigJson {
		return fmt.Errorf("secret %s of namespace default is of type %q: one to pull images with is %s", s.Name, s.Type, corev1.SecretTypeDockerConfigJson)
	}
	_, err = core.Secrets(d.namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: pullSecret, Labels: d.plan.labels()}, Type: s.Type, Data: s.Data,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("copy the Secret to pull images with: %w", err)
	}
	return nil
}

// Remove deletes the namespace and waits until it is gone. One that was never
// made, or that is gone, is no error. Otherwise errors match ErrLeft and say
// what removes it.
func (d *Deployment) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	namespaces := d.cluster.Client.CoreV1().Namespaces()
	deleted := false
	why := "it is not deleted yet"
	for {
		err := d.own(ctx)
		if errors.Is(err, errTheirs) {
			return nil
		}
		if err == nil && !deleted {
			options := metav1.DeleteOptions{}
			if d.uid != "" { // not one that somebody has made in its place
				options.Preconditions = &metav1.Preconditions{UID: &d.uid}
			}
			err = namespaces.Delete(ctx, d.namespace, options)
			deleted = err == nil
		}
		var ns *corev1.Namespace
		if err == nil {
			ns, err = namespaces.Get(ctx, d.namespace, metav1.GetOptions{})
		}
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case apierrors.IsForbidden(err):
			return d.left(err.Error())
		case err != nil:
			why = err.Error()
		default:
			why = remains(ns)
		}
		select {
		case <-ctx.Done():
			return d.left(why)
		case <-time.After(poll):
		}
	}
}

// errTheirs says that the namespace is another's.
var errTheirs = errors.New("the namespace is not of this run")

// own finds out which namespace is ours, when nobody has answered that it was
// made: somebody else may have one of this name.
func (d *Deployment) own(ctx context.Context) error {
	if d.uid != "" {
		return nil
	}
	ns, err := d.cluster.Client.CoreV1().Namespaces().Get(ctx, d.namespace, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if ns.Labels[LabelRun] != d.plan.labels()[LabelRun] {
		return errTheirs
	}
	d.uid = ns.UID
	return nil
}

func (d *Deployment) left(why string) error {
	return fmt.Errorf("remove namespace %s: %s: %w; '%s' removes it", d.namespace, why, ErrLeft, Leftover{Name: d.namespace}.Command())
}

// remains says why a namespace is still there, in the words of its conditions
// (core/v1, NamespaceConditionType).
func remains(ns *corev1.Namespace) string {
	var all []string
	for _, c := range ns.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			all = append(all, c.Message)
		}
	}
	if len(all) == 0 {
		return fmt.Sprintf("it is %s since %v", ns.Status.Phase, ns.DeletionTimestamp)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// Deployment is a lab in a cluster.
type Deployment struct {
	cluster   Cluster
	plan      Plan
	namespace string
	uid       types.UID               // of the namespace; empty until it is there
	given     map[string]netip.Prefix // addresses that pods ask for, by their names; Raise sets it
}
