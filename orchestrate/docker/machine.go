package docker

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/mount"
)

// machineFolders are where the programs of a machine, their libraries and
// their settings are (hier(7)).
var machineFolders = []string{"bin", "etc", "lib", "lib64", "sbin", "usr"}

// machine is what of a machine's files the containers without an image of
// their own have: folders are mounted, symbolic links are made again in the
// image, since a mount on one would be a mount on its target.
type machine struct {
	folders []string          // without the leading slash, sorted
	links   map[string]string // /bin -> usr/bin on most machines
}

// lookAt finds out about the machine whose files are below root.
func lookAt(root string) (machine, error) {
	m := machine{links: map[string]string{}}
	for _, name := range machineFolders {
		path := filepath.Join(root, name)
		st, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return machine{}, fmt.Errorf("look for the machine's programs: %w", err)
		case st.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return machine{}, fmt.Errorf("look for the machine's programs: %w", err)
			}
			m.links[name] = target
		case st.IsDir():
			m.folders = append(m.folders, name)
		}
	}
	return m, nil
}

// mounts are those of the folders, read-only, without the ones named.
func (m machine) mounts(except ...string) []mount.Mount {
	var all []mount.Mount
	for _, f := range m.folders {
		if !slices.Contains(except, f) {
			all = append(all, mount.Mount{Type: mount.TypeBind, Source: "/" + f, Target: "/" + f, ReadOnly: true})
		}
	}
	return all
}

// has says whether a file of the machine is seen in the containers.
func (m machine) has(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(filepath.Clean(path), "/"), "/")
	_, link := m.links[first]
	return link || slices.Contains(m.folders, first)
}

// ErrUnlinked says that a program cannot start in a container, since its
// loader is not there.
var ErrUnlinked = errors.New("the program cannot start in a container")

// checkProgram makes sure that the program can start in the image: it is for
// Linux, and its dynamic loader, if it needs one, is in a folder that
// containers have.
func (m machine) checkProgram(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%w: read %s: %w", ErrUnlinked, path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		// A path, so PATH_MAX bounds it (limits.h).
		b, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
		if err != nil {
			return fmt.Errorf("%w: read %s: %w", ErrUnlinked, path, err)
		}
		loader := strings.TrimRight(string(b), "\x00")
		if !m.has(loader) {
			return fmt.Errorf("%w: %s is linked to %s, which is in none of /%s; build it with CGO_ENABLED=0",
				ErrUnlinked, path, loader, strings.Join(machineFolders, ", /"))
		}
	}
	return nil
}
