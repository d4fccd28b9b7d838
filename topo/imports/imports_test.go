package imports_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/topo"
	"meshlab.dev/meshlab/topo/imports"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// notes is a line for each note.
func notes(res *imports.Result) string {
	var b strings.Builder
	for _, n := range res.Notes {
		b.WriteString(n.String() + "\n")
	}
	return b.String()
}

func TestImports(t *testing.T) {
	for name, tc := range map[string]struct {
		path   string
		format imports.Format
		golden string
	}{
		"kathara: the reference laboratory":      {"kathara/shop", imports.Kathara, "kathara/shop"},
		"kathara: lab.conf named":                {"kathara/shop/lab.conf", imports.Kathara, "kathara/shop"},
		"kathara: programs in startup files":     {"kathara/programs", imports.Kathara, "kathara/programs"},
		"kathara: networks with a router":        {"kathara/routers", imports.Kathara, "kathara/routers"},
		"containerlab: a folder":                 {"containerlab", imports.Containerlab, "containerlab/shop"},
		"containerlab: a file":                   {"containerlab/shop.clab.yml", imports.Containerlab, "containerlab/shop"},
		"compose: HashiCups, known by services:": {"compose/hashicups.yaml", imports.Compose, "compose/hashicups"},
		"compose: an application":                {"compose/app.yaml", imports.Compose, "compose/app"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := imports.Import(os.DirFS("testdata"), tc.path, imports.Options{Folder: "testdata", Fallback: "fallback", Builtins: builtin.Names()})
			if err != nil {
				t.Fatal(err)
			}
			if res.Format != tc.format {
				t.Errorf("format %s", res.Format)
			}
			golden(t, filepath.Join("testdata", tc.golden+".lab.golden"), string(res.Lab))
			golden(t, filepath.Join("testdata", tc.golden+".notes.golden"), notes(res))
			again, err := imports.Import(os.DirFS("testdata"), tc.path, imports.Options{Format: tc.format, Folder: "testdata", Fallback: "fallback"})
			if err != nil || string(again.Lab) != string(res.Lab) || notes(again) != notes(res) {
				t.Errorf("a second import, with the format stated, differs: %v", err)
			}
		})
	}
}

// The laboratory of the thesis comes out as the built-in lab that was made
// after it: the same hosts, addresses, MACs, switches, and services.
func TestReferenceLaboratory(t *testing.T) {
	res, err := imports.Import(os.DirFS("testdata/kathara/shop"), ".", imports.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lab, err := topo.Parse("lab.yaml", res.Lab, topo.Options{Builtins: builtin.Names()})
	if err != nil {
		t.Fatal(err)
	}
	if lab.Name != "shop" || lab.Mesh.VIP.String() != "192.168.1.250" || lab.Mesh.Server != "consul_server" {
		t.Errorf("lab %s, mesh %+v", lab.Name, lab.Mesh)
	}
	want := map[string]string{
		"h1": "192.168.1.11/24 00:00:00:00:00:01", "h2": "192.168.1.12/24 00:00:00:00:00:02",
		"h3": "192.168.1.13/24 00:00:00:00:00:03", "db1": "192.168.1.21/24 00:00:00:00:00:04",
		"consul_server": "192.168.1.200/24 02:00:c0:a8:01:c8",
		"s1":            "1", "s2": "2", "s3": "3",
	}
	for _, n := range lab.Nodes {
		got := n.IPv4.String() + " " + n.MAC.String()
		if n.Kind == topo.KindSwitch {
			got = string('0' + byte(n.DPID))
		}
		if w := want[n.Name]; n.Name != "client" && got != w {
			t.Errorf("node %s: %s instead of %s", n.Name, got, w)
		}
		delete(want, n.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	where := map[string]string{
		"frontend": "h1 hashicups/frontend", "public-api": "h1 hashicups/public-api", "product-api": "h2 hashicups/product-api",
		"payments": "h3 hashicups/payments", "product-db": "db1 hashicups/product-db",
	}
	for _, s := range lab.Services {
		if where[s.Name] != s.Node+" "+s.Builtin {
			t.Errorf("service %s: %s on %s", s.Name, s.Builtin, s.Node)
		}
		delete(where, s.Name)
	}
	if len(where) > 0 {
		t.Errorf("missing: %v", where)
	}
	if lab.Requests["api"].To != "public-api" || lab.Requests["frontend"].To != "frontend" {
		t.Errorf("requests %+v", lab.Requests)
	}
}

// A containerlab node whose program is left out is told of, and one whose
// image is known by its port gets a service.
func TestContainerlabPrograms(t *testing.T) {
	for name, tc := range map[string]struct {
		node    string
		service string // what the lab must have; "": no service
		note    string // "": none
	}{
		"a well-known image":        {"{ kind: linux, image: \"nginx:1.27\" }", "    port: 80\n", "echo stands in for the image nginx:1.27"},
		"a Postgres":                {"{ kind: linux, image: postgres }", "    port: 5432\n", "echo stands in for the image postgres"},
		"an unknown image":          {"{ kind: linux, image: \"myorg/server:1\" }", "", `what the image "myorg/server:1" of a runs is not carried over, as it names no port: add a service with a command and a port, if it is one`},
		"a command without a port":  {"{ kind: linux, image: myorg/x, cmd: /srv -v }", "", "the command of a is not carried over, as it names no port: add a service with this command and a port, if it is one: /srv -v"},
		"an entrypoint with a port": {"{ kind: linux, image: myorg/x, entrypoint: /srv --port 81 }", "    port: 81\n", "echo stands in for the image myorg/x"},
		"no image":                  {"{ kind: linux }", "", ""},
		"two ports":                 {"{ kind: linux, image: nginx, ports: [\"8080:80\", \"443\"] }", "    port: 80\n", "port 443 of a is not carried over: a service has one"},
		"two ports of a builtin":    {"{ kind: linux, image: hashicorpdemoapp/payments, ports: [\"81\", \"82\"] }", "    port: 81\n", "port 82 of a is not carried over: a service has one"},
		"ports of Consul":           {"{ kind: linux, image: consul, ports: [\"8500\"] }", "", "port 8500 of a is not carried over"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{"a.clab.yml": {Data: []byte("name: x\ntopology:\n  nodes:\n    a: " + tc.node + "\n    s: { kind: ovs-bridge }\n  links:\n    - endpoints: [\"a:eth1\", \"s:eth1\"]\n")}}
			res, err := imports.Import(fsys, ".", imports.Options{})
			if err != nil {
				t.Fatal(err)
			}
			lab := string(res.Lab)
			if has := strings.Contains(lab, "\nservices:"); has != (tc.service != "") || !strings.Contains(lab, tc.service) {
				t.Errorf("want a service %q:\n%s", tc.service, lab)
			}
			if got := notes(res); tc.note == "" && got != "" || !strings.Contains(got, tc.note) {
				t.Errorf("notes %q without %q", got, tc.note)
			}
		})
	}
}

func TestName(t *testing.T) {
	named := fstest.MapFS{"lab.conf": {Data: []byte("LAB_NAME=\"In Source\"\nh1[0]=A\n")}}
	nameless := fstest.MapFS{"lab.conf": {Data: []byte("h1[0]=A\n")}}
	for name, tc := range map[string]struct {
		fsys fs.FS
		opt  imports.Options
		want string
	}{
		"of the source":   {named, imports.Options{Fallback: "folder"}, "in-source"},
		"of the caller":   {named, imports.Options{Name: "mine", Fallback: "folder"}, "mine"},
		"of the folder":   {nameless, imports.Options{Fallback: "Some Folder"}, "some-folder"},
		"of nobody":       {nameless, imports.Options{}, "imported"},
		"not a name":      {nameless, imports.Options{Name: "!!!"}, "imported"},
		"of a bad folder": {nameless, imports.Options{Fallback: "/"}, "imported"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := imports.Import(tc.fsys, ".", tc.opt)
			if err != nil || res.Name != tc.want || !strings.Contains(string(res.Lab), "name: "+tc.want+"\n") {
				t.Errorf("%v, %+v", err, res)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	var many, ifaces strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&many, "h%d[0]=A\n", i)
		fmt.Fprintf(&ifaces, "h[%d]=A\n", i)
	}
	const clab = "name: x\ntopology:\n  nodes:\n    a: { kind: linux }\n    b: { kind: ovs-bridge }\n"
	for name, tc := range map[string]struct {
		file, text string
		format     imports.Format
		path       string
		want       string
	}{
		"no such file":            {"a.yaml", "", "", "b.yaml", "file does not exist"},
		"an empty folder":         {"x/readme", "", "", ".", "the folder has no lab.conf"},
		"text":                    {"a.txt", "hello", "", "", "neither"},
		"a lab of meshlab":        {"a.yaml", "nodes: {}\nlinks: []\nservices: {}\n", "", "", "needs no import"},
		"no known keys":           {"a.yaml", "a: 1\n", "", "", "neither topology nor services"},
		"unknown format":          {"a.yaml", "", "docker", "", `unknown format "docker"`},
		"kathara of a file":       {"a.yaml", "", imports.Kathara, "", "a folder with lab.conf"},
		"several topologies":      {"a.clab.yml", clab, "", "folder", "name one of a.clab.yml, b.clab.yml"},
		"lab.conf: no statement":  {"lab.conf", "h1[0]=A\nhello\n", "", "", "lab.conf:2: \"hello\" is neither"},
		"lab.conf: twice":         {"lab.conf", "h1[0]=A\nh2[0]=A\nh1[0]=B\n", "", "", "lab.conf:3: h1[0] is stated twice; the first is in line 1"},
		"lab.conf: no quote":      {"lab.conf", "h1[0]=\"A\n", "", "", "no closing quote"},
		"lab.conf: behind quotes": {"lab.conf", "h1[0]=\"A\" B\n", "", "", "goes on"},
		"lab.conf: bad key":       {"lab.conf", "h1[0=A\n", "", "", "is not device[key]"},
		"lab.conf: odd name":      {"lab.conf", "h 1[0]=A\n", "", "", "is no name"},
		"lab.conf: no domain":     {"lab.conf", "h1[0]=\n", "", "", "names no collision domain"},
		"lab.conf: bad MAC":       {"lab.conf", "h1[0]=A/zz\n", "", "", "is no MAC address"},
		"lab.conf: empty":         {"lab.conf", "# nothing\n", "", "", "there is no device"},
		"lab.conf: binary":        {"lab.conf", "\x00\x01\xff", "", "", "the file is not text"},
		"lab.conf: long line":     {"lab.conf", "h1[0]=" + strings.Repeat("A", 5000), "", "", "more than 4096 bytes"},
		"lab.conf: too many":      {"lab.conf", many.String(), "", "", "a lab may have at most 900"},
		"lab.conf: many ifaces":   {"lab.conf", ifaces.String(), "", "", "more than 256 interfaces"},
		"lab.conf: too large":     {"lab.conf", strings.Repeat("#", 2<<20), "", "", "more than 262144 bytes"},
		"clab: not YAML":          {"a.clab.yml", "a: [", "", "", "not YAML"},
		"clab: binary":            {"a.clab.yml", "\x00\xff\xfe\x01", "", "", "a.clab.yml"},
		"clab: nothing":           {"a.clab.yml", "", "", "", "the file says nothing"},
		"clab: a list":            {"a.clab.yml", "- 1\n", "", "", "the file is no mapping"},
		"clab: no topology":       {"a.clab.yml", "name: x\n", "", "", "no topology"},
		"clab: no nodes":          {"a.clab.yml", "topology: { nodes: {} }\n", "", "", "no nodes"},
		"clab: a node twice":      {"a.clab.yml", clab + "    a: {}\n", "", "", "a.clab.yml:6: \"a\" is stated twice; the first is in line 4"},
		"clab: unknown node":      {"a.clab.yml", clab + "  links:\n    - endpoints: [\"a:eth1\", \"c:eth1\"]\n", "", "", `a.clab.yml:7: a link to "c", which is no node`},
		"clab: three ends":        {"a.clab.yml", clab + "  links:\n    - endpoints: [\"a:eth1\"]\n", "", "", "two endpoints"},
		"clab: no interface":      {"a.clab.yml", clab + "  links:\n    - endpoints: [\"a\", \"b:eth1\"]\n", "", "", "names no interface"},
		"clab: an end twice":      {"a.clab.yml", clab + "  links:\n    - endpoints: [\"a:eth1\", \"b:eth1\"]\n    - endpoints: [\"a:eth1\", \"b:eth2\"]\n", "", "", "an end of the link in line 7"},
		"clab: unknown alias":     {"a.clab.yml", "topology: *x\n", "", "", "alias"},
		"clab: laughs": {"a.clab.yml", "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
			"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e]\n", "", "", "more than 100000 values"},
		"compose: a ring":       {"compose.yaml", "services:\n  a:\n    image: x\n    depends_on: [b]\n  b:\n    image: x\n    depends_on: [a]\n", "", "", "dependency cycle detected"},
		"compose: a key twice":  {"compose.yaml", "services:\n  a: { image: x }\n  a: { image: y }\n", "", "", "compose.yaml:3: \"a\" is stated twice; the first is in line 2"},
		"compose: unknown key":  {"compose.yaml", "services:\n  b: { image: x }\n  a: { image: x, bogus: 1 }\n", "", "", "compose.yaml:3: services.a.bogus"},
		"compose: unknown name": {"compose.yaml", "services:\n  a: { image: x, depends_on: [b] }\n", "", "", "undefined service"},
		"compose: bad variable": {"compose.yaml", "services:\n  a: { image: \"${\" }\n", "", "", "invalid interpolation"},
		"compose: no services":  {"compose.yaml", "name: x\n", "", "", "no services"},
		"compose: none":         {"compose.yaml", "services: {}\n", "", "", "there is no service"},
		"compose: bad .env":     {"compose.yaml", "services: { a: { image: x } }\n", "", "env", ".env"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{tc.file: {Data: []byte(tc.text)}}
			path := tc.file
			switch tc.path {
			case "":
			case "folder":
				fsys["b.clab.yml"] = fsys[tc.file]
				path = "."
			case "env":
				fsys[".env"] = &fstest.MapFile{Data: []byte("A B=C='\n")}
			default:
				path = tc.path
			}
			res, err := imports.Import(fsys, path, imports.Options{Format: tc.format})
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, imports.ErrUnfit) {
				t.Errorf("%+v, error %v; want %q", res, err, tc.want)
			}
		})
	}
}
