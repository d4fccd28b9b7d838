// Package doctor finds out what this machine has and lacks for labs, and
// names the one command that mends each lack. Check changes nothing; Install
// is the only function that does.
package doctor

import (
	"context"

	"meshlab.dev/meshlab/orchestrate/consul"
)

// Status says how good a finding is.
type Status string

// The statuses, from good to bad.
const (
	OK      Status = "ok"
	Warn    Status = "warn"    // labs work, but slower, or something may go wrong
	Missing Status = "missing" // labs do not work, or not for this user
)

// Finding is one thing that a lab needs or can use.
type Finding struct {
	Name    string `json:"name"`
	Status  Status `json:"status"`
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy,omitempty"`  // one shell command; "" when nothing helps or nothing is to be done
	Package string `json:"package,omitempty"` // of this distribution, that provides what is missing

	fixes []string // shell commands for root that mend it, without sudo; Install runs them
}

// Check looks at the machine, always in the same order, and takes some 100 ms.
// What cannot be found out is a finding too, never an error.
func Check(ctx context.Context) []Finding {
	return append(here(ctx).check(ctx), checkDisk(), checkFiles())
}

// check is all that can be found out of a machine that a test plays.
func (m machine) check(ctx context.Context) []Finding {
	d := m.distribution()
	out := []Finding{
		m.checkOpenVSwitch(d),
		m.checkDatapath(),
		m.checkPostgres(d),
		m.checkConsul(d),
		m.checkGo(),
		m.checkEnvoy(),
		m.checkNamespaces(ctx),
		m.checkTun(),
		m.checkEngine(),
	}
	if f, ok := m.checkWSL(); ok {
		out = append(out, f)
	}
	return append(out, m.checkMemory())
}

// Usable tells whether a lab can run on a machine with these findings.
func Usable(findings []Finding) bool {
	for _, f := range findings {
		if f.Status == Missing {
			return false
		}
	}
	return true
}

func (m machine) checkConsul(d distribution) Finding {
	f := Finding{Name: "Consul"}
	bin, err := m.consul()
	if err == nil {
		f.Status, f.Detail = OK, bin.Version+" at "+bin.Path
		return f
	}
	if _, goErr := m.goTool(); goErr != nil {
		f.Status, f.Detail = Missing, err.Error()+", and there is no Go toolchain to build it with"
		f.Remedy = "curl -fsSL " + goArchive + " | sudo tar -C /usr/local -xz"
		f.fixes = []string{"curl -fsSL " + goArchive + " | tar -C /usr/local -xz"}
		if !m.has("curl") {
			f.Package = d.curl
		}
		return f
	}
	f.Status = Warn
	f.Detail = consul.Version + " will be built once with the Go toolchain, which takes some minutes"
	f.Remedy = "meshlab doctor --install"
	return f
}

// goArchive is the release that go.mod asks for, by the names that Go has for
// processors. Hardly a distribution has a package that is recent enough.
const goArchive = "https://go.dev/dl/go1.26.0.linux-$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/').tar.gz"

func (m machine) checkGo() Finding {
	f := Finding{Name: "Go toolchain", Status: OK}
	path, err := m.goTool()
	if err != nil {
		f.Status, f.Detail = Warn, "none; only building Consul or meshlab needs it"
		f.Remedy = "curl -fsSL " + goArchive + " | sudo tar -C /usr/local -xz"
		return f
	}
	f.Detail = m.version(path, "env", "GOVERSION") + " at " + path
	return f
}

func (m machine) checkEnvoy() Finding {
	f := Finding{Name: "Envoy", Status: OK}
	found, missing := findAll(m.folders(), "envoy")
	if len(missing) > 0 {
		f.Detail = "not on the PATH; the mesh consul-connect uses Consul's built-in proxy"
		return f
	}
	f.Detail = m.version(found["envoy"], "--version") + " at " + found["envoy"]
	return f
}
