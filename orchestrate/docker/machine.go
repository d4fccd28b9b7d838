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
	// settings are what is in /etc, if that cannot be mounted as a whole: the
	// engine mounts files of its own over three in it, and cannot make them in
	// a folder that is mounted read-only.
	settings []string
}

// engineFiles are what the engine mounts in /etc of each container.
var engineFiles = []string{"hostname", "hosts", "resolv.conf"}

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
	if !slices.Contains(m.folders, "etc") || !slices.ContainsFunc(engineFiles, func(name string) bool {
		_, err := os.Lstat(filepath.Join(root, "etc", name)) // where a link leads to, the engine can make files
		return errors.Is(err, fs.ErrNotExist)
	}) {
		return m, nil
	}
	entries, err := os.ReadDir(filepath.Join(root, "etc"))
	if err != nil {
		return machine{}, fmt.Errorf("look for the machine's settings: %w", err)
	}
	for _, e := range entries {
		st, err := os.Stat(filepath.Join(root, "etc", e.Name()))
		if err == nil && (st.IsDir() || st.Mode().IsRegular()) && !slices.Contains(engineFiles, e.Name()) { // not links that lead nowhere
			m.settings = append(m.settings, e.Name())
		}
	}
	return m, nil
}

// mounts are those of the folders, read-only, without the ones named.
func (m machine) mounts(except ...string) []mount.Mount {
	var all []mount.Mount
	add := func(path string) { all = append(all, Mount{Source: path}.mount()) }
	for _, f := range m.folders {
		switch {
		case slices.Contains(except, f):
		case f == "etc" && m.settings != nil:
			for _, name := range m.settings {
				add("/etc/" + name)
			}
		default:
			add("/" + f)
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
