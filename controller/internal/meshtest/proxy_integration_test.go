//go:build integration

package meshtest_test

import (
	"net"
	"path/filepath"
	"sync"
)

// proxy stands between the controller and a switch.
type proxy struct {
	path, to string
	ln       net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]bool
	budget int64 // bytes to the switch before the cut; below 0: no cut
	passed int64 // bytes to the switch
	shut   bool  // no new connections
}

// through puts a proxy in front of a switch of the controller to be started.
func (r *rig) through(i int) *proxy {
	r.t.Helper()
	dp := &r.config.Datapaths[i]
	p := &proxy{path: filepath.Join(r.ovs.RunDir, "proxy-"+dp.Name), to: dp.Address, conns: map[net.Conn]bool{}, budget: -1}
	ln, err := net.Listen("unix", p.path)
	if err != nil {
		r.t.Fatal(err)
	}
	p.ln, dp.Address = ln, p.path
	r.t.Cleanup(func() {
		ln.Close()
		p.cut()
	})
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return p
}

func (p *proxy) serve(from net.Conn) {
	to, err := net.Dial("unix", p.to)
	if err != nil || !p.admit(from, to) {
		from.Close()
		if err == nil {
			to.Close()
		}
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(to, from, true) })
	both.Go(func() { p.copy(from, to, false) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, from)
	delete(p.conns, to)
}

func (p *proxy) admit(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return true
}

// copy copies until one end is gone, and then ends the other.
func (p *proxy) copy(to, from net.Conn, count bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		last := false
		if count {
			n, last = p.spend(n)
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil || last {
			return
		}
	}
}

// spend takes n bytes off the budget and tells how many of them may pass, and
// whether they are the last.
func (p *proxy) spend(n int) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.budget >= 0 && int64(n) >= p.budget
	if last {
		n, p.budget, p.shut = int(p.budget), -1, true
	} else if p.budget >= 0 {
		p.budget -= int64(n)
	}
	p.passed += int64(n)
	return n, last
}

// cutAfter cuts the connection when so many more bytes have gone to the
// switch, and admits no other until open.
func (p *proxy) cutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budget = n
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// open admits connections again.
func (p *proxy) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut, p.budget = false, -1
}

func (p *proxy) isShut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shut
}

func (p *proxy) sent() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}
