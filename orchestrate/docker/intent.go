package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// An engine goes on making a container when the program that asked for it has
// been killed, and does not list it before it is made. So the name of each is
// written down before, in this folder of the lab's shared folder, and taken
// away after: of a lab that has been killed, Remove reads there what may still
// come.
const intentFolder = ".starting"

// intentLimit is how long Remove waits for a container that was being made
// when its lab was killed. On two busy cores it takes up to three seconds; a
// lab that was killed just before it asked never makes it.
const intentLimit = 10 * time.Second

// recordIntent writes down that a container of that name is about to be made,
// and returns what takes the note away.
func recordIntent(shared Mount, name string) (done func(), err error) {
	dir := filepath.Join(shared.target(), intentFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("write down that container %s is made: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, fmt.Errorf("write down that container %s is made: %w", name, err)
	}
	return func() { _ = os.Remove(path) }, nil // Remove waits for nothing, then
}

// intents returns the names that a lab has written down and not taken away,
// and forget, which does that. Its shared folder is its state folder or one in
// it. Containers can write there: a name does no more than to be waited for.
func intents(state string) (names map[string]bool, forget func(), err error) {
	names = map[string]bool{}
	var paths []string
	forget = func() {
		for _, p := range paths {
			_ = os.Remove(p) // it would be waited for again
		}
	}
	dirs, err := filepath.Glob(filepath.Join(escapeGlob(state), "*", intentFolder))
	if err != nil {
		return nil, nil, fmt.Errorf("look for containers that were being made: %w", err)
	}
	for _, dir := range append(dirs, filepath.Join(state, intentFolder)) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("look for containers that were being made: %w", err)
		}
		for _, e := range entries {
			names[e.Name()] = true
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return names, forget, nil
}

// escapeGlob makes a pattern of a path that matches that path alone.
func escapeGlob(path string) string {
	var out []byte
	for _, b := range []byte(path) {
		switch b {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, b)
	}
	return string(out)
}
