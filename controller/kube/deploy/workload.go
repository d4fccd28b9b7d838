package deploy

import (
	"encoding/json"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Where things are in the agent's container.
const (
	configFolder = "/etc/meshlab"
	configFile   = "agent.yaml"
	runFolder    = "/run/openvswitch" // controller.DefaultOVSDB is in it
	statusFolder = "/run/meshlab"
)

// stopSeconds is how long an agent may take to stop: it answers SIGTERM at
// once, but for the last spans (two seconds). Registrations outlive that: their
// lease is three seconds at least, and 30 by default.
const stopSeconds = 5

func (s settings) configMap() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: s.meta(true),
		Data:       map[string]string{configFile: s.config},
	}
}

// daemonSet runs one agent on each node. The pod has the cluster's network, not
// the node's: the switch makes the tunnels, and the agent reaches that by
// sockets in a folder.
func (s settings) daemonSet() *appsv1.DaemonSet {
	one := intstr.FromInt32(1)
	return &appsv1.DaemonSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "DaemonSet"},
		ObjectMeta: s.meta(true),
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: s.labels()},
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type:          appsv1.RollingUpdateDaemonSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &one},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: s.podMeta(),
				Spec:       s.pod(),
			},
		},
	}
}

func (s settings) podMeta() metav1.ObjectMeta {
	m := metav1.ObjectMeta{Labels: s.labels()}
	if s.checksum != "" {
		m.Annotations = map[string]string{checksumKey: s.checksum}
	}
	return m
}

// checksumKey is the annotation by which another configuration makes new pods.
const checksumKey = "checksum/config"

func (s settings) pod() corev1.PodSpec {
	return corev1.PodSpec{
		ServiceAccountName:            s.Name,
		EnableServiceLinks:            ptr(false),
		NodeSelector:                  s.NodeSelector,
		Tolerations:                   s.Tolerations,
		PriorityClassName:             s.PriorityClassName,
		ImagePullSecrets:              s.ImagePullSecrets,
		TerminationGracePeriodSeconds: ptr(int64(stopSeconds)),
		SecurityContext:               &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers:                    []corev1.Container{s.container()},
		Volumes:                       s.volumes(),
	}
}

func (s settings) container() corev1.Container {
	healthz := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("metrics")}}
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	return corev1.Container{
		Name: "agent", Image: s.Image, ImagePullPolicy: s.ImagePullPolicy,
		Args:  []string{"agent", "--config=" + configFolder + "/" + configFile},
		Env:   append([]corev1.EnvVar{field("NODE_NAME", "spec.nodeName"), field("HOST_IP", "status.hostIP")}, s.Env...),
		Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: s.metrics}},
		// It is not healthy while its switch does not answer or has not all flows
		// yet. A new start would mend neither, so that is no reason for one.
		ReadinessProbe: &corev1.Probe{ProbeHandler: healthz, PeriodSeconds: 5, TimeoutSeconds: 3},
		LivenessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: healthz.HTTPGet.Port}},
			PeriodSeconds: 20, TimeoutSeconds: 5,
		},
		Resources: s.Resources,
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                &s.OpenVSwitch.User,
			ReadOnlyRootFilesystem:   ptr(true),
			AllowPrivilegeEscalation: ptr(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "openvswitch", MountPath: runFolder, ReadOnly: true},
			{Name: "config", MountPath: configFolder, ReadOnly: true},
			{Name: "status", MountPath: statusFolder},
		},
	}
}

func (s settings) volumes() []corev1.Volume {
	config := &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: s.Name}}},
	}}
	if s.Secret != "" {
		config.Sources = append(config.Sources, corev1.VolumeProjection{
			Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: s.Secret}},
		})
	}
	return []corev1.Volume{
		{Name: "openvswitch", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: s.OpenVSwitch.RunDir, Type: ptr(corev1.HostPathDirectory)}}},
		{Name: "config", VolumeSource: corev1.VolumeSource{Projected: config}},
		{Name: "status", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
	}
}

// attachment is of a kind that Multus defines (its repository, "Network
// Attachment Definition").
func (s settings) attachment() *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"config": s.cni}}}
	o.SetAPIVersion("k8s.cni.cncf.io/v1")
	o.SetKind("NetworkAttachmentDefinition")
	o.SetName(s.Attachment.Name)
	o.SetNamespace(s.Attachment.Namespace)
	o.SetLabels(s.labels())
	return o
}

func (s settings) attachmentConfig() (string, error) {
	cni := map[string]any{"cniVersion": "0.4.0"}
	maps.Copy(cni, s.Attachment.CNI)
	cni["type"], cni["bridge"] = "ovs", s.bridge
	text, err := json.Marshal(cni)
	return string(text), err
}

func ptr[T any](v T) *T { return &v }
