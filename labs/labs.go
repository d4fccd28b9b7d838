// Package labs holds the catalogue of labs that come with meshlab, and finds
// labs by the name of one of them or by the path of a file. Each is a folder of
// catalogue/, named as the lab: lab.yaml; README.md, its page, which teaches one
// idea by commands and what they print; lab.svg, its picture; and files that
// the page uses. What a lab file means is topo's business, what a page means
// that of the package pages; the builtin services that the labs run are below
// this folder, in packages of their own.
package labs

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"meshlab.dev/meshlab/topo"
)

//go:embed catalogue
var catalogue embed.FS

// The files that each lab of the catalogue has.
const (
	LabFile     = "lab.yaml"
	PageFile    = "README.md"
	PictureFile = "lab.svg"
)

// maxFile bounds what is read of a file, in bytes; topo refuses less.
const maxFile = 2 << 20

// ErrUnknown is in the error of Load for a name that is neither that of a lab
// of the catalogue nor a file, and in that of Files and Page.
var ErrUnknown = errors.New("unknown lab")

// Info is what a list of labs shows of one.
type Info struct {
	Name        string
	Description string // the idea, in a line
}

// List returns the labs of the catalogue, sorted by name.
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
// lab of the catalogue, or the path of a file: a word is a path when no lab has
// that name.
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
	if slices.Contains(names(), nameOrPath) {
		src, err := catalogue.ReadFile(path.Join("catalogue", nameOrPath, LabFile))
		return nameOrPath + ".yaml", src, err
	}
	src, err = readFile(nameOrPath)
	if err == nil {
		return nameOrPath, src, nil
	}
	if errors.Is(err, syscall.EISDIR) {
		file := filepath.Join(nameOrPath, LabFile)
		if _, err := os.Stat(file); err == nil {
			return "", nil, fmt.Errorf("%s is a folder; its lab file is %s", nameOrPath, file)
		}
		return "", nil, fmt.Errorf("%s is a folder; name a lab file", nameOrPath)
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

// File is a file of a lab's folder.
type File struct {
	Name string
	Text []byte
}

// Files returns all files of a lab of the catalogue, sorted by name. The error
// wraps ErrUnknown when there is no such lab.
func Files(name string) ([]File, error) {
	if err := known(name); err != nil {
		return nil, err
	}
	entries, err := catalogue.ReadDir(path.Join("catalogue", name))
	if err != nil {
		return nil, err
	}
	var all []File
	for _, e := range entries {
		text, err := catalogue.ReadFile(path.Join("catalogue", name, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, File{e.Name(), text})
	}
	return all, nil
}

// Page returns the page of a lab of the catalogue, in Markdown. The error wraps
// ErrUnknown when there is no such lab.
func Page(name string) ([]byte, error) {
	if err := known(name); err != nil {
		return nil, err
	}
	return catalogue.ReadFile(path.Join("catalogue", name, PageFile))
}

func known(name string) error {
	all := names()
	if slices.Contains(all, name) {
		return nil
	}
	if near := topo.Nearest(name, all); near != "" {
		return fmt.Errorf("%w %q; did you mean %q?", ErrUnknown, name, near)
	}
	return fmt.Errorf("%w %q; the catalogue has %s", ErrUnknown, name, strings.Join(all, ", "))
}

// names of the labs of the catalogue, sorted.
func names() []string {
	entries, _ := catalogue.ReadDir("catalogue") // it is there: see go:embed
	var all []string
	for _, e := range entries {
		if e.IsDir() { // beside them is a page about the catalogue
			all = append(all, e.Name())
		}
	}
	slices.Sort(all)
	return all
}
