//go:build integration

package deploy

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// tools is the folder of helm and kustomize, which are built once.
var tools = sync.OnceValues(func() (string, error) {
	cmd := exec.Command(filepath.Join("..", "..", "..", ".ci", "helm"))
	cmd.Stderr = os.Stderr // progress
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
})

// run runs one of the tools.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	folder, err := tools()
	if err != nil {
		t.Fatalf("build helm and kustomize: %v", err)
	}
	home := t.TempDir()
	cmd := exec.Command(filepath.Join(folder, name), args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return string(out) + string(exit.Stderr), err
	}
	return string(out), err
}

// objectsOf are the objects of a text, as what the API reads of them, by kind
// and name.
func objectsOf(t *testing.T, text string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		var head struct {
			Kind     string
			Metadata struct{ Namespace, Name string }
		}
		if err := yaml.UnmarshalStrict([]byte(document), new(any)); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil || head.Kind == "" {
			continue // a template of which nothing is left
		}
		as, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		// Of kinds that Kubernetes knows, what it reads: 0.1 and 100m are the same.
		if o, _, err := scheme.Codecs.UniversalDeserializer().Decode(as, nil, nil); err == nil {
			tree, err := treeOf(o)
			if err != nil {
				t.Fatal(err)
			}
			if as, err = json.MarshalIndent(tree, "", " "); err != nil {
				t.Fatal(err)
			}
		} else if head.Kind != "NetworkAttachmentDefinition" {
			t.Fatalf("%s: %v", head.Kind, err)
		}
		all[head.Kind+" "+head.Metadata.Namespace+"/"+head.Metadata.Name] = string(as)
	}
	return all
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Fatalf("%s has %q, the plain manifests %q", what, a, b)
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %s is\n%s\nand that of the plain manifests\n%s", what, name, got[name], want[name])
		}
	}
}

// variants are values, each with something else than the default.
var variants = map[string]string{
	"least": least,
	"all": `
image: registry.example:5000/me/meshlab@sha256:0123456789012345678901234567890123456789012345678901234567890123
imagePullPolicy: Always
imagePullSecrets: [{name: one}, {name: two}]
config:
  vip: 10.2.2.254
  hairpin: 10.2.2.1
  bridges: [br-mesh]
  metrics: "0.0.0.0:19464"
  default_policy: deny
  drain: 90s
  dns: {recursors: [10.0.0.2]}
  traces: {endpoint: "http://10.0.0.3:4318", sample: 1/64}
  consul: {address: "https://consul.example:8501", token_file: /etc/meshlab/token, ca_file: /etc/meshlab/ca.pem}
  kubernetes: {network: lan/mesh, pod_selector: "mesh in (on, yes)", lease: 1m, tunnel_port: 4790}
secret: consul
env: [{name: HTTPS_PROXY, value: "http://10.0.0.1:3128"}, {name: SECRET, valueFrom: {secretKeyRef: {name: a, key: b}}}]
openvswitch: {runDir: /var/run/ovs, user: 1000650000}
nodeSelector: {kubernetes.io/os: null, mesh: "on"}
tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}, {operator: Exists, effect: NoExecute, tolerationSeconds: 30}]
priorityClassName: mesh
resources: {requests: {cpu: 0.1, memory: 1e8}, limits: {cpu: 2, memory: 1Gi}}
attachment: {name: mesh, namespace: lan, cni: {mtu: 1400, vlan: 100, ipam: {type: whereabouts, range: 10.2.2.0/24, exclude: [10.2.2.1/32, 10.2.2.254/32]}}}
`,
	"as little as possible": `
image: a
config: {vip: 10.1.1.254, status: null, consul: {}}
env: [{name: CONSUL_HTTP_ADDR, value: "$(HOST_IP):8500"}]
nodeSelector: null
tolerations: []
priorityClassName: ""
resources: null
attachment: {name: x, cni: {cniVersion: 0.3.1, type: not-ours, bridge: not-ours}}
`,
}

// The chart, rendered by Helm, is the plain manifests, and so is the base,
// rendered by kustomize, but for the name of its configuration.
func TestFormsAgree(t *testing.T) {
	for name, text := range variants {
		t.Run(name, func(t *testing.T) {
			v := parse(t, text)
			v.Name, v.Namespace = "agents", "mesh"
			plain, err := v.Plain()
			if err != nil {
				t.Fatal(err)
			}
			want := objectsOf(t, plain)

			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := run(t, "helm", "template", v.Name, chartFolder, "--namespace", v.Namespace, "--values", file)
			if err != nil {
				t.Fatalf("helm: %v: %s", err, out)
			}
			same(t, "the chart", objectsOf(t, out), want)
			if out, err := run(t, "helm", "lint", chartFolder, "--strict", "--values", file); err != nil {
				t.Errorf("helm lint: %v: %s", err, out)
			}

			files, err := v.Kustomize()
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err = run(t, "kustomize", "build", folder)
			if err != nil {
				t.Fatalf("kustomize: %v: %s", err, out)
			}
			if !suffix.MatchString(out) {
				t.Errorf("the configuration's name has no hash:\n%s", out)
			}
			out = strings.Replace(suffix.ReplaceAllString(out, "name: agents\n"), generatedConfigIndented, "", 1)
			plain = checksum.ReplaceAllString(plain, "")
			same(t, "the base", objectsOf(t, out), objectsOf(t, plain))
		})
	}
}

var (
	suffix                  = regexp.MustCompile(`name: agents-[a-z0-9]{10}\n`)
	checksum                = regexp.MustCompile(` +annotations:\n +checksum/config: .*\n`)
	generatedConfigIndented = "    " + generatedConfig
)

// Every value has a variant of its own, so that none is forgotten in a form.
func TestVariantsAreComplete(t *testing.T) {
	var all, varied map[string]any
	if err := errors.Join(yaml.Unmarshal(defaults, &all), yaml.Unmarshal([]byte(variants["all"]), &varied)); err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if varied[name] == nil {
			t.Errorf("no variant has a value %s", name)
		}
	}
}

// What is missing or wrong, Helm says with the same words, or by the same schema.
func TestChartSaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct{ set, want string }{
		"image":   {"config.vip=10.1.1.254", needImage},
		"vip":     {"image=a", needVIP},
		"node":    {"image=a,config.vip=10.1.1.254,config.node=one", "/config/node"},
		"unknown": {"image=a,config.vip=10.1.1.254,bridge=br0", "bridge"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := run(t, "helm", "template", "agents", chartFolder, "--set", tc.set); err == nil || !strings.Contains(out, tc.want) {
				t.Errorf("helm says %v: %s, want %q", err, out, tc.want)
			}
		})
	}
	if out, err := run(t, "helm", "lint", chartFolder, "--strict"); err != nil {
		t.Errorf("helm lint: %v: %s", err, out)
	}
}

// overlay is that of docs/kubernetes.md.
const overlay = `resources: [../base]
namespace: mesh
images:
  - {name: meshlab, newName: registry.example/meshlab, newTag: "1.0"}
configMapGenerator:
  - name: meshlab-agent
    namespace: kube-system
    behavior: replace
    files: [agent.yaml]
`

// An overlay of the base that is in the repository changes the configuration,
// the image and the namespace.
func TestOverlay(t *testing.T) {
	top := t.TempDir()
	if err := os.CopyFS(filepath.Join(top, "base"), os.DirFS("kustomize")); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(top, "own")
	if err := errors.Join(os.Mkdir(own, 0o755),
		os.WriteFile(filepath.Join(own, "kustomization.yaml"), []byte(overlay), 0o600),
		os.WriteFile(filepath.Join(own, "agent.yaml"), []byte("{vip: 10.2.2.254, bridges: [br0], metrics: \":9464\"}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "kustomize", "build", own)
	if err != nil {
		t.Fatalf("kustomize: %v: %s", err, out)
	}
	all := objectsOf(t, out)
	set, binding := all["DaemonSet mesh/meshlab-agent"], all["ClusterRoleBinding /meshlab-agent"]
	config := ""
	for name, text := range all {
		if strings.HasPrefix(name, "ConfigMap mesh/meshlab-agent-") && strings.Contains(text, "vip: 10.2.2.254") {
			config = strings.TrimPrefix(name, "ConfigMap mesh/")
		}
	}
	if config == "" || !strings.Contains(set, `"name": "`+config+`"`) || !strings.Contains(set, `"registry.example/meshlab:1.0"`) || !strings.Contains(binding, `"namespace": "mesh"`) {
		t.Errorf("the overlay gives\n%s", out)
	}
	if docs, err := os.ReadFile("../../../docs/kubernetes.md"); err != nil || !strings.Contains(string(docs), overlay) {
		t.Errorf("docs/kubernetes.md has another overlay than this test (%v)", err)
	}
}
