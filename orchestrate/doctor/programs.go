package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const postgresRoot = "/usr/lib/postgresql" // where Debian keeps one folder per version

// OVSPath returns the folders to look for Open vSwitch's programs in: those
// of the PATH, then those for daemons, which an ordinary user's PATH lacks.
func OVSPath() []string { return withDaemons(filepath.SplitList(os.Getenv("PATH"))) }

func withDaemons(path []string) []string {
	dirs := slices.Clone(path)
	for _, d := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

func (m machine) checkOpenVSwitch(d distribution) Finding {
	f := Finding{Name: "Open vSwitch"}
	path, missing := findAll(m.folders(), "ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")
	if len(missing) > 0 {
		f.Detail = "no " + strings.Join(missing, ", ")
		return d.lack(f, d.ovs)
	}
	line := m.version(path["ovs-vswitchd"], "--version")
	version, ok := versionIn(line)
	if !ok {
		f.Detail = fmt.Sprintf("%s does not tell its version: %s", path["ovs-vswitchd"], line)
		f = d.lack(f, d.ovs)
		if d.again != nil {
			f.Remedy = "sudo " + strings.Join(append(slices.Clone(d.again), d.ovs), " ")
		}
		return f
	}
	return Finding{Name: f.Name, Status: OK, Detail: version + " at " + path["ovs-vswitchd"]}
}

// ErrNoPostgres says that PostgresBin found no server.
var ErrNoPostgres = errors.New("neither the PATH nor " + postgresRoot + "/*/bin holds postgres and initdb")

// PostgresBin returns the folder of postgres and initdb: one of the PATH, else
// the newest of Debian's, with links followed. The error is ErrNoPostgres when
// there is none.
func PostgresBin() (string, error) {
	return postgresBin(filepath.SplitList(os.Getenv("PATH")), postgresRoot)
}

func postgresBin(path []string, root string) (string, error) {
	for _, dir := range append(slices.Clone(path), versionDirs(root)...) {
		found, missing := findAll([]string{dir}, "postgres", "initdb")
		if len(missing) > 0 {
			continue
		}
		// initdb looks for its data beside the real program, not beside a link.
		program, err := filepath.EvalSymlinks(found["postgres"])
		if err != nil {
			return "", fmt.Errorf("follow the link to postgres: %w", err)
		}
		return filepath.Dir(program), nil
	}
	return "", ErrNoPostgres
}

// versionDirs returns root/N/bin for each number N, the highest first. A root
// that cannot be read has none.
func versionDirs(root string) []string {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	var versions []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			versions = append(versions, n)
		}
	}
	slices.SortFunc(versions, func(a, b int) int { return cmp.Compare(b, a) })
	dirs := make([]string, 0, len(versions))
	for _, n := range versions {
		dirs = append(dirs, filepath.Join(root, strconv.Itoa(n), "bin"))
	}
	return dirs
}

func (m machine) checkPostgres(d distribution) Finding {
	f := Finding{Name: "Postgres"}
	var path []string
	for _, dir := range m.path {
		path = append(path, m.at(dir))
	}
	dir, err := postgresBin(path, m.at(postgresRoot))
	if err != nil {
		f.Detail = err.Error()
		return d.lack(f, d.postgres)
	}
	f.Status = OK
	f.Detail = m.version(filepath.Join(dir, "postgres"), "--version") + " in " + dir
	return f
}

// PostgresVersion is the version of the server that PostgresBin finds, ""
// when there is none.
func PostgresVersion(ctx context.Context) string {
	dir, err := PostgresBin()
	if err != nil {
		return ""
	}
	version, _ := versionIn(firstLine(ctx, filepath.Join(dir, "postgres"), "--version"))
	return version
}

// findAll looks for programs in folders, the first folder that has one wins.
func findAll(dirs []string, names ...string) (found map[string]string, missing []string) {
	found = map[string]string{}
	for _, name := range names {
		for _, dir := range dirs {
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				found[name] = path
				break
			}
		}
		if found[name] == "" {
			missing = append(missing, name)
		}
	}
	return found, missing
}

// firstLine returns the first line that a program prints, or why it did not.
func firstLine(ctx context.Context, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "(" + err.Error() + ")"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// versionIn finds a version such as 3.1.0 in a line.
func versionIn(line string) (string, bool) {
	v := regexp.MustCompile(`\b\d+\.\d+(\.\d+)?\b`).FindString(line)
	return v, v != ""
}
