// Package doctor finds out what this machine has and lacks for labs, and
// names the one command that mends each lack. Check changes nothing; Install
// is the only function that does.
package doctor

import (
	"context"
	"os/exec"

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
	Package string `json:"package,omitempty"` // Debian package that provides what is missing
}

// Check looks at the machine, always in the same order, and takes some 100 ms.
// What cannot be found out is a finding too, never an error.
func Check(ctx context.Context) []Finding {
	return []Finding{
		checkOpenVSwitch(ctx),
		checkDatapath(),
		checkPostgres(ctx),
		checkConsul(ctx),
		checkGo(ctx),
		checkEnvoy(ctx),
		checkNamespaces(ctx),
		checkTun(),
		checkMemory(),
		checkDisk(),
		checkFiles(),
	}
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

func checkConsul(ctx context.Context) Finding {
	f := Finding{Name: "Consul"}
	bin, err := consul.Lookup(ctx, consul.Options{})
	if err == nil {
		f.Status, f.Detail = OK, bin.Version+" at "+bin.Path
		return f
	}
	if _, goErr := consul.GoTool(); goErr != nil {
		f.Status, f.Detail = Missing, err.Error()+", and there is no Go toolchain to build it with"
		f.Remedy = installGo
		return f
	}
	f.Status = Warn
	f.Detail = consul.Version + " will be built once with the Go toolchain, which takes some minutes"
	f.Remedy = "meshlab doctor --install"
	return f
}

// installGo fetches the release that go.mod asks for, where no package of
// Debian 12 is recent enough.
const installGo = "curl -fsSL https://go.dev/dl/go1.26.0.linux-$(dpkg --print-architecture).tar.gz | sudo tar -C /usr/local -xz"

func checkGo(ctx context.Context) Finding {
	f := Finding{Name: "Go toolchain", Status: OK}
	path, err := consul.GoTool()
	if err != nil {
		f.Status, f.Detail, f.Remedy = Warn, "none; only building Consul or meshlab needs it", installGo
		return f
	}
	f.Detail = firstLine(ctx, path, "env", "GOVERSION") + " at " + path
	return f
}

func checkEnvoy(ctx context.Context) Finding {
	f := Finding{Name: "Envoy", Status: OK}
	path, err := exec.LookPath("envoy")
	if err != nil {
		f.Detail = "not on the PATH; the mesh consul-connect uses Consul's built-in proxy"
		return f
	}
	f.Detail = firstLine(ctx, path, "--version") + " at " + path
	return f
}
