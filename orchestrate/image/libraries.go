package image

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// libraryFolders are those that loaders look into without being told (ld.so(8)).
var libraryFolders = []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}

// loaded are libraries that glibc loads by itself, to look up users and names
// (nsswitch.conf(5)); newer versions have them built in.
var loaded = []string{"libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"}

// ErrProgram says that a program of this machine cannot be in an image.
var ErrProgram = errors.New("it cannot be in an image")

// linker finds what programs are linked to.
type linker struct {
	folders []string // where libraries are looked for, in that order
	machine elf.Machine
	found   map[string]string // library -> path
	loader  map[string]bool   // paths of dynamic loaders
}

func newLinker(machine elf.Machine) *linker {
	return &linker{
		folders: append(configured("/etc/ld.so.conf", 0), libraryFolders...),
		machine: machine, found: map[string]string{}, loader: map[string]bool{},
	}
}

// configured are the folders of a file for ldconfig(8), and of those that it
// includes.
func configured(path string, depth int) []string {
	f, err := os.Open(path)
	if err != nil || depth > 8 { // not all machines have one
		return nil
	}
	defer f.Close()
	var all []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 1 && filepath.IsAbs(words[0]):
			all = append(all, words[0])
		case len(words) > 1 && words[0] == "include":
			for _, pattern := range words[1:] {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(filepath.Dir(path), pattern)
				}
				more, _ := filepath.Glob(pattern) // a pattern that is none includes nothing
				for _, m := range more {
					all = append(all, configured(m, depth+1)...)
				}
			}
		}
	}
	return all
}

// link finds what a program or library needs, and what that needs. The error
// matches ErrProgram.
func (l *linker) link(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%w: read %s: %w", ErrProgram, path, err)
	}
	defer f.Close()
	if f.Class != elf.ELFCLASS64 || f.Machine != l.machine {
		return fmt.Errorf("%w: %s is for %s, and the rest for %s", ErrProgram, path, f.Machine, l.machine)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(p.Open(), 4096)) // PATH_MAX of limits.h
		if err != nil {
			return fmt.Errorf("%w: read %s: %w", ErrProgram, path, err)
		}
		l.loader[strings.TrimRight(string(b), "\x00")] = true
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%w: read %s: %w", ErrProgram, path, err)
	}
	own := runFolders(f, path)
	for _, name := range names {
		if _, ok := l.found[name]; ok {
			continue
		}
		lib, err := l.find(name, own)
		if err != nil {
			return fmt.Errorf("%w: %s is linked to %s: %w", ErrProgram, path, name, err)
		}
		l.found[name] = lib
		if err := l.link(lib); err != nil {
			return err
		}
	}
	return nil
}

// runFolders are those that a program itself names.
func runFolders(f *elf.File, path string) []string {
	var all []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		lists, _ := f.DynString(tag) // a program without any has none
		for _, list := range lists {
			for _, dir := range filepath.SplitList(list) {
				origin := filepath.Dir(path)
				all = append(all, strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(dir))
			}
		}
	}
	return all
}

// find looks for a library of the right machine.
func (l *linker) find(name string, own []string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	dirs := slices.Concat(own, l.folders)
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		f, err := elf.Open(path)
		if err != nil {
			continue
		}
		right := f.Class == elf.ELFCLASS64 && f.Machine == l.machine
		f.Close()
		if right {
			return path, nil
		}
	}
	return "", fmt.Errorf("it is in none of %s: %w", strings.Join(dirs, ", "), fs.ErrNotExist)
}

// addTo puts all that was found into a tree: libraries beside the C library,
// where the loader looks without being told.
func (l *linker) addTo(t *tree) error {
	home := ""
	for name, path := range l.found {
		if strings.HasPrefix(name, "libc.") {
			home = filepath.Dir(path)
			for _, more := range loaded {
				if lib, err := l.find(more, []string{home}); err == nil {
					if err := l.link(lib); err != nil {
						return err
					}
					l.found[more] = lib
				}
			}
			break
		}
	}
	for name, path := range l.found {
		if home == "" || filepath.IsAbs(name) {
			if err := t.add(path); err != nil {
				return fmt.Errorf("add library %s: %w", name, err)
			}
			continue
		}
		dir, err := t.folder(home)
		if err != nil {
			return fmt.Errorf("add library %s: %w", name, err)
		}
		t.files[filepath.Join(dir, name)] = file{from: path, mode: 0o755}
	}
	for path := range l.loader {
		if err := t.add(path); err != nil {
			return fmt.Errorf("add the loader %s: %w", path, err)
		}
	}
	return nil
}
