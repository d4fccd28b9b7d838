//go:build integration

package meshtest_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
)

// tally counts, at a host, the frames of TCP from and to the virtual address.
type tally struct {
	mu                sync.Mutex
	sent, received    uint64
	sentBytes, gotten uint64
	syns              uint64
}

func (c *tally) hear(h heard) {
	b := h.frame
	if len(b) < 14+40 || binary.BigEndian.Uint16(b[12:]) != etherIPv4 || b[14+9] != 6 {
		return
	}
	virtual := netip.MustParseAddr(vip)
	src, dst := netip.AddrFrom4([4]byte(b[26:30])), netip.AddrFrom4([4]byte(b[30:34]))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case h.outgoing && dst == virtual:
		c.sent++
		c.sentBytes += uint64(len(b))
		if b[14+20+13]&2 != 0 {
			c.syns++
		}
	case !h.outgoing && src == virtual:
		c.received++
		c.gotten += uint64(len(b))
	}
}

// TestMetricsAreWhatTheClientCounts makes 1,000 requests, with a change of
// the instances, a lost connection to the switch and a new controller among
// them, and compares with what was captured at the client's interface.
func TestMetricsAreWhatTheClientCounts(t *testing.T) {
	r := newRig(t)
	p := r.through(0)
	servers := r.four()
	r.begin(api(t, servers[:3]...))
	seen := &tally{}
	stop := r.raw("h1").listen(seen.hear)
	const n = 1000
	got := map[string]uint64{} // connections by instance
	request := func(times int) {
		t.Helper()
		for range times {
			c, err := r.open("h1", 0, apiAt)
			if err == nil {
				got[c.to]++
				err = c.ask()
				c.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// ovs-vswitchd adds up about twice a second what its cache has counted, by
	// the tables of that moment: without a pause, calls of the half second
	// before a change may count as ones after it. Their sum stays.
	change := func(snap mesh.Snapshot) {
		t.Helper()
		r.ovs.Appctl("revalidator/wait")
		r.ovs.Appctl("revalidator/wait") // the first one may have been under way
		r.set(snap)
	}
	request(n / 4)
	change(api(t, servers...)) // the group is another
	request(n / 8)
	change(api(t, servers[1:]...)) // one drains
	request(n / 8)
	dials := r.dials.Load()
	p.cut()
	request(n / 8) // the switch is alone
	r.until("the controller with the switch again", func() bool { return r.ctl.Health().OK && r.dials.Load() > dials })
	request(n / 8)
	all := api(t, servers...)
	all.Upstreams = []mesh.Upstream{calls(t, "shop@"+h1+" -> api:9000")} // another caller: other flows count
	change(all)
	request(n / 4)
	var total uint64
	for _, k := range got {
		total += k
	}

	check := func(counts metrics.Traffic) (errs []string) {
		bad := func(what string, got, want uint64) {
			if got != want {
				errs = append(errs, fmt.Sprintf("%s: %d counted, %d at the client", what, got, want))
			}
		}
		var attempts, packets, bytes, replies, replyBytes uint64
		sources := map[string]uint64{}
		for _, e := range counts.Edges {
			if e.Destination == "api" {
				attempts, packets, bytes = attempts+e.Attempts.Total, packets+e.Packets.Total, bytes+e.Bytes.Total
				sources[e.Source] += e.Attempts.Total
			}
		}
		for _, i := range counts.Instances {
			bad("connections to "+i.ID, i.Connections.Total, got[i.ID])
			replies, replyBytes = replies+i.Packets.Total, replyBytes+i.Bytes.Total
		}
		seen.mu.Lock()
		defer seen.mu.Unlock()
		bad("opened", attempts, seen.syns)
		bad("opened by web", sources["web"], n*3/4)
		bad("opened by shop", sources["shop"], n/4)
		bad("packets sent", packets, seen.sent)
		bad("bytes sent", bytes, seen.sentBytes)
		bad("packets received", replies, seen.received)
		bad("bytes received", replyBytes, seen.gotten)
		return errs
	}
	var errs []string
	for range 10 { // the last packets of connections that have been closed are under way
		if errs = check(r.counted()); len(errs) == 0 {
			break
		}
		r.until("a new reading", r.reading())
	}
	for _, e := range errs {
		t.Error(e)
	}
	if lost := stop(); lost > 0 {
		t.Fatalf("the capture lost %d frames", lost)
	}
	t.Logf("%d connections, %d packets and %d bytes sent, %d and %d received: all counted", total, seen.sent, seen.sentBytes, seen.received, seen.gotten)
}

// reading tells, when asked, whether the counters of s1 have been read since.
func (r *rig) reading() func() bool {
	before := r.traffic.Traffic().Datapaths[0].Read
	return func() bool { return r.traffic.Traffic().Datapaths[0].Read.After(before) }
}
