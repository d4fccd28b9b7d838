package dns

import (
	"container/list"
	"net/netip"
	"sync"
)

// place is where a client's frames come from and answers to it go.
type place struct {
	port uint32
	mac  [6]byte
}

// clients remembers where clients are, up to a number of them; then it
// forgets the one that was silent for longest. It is safe for concurrent use.
type clients struct {
	most int

	mu   sync.Mutex
	at   map[netip.Addr]*list.Element
	used *list.List // of client; the front is the latest
}

type client struct {
	addr  netip.Addr
	place place
}

func newClients(most int) *clients {
	return &clients{most: most, at: map[netip.Addr]*list.Element{}, used: list.New()}
}

func (c *clients) learn(addr netip.Addr, p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.at[addr]; ok {
		e.Value = client{addr, p}
		c.used.MoveToFront(e)
		return
	}
	if len(c.at) >= c.most {
		oldest := c.used.Back()
		delete(c.at, oldest.Value.(client).addr)
		c.used.Remove(oldest)
	}
	c.at[addr] = c.used.PushFront(client{addr, p})
}

func (c *clients) find(addr netip.Addr) (place, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.at[addr]
	if !ok {
		return place{}, false
	}
	return e.Value.(client).place, true
}
