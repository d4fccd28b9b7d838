package docker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An engine goes on making a container when the program that asked for it has
// been killed, and does not list it before it is made. So the name of each is
// written down before, in this folder of the lab's shared folder, and taken
// away after: of a lab that has been killed, Remove reads there what may still
// come.
const intentFolder = ".starting"

// An engine does not list a container any more as soon as it has removed it,
// and ends the process beside it later. So the IDs of containers are written
// down too, in a file of this folder for each name: Remove waits for the end of
// what is of them.
const madeFolder = ".made"

// keptIDs is how many containers of one name are remembered: those before have
// ended long ago, since what is started again and again waits between.
const keptIDs = 4

// intentLimit is how long Remove waits for a container that was being made
// when its lab was killed. On two busy cores it takes up to three seconds; a
// lab that was killed just before it asked never makes it.
const intentLimit = 10 * time.Second

// recordIntent writes down that a container of that name is about to be made,
// and returns what takes the note away.
func recordIntent(shared Mount, name string) (done func(), err error) {
	path, err := writeNote(shared, intentFolder, name, "")
	if err != nil {
		return nil, fmt.Errorf("write down that container %s is made: %w", name, err)
	}
	return func() { _ = os.Remove(path) }, nil // Remove waits for nothing, then
}

// recordMade writes down the ID of a container that has been made.
func recordMade(shared Mount, name, id string) error {
	ids := append(readIDs(filepath.Join(shared.target(), madeFolder, name)), id)
	if _, err := writeNote(shared, madeFolder, name, strings.Join(ids[max(0, len(ids)-keptIDs):], "\n")); err != nil {
		return fmt.Errorf("write down that container %s has been made: %w", name, err)
	}
	return nil
}

func writeNote(shared Mount, folder, name, text string) (path string, err error) {
	dir := filepath.Join(shared.target(), folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path = filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// intents returns the names that a lab has written down and not taken away,
// and forget, which does that. Containers can write there: a name does no more
// than to be waited for.
func intents(state string) (names map[string]bool, forget func(), err error) {
	paths, err := notes(state, intentFolder)
	if err != nil {
		return nil, nil, fmt.Errorf("look for containers that were being made: %w", err)
	}
	names = map[string]bool{}
	for _, p := range paths {
		names[filepath.Base(p)] = true
	}
	return names, func() {
		for _, p := range paths {
			_ = os.Remove(p) // it would be waited for again
		}
	}, nil
}

// made returns the IDs of the containers that a lab has made last of each
// name. They too do no more than to be waited for.
func made(state string) (ids map[string]bool, err error) {
	paths, err := notes(state, madeFolder)
	if err != nil {
		return nil, fmt.Errorf("look for containers that were made: %w", err)
	}
	ids = map[string]bool{}
	for _, p := range paths {
		for _, id := range readIDs(p) {
			ids[id] = true
		}
	}
	return ids, nil
}

var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readIDs reads a note of recordMade, as far as it is one: containers could
// have put anything there.
func readIDs(path string) []string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil // mostly there is none
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, (keptIDs+1)*65))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(strings.Fields(string(text)), func(w string) bool { return !containerID.MatchString(w) })
}

// notes lists the files of that folder in a lab's shared folder, which is its
// state folder or one in it.
func notes(state, folder string) (paths []string, err error) {
	dirs, err := filepath.Glob(filepath.Join(escapeGlob(state), "*", folder))
	if err != nil {
		return nil, err
	}
	for _, dir := range append(dirs, filepath.Join(state, folder)) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
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
