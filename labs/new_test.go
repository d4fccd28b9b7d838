package labs_test

import (
	"errors"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/topo"
)

func text(files []labs.File, name string) string {
	for _, f := range files {
		if f.Name == name {
			return string(f.Text)
		}
	}
	return ""
}

// A new lab is that of the catalogue with another name, in its page and its
// picture too.
func TestNew(t *testing.T) {
	for _, info := range labs.List() {
		files, err := labs.New("mine", info.Name, labs.ManyHosts{})
		if err != nil {
			t.Fatal(err)
		}
		lab, err := topo.Parse("lab.yaml", []byte(text(files, labs.LabFile)), topo.Options{Builtins: builtins})
		if err != nil {
			t.Fatal(err)
		}
		if lab.Name != "mine" || lab.Description != info.Description {
			t.Errorf("%s: lab %s: %s", info.Name, lab.Name, lab.Description)
		}
		if picture := text(files, labs.PictureFile); picture != string(topo.SVG(lab)) {
			t.Errorf("%s: the picture is not that of the lab: %.200s", info.Name, picture)
		}
		page := text(files, labs.PageFile)
		for _, bad := range []string{"$ meshlab up " + info.Name + "\n", "Lab " + info.Name + " is", "](../"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page says %q", info.Name, bad)
			}
		}
		for _, want := range []string{"$ meshlab up lab.yaml", "Lab mine is down"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page does not say %q", info.Name, want)
			}
		}
		original, err := labs.Files(info.Name)
		if err != nil || len(original) != len(files) || strings.Contains(text(original, labs.LabFile), "name: mine") {
			t.Errorf("%s: %d files, and %d new ones; %v", info.Name, len(original), len(files), err)
		}
	}
}

func TestNewOfWhatIsNoLab(t *testing.T) {
	if _, err := labs.New("mine", "intention", labs.ManyHosts{}); !errors.Is(err, labs.ErrUnknown) {
		t.Errorf("from an unknown lab: %v", err)
	}
	var pe *topo.ParseError
	for _, name := range []string{"", "Mine", "a b", strings.Repeat("x", 33), "a\nnodes: {}"} {
		if _, err := labs.New(name, "two-hosts", labs.ManyHosts{}); !errors.As(err, &pe) {
			t.Errorf("New(%q): %v", name, err)
		}
	}
}
