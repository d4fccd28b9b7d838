package docker

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
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

func TestMade(t *testing.T) {
	state := filepath.Join(t.TempDir(), "lab [1]")
	shared := Mount{Source: filepath.Join(state, "shared"), Writable: true}
	id := func(n int) string { return fmt.Sprintf("%064x", n) }
	check := func(what string, want ...string) {
		t.Helper()
		ids, err := made(state)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, want) {
			t.Errorf("%s: %v", what, got)
		}
	}
	check("of a lab without a folder")
	if err := recordMade(shared, "meshlab-lab.h1", id(1)); err != nil {
		t.Fatal(err)
	}
	for n := range keptIDs + 2 { // started again and again
		if err := recordMade(shared, "meshlab-lab.h1.shop", id(n+2)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{id(1), id(4), id(5), id(6), id(7)}
	check("the last of each name", want...)

	// What containers may put there.
	dir := filepath.Join(state, "shared", madeFolder)
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "words"), []byte("user.slice\n/\n"+id(8)+"0\n"), 0o600),
		os.Symlink("/dev/zero", filepath.Join(dir, "zero")), os.Mkdir(filepath.Join(dir, "folder"), 0o700), unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	check("with what is no note", want...)
	if err := recordMade(Mount{Source: filepath.Join(dir, "words")}, "x", id(1)); err == nil {
		t.Error("nothing could be written, and that was no error")
	}
}
