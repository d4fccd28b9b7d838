package docker

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestIntents(t *testing.T) {
	state := filepath.Join(t.TempDir(), "lab [1]")
	shared := Mount{Source: filepath.Join(state, "shared"), Writable: true}
	look := func() []string {
		t.Helper()
		names, _, err := intents(state)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(names))
	}
	if got := look(); len(got) > 0 {
		t.Errorf("of a lab without a folder: %v", got)
	}
	done, err := recordIntent(shared, "meshlab-lab.h1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recordIntent(Mount{Source: state}, "meshlab-lab.h2"); err != nil { // the state folder itself
		t.Fatal(err)
	}
	if got := look(); !slices.Equal(got, []string{"meshlab-lab.h1", "meshlab-lab.h2"}) {
		t.Errorf("two are being made: %v", got)
	}
	done()
	if got := look(); !slices.Equal(got, []string{"meshlab-lab.h2"}) {
		t.Errorf("one has been made: %v", got)
	}
	_, forget, err := intents(state)
	if err != nil {
		t.Fatal(err)
	}
	forget()
	if got := look(); len(got) > 0 {
		t.Errorf("all forgotten: %v", got)
	}
	if err := os.WriteFile(filepath.Join(state, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := recordIntent(Mount{Source: filepath.Join(state, "file")}, "x"); err == nil {
		t.Error("nothing could be written, and that was no error")
	}
}
