package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const modulePath = "meshlab.dev/meshlab/"

// edge says what the packages that match From may import of this module. In
// From and May, "x/..." is x and all below it.
type edge struct {
	From string
	May  []string
	Why  string
}

// importRules hold the direction of imports: values at the bottom, then what
// is computed from them, then the three areas that never see each other, then
// what wires them. The first rule whose From matches a package counts, so the
// narrow ones come first. Tests may import what they need.
var importRules = []edge{
	// Values.
	{"topo/imports", []string{"topo"}, "makes text of other tools' files, and lets topo check it"},
	{"topo", nil, "a lab as values: everything may use it, so it uses nothing"},
	{"controller/mesh", nil, "a mesh as values"},
	{"controller/flow", nil, "flows as values"},

	// Computed from values.
	{"controller/emulator", []string{"controller/flow"}, "a switch in memory knows flows, not where they come from"},
	{"controller/pipeline", []string{"controller/flow", "controller/mesh", "topo"}, "the compiler is pure: from values to values"},
	{"scenarios/stats", nil, "statistics know numbers, not labs"},

	// Controller: runs against any Consul and any bridge, so it knows no lab.
	{"controller/consul", []string{"controller/mesh"}, "the registry is turned into a snapshot, and that is all"},
	{"controller/openflow/...", []string{"controller/flow", "controller/openflow/..."}, "the wire protocol carries flows, whatever they mean"},
	{"controller/certificate", nil, "knows certificates, not switches"},
	{"controller/bridge", []string{"controller", "controller/certificate", "controller/flow", "controller/openflow/..."}, "gives a connection to a switch the shape that the loop asks for"},
	{"controller/kube/kubetest", []string{"controller/internal/ovstest", "labs/builtin"}, "a Kubernetes for tests, with stand-ins whose containers run the services of labs"},
	{"controller/internal/...", []string{"controller/flow"}, "test rigs of the controller"},
	{"controller/dns", []string{"controller/mesh"}, "answers from snapshots, wherever they come from"},
	{"controller/eject", []string{"controller/mesh"}, "changes snapshots; who applies them is others' business"},
	{"controller/metrics", []string{"controller/mesh", "controller/pipeline"}, "adds up what the compiler says that flows count"},
	{"controller/spans", []string{"controller/mesh"}, "makes spans of what it is told"},
	{"controller/kube/deploy", []string{"controller"}, "renders text; what the agent's configuration may say, the controller knows"},
	{"controller/kube/...", []string{"controller/kube", "controller/mesh"}, "a cluster is turned into values, and what is wrong is told there"},
	{"controller/tunnel", nil, "keeps a bridge and its tunnels; who is at their ends is handed in"},
	{"controller/register", nil, "tells Consul what runs here; what that is is handed in"},
	{"controller/datapath", nil, "asks ovs-vswitchd what OpenFlow cannot; which zone is whose it does not know"},
	{"controller/standby", nil, "a lock"},
	{"controller/discover", []string{"controller/mesh", "controller/pipeline"}, "finds the network; it changes nothing"},
	{"controller/explain", []string{"controller/emulator", "controller/flow", "controller/mesh", "controller/pipeline"}, "explains what the compiler wrote, and asks no switch but for --check"},
	{"controller", []string{"controller/eject", "controller/explain", "controller/flow", "controller/mesh", "controller/metrics", "controller/pipeline"}, "the loop gets its registry and its switches handed in"},

	// Orchestrate: each part does one thing to the machine.
	{"orchestrate/netns", nil, "the bottom of orchestrate"},
	{"orchestrate/sandbox", nil, "the bottom of orchestrate"},
	{"orchestrate/process", []string{"orchestrate/netns"}, "processes start inside network namespaces; what they are is others' business"},
	{"orchestrate/tap", []string{"orchestrate/netns"}, "sees packets; what they mean is others' business"},
	{"orchestrate/link", []string{"orchestrate/netns", "topo"}, "links join network namespaces"},
	{"orchestrate/shape", []string{"orchestrate/netns", "topo"}, "is given pairs of devices; what a lab is it does not know"},
	{"orchestrate/ovs", []string{"orchestrate/process", "topo"}, "Open vSwitch is processes and a database"},
	{"orchestrate/consul/...", []string{"orchestrate/process", "orchestrate/consul", "topo"}, "Consul is processes and an API"},
	{"orchestrate/connect", []string{"orchestrate/process", "orchestrate/consul", "topo"}, "sidecars need the agents of their hosts"},
	{"orchestrate/sandbox/tuntest", nil, "a device for tests"},
	{"orchestrate/docker/dockertest", []string{"orchestrate/docker"}, "an engine for tests"},
	{"orchestrate/image", nil, "an image for clusters is files of this machine; what runs of it is decided elsewhere"},
	{"orchestrate/docker", []string{"topo"}, "a Docker engine: containers and images; links and processes of a lab are others' business"},
	{"orchestrate/kube", []string{"orchestrate", "topo"}, "labs as pods; what is measured in them is others' business"},
	{"orchestrate/fault", []string{"scenarios", "topo"}, "finds what a fault strikes and ends it in time; how it is done is handed in"},
	{"orchestrate/doctor", []string{"orchestrate/consul", "orchestrate/ovs"}, "asks the parts what they need of the machine"},
	{"orchestrate/supervisor", []string{"orchestrate/...", "controller/...", "scenarios/...", "labs/...", "topo"},
		"runs inside the lab and wires its parts there, as cmd does outside"},
	{"orchestrate", []string{"topo"}, "what the verbs and the supervisor agree on"},

	// Scenarios and what is made of their results.
	{"scenarios/client", []string{"scenarios"}, "one connection; when to send is decided elsewhere"},
	{"scenarios/fortio", []string{"scenarios", "scenarios/client", "scenarios/stats"}, "load is sent to addresses; it does not know who answers"},
	{"scenarios/openloop", []string{"scenarios", "scenarios/client", "scenarios/stats"}, "gets sockets from whoever hands them out; it does not know what a lab is"},
	{"scenarios/attribution", []string{"scenarios", "scenarios/stats", "topo"}, "reads packets that others have seen"},
	{"scenarios", []string{"scenarios/stats", "topo"}, "the order of trials is computed"},
	{"reports/...", []string{"reports/...", "scenarios", "scenarios/stats", "topo"}, "a report is made of results alone, on any machine"},

	{"labs/...", []string{"labs/...", "topo"}, "lab files, and the programs that run in them, which know nothing of meshlab"},
	{"terraform/standin", nil, "stand-ins for providers know Terraform's protocol, not the modules"},
	{"terraform/...", []string{"terraform/...", "scenarios", "topo"}, "the cloud gets a lab and returns results"},
	{"docs", nil, "documents, and the tests that hold them to the program"},
	{"cmd/...", []string{"..."}, "wiring"},
}

// forbidden are modules that no package may import, and why.
var forbidden = []struct{ prefix, except, why string }{
	{"github.com/hashicorp/consul", "github.com/hashicorp/consul/api", "Consul runs as a process and is never linked: only its API client is"},
}

// importGraph maps a package of this module to all it imports.
type importGraph map[string][]string

func TestImportDirections(t *testing.T) {
	graph, err := readImports()
	if err != nil {
		t.Fatal(err)
	}
	if len(graph["cmd/meshlab"]) == 0 {
		t.Fatal("the import graph lacks cmd/meshlab: it was not read")
	}
	for _, v := range violations(importRules, graph) {
		t.Error(v)
	}
}

// violations lists what in the graph no rule allows, one sentence each.
func violations(rules []edge, graph importGraph) []string {
	var all []string
	for pkg, imports := range graph {
		at := slices.IndexFunc(rules, func(r edge) bool { return matches(r.From, pkg) })
		if at < 0 {
			all = append(all, fmt.Sprintf("%s has no rule: say in importRules what it may import, and why", pkg))
			continue
		}
		for _, path := range imports {
			all = append(all, breach(rules[at], pkg, path)...)
		}
	}
	slices.Sort(all)
	return all
}

// breach says why pkg may not import path; it is empty when it may.
func breach(rule edge, pkg, path string) []string {
	for _, f := range forbidden {
		if matches(f.prefix+"/...", path) && path != f.except {
			return []string{fmt.Sprintf("%s imports %s: %s", pkg, path, f.why)}
		}
	}
	own, ok := strings.CutPrefix(path, modulePath)
	if !ok || slices.ContainsFunc(rule.May, func(m string) bool { return matches(m, own) }) {
		return nil
	}
	may := "no package of this module"
	if len(rule.May) > 0 {
		may = strings.Join(rule.May, ", ")
	}
	return []string{fmt.Sprintf("%s imports %s: it may import %s (%s); move the code, or amend importRules and docs/architecture.md", pkg, own, may, rule.Why)}
}

func matches(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pkg == pattern
}

// readImports asks the go command for the imports of all packages, without
// those of tests. Packages that do not compile are listed too.
func readImports() (importGraph, error) {
	// A pattern of folders needs no module but this one; one of import paths
	// would, and here there is no network to get it from.
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...")
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w: %s", err, stderr.String())
	}
	graph := importGraph{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return graph, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the list of packages: %w", err)
		}
		graph[strings.TrimPrefix(p.ImportPath, modulePath)] = p.Imports
	}
}

func TestViolations(t *testing.T) {
	rules := []edge{
		{"low", nil, "the bottom"},
		{"mid/special", []string{"low"}, "narrow first"},
		{"mid/...", []string{"low", "mid/..."}, "the middle"},
		{"cmd/...", []string{"..."}, "wiring"},
	}
	for name, tc := range map[string]struct {
		pkg, path string
		want      string
	}{
		"down":                {"mid/a", modulePath + "low", ""},
		"sideways, allowed":   {"mid/a", modulePath + "mid/b", ""},
		"sideways, narrow":    {"mid/special", modulePath + "mid/b", "mid/special imports mid/b: it may import low (narrow first)"},
		"up":                  {"low", modulePath + "mid", "low imports mid: it may import no package of this module"},
		"name with a prefix":  {"mid/a", modulePath + "lower", "mid/a imports lower"},
		"wiring":              {"cmd/x", modulePath + "anything/at/all", ""},
		"standard library":    {"low", "fmt", ""},
		"unknown package":     {"new", "fmt", "new has no rule"},
		"Consul's API":        {"mid/a", "github.com/hashicorp/consul/api", ""},
		"Consul itself":       {"cmd/x", "github.com/hashicorp/consul/agent", "never linked"},
		"Consul's main":       {"cmd/x", "github.com/hashicorp/consul", "never linked"},
		"not Consul, similar": {"cmd/x", "github.com/hashicorp/consul-template", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(violations(rules, importGraph{tc.pkg: {tc.path}}), "; ")
			if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
