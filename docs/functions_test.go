package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testInText   = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)`")
	testInSource = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)\(`)
)

// TestNamedTestsExist holds what the documents call a proof to the tests that
// there are.
func TestNamedTestsExist(t *testing.T) {
	have := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range testInSource.FindAllStringSubmatch(string(source), -1) {
			have[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for name, text := range documents(t) {
		for _, m := range testInText.FindAllStringSubmatch(text, -1) {
			named++
			if !have[m[1]] {
				t.Errorf("%s: there is no test %s", name, m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("found only %d names of tests in the documents", named)
	}
}
