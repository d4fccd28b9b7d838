//go:build integration

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs"
)

func TestInit(t *testing.T) {
	p := root(t)
	if out := p.ok(t, "init", "shop", "--from", "hashicups"); !strings.Contains(out, "Lab shop is in shop: README.md, lab.svg, lab.yaml\n  meshlab up shop/lab.yaml") {
		t.Error(out)
	}
	if out := p.ok(t, "validate", "shop/lab.yaml"); !strings.Contains(out, "lab shop, 6 hosts, 3 switches") {
		t.Error(out)
	}

	// What is there stays as it is, and nothing comes beside it.
	if err := os.Remove(filepath.Join(p.dir, "shop", "README.md")); err != nil {
		t.Fatal(err)
	}
	p.writeFile(t, "shop/lab.yaml", "mine")
	p.fails(t, exitFailed, []string{"init", "shop", "--from", "two-hosts"}, "is there already; nothing was written")
	if text, err := os.ReadFile(filepath.Join(p.dir, "shop", "lab.yaml")); err != nil || string(text) != "mine" {
		t.Errorf("%v: %s", err, text)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "shop", "README.md")); err == nil {
		t.Error("the page was written in spite of that")
	}

	var made struct {
		Name, From, Folder string
		Files              []string
	}
	decode(t, p.ok(t, "init", "--from", "staged-rollout", "--out", "a/b", "--output", "json"), &made)
	if made.Name != "staged-rollout" || made.From != made.Name || made.Folder != "a/b" || len(made.Files) != 7 {
		t.Errorf("%+v", made)
	}
	for _, name := range made.Files {
		if _, err := os.Stat(filepath.Join(p.dir, "a/b", name)); err != nil {
			t.Error(err)
		}
	}

	p.ok(t, "init", "many-hosts", "--hosts", "5", "--switches", "4", "--shape", "mesh")
	if out := p.ok(t, "validate", "many-hosts/lab.yaml"); !strings.Contains(out, "lab many-hosts, 22 hosts, 4 switches, 4 services") {
		t.Error(out)
	}

	for name, tc := range map[string]struct{ args, want []string }{
		"nothing":           {nil, []string{"--from"}},
		"no such lab":       {[]string{"hashicup"}, []string{`did you mean "hashicups"?`, "from another one, say which: --from"}},
		"a bad name":        {[]string{"Shop", "--from", "hashicups"}, []string{`the lab's name "Shop" must be`}},
		"a path":            {[]string{"../shop", "--from", "hashicups"}, []string{"without spaces and slashes"}},
		"of another lab":    {[]string{"two-hosts", "--hosts", "3"}, []string{"--hosts is for many-hosts"}},
		"too many":          {[]string{"many-hosts", "--out", "x", "--hosts", "501"}, []string{"at most 500 in all"}},
		"none":              {[]string{"many-hosts", "--out", "x", "--hosts", "0", "--switches", "0"}, []string{"0 hosts", "0 switches"}},
		"an unknown shape":  {[]string{"many-hosts", "--out", "x", "--shape", "ring"}, []string{"it is tree, mesh or star"}},
		"more than a name":  {[]string{"a", "b"}, []string{"at most 1 arg"}},
		"an unknown output": {[]string{"two-hosts", "--output", "xml"}, []string{"text or json"}},
	} {
		t.Run(name, func(t *testing.T) {
			p.fails(t, exitUsage, append([]string{"init"}, tc.args...), tc.want...)
		})
	}
}

func TestLabs(t *testing.T) {
	p := root(t)
	var list []labs.Info
	decode(t, p.ok(t, "labs", "--output", "json"), &list)
	text := p.ok(t, "labs")
	for _, l := range list {
		if !strings.Contains(text, l.Name+" ") || !strings.Contains(text, l.Description) {
			t.Errorf("the list lacks %+v", l)
		}
	}
	if len(list) < 13 {
		t.Errorf("only %d labs", len(list))
	}
	if out := p.ok(t, "labs", "intentions"); !strings.Contains(out, "\nname: intentions\n") {
		t.Error(out)
	}
	if out := p.ok(t, "labs", "intentions", "--page"); !strings.HasPrefix(out, "# intentions\n") {
		t.Error(out)
	}
	p.fails(t, exitUsage, []string{"labs", "--page"}, "name a lab")
	p.fails(t, exitUsage, []string{"labs", "intention", "--page"}, `did you mean "intentions"?`)
}
