package labs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/labs/pages"
	"meshlab.dev/meshlab/topo"
)

var builtins = []string{
	"echo", "hashicups/frontend", "hashicups/payments",
	"hashicups/product-api", "hashicups/product-db", "hashicups/public-api",
	"ping/grpc", "ping/tcp", "ping/udp",
}

func TestEveryLabOfTheCatalogueParses(t *testing.T) {
	list := labs.List()
	var names []string
	for _, info := range list {
		names = append(names, info.Name)
		lab, src, err := labs.Load(info.Name, builtins)
		if err != nil {
			t.Errorf("Load(%s): %v", info.Name, err)
			continue
		}
		if lab.Name != info.Name || len(src) == 0 || info.Description == "" || len(info.Description) > 130 {
			t.Errorf("Load(%s): name %q, %d bytes, description %q", info.Name, lab.Name, len(src), info.Description)
		}
	}
	want := []string{
		"circuit-breaking", "dns-discovery", "hashicups", "hashicups-machines", "hashicups-official", "hashicups-single-node", "intentions",
		"load-balancing", "many-hosts", "one-switch", "protocols", "single-upstream", "staged-rollout", "switch-failure", "two-hosts", "vxlan-two-nodes",
	}
	if !slices.Equal(names, want) {
		t.Errorf("List() has %v, want %v", names, want)
	}
}

// The page about the catalogue lists each lab with its idea.
func TestPageOfTheCatalogue(t *testing.T) {
	text, err := os.ReadFile("catalogue/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range labs.List() {
		if row := fmt.Sprintf("\n| [%[1]s](%[1]s/README.md) | %s |\n", l.Name, l.Description); !strings.Contains(string(text), row) {
			t.Errorf("it has no row %s", row)
		}
	}
}

// The labs that load is made from have requests.
func TestMeasuredLabsHaveRequests(t *testing.T) {
	for _, name := range []string{"hashicups", "hashicups-single-node", "protocols", "single-upstream"} {
		lab, _, err := labs.Load(name, builtins)
		if err != nil {
			t.Fatal(err)
		}
		if lab.Client == nil || len(lab.Requests) == 0 {
			t.Errorf("%s: client %v, %d requests", name, lab.Client, len(lab.Requests))
		}
	}
}

// Each lab has a file, a picture, which topo's tests hold to the file, and a
// short page, which shows the picture and ends with the lab's removal. What
// its commands print is tested in cmd/meshlab.
func TestPages(t *testing.T) {
	for _, info := range labs.List() {
		t.Run(info.Name, func(t *testing.T) {
			files, err := labs.Files(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			have := map[string]int{}
			for _, f := range files {
				have[f.Name] = len(f.Text)
			}
			for _, name := range []string{labs.LabFile, labs.PageFile, labs.PictureFile} {
				if have[name] == 0 {
					t.Errorf("no %s", name)
				}
			}
			text, err := labs.Page(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "\n"); n >= 80 {
				t.Errorf("the page has %d lines, 79 at most", n)
			}
			for _, part := range []string{"# " + info.Name + "\n", "](" + labs.PictureFile + ")", "\n## Next\n"} {
				if !strings.Contains(string(text), part) {
					t.Errorf("the page lacks %q", part)
				}
			}
			steps, err := pages.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if len(steps) < 3 || steps[len(steps)-1].Command != "meshlab down" {
				t.Errorf("the page has %d commands, and does not end with meshlab down", len(steps))
			}
			for _, s := range steps {
				for _, m := range hclFile.FindAllStringSubmatch(s.Command, -1) {
					if have[m[1]] == 0 {
						t.Errorf("the page uses %s, which is not there", m[1])
					}
				}
			}
		})
	}
}

var hclFile = regexp.MustCompile(`[ /]([a-z0-9-]+\.hcl)`)

func TestFilesOfWhatIsNotThere(t *testing.T) {
	for name, want := range map[string]string{
		"intention": `unknown lab "intention"; did you mean "intentions"?`,
		"zzz":       `unknown lab "zzz"; the catalogue has circuit-breaking, dns-discovery`,
		"../page":   "unknown lab",
		"":          "unknown lab",
	} {
		if _, err := labs.Files(name); !errors.Is(err, labs.ErrUnknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("Files(%q): %v, want %s", name, err, want)
		}
		if _, err := labs.Page(name); !errors.Is(err, labs.ErrUnknown) {
			t.Errorf("Page(%q): %v", name, err)
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

// The lab of images differs from the one of builtin services in nothing but
// these, and needs Docker.
func TestOfficialImages(t *testing.T) {
	lab, _, err := labs.Load("hashicups-official", builtins)
	if err != nil {
		t.Fatal(err)
	}
	own, _, err := labs.Load("hashicups", builtins)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(lab.Nodes, own.Nodes) || !reflect.DeepEqual(lab.Links, own.Links) || !reflect.DeepEqual(lab.Client, own.Client) {
		t.Error("nodes, links or the client are not those of hashicups")
	}
	for i, s := range lab.Services {
		o := own.Services[i]
		if s.Name != o.Name || s.Node != o.Node || s.Port != o.Port || !reflect.DeepEqual(s.Upstreams, o.Upstreams) {
			t.Errorf("service %+v, that of hashicups is %+v", s, o)
		}
		if image := strings.TrimPrefix(s.Image, "hashicorpdemoapp/"); image == s.Image || !strings.Contains(image, ":v") {
			t.Errorf("service %s has the image %q", s.Name, s.Image)
		}
	}
	if why, needs := lab.NeedsDocker(); !needs || !strings.HasPrefix(why, `service "frontend" runs the image hashicorpdemoapp/frontend:v`) {
		t.Errorf("NeedsDocker = %q, %v", why, needs)
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
	src, err := os.ReadFile("catalogue/single-upstream/lab.yaml")
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
		"zzz":                       "name a lab file, or one of circuit-breaking, dns-discovery, hashicups, ",
		"../labs/testdata/none.yml": "no such file",
	} {
		_, _, err := labs.Load(name, nil)
		if !errors.Is(err, labs.ErrUnknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s) = %v, want %s", name, err, want)
		}
	}
}

// A folder is no lab file, but the one that init wrote has one in it.
func TestLoadOfAFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, labs.LabFile)
	for _, want := range []string{dir + " is a folder; name a lab file", dir + " is a folder; its lab file is " + file} {
		if _, _, err := labs.Load(dir, nil); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
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
