package consul

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestStaleBuilds(t *testing.T) {
	o := Options{CacheDir: filepath.Join(t.TempDir(), "cache")}
	if got, err := StaleBuilds(o); len(got) != 0 || err != nil {
		t.Errorf("without a cache: %v, %v", got, err)
	}
	stale, kept := filepath.Join(o.CacheDir, tempPrefix+"123"), filepath.Join(o.CacheDir, "consul-1.0.0")
	if err := errors.Join(os.MkdirAll(filepath.Join(stale, "go-build"), 0o755), os.WriteFile(kept, nil, 0o755)); err != nil {
		t.Fatal(err)
	}

	unlock, err := lockDir(t.Context(), o.CacheDir, newReporter(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := StaleBuilds(o); len(got) != 0 || err != nil {
		t.Errorf("the folder of a build that goes on: %v, %v", got, err)
	}
	if err := RemoveStaleBuilds(o); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(stale); err != nil {
		t.Errorf("the folder of a build that goes on was removed: %v", err)
	}
	unlock()

	if got, err := StaleBuilds(o); len(got) != 1 || got[0] != stale || err != nil {
		t.Errorf("stale: %v, %v", got, err)
	}
	if err := RemoveStaleBuilds(o); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(o.CacheDir)
	if err != nil || len(left) != 1 || left[0].Name() != filepath.Base(kept) {
		t.Errorf("left: %v, %v", left, err)
	}
}
