package topo_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/topo"
)

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "../labs/catalogue/*/lab.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		lab, err := topo.Parse("fuzz.yaml", src, topo.Options{Builtins: builtins})
		var pe *topo.ParseError
		if (lab == nil) == (err == nil) || err != nil && (!errors.As(err, &pe) || len(pe.Problems) == 0) {
			t.Fatalf("Parse = %v, %v", lab, err)
		}
		if lab == nil {
			return
		}
		hosts := 0
		for _, n := range lab.Nodes {
			if n.Kind == topo.KindHost {
				hosts++
			}
		}
		for name, fw := range topo.Forward(lab) {
			if len(fw.ToHost) != hosts {
				t.Errorf("switch %s knows the way to %d of %d hosts", name, len(fw.ToHost), hosts)
			}
		}
		if len(topo.SVG(lab)) == 0 || topo.DOT(lab) == "" || topo.Mermaid(lab) == "" {
			t.Error("a picture is empty")
		}
	})
}

// Inputs that grow a careless parser's stack, memory or time. Each must be
// refused, and soon.
func TestHostileInput(t *testing.T) {
	const n = 1 << 20
	repeat := func(s string) string { return strings.Repeat(s, (n-100)/len(s)) }
	var indented strings.Builder
	for i := range 1400 {
		indented.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	var keys, nodes, upstreams strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&keys, "key%d: 1\n", i)
	}
	nodes.WriteString("name: x\nnodes:\n")
	for i := range 10000 {
		fmt.Fprintf(&nodes, "  n%d: {kind: switch}\n", i)
	}
	upstreams.WriteString("name: x\nnodes:\n  s: {kind: switch}\n  h: {kind: host}\nlinks: [{endpoints: [\"h:e\", \"s:1\"]}]\nservices:\n")
	for i := range 999 {
		fmt.Fprintf(&upstreams, "  service-with-a-long-name-%d: {node: h, port: %d, builtin: echo, upstreams: {service-with-a-longer-name-%d: 9, b: 8, c: 7}}\n", i, i+1, i)
	}
	for name, src := range map[string]string{
		"brackets":     repeat("["),
		"braces":       repeat("{a: "),
		"dashes":       repeat("- "),
		"questions":    repeat("? "),
		"anchors":      "a: " + strings.Repeat("&a ", 50000),
		"tags":         "a: " + repeat("!!map "),
		"colons":       repeat("a: "),
		"quotes":       repeat(`"`),
		"open quote":   `name: "` + repeat("x"),
		"indentation":  indented.String(),
		"comment":      repeat("#"),
		"newlines":     repeat("\n"),
		"percent":      repeat("%"),
		"documents":    repeat("---\n"),
		"pipes":        repeat("|\n"),
		"zero bytes":   repeat("\x00"),
		"not UTF-8":    repeat("\xff"),
		"unknown keys": keys.String(),
		"many nodes":   nodes.String(),
		"far names":    upstreams.String(),
		"too large":    repeat("#") + strings.Repeat("#", 200),
		"a list":       "- 1\n- 2\n",
		"a word":       "word",
		"laughs":       "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
	} {
		t.Run(name, func(t *testing.T) {
			began := spent(t)
			lab, err := topo.Parse("hostile.yaml", []byte(src), topo.Options{Builtins: builtins})
			if lab != nil || err == nil {
				t.Errorf("Parse = %v, %v", lab, err)
			}
			if d := spent(t) - began; d > time.Minute {
				t.Errorf("took %v of processors", d)
			}
			t.Logf("%v, %.100q", spent(t)-began, err)
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
