package deploy

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const chartFolder = "chart"

// chartFiles are those of the chart that are written by hand.
//
//go:embed chart/Chart.yaml chart/values.yaml chart/values.schema.json chart/templates/NOTES.txt
var chartFiles embed.FS

// chartSettings are expressions of Helm's templates in place of values. What is
// no text, and what may be missing, chartMarks has.
func chartSettings() settings {
	return settings{
		Values: Values{
			Name: "{{ .Release.Name }}", Namespace: "{{ .Release.Namespace }}",
			Image:           fmt.Sprintf("{{ required %q .Values.image | quote }}", needImage),
			ImagePullPolicy: "{{ .Values.imagePullPolicy }}",
			Secret:          "{{ .Values.secret | quote }}",
			OpenVSwitch:     OpenVSwitch{RunDir: "{{ .Values.openvswitch.runDir | quote }}"},
			Attachment:      Attachment{Name: "{{ .Values.attachment.name }}", Namespace: "{{ .Values.attachment.namespace }}"},
			// Something, for the marks to have a place.
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "x"}},
			NodeSelector:     map[string]string{"x": "x"}, Tolerations: []corev1.Toleration{{Key: "x"}},
			PriorityClassName: "{{ .Values.priorityClassName | quote }}",
			Resources:         corev1.ResourceRequirements{Claims: []corev1.ResourceClaim{{Name: "x"}}},
		},
		config: "x", checksum: "{{ toYaml .Values.config | printf \"%s\\n\" | sha256sum | quote }}", metrics: 1, slices: true,
		cni: `{{ mustMerge (dict "type" "ovs" "bridge" (index .Values.config.bridges 0)) .Values.attachment.cni (dict "cniVersion" "0.4.0") | toJson | quote }}`,
	}
}

// chartMarks are places of the chart's templates, by the kind of the object.
func chartMarks() map[string]marks {
	const pod = "spec/template/spec/"
	const container = pod + "containers/0/"
	return map[string]marks{
		"ClusterRole": {"rules/3": {when: `not (hasKey .Values.config "consul")`}},
		"ConfigMap":   {"data/" + configFile: {text: "toYaml .Values.config | nindent %d"}},
		"DaemonSet": {
			pod + "imagePullSecrets":                {block: ".Values.imagePullSecrets"},
			pod + "nodeSelector":                    {block: ".Values.nodeSelector"},
			pod + "tolerations":                     {block: ".Values.tolerations"},
			pod + "priorityClassName":               {when: ".Values.priorityClassName"},
			pod + "volumes/1/projected/sources/1":   {when: ".Values.secret"},
			container + "resources":                 {block: ".Values.resources"},
			container + "env":                       {more: ".Values.env"},
			container + "ports/0/containerPort":     {raw: `{{ splitList ":" .Values.config.metrics | last }}`},
			container + "securityContext/runAsUser": {raw: "{{ int64 .Values.openvswitch.user }}"},
		},
	}
}

// Chart returns the files of the Helm chart, by their path in its folder.
func Chart() (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(chartFiles, chartFolder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := chartFiles.ReadFile(path)
		files[strings.TrimPrefix(path, chartFolder+"/")] = string(text)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	for _, o := range chartSettings().objects() {
		kind := kindOf(o)
		text, err := objectText(o, combine(notes[kind], chartMarks()[kind]))
		if err != nil {
			return nil, fmt.Errorf("write the chart: %w", err)
		}
		switch kind {
		case "ConfigMap":
			text = fmt.Sprintf("{{- $_ := required %q .Values.config.vip }}\n", needVIP) + text
		case "NetworkAttachmentDefinition":
			text = "{{- if .Values.attachment.name }}\n" + text + "{{- end }}\n"
		}
		files["templates/"+fileName(kind)] = generated + text
	}
	return files, nil
}

// generated heads files that a test holds to this package.
const generated = "# Made by package controller/kube/deploy, which has the reasons; its test\n# rewrites this file: go test ./controller/kube/deploy -update\n"
