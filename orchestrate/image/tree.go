package image

import (
	"archive/tar"
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tree is what of a machine's files is in a layer. Paths are absolute, and those
// of the machine: programs look for their files there.
type tree struct {
	folders map[string]int64  // with their modes
	links   map[string]string // symbolic links, with their targets
	files   map[string]file
}

// file is a regular file: one of this machine, or a text.
type file struct {
	from string // path on this machine; empty: text
	text string
	mode int64
}

func newTree() *tree {
	return &tree{folders: map[string]int64{}, links: map[string]string{}, files: map[string]file{}}
}

// folder adds a folder of this machine with all above it, and returns its path
// without links. Links on the way are added as such.
func (t *tree) folder(path string) (string, error) {
	if _, err := os.Stat(path); err != nil { // also of links in a circle
		return "", err
	}
	return t.walk(filepath.Clean(path))
}

func (t *tree) walk(path string) (string, error) {
	if path == "/" {
		return path, nil
	}
	parent, err := t.walk(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	path = filepath.Join(parent, filepath.Base(path))
	st, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if st.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		t.links[path] = target
		if !filepath.IsAbs(target) {
			target = filepath.Join(parent, target)
		}
		return t.walk(filepath.Clean(target))
	}
	if _, ok := t.folders[path]; !ok {
		t.folders[path] = 0o755
	}
	return path, nil
}

// add adds a file of this machine where it is, with what it is a link to as its
// content.
func (t *tree) add(path string) error {
	dir, err := t.folder(filepath.Dir(path))
	if err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	mode := int64(0o644)
	if st.Mode()&0o111 != 0 {
		mode = 0o755
	}
	t.files[filepath.Join(dir, filepath.Base(path))] = file{from: path, mode: mode}
	return nil
}

// addAll adds a folder of this machine with all that is below it, but for the
// names that skip tells.
func (t *tree) addAll(dir string, skip func(name string) bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && skip(d.Name()):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			_, err := t.folder(path)
			return err
		}
		if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
			return nil // a link to a folder, or to nowhere
		}
		return t.add(path)
	})
}

// write writes the tree as tar, always the same: sorted, all of root's, without
// times.
func (t *tree) write(to io.Writer) error {
	buf := bufio.NewWriterSize(to, 1<<20)
	w := tar.NewWriter(buf)
	name := func(path string) string { return strings.TrimPrefix(path, "/") }
	for _, path := range slices.Sorted(maps.Keys(t.folders)) { // a folder is before what is in it
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name(path) + "/", Mode: t.folders[path]}); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(t.links)) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name(path), Linkname: t.links[path], Mode: 0o777}); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(t.files)) {
		if err := t.files[path].write(w, name(path)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buf.Flush()
}

func (f file) write(w *tar.Writer, name string) error {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: f.mode, Size: int64(len(f.text))}
	if f.from == "" {
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := io.WriteString(w, f.text)
		return err
	}
	from, err := os.Open(f.from)
	if err != nil {
		return err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return err
	}
	h.Size = st.Size()
	if err := w.WriteHeader(&h); err != nil {
		return err
	}
	_, err = io.CopyN(w, from, h.Size)
	return err
}
