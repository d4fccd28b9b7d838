package deploy

import (
	"fmt"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// notes say in the text of an object why it is as it is, by its kind.
var notes = map[string]marks{
	"ClusterRole": {
		"rules/0": {note: "Who is where: addresses and annotations of pods, addresses of nodes."},
		"rules/1": {note: "Tells a pod what keeps it out of the mesh, by a condition."},
		"rules/2": {note: "The same, by an event. Without these two rules it is in the agent's log alone."},
		"rules/3": {note: "Services of the cluster, which nobody reads when Consul is the registry."},
	},
	"DaemonSet": {
		"spec/updateStrategy":                                     {note: "A bridge keeps its flows while its agent is away."},
		"spec/template/spec/terminationGracePeriodSeconds":        {note: "Less than the lease of registrations in Consul, which stay."},
		"spec/template/spec/containers/0/securityContext":         {note: "All that it needs of the node are Open vSwitch's sockets: to be the user that\nowns them, and no capability."},
		"spec/template/spec/containers/0/volumeMounts/0/readOnly": {note: "Sockets take connections on a read-only mount too."},
		"spec/template/spec/containers/0/livenessProbe":           {note: "A new start does not help an agent whose switch is away: readiness tells that."},
	},
}

// combine makes one mark of two at the same place.
func combine(a, b marks) marks {
	all := maps.Clone(b)
	if all == nil {
		all = marks{}
	}
	for path, m := range a {
		other := all[path]
		other.note = m.note
		all[path] = other
	}
	return all
}

// kindOf is an object's kind.
func kindOf(o runtime.Object) string { return o.GetObjectKind().GroupVersionKind().Kind }

func fileName(kind string) string { return strings.ToLower(kind) + ".yaml" }

// Plain renders the objects as one text, for kubectl apply -f.
func (v Values) Plain() (string, error) {
	s, err := v.settings()
	if err != nil {
		return "", err
	}
	var all []string
	for _, o := range s.objects() {
		text, err := objectText(o, notes[kindOf(o)])
		if err != nil {
			return "", err
		}
		all = append(all, text)
	}
	return strings.Join(all, "---\n"), nil
}

// Kustomize renders a base, as files of a folder. An overlay replaces
// agent.yaml by a generator of the same name with behavior "replace", and the
// image by its name.
func (v Values) Kustomize() (map[string]string, error) {
	s, err := v.settings()
	if err != nil {
		return nil, err
	}
	s.checksum = "" // the generator's name does what it is for
	files := map[string]string{configFile: generatedConfig + s.config}
	resources := ""
	for _, o := range s.objects() {
		kind := kindOf(o)
		if kind == "ConfigMap" {
			continue
		}
		text, err := objectText(o, notes[kind])
		if err != nil {
			return nil, err
		}
		files[fileName(kind)] = generated + text
		resources += "  - " + fileName(kind) + "\n"
	}
	labels := ""
	for _, key := range []string{instanceLabel, nameLabel} {
		labels += fmt.Sprintf("        %s: %s\n", key, s.labels()[key])
	}
	files["kustomization.yaml"] = generated + fmt.Sprintf(kustomization, resources, scalar(s.Name), scalar(s.Namespace), configFile, labels)
	return files, nil
}

const (
	kustomization = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
%sconfigMapGenerator:
  - name: %s
    namespace: %s
    files:
      - %s
    options:
      labels:
%s`
	generatedConfig = "# The agent's configuration: docs/kubernetes.md and docs/controller.md.\n"
)
