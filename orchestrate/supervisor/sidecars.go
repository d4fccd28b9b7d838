package supervisor

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/orchestrate/connect"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/orchestrate/process"
)

// sidecars starts a proxy beside every service.
func (r *raising) sidecars(ctx context.Context) (string, error) {
	agents, err := r.agents()
	if err != nil {
		return "", err
	}
	sockets := map[string]string{}
	for _, a := range agents {
		sockets[a.Spec.Node] = a.Socket
	}
	bin := consul.Binary{Path: r.req.Consul, Version: r.req.ConsulVersion}
	proxy, err := connect.Detect(ctx, bin)
	if err != nil {
		return "", err
	}
	specs, err := connect.Sidecars(connect.Config{
		Lab: r.lab, Consul: bin, Proxy: proxy, Sockets: sockets, Dir: stateDir + "/sidecar",
	})
	if err != nil {
		return "", err
	}
	public, err := connect.PublicListeners(r.lab)
	if err != nil {
		return "", err
	}
	for i, spec := range specs {
		if addr, ok := public[spec.Name]; ok && proxy.Name == connect.BuiltIn {
			started := make(chan struct{}, 1)
			specs[i].Started = tell(started)
			go r.keepSidecar(spec.Name, spec.Node, addr, started)
		}
	}
	if err := r.start(specs); err != nil {
		return "", err
	}
	r.env.Proxy = proxy.Name + " " + proxy.Version
	return fmt.Sprintf("%d of %s", len(specs), r.env.Proxy), nil
}

const (
	// sidecarPatience is how long a sidecar may take to open its public
	// listener; the usual is a tenth of that. After each that was ended for it
	// the next one may take four times as long: the machine may be slow.
	sidecarPatience = 3 * time.Second
	// sidecarEnds is how many are ended in a row: less than maxEnds, and more
	// do not help.
	sidecarEnds = 2
)

// keepSidecar ends a sidecar that does not open its public listener, so that
// it is started again, for as long as the lab lives.
//
// Consul's built-in proxy waits for a channel that is closed when certificate
// and roots have come, and is then set to nil (dynamicTLSConfig.notify in
// Consul's package connect). When both come before the goroutine that waits
// has got the channel (Proxy.Serve in connect/proxy), it waits for nil, which
// is for ever: its upstreams work, and nobody can call its service. On a small
// machine this happens to one sidecar in some hundred labs.
func (r *raising) keepSidecar(name, node string, addr netip.AddrPort, started <-chan struct{}) {
	ended := 0
	for range started {
		since, ok := r.runsSince(name)
		if !ok {
			continue // it has ended again, and its next start will be told
		}
		patience := sidecarPatience << (2 * ended)
		time.Sleep(patience)
		if now, ok := r.runsSince(name); !ok || now != since {
			continue // the same
		}
		open, err := false, error(nil)
		if failed := netns.Do(node, func() error { open, err = listens("/proc/thread-self", addr); return nil }); failed != nil {
			err = failed
		}
		switch {
		case err != nil:
			r.log.Warn("look for the listener of a sidecar", "sidecar", name, "error", err)
		case open:
			ended = 0
		case ended < sidecarEnds:
			ended++
			r.log.Warn("end a sidecar that does not open its public listener", "sidecar", name, "address", addr, "after", patience)
			if err := r.procs.Kill(name); err != nil {
				r.log.Warn("end a sidecar", "error", err)
			}
		}
	}
}

// listens tells whether anything listens at addr, of IPv4, in the network
// namespace of the process or thread whose folder in /proc is given. It does
// not connect, which a proxy would pass on.
func listens(folder string, addr netip.AddrPort) (bool, error) {
	const tcpListen = 10 // TCP_LISTEN in include/net/tcp_states.h
	proc, err := procfs.NewFS(folder)
	if err != nil {
		return false, fmt.Errorf("list sockets: %w", err)
	}
	//lint:ignore SA1019 what takes its place needs a socket in the namespace of another process
	sockets, err := proc.NetTCP()
	if err != nil {
		return false, fmt.Errorf("list sockets: %w", err)
	}
	for _, s := range sockets {
		local, _ := netip.AddrFromSlice(s.LocalAddr)
		if s.St == tcpListen && netip.AddrPortFrom(local.Unmap(), uint16(s.LocalPort)) == addr {
			return true, nil
		}
	}
	return false, nil
}

// tell makes a process.Spec's Started of a channel with room for one: a start
// that nobody has taken notice of yet is told once.
func tell(started chan<- struct{}) func() {
	return func() {
		select {
		case started <- struct{}{}:
		default: // told already
		}
	}
}

// pidOf is the number of a running process of the lab, 0 while it does not run.
func (s *Supervisor) pidOf(name string) int {
	procs, err := s.running()
	if err != nil {
		return 0
	}
	for _, p := range procs.List() {
		if p.Name == name && (p.State == process.Running || p.State == process.Paused) {
			return p.PID
		}
	}
	return 0
}

// runsSince tells when a process of the lab was started that runs.
func (s *Supervisor) runsSince(name string) (time.Time, bool) {
	procs, err := s.running()
	if err != nil {
		return time.Time{}, false
	}
	for _, p := range procs.List() {
		if p.Name == name && (p.State == process.Running || p.State == process.Paused) {
			return p.Started, true
		}
	}
	return time.Time{}, false
}

// start starts processes, all at once.
func (r *raising) start(specs []process.Spec) error {
	var g errgroup.Group
	for _, spec := range specs {
		g.Go(func() error { return r.procs.Start(spec) })
	}
	return g.Wait()
}
