// Package datapath asks ovs-vswitchd for what OpenFlow cannot: how many
// connections each zone of connection tracking may hold, and to forget those
// that have ended. It speaks to the control socket of ovs-vswitchd, as
// ovs-appctl(8) does. Which zone is whose, it does not know.
package datapath

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// The names of datapaths (ovs-dpctl(8), "Datapath names"). Zones and their limits belong to the
// datapath: all bridges of one ovs-vswitchd that have the same type share it.
const (
	Userspace = "netdev@ovs-netdev"
	Kernel    = "system@ovs-system"
)

// ErrUnsupported says that the datapath, or this version of Open vSwitch, has
// no limits per zone.
var ErrUnsupported = errors.New("the datapath has no limits of connections")

// Control is the way to one datapath. It keeps no connection, so it outlives
// a restart of ovs-vswitchd. All methods may be called at the same time.
type Control struct {
	path string
	name string
	mu   sync.Mutex // one change of limits at a time: it reads, then writes
}

// New prepares to ask the ovs-vswitchd at path about the datapath of that
// name. Path is its control socket or the run directory with its pid file,
// which is read again for each question. New does not connect.
func New(path, name string) (*Control, error) {
	if path == "" {
		return nil, errors.New("path of the control socket of ovs-vswitchd is empty")
	}
	if kind, rest, ok := strings.Cut(name, "@"); !ok || kind == "" || rest == "" {
		return nil, fmt.Errorf("name of datapath %q: want TYPE@NAME, as %s", name, Userspace)
	}
	return &Control{path: path, name: name}, nil
}

// socket is the path of the control socket: "ovs-vswitchd.PID.ctl" in a run
// directory (ovs-vswitchd(8), "--unixctl").
func (c *Control) socket() (string, error) {
	info, err := os.Stat(c.path)
	if err != nil {
		return "", fmt.Errorf("find control socket of ovs-vswitchd: %w", err)
	}
	if !info.IsDir() {
		return c.path, nil
	}
	file := filepath.Join(c.path, "ovs-vswitchd.pid")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("find control socket of ovs-vswitchd: %w", err)
	}
	pid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31)
	if err != nil {
		return "", fmt.Errorf("find control socket of ovs-vswitchd: read %s: %w", file, err)
	}
	return filepath.Join(c.path, fmt.Sprintf("ovs-vswitchd.%d.ctl", pid)), nil
}

// with runs f on a new connection, which ends with ctx.
func (c *Control) with(ctx context.Context, f func(*session) error) error {
	path, err := c.socket()
	if err != nil {
		return err
	}
	s, err := dial(ctx, path)
	if err != nil {
		return err
	}
	defer s.close()
	err = f(s)
	if ctx.Err() != nil {
		return fmt.Errorf("ask ovs-vswitchd: %w", context.Cause(ctx))
	}
	return err
}
