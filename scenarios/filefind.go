package scenarios

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"meshlab.dev/meshlab/topo"
)

//go:embed builtin/*.yaml
var builtinFiles embed.FS

// maxScenarioFile bounds what is read of a file, in bytes; ParseScenario
// refuses less.
const maxScenarioFile = 2 << 20

// ErrUnknownScenario is in the error of LookupScenario for a name that is
// neither that of a built-in scenario nor a file.
var ErrUnknownScenario = errors.New("unknown scenario")

// Default is the matrix of the thesis, the built-in scenario thesis: 1, 8, 100
// and 200 connections, 1000 requests per attempt. The caller fills in Meshes,
// Pods, Requests and Seed.
func Default() Config { return builtinScenario("thesis").Closed }

// Quick is a matrix that shows within a minute or two that everything works,
// the built-in scenario quick. Its figures are too few to be quoted.
func Quick() Config { return builtinScenario("quick").Closed }

// BuiltinScenarios returns the scenarios that come with meshlab, sorted by
// name.
func BuiltinScenarios() []*Scenario {
	var all []*Scenario
	for _, name := range builtinNames() {
		all = append(all, builtinScenario(name))
	}
	return all
}

// builtinScenario panics when there is no good file of that name, which the
// tests of this package rule out.
func builtinScenario(name string) *Scenario {
	s, _, err := LookupScenario(name)
	if err != nil {
		panic(fmt.Sprintf("built-in scenario: %v", err))
	}
	return s
}

// LookupScenario returns a scenario and the source of its file. nameOrPath is
// the name of a built-in scenario, or the path of a file. The error is a
// *topo.ParseError when the file has mistakes, wraps ErrUnknownScenario when
// there is no such scenario, or is that of reading the file.
func LookupScenario(nameOrPath string) (*Scenario, []byte, error) {
	filename := nameOrPath
	src, err := builtinFiles.ReadFile("builtin/" + nameOrPath + ".yaml")
	if err != nil {
		src, err = readScenarioFile(nameOrPath)
	} else {
		filename += ".yaml"
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		known := builtinNames()
		if near := topo.Nearest(strings.TrimSuffix(path.Base(nameOrPath), ".yaml"), known); near != "" {
			return nil, nil, fmt.Errorf("%w %q, and no such file; did you mean %q?", ErrUnknownScenario, nameOrPath, near)
		}
		return nil, nil, fmt.Errorf("%w %q, and no such file; name a scenario file, or one of %s", ErrUnknownScenario, nameOrPath, strings.Join(known, ", "))
	case errors.Is(err, syscall.EISDIR):
		return nil, nil, fmt.Errorf("%s is a folder; name a scenario file", nameOrPath)
	case err != nil:
		return nil, nil, fmt.Errorf("read scenario file: %w", err)
	}
	s, err := ParseScenario(filename, src)
	if err != nil {
		return nil, src, err
	}
	return s, src, nil
}

func readScenarioFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxScenarioFile))
}

// builtinNames are the names of the built-in scenarios, sorted.
func builtinNames() []string {
	files, _ := fs.Glob(builtinFiles, "builtin/*.yaml") // the pattern is good
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	slices.Sort(files)
	return files
}
