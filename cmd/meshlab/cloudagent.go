package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"meshlab.dev/meshlab/terraform"
)

// fieldManager is whose fields of the cluster's objects are.
// https://kubernetes.io/docs/reference/using-api/server-side-apply/
const fieldManager = "meshlab"

// installAgent applies the manifests of this version's agent over those that the
// cluster was made with, and waits until its pods run on all nodes.
func installAgent(ctx context.Context, p *progress, cfg *rest.Config, image string) error {
	begin := time.Now()
	p.start("agent")
	manifests, err := cloudManifest()
	if err != nil {
		return err
	}
	objects, err := readManifests(strings.ReplaceAll(manifests, terraform.ImageWord, image))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	if err := applyObjects(ctx, cfg, client.Discovery(), objects); err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetKind() != "DaemonSet" {
			continue
		}
		err := until(ctx, p, "the mesh agent's pods", func(ctx context.Context) error {
			d, err := client.AppsV1().DaemonSets(o.GetNamespace()).Get(ctx, o.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			return rolledOut(d)
		})
		if err != nil {
			return fmt.Errorf("%w; see: kubectl --namespace %s describe daemonset %s", err, o.GetNamespace(), o.GetName())
		}
	}
	p.finish("agent", image, time.Since(begin))
	return nil
}

// rolledOut says what a DaemonSet still lacks (API reference, DaemonSetStatus).
func rolledOut(d *appsv1.DaemonSet) error {
	s := d.Status
	switch {
	case s.ObservedGeneration < d.Generation:
		return errors.New("the cluster has not looked at them yet")
	case s.DesiredNumberScheduled == 0:
		return errors.New("no node wants one")
	case s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberReady < s.DesiredNumberScheduled:
		return fmt.Errorf("%d of %d are ready, %d of them new", s.NumberReady, s.DesiredNumberScheduled, s.UpdatedNumberScheduled)
	}
	return nil
}

func readManifests(text string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		o := &unstructured.Unstructured{}
		if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the agent's manifests: %w", err)
		}
		if len(o.Object) > 0 { // not a comment alone
			all = append(all, o)
		}
	}
}

// applyObjects makes objects as they are written, in that order. What others have
// written into them stays, but for what is written here.
func applyObjects(ctx context.Context, cfg *rest.Config, d discovery.DiscoveryInterface, objects []*unstructured.Unstructured) error {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	kinds := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		kind, err := kinds.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", gvk.Kind, o.GetName(), err)
		}
		to := client.Resource(kind.Resource)
		if kind.Scope.Name() == "namespace" {
			_, err = to.Namespace(o.GetNamespace()).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		} else {
			_, err = to.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		}
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", gvk.Kind, o.GetName(), err)
		}
	}
	return nil
}
