package topo_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/topo"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var builtins = []string{"echo", "other"}

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return files
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestBadFiles(t *testing.T) {
	for _, file := range glob(t, "testdata/*.bad.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			lab, err := topo.Parse(filepath.Base(file), read(t, file), topo.Options{Builtins: builtins})
			var pe *topo.ParseError
			if lab != nil || !errors.As(err, &pe) {
				t.Fatalf("Parse = %v, %v; want a *ParseError", lab, err)
			}
			if !slices.IsSortedFunc(pe.Problems, func(a, b topo.Problem) int { return a.Line - b.Line }) {
				t.Error("problems are not sorted by line")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(err.Error()+"\n"))
		})
	}
}

func TestEveryKey(t *testing.T) {
	lab, err := topo.Parse("full.good.yaml", read(t, "testdata/full.good.yaml"), topo.Options{Builtins: builtins})
	if err != nil {
		t.Fatal(err)
	}
	port := func(p uint16) *uint16 { return &p }
	prefix := netip.MustParsePrefix
	mac := func(n topo.Node) string { return n.MAC.String() }
	if lab.Name != "every-key" || lab.Description != "Every key\nof the format.\n" {
		t.Errorf("name %q, description %q", lab.Name, lab.Description)
	}
	if m := lab.Mesh; m.VIP.String() != "10.1.0.200" || m.Hairpin.String() != "10.1.0.201" || m.Server != "h3" || m.VIPMAC.String() != "02:00:0a:01:00:c8" {
		t.Errorf("mesh %+v", m)
	}
	wantNodes := []struct {
		name string
		ip   netip.Prefix
		mac  string
		dpid uint64
	}{
		{"h1", prefix("10.1.0.11/16"), "02:00:00:00:00:0a", 0},
		{"h2", prefix("10.1.0.1/16"), "02:00:0a:01:00:01", 0},
		{"h3", prefix("10.1.0.2/16"), "02:00:0a:01:00:02", 0},
		{"s1", netip.Prefix{}, "", 255}, {"s2", netip.Prefix{}, "", 2}, {"s3", netip.Prefix{}, "", 1},
		{"client", prefix("10.1.0.3/16"), "02:00:0a:01:00:03", 0},
	}
	for i, w := range wantNodes {
		if n := lab.Nodes[i]; n.Name != w.name || n.IPv4 != w.ip || mac(n) != w.mac || n.DPID != w.dpid {
			t.Errorf("node %d: %+v, want %+v", i, n, w)
		}
	}
	auto := topo.Link{A: topo.Endpoint{Node: "client", Interface: "eth0"}, B: topo.Endpoint{Node: "s1", Interface: "4", Port: 4}, MTU: 1500}
	if len(lab.Links) != 7 || lab.Links[0].MTU != 9000 || lab.Links[6] != auto {
		t.Errorf("links %+v", lab.Links)
	}
	if a := lab.Links[0].A; a != (topo.Endpoint{Node: "h1", Interface: "eth0"}) {
		t.Errorf("end of the first link %+v", a)
	}
	want := []topo.Service{
		{
			Name: "web-1", Service: "web", Node: "h1", Port: 8080,
			Command:     []string{"python3", "-m", "http.server", "8080", "--bind", "{{ address }}"},
			Environment: map[string]string{"DEBUG": "true", "LEVEL": "3", "BACKEND": `http://{{ upstream "backend" }}/{{ "{{" }}`},
			Upstreams:   []topo.Upstream{{Service: "log", BindPort: 9001}, {Service: "backend", BindPort: 9002}},
			Meta:        map[string]string{"version": "2", "canary": "true", "build-id": "7.0"},
			Healthcheck: topo.Healthcheck{HTTP: "/health?full=1", Interval: 500 * time.Millisecond},
			Publish:     port(18080),
		},
		{Name: "web-2", Service: "web", Node: "h2", Port: 8080, Builtin: "echo", Healthcheck: topo.Healthcheck{TCP: true, Interval: time.Second}},
		{Name: "backend", Service: "backend", Node: "h2", Port: 8081, Builtin: "echo", Healthcheck: topo.Healthcheck{TCP: true, Interval: time.Second}, Publish: port(0)},
		{Name: "log", Service: "log", Node: "h3", Port: 8082, Builtin: "echo", Healthcheck: topo.Healthcheck{None: true, Interval: time.Second}},
	}
	show := func(s topo.Service) string {
		publish := "-"
		if s.Publish != nil {
			publish = fmt.Sprint(*s.Publish)
		}
		s.Publish, s.Line = nil, 0
		return fmt.Sprintf("%+v %s", s, publish)
	}
	if line := lab.Services[1].Line; line != 32 {
		t.Errorf("service %s is in line %d", lab.Services[1].Name, line)
	}
	for i, w := range want {
		if got := show(lab.Services[i]); got != show(w) {
			t.Errorf("service %d:\n%s\nwant\n%s", i, got, show(w))
		}
	}
	if c := lab.Client; c.Node != "client" || !slices.Equal(c.Upstreams, []topo.Upstream{{Service: "web", BindPort: 9000}}) {
		t.Errorf("client %+v", c)
	}
	requests := map[string]topo.Request{
		"page": {To: "web", Protocol: topo.ProtocolHTTP1, Method: "GET", Path: "/", Headers: map[string]string{}, Expect: topo.Expect{Status: 200}},
		"post": {To: "web", Protocol: topo.ProtocolHTTP1, Method: "PUT", Path: "/a?b=c", Headers: map[string]string{"X-Number": "1"}, Body: "hello",
			Expect: topo.Expect{Status: 204, Contains: []string{"ok", "7"}, Matches: `^o\d*k$`}},
		"echo": {To: "web", Protocol: topo.ProtocolUDP, Headers: map[string]string{}, Body: "hello"},
		"ping": {To: "web", Protocol: topo.ProtocolGRPC, Headers: map[string]string{"x-number": "1"}},
	}
	if !reflect.DeepEqual(lab.Requests, requests) {
		t.Errorf("requests %+v, want %+v", lab.Requests, requests)
	}
}

func TestExpand(t *testing.T) {
	f := topo.Funcs{
		Address: "10.0.0.1", Port: 80,
		Upstream: func(s string) (string, error) {
			if s == "db" {
				return "10.0.0.250:9000", nil
			}
			return "", errors.New("no such upstream")
		},
	}
	tests := []struct{ name, in, want, err string }{
		{"plain", "no template", "no template", ""},
		{"empty", "", "", ""},
		{"all", `http://{{ upstream "db" }}/{{address}}:{{port}}`, "http://10.0.0.250:9000/10.0.0.1:80", ""},
		{"raw quotes", "{{ upstream `db` }}", "10.0.0.250:9000", ""},
		{"trim", "a {{- port -}} b", "a80b", ""},
		{"braces", `{{ "{{" }}x}}`, "{{x}}", ""},
		{"comment only", "{{/* nothing */}}", "", ""},
		{"caller's error", `{{ upstream "x" }}`, "", "no such upstream"},
		{"unknown function", `{{ len "x" }}`, "", `template: function "len" not defined`},
		{"no argument", `{{ upstream }}`, "", "a template may only hold"},
		{"pipe", `{{ "db" | upstream }}`, "", "a template may only hold"},
		{"nested", `{{ upstream (upstream "db") }}`, "", "a template may only hold"},
		{"field", `{{ .X }}`, "", "a template may only hold"},
		{"endless", `{{ range 1000000000000000 }}{{ end }}`, "", "a template may only hold"},
		{"recursive", `{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`, "", "a template may only hold"},
		{"unclosed", `{{ port`, "", "template: unclosed action"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := topo.Expand(tt.in, f)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("Expand(%q) = %q, %v; want %q, %s", tt.in, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	known := []string{"upstreams", "h1", "h2", "consul_server"}
	for name, want := range map[string]string{
		"upstrems": "upstreams", "h11": "h1", "h3": "h1", "consul-server": "consul_server",
		"zebra": "", "": "", strings.Repeat("x", 5000): "",
	} {
		if got := topo.Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

// Random labs with some addresses stated: whatever is chosen for the rest
// collides with nothing.
func TestAutomaticAddressesNeverCollide(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	good := 0
	for range 500 {
		bits := 24 + rng.IntN(6)
		size := 1 << (32 - bits)
		var b strings.Builder
		b.WriteString("name: random\n")
		used := map[int]bool{}
		stated := func() (int, bool) {
			a := 1 + rng.IntN(size-2)
			ok := !used[a] && rng.IntN(2) == 0
			used[a] = used[a] || ok
			return a, ok
		}
		if a, ok := stated(); ok {
			fmt.Fprintf(&b, "mesh: { vip: 192.168.0.%d }\n", a)
		}
		b.WriteString("nodes:\n  s: { kind: switch }\n  first: { kind: host, ipv4: ")
		first := 1
		for used[first] {
			first++
		}
		used[first] = true
		fmt.Fprintf(&b, "192.168.0.%d/%d }\n", first, bits)
		hosts := rng.IntN(size)
		for i := range hosts {
			fmt.Fprintf(&b, "  h%d: { kind: host", i)
			if a, ok := stated(); ok {
				fmt.Fprintf(&b, ", ipv4: 192.168.0.%d/%d", a, bits)
			}
			if a, ok := stated(); ok { // a MAC that an automatic one could be
				fmt.Fprintf(&b, ", mac: \"02:00:c0:a8:00:%02x\"", a)
			}
			b.WriteString(" }\n")
		}
		b.WriteString("links:\n- endpoints: [\"first:eth0\", \"s:1\"]\n")
		for i := range hosts {
			fmt.Fprintf(&b, "- endpoints: [\"h%d:eth0\", \"s:%d\"]\n", i, i+2)
		}
		b.WriteString("client: {}\n")
		lab, err := topo.Parse("random.yaml", []byte(b.String()), topo.Options{})
		if err != nil {
			// The only good reason: more hosts than addresses. Two hosts are
			// automatic, two addresses are the mesh's, one host is "first".
			if hosts+5 <= size-2 || !strings.Contains(err.Error(), "no free address") {
				t.Fatalf("%d hosts in /%d: %v\n%s", hosts, bits, err, b.String())
			}
			continue
		}
		good++
		addresses := map[netip.Addr]string{lab.Mesh.VIP: "vip"}
		macs := map[string]string{lab.Mesh.VIPMAC.String(): "vip"}
		network := netip.MustParsePrefix(fmt.Sprintf("192.168.0.0/%d", bits))
		add := func(a netip.Addr, who string) {
			if addresses[a] != "" {
				t.Fatalf("%s of %s is also that of %s", a, who, addresses[a])
			}
			addresses[a] = who
			if last := network.Addr().As4(); !network.Contains(a) || a == network.Addr() || a == netip.AddrFrom4([4]byte{last[0], last[1], last[2], byte(size - 1)}) {
				t.Fatalf("%s of %s is no host address of %s", a, who, network)
			}
		}
		add(lab.Mesh.Hairpin, "hairpin")
		for _, n := range lab.Nodes {
			if n.Kind != topo.KindHost {
				continue
			}
			add(n.IPv4.Addr(), n.Name)
			if m := n.MAC.String(); len(n.MAC) != 6 || macs[m] != "" {
				t.Fatalf("mac %s of %s is also that of %s", m, n.Name, macs[m])
			}
			macs[n.MAC.String()] = n.Name
		}
	}
	if good < 100 {
		t.Errorf("only %d of 500 random labs were good: the test shows too little", good)
	}
}
