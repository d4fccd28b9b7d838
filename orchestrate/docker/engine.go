package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
)

// DefaultSocket is where an engine listens unless it is told otherwise
// (dockerd(8), --host).
const DefaultSocket = "/var/run/docker.sock"

// oldestAPI is that of engine 20.10: the first with the one-shot statistics
// that Usage asks for (Docker Engine API, version history, v1.41).
const oldestAPI = "1.41"

// askTimeout bounds the first questions to an engine. One that is busy answers
// within it; one that does not listen to its socket never would.
const askTimeout = 20 * time.Second

// starts is how many containers are started at a time. More do not start
// sooner: the engine takes them one by one for most of the way.
const starts = 8

// Errors of Open, wrapped.
var (
	// ErrNoEngine says that no engine listens: it is not installed or not started.
	ErrNoEngine = errors.New("no Docker engine runs on this machine")
	// ErrRefused says that an engine is there and this user may not use it, or
	// that nothing answers at its socket any more.
	ErrRefused = errors.New("the Docker engine does not let meshlab in")
	// ErrTooOld says that the engine lacks what labs need.
	ErrTooOld = errors.New("the Docker engine is too old")
	// ErrRemote says that the engine runs containers elsewhere than on this
	// kernel, where links could not reach them.
	ErrRemote = errors.New("the Docker engine is not on this machine")
	// ErrRootless says that the engine runs without root. Its containers are in
	// a network and a mount namespace of their own, which links cannot reach.
	ErrRootless = errors.New("the Docker engine runs without root")
)

// Config says which engine is meant.
type Config struct {
	// Socket is the path of the engine's unix socket; "": that of DOCKER_HOST,
	// or else DefaultSocket. Contexts of the docker command do not count.
	Socket string
	// Dial, if set, connects to the socket instead of the net package.
	Dial func(ctx context.Context, socket string) (net.Conn, error)
	// Version is meshlab's own, written on all that is made.
	Version string
}

// Engine is a connection to the Docker engine of this machine. Its methods may
// be called from any goroutine.
type Engine struct {
	client  *client.Client
	socket  string
	version string // of the engine
	arch    string // of the engine, as Go names it
	cpus    int    // processors of the machine
	creator string // version of meshlab
	slots   chan struct{}
}

// Open connects to the engine and makes sure that labs can use it. It changes
// nothing. Errors wrap one of the sentinels above, with what to do about it, or
// are those of the engine.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	socket, err := socketPath(cfg.Socket, os.Getenv("DOCKER_HOST"))
	if err != nil {
		return nil, err
	}
	dial := cfg.Dial
	if dial == nil {
		dial = func(ctx context.Context, path string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	}
	// A connection by hand first: the client's own error hides the reason.
	conn, err := dial(ctx, socket)
	if err != nil {
		return nil, dialError(socket, err)
	}
	_ = conn.Close() // nothing was sent
	c, err := client.NewClientWithOpts(
		client.WithHost("unix://"+socket),
		client.WithHTTPClient(&http.Client{Transport: &http.Transport{
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socket) },
			MaxIdleConns:       2 * starts,
			IdleConnTimeout:    time.Minute,
			DisableCompression: true, // a socket of this machine
		}}),
		client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, fmt.Errorf("open Docker engine %s: %w", socket, err)
	}
	e := &Engine{client: c, socket: socket, creator: cmp.Or(cfg.Version, "unknown"), slots: make(chan struct{}, starts)}
	if err := e.check(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return e, nil
}

// Close ends idle connections to the engine. Containers go on.
func (e *Engine) Close() error { return e.client.Close() }

// Version is the engine's, for example "20.10.24".
func (e *Engine) Version() string { return e.version }

// Socket is the path of the engine's socket.
func (e *Engine) Socket() string { return e.socket }

// socketPath finds the socket; host is the value of DOCKER_HOST.
func socketPath(socket, host string) (string, error) {
	if socket != "" {
		return socket, nil
	}
	if host == "" {
		return DefaultSocket, nil
	}
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok || path == "" {
		return "", fmt.Errorf("%w: DOCKER_HOST is %s; links are moved into containers, so they must run here: unset DOCKER_HOST, or set it to unix://%s",
			ErrRemote, host, DefaultSocket)
	}
	return path, nil
}

// dialError says why the socket cannot be reached, and what to do.
func dialError(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no socket %s; `sudo systemctl start docker` starts an engine that is installed, `sudo apt-get install docker.io` installs one (dnf and pacman: docker or moby-engine)", ErrNoEngine, socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: connect to %s: %w; run meshlab with sudo", ErrRefused, socket, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing listens at %s any more; `sudo systemctl restart docker` starts the engine again", ErrRefused, socket)
	}
	return fmt.Errorf("%w: connect to %s: %w", ErrRefused, socket, err)
}

// check asks the engine what it is.
func (e *Engine) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ping, err := e.client.Ping(ctx)
	if err != nil {
		return fmt.Errorf("%w: %s does not answer as an engine does: %w; `sudo systemctl status docker` tells how it is", ErrRefused, e.socket, err)
	}
	e.client.NegotiateAPIVersionPing(ping)
	v, err := e.client.ServerVersion(ctx)
	if err != nil {
		return fmt.Errorf("ask Docker engine %s for its version: %w", e.socket, err)
	}
	e.version, e.arch = v.Version, v.Arch
	if versions.LessThan(ping.APIVersion, oldestAPI) {
		return fmt.Errorf("%w: %s is version %s (API %s), and labs need 20.10 (API %s); install a newer docker.io or docker-ce",
			ErrTooOld, e.socket, v.Version, cmp.Or(ping.APIVersion, "unknown"), oldestAPI)
	}
	info, err := e.client.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask Docker engine %s what it is: %w", e.socket, err)
	}
	e.cpus = info.NCPU
	if v.Os != "linux" || strings.Contains(info.OperatingSystem, "Docker Desktop") {
		return fmt.Errorf("%w: %s is that of %s, whose containers are in a virtual machine; install docker.io or docker-ce on this machine itself",
			ErrRemote, e.socket, cmp.Or(info.OperatingSystem, v.Os))
	}
	for _, o := range info.SecurityOptions {
		if strings.Contains(o, "name=rootless") {
			return fmt.Errorf("%w: %s; labs need the engine of root: unset DOCKER_HOST, and `sudo systemctl start docker`", ErrRootless, e.socket)
		}
	}
	return nil
}
