package doctor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"

	"meshlab.dev/meshlab/orchestrate/consul"
)

var update = flag.Bool("update", false, "rewrite what the machines of testdata want")

// play makes a machine of an archive: its files below root, and in its comment
// what cannot be a file, a line each: a word and its value.
func play(t *testing.T, a *txtar.Archive) machine {
	t.Helper()
	m := machine{root: t.TempDir(), uid: 1000, path: []string{"/usr/bin", "/bin"}}
	said := map[string]string{}
	for line := range strings.Lines(string(a.Comment)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key != "" && key != "#" {
			said[key] = value
		}
	}
	for _, f := range a.Files {
		if f.Name == "want" {
			continue
		}
		path := filepath.Join(m.root, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.Contains(f.Name, "bin/") {
			mode = 0o755
		}
		if err := os.WriteFile(path, f.Data, mode); err != nil {
			t.Fatal(err)
		}
	}
	fault := func(key string) error {
		switch said[key] {
		case "":
			return nil
		case "EACCES":
			return &fs.PathError{Op: "open", Path: key, Err: unix.EACCES}
		case "ENOENT":
			return &fs.PathError{Op: "open", Path: key, Err: unix.ENOENT}
		}
		return errors.New(said[key])
	}
	if said["uid"] == "0" {
		m.uid = 0
	}
	m.getenv = func(name string) string { return said[name] }
	m.release = said["release"]
	m.datapath = func() error { return fault("datapath") }
	m.tun = func() error { return fault("tun") }
	m.namespaces = func(context.Context) error { return fault("namespaces") }
	m.version = func(program string, _ ...string) string {
		text, _ := os.ReadFile(program)
		return strings.TrimSpace(string(text))
	}
	m.consul = func() (consul.Binary, error) {
		if !m.has("consul") {
			return consul.Binary{}, consul.ErrNotFound
		}
		return consul.Binary{Path: "/usr/bin/consul", Version: consul.Version}, nil
	}
	m.goTool = func() (string, error) {
		if !m.has("go") {
			return "", consul.ErrNoToolchain
		}
		return m.at("/usr/bin/go"), nil
	}
	m.engine = func(string) (engineInfo, error) {
		info := engineInfo{Version: said["engine"], APIVersion: said["api"]}
		if said["security"] != "" {
			info.Security = []string{said["security"]}
		}
		return info, fault("socket")
	}
	return m
}

// Each archive of testdata is a machine that this one is not, and what doctor
// says of it.
func TestMachines(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 6 {
		t.Fatalf("machines: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m := play(t, a)
			findings := m.check(t.Context())
			var b strings.Builder
			for _, f := range findings {
				fmt.Fprintf(&b, "%s %s: %s\n", f.Status, f.Name, f.Detail)
				if f.Remedy != "" {
					fmt.Fprintf(&b, "  %s\n", f.Remedy)
				}
				if f.Status == OK && (f.Remedy != "" || f.fixes != nil) {
					t.Errorf("%s: well, and has a remedy", f.Name)
				}
			}
			command, rest := OneCommand(findings, "/opt/meshlab")
			fmt.Fprintf(&b, "one command: %s\n", orElse(command, "-"))
			for _, f := range rest {
				fmt.Fprintf(&b, "it does not mend: %s\n", f.Name)
			}
			got := strings.ReplaceAll(b.String(), m.root, "")
			for i := range a.Files {
				if a.Files[i].Name != "want" {
					continue
				}
				if *update {
					a.Files[i].Data = []byte(got)
					if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if string(a.Files[i].Data) != got {
					t.Errorf("got\n%s\nwant\n%s", got, a.Files[i].Data)
				}
				return
			}
			t.Error("the archive has no file want")
		})
	}
}

func machineOf(t *testing.T, name string) machine {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return play(t, a)
}

// What up says before it begins: all lacks at once, and one command.
func TestLack(t *testing.T) {
	all := Needs{Postgres: true, Consul: true}
	for name, tc := range map[string]struct {
		machine string
		needs   Needs
		lacks   string // names of findings
		says    string // the end of what is said
	}{
		"a clean laptop": {
			"ubuntu-24.04", all, "Open vSwitch, Postgres, Consul, namespaces",
			"One command brings all of it:\n  sudo /opt/meshlab doctor --install\n`meshlab doctor` tells more of each.",
		},
		"a lab without services": {
			"ubuntu-24.04", Needs{}, "Open vSwitch, namespaces", "One command brings all of it:\n  sudo /opt/meshlab doctor --install\n",
		},
		"a lab without a database":         {"debian-12", Needs{Consul: true}, "", ""},
		"a database":                       {"debian-12", all, "Postgres", "One command brings all of it:\n  sudo apt-get install -y --no-install-recommends postgresql\n"},
		"two settings and a device":        {"debian-10-hardened", all, "namespaces, /dev/net/tun", "sudo /opt/meshlab doctor --install"},
		"a distribution that is not known": {"nixos", all, "Open vSwitch, Postgres", "install what Debian calls postgresql\n`meshlab doctor` tells more of each."},
		"no Linux":                         {"wsl1", Needs{}, "Open vSwitch, /dev/net/tun, WSL", "One command brings all of it:\n  wsl.exe --set-version Debian 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			err := machineOf(t, tc.machine).lack(t.Context(), tc.needs)
			var l *Lacks
			if errors.As(err, &l) != (tc.lacks != "") {
				t.Fatalf("lack = %v, want %q", err, tc.lacks)
			}
			if l == nil {
				return
			}
			l.Self = "/opt/meshlab"
			var names []string
			for _, f := range l.Findings {
				names = append(names, f.Name)
			}
			if got := strings.Join(names, ", "); got != tc.lacks || !strings.Contains(l.Error(), tc.says) {
				t.Errorf("lacks %s, want %s; it says\n%s\nwant\n%s", got, tc.lacks, l.Error(), tc.says)
			}
		})
	}
}

// A profile of AppArmor may allow this program what it forbids others.
func TestLackAsksTheKernel(t *testing.T) {
	m := machineOf(t, "ubuntu-24.04")
	m.namespaces = func(context.Context) error { return nil }
	var l *Lacks
	if err := m.lack(t.Context(), Needs{}); !errors.As(err, &l) || len(l.Findings) != 1 || l.Findings[0].Name != "Open vSwitch" {
		t.Errorf("lack = %v", err)
	}
}

// Where all is well, up starts no program to find that out.
func TestLackStartsNothing(t *testing.T) {
	m := machineOf(t, "debian-12")
	m.version = func(program string, _ ...string) string { t.Errorf("started %s", program); return "" }
	m.namespaces = func(context.Context) error { t.Error("tried namespaces"); return nil }
	m.consul = func() (consul.Binary, error) { t.Error("looked for Consul"); return consul.Binary{}, nil }
	if err := m.lack(t.Context(), Needs{Consul: true}); err != nil {
		t.Error(err)
	}
}
