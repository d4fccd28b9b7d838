package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// modules are those that initdb loads, for text search and PL/pgSQL (PostgreSQL
// 15, src/bin/initdb/initdb.c, bootstrap's SQL files).
var modules = []string{"dict_snowball.so", "plpgsql.so"}

// moduleFolders are where distributions keep Postgres' modules, besides ../lib of
// its programs.
var moduleFolders = []string{"/usr/lib64/pgsql", "/usr/lib/postgresql", "/usr/lib64/postgresql", "/usr/lib/pgsql"}

// shell is what initdb starts postgres by (popen(3)).
const shell = "/bin/sh"

// zones are the time zones that it is run with; distributions let Postgres read
// the machine's.
var zones = []string{"/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/Etc/UTC", "/usr/share/zoneinfo/GMT"}

// addPostgres adds the server of a folder with postgres and initdb, where it is
// on this machine, as it looks for its files from there.
func addPostgres(t *tree, l *linker, bin string) error {
	share, err := shareOf(bin)
	if err != nil {
		return err
	}
	for _, path := range []string{filepath.Join(bin, "postgres"), filepath.Join(bin, "initdb"), shell} {
		if err := l.link(path); err != nil {
			return err
		}
		if err := t.add(path); err != nil {
			return fmt.Errorf("add Postgres: %w", err)
		}
	}
	if err := t.addAll(share, func(name string) bool { return name == "man" || name == "doc" || name == "contrib" }); err != nil {
		return fmt.Errorf("add Postgres' files: %w", err)
	}
	for _, name := range modules {
		path, err := module(bin, name)
		if err != nil {
			return err
		}
		if err := l.link(path); err != nil {
			return err
		}
		if err := t.add(path); err != nil {
			return fmt.Errorf("add Postgres' module: %w", err)
		}
	}
	for _, path := range zones {
		if _, err := os.Stat(path); err != nil {
			continue // Postgres brings its own then
		}
		if err := t.add(path); err != nil {
			return fmt.Errorf("add time zones: %w", err)
		}
	}
	return nil
}

func module(bin, name string) (string, error) {
	dirs := append([]string{filepath.Join(filepath.Dir(bin), "lib")}, moduleFolders...)
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); exists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("module %s of Postgres is in none of %s", name, strings.Join(dirs, ", "))
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// shareOf is where initdb's files are: beside the programs, or where distributions
// keep them, Debian by version.
func shareOf(bin string) (string, error) {
	home := filepath.Dir(bin)
	dirs := []string{
		filepath.Join(home, "share", "postgresql"), filepath.Join(home, "share"),
		filepath.Join("/usr/share/postgresql", filepath.Base(home)), "/usr/share/pgsql",
	}
	for _, dir := range dirs {
		if exists(filepath.Join(dir, "postgres.bki")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("postgres.bki of Postgres is in none of %s", strings.Join(dirs, ", "))
}
