package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// manager is who owns the fields of what is applied.
const manager = "kubetest"

// Apply applies manifests as `kubectl apply --server-side -f` does: files, or
// the files *.yml and *.yaml of folders in the order of their names, each with
// any number of documents. Objects without a namespace go into default.
func (s *Server) Apply(paths ...string) {
	s.t.Helper()
	for _, path := range paths {
		files, err := manifestFiles(path)
		if err != nil {
			s.t.Fatalf("apply %s: %v", path, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err == nil {
				err = s.apply(s.t.Context(), text)
			}
			if err != nil {
				s.t.Fatalf("apply %s: %v", file, err)
			}
		}
	}
}

// ApplyText applies manifests that a test has as text.
func (s *Server) ApplyText(text string) {
	s.t.Helper()
	if err := s.apply(s.t.Context(), []byte(text)); err != nil {
		s.t.Fatalf("apply: %v", err)
	}
}

func manifestFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	var all []string
	for _, pattern := range []string{"*.yml", "*.yaml"} {
		found, err := filepath.Glob(filepath.Join(path, pattern))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, errors.New("no file *.yml or *.yaml is there")
	}
	slices.Sort(all)
	return all, nil
}

func (s *Server) apply(ctx context.Context, text []byte) error {
	objects, err := documents(text)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(s.Config)
	if err != nil {
		return err
	}
	mapper, err := s.mapper()
	if err != nil {
		return err
	}
	for _, o := range objects {
		kind := o.GroupVersionKind()
		m, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind.Kind, o.GetName(), err)
		}
		to := dynamic.ResourceInterface(client.Resource(m.Resource))
		if m.Scope.Name() == apimeta.RESTScopeNameNamespace {
			namespace := o.GetNamespace()
			if namespace == "" {
				namespace = metav1.NamespaceDefault
			}
			to = client.Resource(m.Resource).Namespace(namespace)
		}
		if _, err := to.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true}); err != nil {
			return fmt.Errorf("%s %s: %w", kind.Kind, o.GetName(), err)
		}
	}
	return nil
}

// mapper tells the resources of kinds, as the server knows them now.
func (s *Server) mapper() (apimeta.RESTMapper, error) {
	groups, err := restmapper.GetAPIGroupResources(s.Client.Discovery())
	if err != nil {
		return nil, fmt.Errorf("ask for the kinds of objects: %w", err)
	}
	return restmapper.NewDiscoveryRESTMapper(groups), nil
}

// documents reads the objects of a YAML file, without its empty documents.
func documents(text []byte) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for reader := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		o := &unstructured.Unstructured{}
		err := reader.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
}

// definitions are the custom resources that manifests for Multus and for
// consul-k8s use, without their schemas: what they would check is not checked.
const definitions = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: network-attachment-definitions.k8s.cni.cncf.io }
spec:
  group: k8s.cni.cncf.io
  scope: Namespaced
  names: { kind: NetworkAttachmentDefinition, plural: network-attachment-definitions, singular: network-attachment-definition, shortNames: [net-attach-def] }
  versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: servicedefaults.consul.hashicorp.com }
spec:
  group: consul.hashicorp.com
  scope: Namespaced
  names: { kind: ServiceDefaults, plural: servicedefaults, singular: servicedefaults }
  versions: [{ name: v1alpha1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: serviceintentions.consul.hashicorp.com }
spec:
  group: consul.hashicorp.com
  scope: Namespaced
  names: { kind: ServiceIntentions, plural: serviceintentions, singular: serviceintentions }
  versions: [{ name: v1alpha1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }]
`

// ApplyDefinitions makes the kinds NetworkAttachmentDefinition,
// ServiceDefaults and ServiceIntentions known, and waits until they are.
func (s *Server) ApplyDefinitions() {
	s.t.Helper()
	s.ApplyText(definitions)
	for _, kind := range []schema.GroupKind{
		{Group: "k8s.cni.cncf.io", Kind: "NetworkAttachmentDefinition"},
		{Group: "consul.hashicorp.com", Kind: "ServiceDefaults"}, {Group: "consul.hashicorp.com", Kind: "ServiceIntentions"},
	} {
		Eventually(s.t, kind.String()+" to be served", func(context.Context) error {
			mapper, err := s.mapper()
			if err == nil {
				_, err = mapper.RESTMapping(kind)
			}
			return err
		})
	}
}
