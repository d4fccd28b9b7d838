// Package connect plans the sidecar processes of Consul Connect: which proxy
// they are, how each is started, and at which addresses they must answer. It
// starts none of them, and it registers nothing (package consul does).
package connect

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/topo"
)

// The proxies that can be sidecars.
const (
	BuiltIn = "Consul built-in proxy"
	Envoy   = "Envoy"
)

// Proxy is the program that all sidecars of a lab run.
type Proxy struct {
	Name    string // BuiltIn or Envoy
	Version string // of Consul or of Envoy, for example "1.22.5"
	Path    string // absolute path of envoy; "" for BuiltIn, which is consul itself
}

// String returns name and version, as a report shows them.
func (p Proxy) String() string { return p.Name + " " + p.Version }

// Detect chooses Envoy when it is on the PATH, else the built-in proxy of the
// given Consul. An envoy that does not tell its version is an error, so that
// no report names the wrong proxy.
func Detect(ctx context.Context, c consul.Binary) (Proxy, error) {
	path, err := exec.LookPath("envoy")
	if err != nil {
		return Proxy{Name: BuiltIn, Version: c.Version}, nil
	}
	if path, err = filepath.Abs(path); err != nil {
		return Proxy{}, fmt.Errorf("find envoy: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return Proxy{}, fmt.Errorf("run %s --version: %w; mend envoy or take it off the PATH to use Consul's built-in proxy", path, err)
	}
	version, err := parseEnvoyVersion(string(out))
	if err != nil {
		return Proxy{}, fmt.Errorf("run %s --version: %w", path, err)
	}
	return Proxy{Name: Envoy, Version: version, Path: path}, nil
}

// parseEnvoyVersion reads what `envoy --version` prints, for example
// "envoy  version: 84813e/1.34.1/Clean/RELEASE/BoringSSL".
func parseEnvoyVersion(out string) (string, error) {
	m := regexp.MustCompile(`version: [0-9a-f]+/([0-9][^/]*)/`).FindStringSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("no \"version: COMMIT/X.Y.Z/\" in %q", out)
	}
	return m[1], nil
}

// firstAdminPort is where the numbering of Envoy's admin listeners begins on
// each host: Consul's default.
const firstAdminPort = 19000

// Config says what the sidecars of a lab need.
type Config struct {
	Lab     *topo.Lab
	Consul  consul.Binary
	Proxy   Proxy             // as Detect returns it
	Dir     string            // absolute; each sidecar has its own folder in it
	Sockets map[string]string // host -> HTTP socket of its agent
}

// Sidecars plans one process for every service of the lab and one for its
// client, each on its service's host. They may be started as soon as the
// services are registered: both proxies wait for their certificate by
// themselves. The built-in one, when it comes too soon, may wait for ever and
// has to be started again: it never opens its address of PublicListeners. A
// lab is ready for traffic when consul.WaitHealthy says so for registrations
// made for consul.MeshConnect and every address of Listeners takes a
// connection.
func Sidecars(c Config) ([]process.Spec, error) {
	var specs []process.Spec
	admin := map[string]int{}
	for _, s := range sidecars(c.Lab) {
		socket, ok := c.Sockets[s.node]
		if !ok {
			return nil, fmt.Errorf("plan the sidecar of %s: no agent on host %s", s.id, s.node)
		}
		dir := filepath.Join(c.Dir, s.id)
		spec := process.Spec{
			Name:        processName(s.id),
			Node:        s.node,
			Part:        process.PartSidecar,
			Path:        c.Consul.Path,
			Env:         []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir},
			Dir:         dir,
			KeepRunning: true,
		}
		switch c.Proxy.Name {
		case BuiltIn:
			spec.Args = builtInArgs(s.id, socket)
		case Envoy:
			spec.Args = envoyArgs(s.id, socket, c.Proxy.Path, firstAdminPort+admin[s.node])
			admin[s.node]++
		default:
			return nil, fmt.Errorf("plan the sidecar of %s: unknown proxy %q", s.id, c.Proxy.Name)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

func builtInArgs(id, socket string) []string {
	return []string{"connect", "proxy", "-sidecar-for=" + id, "-http-addr=unix://" + socket, "-log-level=warn"}
}

func envoyArgs(id, socket, envoy string, adminPort int) []string {
	return []string{
		"connect", "envoy", "-sidecar-for=" + id,
		"-http-addr=unix://" + socket,
		"-grpc-addr=http://127.0.0.1:" + strconv.Itoa(consul.GRPCPort),
		"-admin-bind=127.0.0.1:" + strconv.Itoa(adminPort),
		"-envoy-binary=" + envoy,
		"--", "--log-level", "warning",
	}
}

func processName(id string) string { return "sidecar-" + id }

// PublicListeners returns the address at which the sidecar of a service takes
// connections of other sidecars, by the name of its process. The client's is
// not among them: nobody calls the client.
func PublicListeners(lab *topo.Lab) (map[string]netip.AddrPort, error) {
	all := map[string]netip.AddrPort{}
	for _, svc := range lab.Services {
		reg, err := consul.Registration(lab, svc, consul.MeshConnect)
		if err != nil {
			return nil, err
		}
		proxy := reg.Connect.SidecarService
		addr, err := netip.ParseAddr(proxy.Address)
		if err != nil {
			return nil, fmt.Errorf("read the address of the sidecar of %s: %w", svc.Name, err)
		}
		all[processName(svc.Name)] = netip.AddrPortFrom(addr, uint16(proxy.Port))
	}
	return all, nil
}

// Listeners returns, for each host, the addresses inside it at which the
// upstreams of its services must take connections before traffic may start.
func Listeners(lab *topo.Lab) map[string][]netip.AddrPort {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	all := map[string][]netip.AddrPort{}
	for _, s := range sidecars(lab) {
		for _, u := range s.upstreams {
			all[s.node] = append(all[s.node], netip.AddrPortFrom(loopback, u.BindPort))
		}
	}
	return all
}

// sidecar is one proxy to run.
type sidecar struct {
	id        string
	node      string
	upstreams []topo.Upstream
}

func sidecars(lab *topo.Lab) []sidecar {
	var all []sidecar
	for _, svc := range lab.Services {
		all = append(all, sidecar{svc.Name, svc.Node, svc.Upstreams})
	}
	if lab.Client != nil {
		all = append(all, sidecar{consul.ClientID, lab.Client.Node, lab.Client.Upstreams})
	}
	return all
}
