package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// leastAPI is that of Docker 20.10, the oldest engine that labs run on.
const leastAPI = "1.41"

// engineInfo is what an engine says of itself (GET /version and /info of the
// Docker Engine API).
type engineInfo struct {
	Version    string
	APIVersion string `json:"ApiVersion"`
	Security   []string
}

// maxAnswer bounds what is read from an engine, in bytes.
const maxAnswer = 4 << 20

// checkEngine looks for Docker, which labs need only for --runtime docker.
func (m machine) checkEngine() Finding {
	f := Finding{Name: "Docker", Status: OK}
	socket, rootless := m.engineSocket()
	if socket == "" {
		f.Detail = "no engine; only labs with images or limits need one"
		if host := m.getenv("DOCKER_HOST"); host != "" {
			f.Status, f.Detail = Warn, "DOCKER_HOST is "+host+", and labs in containers need the engine of this machine, at a unix socket"
			f.Remedy = "unset DOCKER_HOST"
		}
		return f
	}
	info, err := m.engine(m.at(socket))
	rootless = rootless || slices.ContainsFunc(info.Security, func(s string) bool { return strings.Contains(s, "name=rootless") })
	switch {
	case errors.Is(err, fs.ErrPermission):
		f.Status, f.Detail = Warn, "this user may not ask the engine at "+socket+"; only labs in containers need it"
		f.Remedy = "sudo usermod -aG docker $USER && newgrp docker"
	case err != nil:
		f.Status, f.Detail = Warn, "the engine at "+socket+" does not answer: "+err.Error()
		f.Remedy = "sudo systemctl start docker"
	case rootless:
		f.Status = Warn
		f.Detail = info.Version + " at " + socket + " is rootless: labs in containers cannot use it, as their links must be moved into network namespaces that belong to another user namespace; labs without containers need none"
	case apiLess(info.APIVersion, leastAPI):
		f.Status = Warn
		f.Detail = fmt.Sprintf("%s at %s is too old for labs in containers: API %s, 20.10 has %s", info.Version, socket, info.APIVersion, leastAPI)
	default:
		f.Detail = fmt.Sprintf("%s at %s, API %s", info.Version, socket, info.APIVersion)
	}
	return f
}

// engineSocket is where the engine listens: at that of DOCKER_HOST, else at
// the usual places; "" is nowhere.
func (m machine) engineSocket() (path string, rootless bool) {
	if host := m.getenv("DOCKER_HOST"); host != "" {
		path, _ := strings.CutPrefix(host, "unix://")
		if path == host {
			return "", false
		}
		return path, strings.HasPrefix(path, "/run/user/")
	}
	for _, path := range []string{"/run/docker.sock", "/var/run/docker.sock"} {
		if m.exists(path) {
			return path, false
		}
	}
	if dir := m.getenv("XDG_RUNTIME_DIR"); dir != "" && m.exists(filepath.Join(dir, "docker.sock")) {
		return filepath.Join(dir, "docker.sock"), true
	}
	return "", false
}

// apiLess compares versions of the API, as in 1.41.
func apiLess(a, b string) bool {
	parts := func(s string) (out [2]int) {
		major, minor, _ := strings.Cut(s, ".")
		out[0], _ = strconv.Atoi(major) // what is no number is 0: too old
		out[1], _ = strconv.Atoi(minor)
		return out
	}
	x, y := parts(a), parts(b)
	return slices.Compare(x[:], y[:]) < 0
}

// askEngine asks an engine for its version and what confines it.
func askEngine(ctx context.Context, socket string) (engineInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	ask := func(path string, into any) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
		if err != nil {
			return err
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, res.Status)
		}
		return json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(into)
	}
	var info engineInfo
	if err := ask("/version", &info); err != nil {
		return info, err
	}
	var more struct{ SecurityOptions []string }
	err := ask("/info", &more)
	info.Security = more.SecurityOptions
	return info, err
}
