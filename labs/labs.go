// Package labs holds the lab files that come with meshlab, and finds labs by
// the name of one of them or by the path of a file. What a file means is
// topo's business; the builtin services that the labs run are below this
// folder, in packages of their own.
package labs

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

	"meshlab.dev/meshlab/topo"
)

//go:embed *.yaml
var files embed.FS

// maxFile bounds what is read of a file, in bytes; topo refuses less.
const maxFile = 2 << 20

// ErrUnknown is in the error of Load for a name that is neither that of an
// embedded lab nor a file.
var ErrUnknown = errors.New("unknown lab")

// Info is what a list of labs shows of one.
type Info struct {
	Name        string
	Description string
}

// List returns the embedded labs, sorted by name.
func List() []Info {
	var out []Info
	for _, name := range names() {
		lab, _, err := Load(name, nil)
		if err != nil { // a test loads each of them
			continue
		}
		out = append(out, Info{Name: lab.Name, Description: lab.Description})
	}
	return out
}

// Load returns a lab and the source of its file. nameOrPath is the name of an
// embedded lab, or the path of a file: what has a slash or ends in .yaml or
// .yml is a path, and another word is one when no embedded lab has that name.
// builtins are the names that a service's builtin may have; nil: any. The
// error is a *topo.ParseError when the file has mistakes, wraps ErrUnknown
// when there is no such lab, or is that of reading the file.
func Load(nameOrPath string, builtins []string) (*topo.Lab, []byte, error) {
	filename, src, err := source(nameOrPath)
	if err != nil {
		return nil, nil, err
	}
	lab, err := topo.Parse(filename, src, topo.Options{Builtins: builtins})
	if err != nil {
		return nil, src, err
	}
	return lab, src, nil
}

func source(nameOrPath string) (filename string, src []byte, err error) {
	if src, err := files.ReadFile(nameOrPath + ".yaml"); err == nil && !strings.Contains(nameOrPath, "/") {
		return nameOrPath + ".yaml", src, nil
	}
	src, err = readFile(nameOrPath)
	if err == nil {
		return nameOrPath, src, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("read lab file: %w", err)
	}
	known := names()
	if near := topo.Nearest(strings.TrimSuffix(path.Base(nameOrPath), ".yaml"), known); near != "" {
		return "", nil, fmt.Errorf("%w %q, and no such file; did you mean %q?", ErrUnknown, nameOrPath, near)
	}
	return "", nil, fmt.Errorf("%w %q, and no such file; name a lab file, or one of %s", ErrUnknown, nameOrPath, strings.Join(known, ", "))
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// names of the embedded labs, sorted.
func names() []string {
	entries, _ := fs.Glob(files, "*.yaml") // the pattern is good
	for i, e := range entries {
		entries[i] = strings.TrimSuffix(e, ".yaml")
	}
	slices.Sort(entries) // by name: as files, "a-b.yaml" comes before "a.yaml"
	return entries
}
