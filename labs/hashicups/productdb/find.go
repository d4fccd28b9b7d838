package productdb

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// ErrNotInstalled says that no Postgres server was found.
var ErrNotInstalled = errors.New("postgres and initdb are neither on the PATH nor in /usr/lib/postgresql/*/bin: `meshlab doctor` names the package")

// programs are the two programs of one Postgres installation.
type programs struct {
	postgres, initdb string
}

// find looks for postgres and initdb in the folders of path (as PATH has them),
// then in the newest of root's folders N/bin, where Debian keeps them. It
// returns ErrNotInstalled when there is no folder with both.
func find(path, root string) (programs, error) {
	dirs := filepath.SplitList(path)
	dirs = append(dirs, versionDirs(root)...)
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		p := programs{postgres: filepath.Join(dir, "postgres"), initdb: filepath.Join(dir, "initdb")}
		if !isExecutable(p.postgres) || !isExecutable(p.initdb) {
			continue
		}
		// initdb looks for its data files from the place of the real program.
		resolved, err := resolve(p)
		if err != nil {
			return programs{}, err
		}
		return resolved, nil
	}
	return programs{}, ErrNotInstalled
}

func resolve(p programs) (programs, error) {
	postgres, err := filepath.EvalSymlinks(p.postgres)
	if err != nil {
		return programs{}, fmt.Errorf("follow the link to postgres: %w", err)
	}
	initdb, err := filepath.EvalSymlinks(p.initdb)
	if err != nil {
		return programs{}, fmt.Errorf("follow the link to initdb: %w", err)
	}
	return programs{postgres: postgres, initdb: initdb}, nil
}

// versionDirs returns root's folders "<number>/bin", the highest number first.
func versionDirs(root string) []string {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil // no such folder: nothing is installed there
	}
	var versions []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			versions = append(versions, n)
		}
	}
	slices.SortFunc(versions, func(a, b int) int { return cmp.Compare(b, a) })
	dirs := make([]string, len(versions))
	for i, n := range versions {
		dirs[i] = filepath.Join(root, strconv.Itoa(n), "bin")
	}
	return dirs
}

func isExecutable(file string) bool {
	_, err := exec.LookPath(file)
	return err == nil
}
