package imports_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/topo"
	"meshlab.dev/meshlab/topo/imports"
)

// sound fails when what an import gave is neither a clear error nor a lab file
// that topo accepts.
func sound(t *testing.T, fsys fstest.MapFS, name string, opt imports.Options) {
	t.Helper()
	opt.Builtins = builtin.Names()
	res, err := imports.Import(fsys, name, opt)
	switch {
	case errors.Is(err, imports.ErrUnfit):
		t.Fatal(err)
	case (res == nil) == (err == nil):
		t.Fatalf("Import = %v, %v", res, err)
	case err != nil:
		return
	}
	if _, err := topo.Parse("lab.yaml", res.Lab, topo.Options{Builtins: opt.Builtins}); err != nil {
		t.Fatalf("%v\n%s", err, res.Lab)
	}
	for _, n := range res.Notes {
		for _, r := range n.Text {
			if r < ' ' {
				t.Fatalf("a control character in the note %q", n.Text)
			}
		}
	}
}

func FuzzKathara(f *testing.F) {
	for _, dir := range []string{"shop", "programs", "routers"} {
		conf, err := os.ReadFile(filepath.Join("testdata/kathara", dir, "lab.conf"))
		if err != nil {
			f.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join("testdata/kathara", dir, "*.startup"))
		if err != nil || len(files) == 0 {
			f.Fatalf("no startup files in %s: %v", dir, err)
		}
		for _, file := range files {
			script, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(conf, script)
		}
	}
	f.Add([]byte("s1[0]=A\ns2[0]=A\n"), []byte("ovs-vsctl add-br b -- add-port b eth0 -- set interface eth0 ofport_request=7\n"))
	f.Add([]byte("client[0]=A\nlo[0]=A\nCLIENT[0]=B\n"), []byte("brctl addbr b\nbrctl addif b eth0"))
	f.Add([]byte("a[0]=A\nb[0]=A\n"), []byte("A=1 sh -c 'ifconfig eth0 10.0.0.255/8; x -p 1 &'\n{ x; } && (y &) || z | q\n\"${A:-b}\" $(c) `d`"))
	f.Fuzz(func(t *testing.T, conf, script []byte) {
		sound(t, fstest.MapFS{"lab.conf": {Data: conf}, "shared.startup": {Data: script}}, ".", imports.Options{})
		sound(t, fstest.MapFS{"lab.conf": {Data: conf}, "h1.startup": {Data: script}, "s1.startup": {Data: script}}, ".", imports.Options{})
	})
}

func FuzzContainerlab(f *testing.F) { fuzzYAML(f, "testdata/containerlab/*.yml", imports.Containerlab) }

func FuzzCompose(f *testing.F) { fuzzYAML(f, "testdata/compose/*.yaml", imports.Compose) }

func fuzzYAML(f *testing.F, pattern string, format imports.Format) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no files match %s: %v", pattern, err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	for _, s := range []string{
		"topology: {nodes: {a: {kind: linux, exec: [\"ip a a 1.2.3.4/32 dev e\"]}}, links: [{endpoints: [\"a:e\", \"a:e\"]}]}",
		"topology: {nodes: &x {a: {image: postgres}, b: {image: postgres, cmd: \"x {{ --port=5\"}}, links: [{mtu: 1, endpoints: [{node: a, interface: \"e:0\"}, \"b:\\\"\"]}]}",
		"services: {a: {image: x, ports: [\"1-3:4-6\"], scale: 3}, b_c: {<<: {image: redis}, environment: {A: \"a:80 {{\"}}}",
		"services: {a: {image: \"\\u2028{{\", command: \"\\\"\", depends_on: [b]}, b: {image: x, environment: [\"C=\\t\\0\"]}}",
		"services:\n  a: &a\n    image: *a\n",
		"services: {client: {image: x, ports: [\"80\"]}, consul: {image: x, ports: [\"81\"]}, shaper: {image: x, ports: [\"82\"]}, lo: {image: x, ports: [\"83\"]}}",
		"topology: {nodes: {lo: {kind: linux}, ovs-netdev: {kind: bridge}}, links: [{endpoints: [\"lo:eth1\", \"ovs-netdev:eth1\"]}]}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		sound(t, fstest.MapFS{"lab": {Data: src}}, "lab", imports.Options{Format: format})
	})
}

// Sources that grow a careless reader's stack, memory or time. Each must be
// answered soon.
func TestHostileInput(t *testing.T) {
	const startup, source = 30 << 10, 120 << 10
	repeat := func(s string, n int) string { return strings.Repeat(s, n/len(s)) }
	var conf strings.Builder
	for i := range 50 {
		fmt.Fprintf(&conf, "h%d[0]=A\n", i)
	}
	for name, tc := range map[string]struct {
		file, text string
		format     imports.Format
	}{
		"parentheses":     {"shared.startup", repeat("(", startup), ""},
		"substitutions":   {"shared.startup", repeat("$(", startup), ""},
		"braces":          {"shared.startup", repeat("{ ", startup), ""},
		"conditions":      {"shared.startup", repeat("if ", startup), ""},
		"and":             {"shared.startup", repeat("a&&", startup), ""},
		"quotes":          {"shared.startup", repeat("\"$(", startup), ""},
		"doubling":        {"shared.startup", "A=aaaaaaaa\n" + repeat("A=$A$A\n", startup), ""},
		"scripts inside":  {"shared.startup", repeat("sh -c 'sh -c \"x :1 &\"'\n", startup), ""},
		"services":        {"shared.startup", repeat("x :1 &\n", startup), ""},
		"interfaces":      {"shared.startup", repeat("ip a a 1.2.3.4/8 dev e\n", startup), ""},
		"yaml: brackets":  {"x", repeat("[", source), imports.Compose},
		"yaml: anchors":   {"x", "a: " + strings.Repeat("&a ", 50_000), imports.Containerlab},
		"yaml: nesting":   {"x", "a: " + anchored(31), imports.Containerlab},
		"yaml: documents": {"x", repeat("---\n", source), imports.Compose},
		"yaml: merges":    {"x", "a: &a {b: 1}\nc:\n" + repeat("  <<: *a\n", source), imports.Compose},
		"clab: nodes":     {"x", "topology:\n  nodes:\n" + lines("    n%d: {}\n", 8000), imports.Containerlab},
		"compose":         {"x", "services:\n" + lines("  s%d: {image: x}\n", 5000), imports.Compose},
		"compose: chain":  {"x", "services:\n  s0: {image: x}\n" + chain(499), imports.Compose},
	} {
		t.Run(name, func(t *testing.T) {
			began := spent(t)
			sound(t, fstest.MapFS{"lab.conf": {Data: []byte(conf.String())}, tc.file: {Data: []byte(tc.text)}}, map[bool]string{true: "x", false: "."}[tc.file == "x"], imports.Options{Format: tc.format})
			if d := spent(t) - began; d > time.Minute {
				t.Errorf("took %v of processors", d)
			}
			t.Log(spent(t) - began)
		})
	}
}

// spent is what this process has had of processors: another measure of work
// than time, which other programs take too.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func lines(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// chain is n services, each of which depends on the one before.
func chain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  s%d: {image: x, depends_on: [s%d]}\n", i+1, i)
	}
	return b.String()
}

// anchored is a list in a list in a list, each with an anchor.
func anchored(depth int) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "&a%d [", i)
	}
	return b.String() + strings.Repeat("]", depth)
}
