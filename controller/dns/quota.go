package dns

import (
	"net/netip"
	"sync"
)

// quota bounds what is in use at a time, in all and by each client, so that
// one client cannot take what the others need. It is safe for concurrent use.
type quota struct {
	all, each int

	mu   sync.Mutex
	used int
	by   map[netip.Addr]int
}

func newQuota(all, each int) *quota {
	return &quota{all: all, each: each, by: map[netip.Addr]int{}}
}

// take takes one for the client, and is false when there is none.
func (q *quota) take(client netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used >= q.all || q.by[client] >= q.each {
		return false
	}
	q.used++
	q.by[client]++
	return true
}

// give gives back what take took.
func (q *quota) give(client netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used--
	if q.by[client]--; q.by[client] <= 0 {
		delete(q.by, client)
	}
}
