package openloop

import (
	"context"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// ahead is the most sockets that are fetched before a trial, and refill how
	// many more are fetched at a time during one that needs more than that.
	ahead  = 4096
	refill = 1024
	// reserve is for connections that break during a trial.
	reserve = 8
)

// pool holds unconnected sockets of one node of a lab and makes connections of
// them. It may be used by several goroutines.
type pool struct {
	path, node string
	most       int // sockets of a network at a time

	mu       sync.Mutex
	networks map[string]*stock // by tcp and udp
	closed   bool
}

// stock are the sockets of one network.
type stock struct {
	free     []Socket
	missing  int // of those that the trial needs, how many are still to be fetched
	fetching bool
}

// newPool returns an empty pool, one of so many of this process.
func newPool(path, node string, pools int) *pool {
	p := &pool{path: path, node: node, most: ahead, networks: map[string]*stock{"tcp": {}, "udp": {}}}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		// Half of the files stay for connections.
		p.most = int(min(uint64(ahead), max(limit.Cur/uint64(2*pools), 1)))
	}
	return p
}

// expect fetches what a trial needs, by network: all of it, or as much as a
// pool holds. The rest is fetched when the trial has used up most of that.
func (p *pool) expect(ctx context.Context, need map[string]int) error {
	for network, n := range need {
		n += reserve
		p.mu.Lock()
		s := p.networks[network]
		now := min(n, p.most) - len(s.free)
		s.missing = max(n-p.most, 0)
		p.mu.Unlock()
		if now > 0 {
			if err := p.fetch(ctx, network, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetch asks the lab for n sockets.
func (p *pool) fetch(ctx context.Context, network string, n int) error {
	got, err := Sockets(ctx, p.path, p.node, network+"4", n)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		for _, s := range got {
			s.Close()
		}
		return net.ErrClosed
	}
	s := p.networks[network]
	s.free = append(s.free, got...)
	return nil
}

// take returns a socket, if there is one, and has more fetched in time.
func (p *pool) take(network string) (Socket, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.networks[network]
	if n := min(s.missing, refill, p.most); n > 0 && len(s.free) < p.most/2 && !s.fetching {
		s.fetching = true
		go func() {
			err := p.fetch(context.Background(), network, n) // which has an end of its own
			p.mu.Lock()
			defer p.mu.Unlock()
			s.fetching = false
			if err == nil {
				s.missing -= n
			}
		}()
	}
	if len(s.free) == 0 {
		return Socket{}, false
	}
	last := len(s.free) - 1
	taken := s.free[last]
	s.free = s.free[:last]
	return taken, true
}

// DialContext connects a socket of the lab. When none is left it asks for one.
func (p *pool) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := address4(address)
	if err != nil {
		return nil, err
	}
	s, ok := p.take(network)
	for !ok {
		if err := p.fetch(ctx, network, 1); err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		s, ok = p.take(network)
	}
	return s.Connect(ctx, network, to)
}

// close gives up the sockets that are not connected.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.networks {
		for _, f := range s.free {
			f.Close()
		}
		s.free = nil
	}
}
