package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/topo/imports"
)

// katharaLab is the reference laboratory as a Kathará lab.
const katharaLab = "../../topo/imports/testdata/kathara/shop"

// typed runs a verb in this process.
func typed(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	err = root.ExecuteContext(context.Background())
	return out.String(), errs.String(), err
}

func TestImportToStdout(t *testing.T) {
	out, errs, err := typed(t, "import", katharaLab, "--name", "mine")
	if err != nil || !strings.HasPrefix(out, "# Made by `meshlab import` from lab.conf (kathara).\nname: mine\n") {
		t.Errorf("%v: %s", err, out)
	}
	if want := katharaLab + "/s1.startup:4: set-fail-mode is not carried over"; !strings.Contains(errs, want) {
		t.Errorf("no line has %q:\n%s", want, errs)
	}
}

func TestImportedName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "full", "lab")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lab.conf"), []byte("a[0]=\"L\"\nb[0]=\"L\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, err := typed(t, "import", dir); err != nil || !strings.Contains(out, "\nname: full\n") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestImportToFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "lab.yaml")
	if out, _, err := typed(t, "import", katharaLab, "--out", file); err != nil || !strings.Contains(out, "Lab shop written to "+file) {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := loadLab(file); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := typed(t, "import", katharaLab, "--out", file); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("error %v", err)
	}
	if err := createFile(file, nil); err == nil {
		t.Error("a file that came in between was overwritten")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("%v: %s", err, text)
	}
	if _, _, err := typed(t, "import", katharaLab, "--out", file, "--force"); err != nil {
		t.Error(err)
	}
	if _, err := loadLab(file); err != nil {
		t.Error(err)
	}
	if _, _, err := typed(t, "import", katharaLab, "--out", filepath.Join(dir, "no", "lab.yaml")); err == nil {
		t.Error("written into a folder that is not there")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestImportAsJSON(t *testing.T) {
	out, errs, err := typed(t, "import", katharaLab, "--output", "json")
	if err != nil || errs != "" {
		t.Fatalf("%v: %s", err, errs)
	}
	var got struct {
		Name, Format, Source, Lab string
		Notes                     []imports.Note
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "shop" || got.Format != "kathara" || !strings.HasSuffix(got.Source, "shop/lab.conf") || !strings.Contains(got.Lab, "\nnodes:\n") || len(got.Notes) < 5 || got.Notes[0].Line == 0 {
		t.Errorf("%+v", got)
	}
}

func TestImportRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no path":        {nil, "accepts 1 arg"},
		"no such path":   {[]string{filepath.Join(dir, "none")}, "no such file"},
		"nothing there":  {[]string{t.TempDir()}, "the folder has no lab.conf"},
		"unknown format": {[]string{dir, "--from", "gns3"}, "it is one of kathara, containerlab, compose"},
		"a mistake":      {[]string{write("x.clab.yml", "topology:\n  nodes:\n    a: {}\n  links:\n    - endpoints: [\"b:x\", \"a:x\"]\n")}, "x.clab.yml:5: a link to \"b\""},
		"another format": {[]string{write("lab.yaml", "a: 1"), "--from", "compose"}, "there are no services"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := typed(t, append([]string{"import"}, tc.args...)...)
			var usage usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v; want a usage error with %q", err, tc.want)
			}
		})
	}
}
