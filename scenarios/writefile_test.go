package scenarios

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Of the files that look half-written, those are left whose writer is gone.
func TestLeftUnfinished(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-2 * youngest)
	aged := func(path string) string {
		t.Helper()
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unfinished := func() *os.File {
		t.Helper()
		f, err := Unfinished(filepath.Join(dir, "result.json"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	held := unfinished()
	defer held.Close()
	aged(held.Name())

	dead := unfinished()
	dead.Close() // as the kernel does for a program that is killed
	aged(dead.Name())

	young := unfinished()
	young.Close()

	strangers := filepath.Join(dir, ".result.json.123")
	if err := os.WriteFile(strangers, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	aged(strangers)

	left, err := LeftUnfinished(dir)
	if err != nil || !slices.Equal(left, []string{dead.Name()}) {
		t.Errorf("left: %v, %v; want %s alone", left, err, dead.Name())
	}
	if left, err := LeftUnfinished(filepath.Join(dir, "none")); err != nil || len(left) != 0 {
		t.Errorf("without a folder: %v, %v", left, err)
	}
}
