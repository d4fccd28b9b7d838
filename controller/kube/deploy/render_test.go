package deploy

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files that are made by this package")

// least are the values that have no default.
const least = `{image: "meshlab:latest", config: {vip: 10.1.1.254}}`

func parse(t *testing.T, text string) Values {
	t.Helper()
	v, err := Parse([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The chart and the base that users find in the repository are those that this
// package makes.
func TestFiles(t *testing.T) {
	chart, err := Chart()
	if err != nil {
		t.Fatal(err)
	}
	base, err := parse(t, least).Kustomize()
	if err != nil {
		t.Fatal(err)
	}
	for folder, files := range map[string]map[string]string{chartFolder: chart, "kustomize": base} {
		if *update {
			for name, text := range files {
				path := filepath.Join(folder, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		there := map[string]string{}
		err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			there[strings.TrimPrefix(path, folder+"/")] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for name := range maps.All(there) {
			if there[name] != files[name] {
				t.Errorf("%s/%s is not what this package makes: go test ./controller/kube/deploy -update", folder, name)
			}
		}
		if got, want := slices.Sorted(maps.Keys(there)), slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q: go test ./controller/kube/deploy -update", folder, got, want)
		}
	}
}
