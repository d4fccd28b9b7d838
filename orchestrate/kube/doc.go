// Package kube brings labs to life as pods of a Kubernetes cluster. It decides
// what a lab is there under each mesh (Plan), makes that in a namespace of the
// run's own, waits until it is ready and says why when it is not, carries what
// the pod that sends the load has measured back to the client, and removes the
// namespace. It measures nothing, and changes nothing of the cluster outside
// of its namespaces.
package kube

import "time"

// Labels and annotations of what is made.
const (
	LabelRun     = "meshlab.dev/run"  // id of the run, in lower case; of namespaces and all that is in them
	labelMesh    = "meshlab.dev/mesh" // of pods
	labelPod     = "meshlab.dev/pod"  // name of a pod, for selectors
	labelManager = "app.kubernetes.io/managed-by"
	manager      = "meshlab"

	annotationBy      = "meshlab.dev/by"      // who made a namespace: user@machine
	annotationStarted = "meshlab.dev/started" // when, RFC 3339
)

// lifetime bounds how long the pods of a client that was killed go on: the
// kubelet ends them then (pod.spec.activeDeadlineSeconds).
const lifetime = 12 * time.Hour

// How long the cluster may take. A busy one needs some of it.
const (
	poll        = 500 * time.Millisecond
	outage      = 3 * time.Minute  // that the API server does not answer before that is an error
	readyWithin = 10 * time.Minute // from the first pod to all of them ready: images are large
	goneWithin  = 5 * time.Minute  // from the deletion of a namespace to its end
)
