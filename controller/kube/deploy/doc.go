// Package deploy makes the Kubernetes objects that run `meshlab agent` on each
// node: one source for plain manifests, a kustomize base and a Helm chart. The
// values that they are made of have the same names in all three; their defaults
// and what each means are in chart/values.yaml.
//
// It renders text and asks no cluster. What the agent does is package kube's
// and the controller's.
package deploy
