package doctor

import (
	"slices"
	"strings"
)

// distribution is how a family of distributions calls packages, and installs
// them.
type distribution struct {
	name     string   // as it calls itself
	install  []string // command, to which the names of packages are added; nil: not known here
	update   []string // command that fetches the lists of packages before; nil: install does that itself
	ovs      string
	postgres string
	curl     string
	again    []string // command that puts a package's files back
}

// families are the distributions that are known, by the ID of os-release(5).
// The names of packages are those of packages.debian.org, packages.ubuntu.com,
// packages.fedoraproject.org and archlinux.org/packages.
var families = map[string]distribution{
	"debian": {
		install: []string{"apt-get", "install", "-y", "--no-install-recommends"}, update: []string{"apt-get", "update"},
		ovs: "openvswitch-switch", postgres: "postgresql", curl: "curl",
		again: []string{"apt-get", "install", "-y", "--reinstall"},
	},
	"fedora": {
		install: []string{"dnf", "install", "-y", "--setopt=install_weak_deps=False"},
		ovs:     "openvswitch", postgres: "postgresql-server", curl: "curl",
		again: []string{"dnf", "reinstall", "-y"},
	},
	"arch": {
		install: []string{"pacman", "-S", "--needed", "--noconfirm"},
		ovs:     "openvswitch", postgres: "postgresql", curl: "curl",
		again: []string{"pacman", "-S", "--noconfirm"},
	},
}

// distribution reads os-release(5). A distribution that is not known itself
// has the packages of the first known one that it says it is like; Ubuntu is
// like Debian. Another has the names of Debian, and no command.
func (m machine) distribution() distribution {
	text, err := m.read("/etc/os-release")
	if err != nil {
		text, _ = m.read("/usr/lib/os-release")
	}
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	out := families["debian"]
	out.install, out.update, out.again = nil, nil, nil
	for _, id := range append([]string{values["ID"]}, strings.Fields(values["ID_LIKE"])...) {
		if d, ok := families[id]; ok {
			out = d
			break
		}
	}
	out.name = values["PRETTY_NAME"]
	if out.name == "" {
		out.name = "a distribution without a name"
	}
	return out
}

// command is the shell command that installs packages, as root.
func (d distribution) command(packages ...string) string {
	if d.install == nil {
		return ""
	}
	return "sudo " + strings.Join(slices.Concat(d.install, packages), " ")
}

// lack fills in how a package that is not installed is had.
func (d distribution) lack(f Finding, name string) Finding {
	f.Status, f.Package, f.Remedy = Missing, name, d.command(name)
	if d.install == nil {
		f.Detail += "; install what Debian calls " + name
	}
	return f
}
