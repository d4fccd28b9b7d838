package labs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/topo"
)

var builtins = []string{
	"echo", "hashicups/frontend", "hashicups/payments",
	"hashicups/product-api", "hashicups/product-db", "hashicups/public-api",
	"ping/grpc", "ping/tcp", "ping/udp",
}

func TestEveryEmbeddedLabParses(t *testing.T) {
	want := []string{"hashicups", "hashicups-single-node", "protocols", "single-upstream"}
	list := labs.List()
	if len(list) != len(want) {
		t.Fatalf("List() = %v, want the labs %v", list, want)
	}
	for i, info := range list {
		if info.Name != want[i] || info.Description == "" {
			t.Errorf("List()[%d] = %+v, want the name %s and a description", i, info, want[i])
		}
		lab, src, err := labs.Load(info.Name, builtins)
		if err != nil {
			t.Errorf("Load(%s): %v", info.Name, err)
			continue
		}
		if lab.Name != info.Name || len(src) == 0 || lab.Client == nil || len(lab.Requests) == 0 {
			t.Errorf("Load(%s): name %q, %d bytes, client %v, %d requests", info.Name, lab.Name, len(src), lab.Client, len(lab.Requests))
		}
	}
}

// The addresses and ports of the laboratory that the lab repeats.
func TestHashiCupsIsTheLaboratory(t *testing.T) {
	lab, _, err := labs.Load("hashicups", builtins)
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]string{
		"h1": "192.168.1.11/24 00:00:00:00:00:01", "h2": "192.168.1.12/24 00:00:00:00:00:02",
		"h3": "192.168.1.13/24 00:00:00:00:00:03", "db1": "192.168.1.21/24 00:00:00:00:00:04",
	}
	for _, n := range lab.Nodes {
		if want, ok := hosts[n.Name]; ok && n.IPv4.String()+" "+n.MAC.String() != want {
			t.Errorf("%s: %s %s, want %s", n.Name, n.IPv4, n.MAC, want)
		}
		delete(hosts, n.Name)
		if n.Name == "consul_server" && n.IPv4.String() != "192.168.1.200/24" {
			t.Errorf("consul_server: %s", n.IPv4)
		}
	}
	if len(hosts) > 0 {
		t.Errorf("hosts missing: %v", hosts)
	}
	services := map[string]struct {
		node      string
		port      uint16
		upstreams map[string]uint16
	}{
		"frontend":    {"h1", 17564, map[string]uint16{"public-api": 9191}},
		"public-api":  {"h1", 20863, map[string]uint16{"payments": 9340, "product-api": 9341}},
		"product-api": {"h2", 19572, map[string]uint16{"product-db": 9567}},
		"payments":    {"h3", 13427, nil},
		"product-db":  {"db1", 5432, nil},
	}
	for _, s := range lab.Services {
		want := services[s.Name]
		if s.Node != want.node || s.Port != want.port || len(s.Upstreams) != len(want.upstreams) {
			t.Errorf("%s: %s:%d %v, want %+v", s.Name, s.Node, s.Port, s.Upstreams, want)
		}
		for _, u := range s.Upstreams {
			if want.upstreams[u.Service] != u.BindPort {
				t.Errorf("%s: upstream %s at %d, want %d", s.Name, u.Service, u.BindPort, want.upstreams[u.Service])
			}
		}
		delete(services, s.Name)
	}
	if len(services) > 0 {
		t.Errorf("services missing: %v", services)
	}
}

// The lab of protocols leaves none out.
func TestProtocolsAreAllThere(t *testing.T) {
	lab, _, err := labs.Load("protocols", builtins)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range topo.Protocols() {
		if got := lab.Requests[string(p)].Protocol; got != p {
			t.Errorf("request %s has the protocol %q", p, got)
		}
	}
}

func TestLoadOfAPath(t *testing.T) {
	src, err := os.ReadFile("single-upstream.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, src, 0o644); err != nil {
		t.Fatal(err)
	}
	lab, got, err := labs.Load(file, builtins)
	if err != nil || lab.Name != "single-upstream" || string(got) != string(src) {
		t.Errorf("Load(%s) = %v, %d bytes, %v", file, lab, len(got), err)
	}
	if err := os.WriteFile(file, []byte("name: mine\nnodez: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err = labs.Load(file, nil)
	var pe *topo.ParseError
	if !errors.As(err, &pe) || !strings.Contains(err.Error(), file+`:2:1: unknown key "nodez"; did you mean "nodes"?`) {
		t.Errorf("Load of a bad file: %v", err)
	}
}

func TestLoadOfWhatIsNotThere(t *testing.T) {
	for name, want := range map[string]string{
		"hashicup":                  `unknown lab "hashicup", and no such file; did you mean "hashicups"?`,
		"./single-upstraem.yaml":    `did you mean "single-upstream"?`,
		"zzz":                       "name a lab file, or one of hashicups, hashicups-single-node, protocols, single-upstream",
		"../labs/testdata/none.yml": "no such file",
	} {
		_, _, err := labs.Load(name, nil)
		if !errors.Is(err, labs.ErrUnknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s) = %v, want %s", name, err, want)
		}
	}
	if _, _, err := labs.Load(t.TempDir(), nil); err == nil || errors.Is(err, labs.ErrUnknown) {
		t.Errorf("Load of a folder: %v", err)
	}
}

// The whole example of the manual is a good lab.
func TestExampleOfTheManual(t *testing.T) {
	src, err := os.ReadFile("../docs/lab-file.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(src), "```yaml\n")
	example, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatal("docs/lab-file.md has no example in YAML")
	}
	lab, err := topo.Parse("docs/lab-file.md", []byte(example), topo.Options{Builtins: builtins})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range lab.Nodes {
		if n.Name == "edge" && n.IPv4.String() != "10.20.0.1/24" {
			t.Errorf("edge has %s, the manual says 10.20.0.1", n.IPv4)
		}
	}
	for _, s := range lab.Services {
		if s.Builtin != "" {
			t.Errorf("service %s is builtin; the example is of commands", s.Name)
		}
	}
}
