//go:build integration

package meshtest_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// neighbours is a mesh in which web on h1 calls far on h3, near on h2 and own
// on h1 itself, and its three servers.
func (r *rig) neighbours() (mesh.Snapshot, map[string]*server) {
	r.t.Helper()
	servers := map[string]*server{
		"far": r.serve("h3", h3+":8001"), "near": r.serve("h2", h2+":8002"), "own": r.serve("h1", h1+":8003"),
	}
	var snap mesh.Snapshot
	for _, name := range []string{"far", "near", "own", "web"} {
		s := &mesh.Service{Name: name}
		if servers[name] != nil {
			s.Instances = []mesh.Instance{servers[name].Instance}
		}
		snap.Services = append(snap.Services, s)
	}
	snap.Upstreams = []mesh.Upstream{
		calls(r.t, "web@"+h1+" -> far:9001"), calls(r.t, "web@"+h1+" -> near:9002"), calls(r.t, "web@"+h1+" -> own:9003"),
	}
	return snap, servers
}

var neighbourAt = map[string]string{"far": vip + ":9001", "near": vip + ":9002", "own": vip + ":9003"}

// intend is the snapshot with intentions from web, all exact.
func intend(snap mesh.Snapshot, allow bool, destinations ...string) mesh.Snapshot {
	snap.Intentions = nil
	for _, d := range destinations {
		snap.Intentions = append(snap.Intentions, mesh.Intention{Source: "web", Destination: d, Allow: allow, Precedence: 9})
	}
	return snap
}

// ends waits until each connection has read its end, and tells how many were
// resets and how long the last one took. Meanwhile all of them send.
func (r *rig) ends(conns []*client, start time.Time) (resets int, took time.Duration) {
	r.t.Helper()
	running := run(conns)
	r.until("the end of all connections", func() bool { return int(running.bad.Load()) == len(conns) })
	took = time.Since(start)
	for _, err := range running.stop() {
		if errors.Is(err, syscall.ECONNRESET) {
			resets++
		} else {
			r.t.Logf("a connection ended with %v", err)
		}
	}
	return resets, took
}

func TestDenyCutsRunningConnections(t *testing.T) {
	r := newRig(t)
	snap, servers := r.neighbours()
	r.begin(snap)
	var conns []*client
	for name, n := range map[string]int{"far": 10, "near": 5, "own": 5} {
		for range n {
			conns = append(conns, r.mustOpen("h1", 0, neighbourAt[name]))
		}
	}
	running := run(conns)
	r.until("data on all connections", func() bool { return running.asked.Load() >= 100 })
	if bad := running.bad.Load(); bad > 0 {
		t.Fatalf("%d connections broke before the denial: %v", bad, running.stop())
	}

	start := time.Now()
	r.emit(intend(snap, false, "far", "near", "own"))
	r.until("the end of all connections", func() bool { return running.bad.Load() == 20 })
	took := time.Since(start)
	for _, err := range running.stop() {
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a client's connection ended with %v, want a reset", err)
		}
	}
	t.Logf("20 of 20 connections ended %v after the snapshot", took.Round(time.Millisecond))
	if took > time.Second {
		t.Errorf("the last connection ended after %v, want at most 1 s", took)
	}
	r.until("the reset of all connections at the instances", func() bool {
		return servers["far"].reset() == 10 && servers["near"].reset() == 5 && servers["own"].reset() == 5
	})
	t.Logf("and at the instances after at most %v", time.Since(start).Round(time.Millisecond))
	if took := time.Since(start); took > time.Second {
		t.Errorf("the last instance saw the end after %v, want at most 1 s", took)
	}
	counts := r.counted()
	for name, n := range map[string]uint64{"far": 10, "near": 5, "own": 5} {
		if got := denied(counts, "web", name); got < n {
			t.Errorf("%d packets from web to %s were counted as denied, want %d at least", got, name, n)
		}
		r.refused("h1", neighbourAt[name], "denied")
	}
	r.set(intend(snap, true, "far", "near", "own"))
	for name, at := range neighbourAt {
		if err := r.mustOpen("h1", 0, at).ask(); err != nil {
			t.Errorf("%s after it is allowed: %v", name, err)
		}
	}
}

func TestDefaultDeny(t *testing.T) {
	r := newRig(t)
	snap, servers := r.neighbours()
	open := r.serve("h3", h3+":8080") // no instance of anything
	snap.DefaultDeny = true
	r.begin(snap)
	for name, at := range neighbourAt {
		r.refused("h1", at, "no intention allows "+name)
	}
	r.set(intend(snap, true, "far", "own"))
	if err := errors.Join(r.mustOpen("h1", 0, neighbourAt["far"]).ask(), r.mustOpen("h1", 0, neighbourAt["own"]).ask()); err != nil {
		t.Errorf("what is allowed: %v", err)
	}
	r.refused("h1", neighbourAt["near"], "near is not allowed")
	// Beside the mesh nobody says who calls, so nobody may.
	for host, to := range map[string]string{"h1": servers["far"].ID, "h2": servers["far"].ID, "h3": servers["near"].ID} {
		r.refused(host, to, "a direct call")
	}
	if err := r.mustOpen("h1", 0, open.ID).ask(); err != nil {
		t.Errorf("a port beside the mesh: %v", err)
	}
	// No rule names them: the default is counted as one, direct calls apart.
	if counts := r.counted(); denied(counts, mesh.Wildcard, mesh.Wildcard) < 4 || denied(counts, "", mesh.Wildcard) < 3 {
		t.Errorf("four denials by default and three of direct calls are not counted: %+v", counts.Edges)
	}
}

// TestExactIntentionBeatsWildcard changes one of two intentions under way: the
// connections of the other go on.
func TestExactIntentionBeatsWildcard(t *testing.T) {
	r := newRig(t)
	snap, _ := r.neighbours()
	r.begin(snap)
	far, near := r.mustOpen("h1", 0, neighbourAt["far"]), r.mustOpen("h1", 0, neighbourAt["near"])
	snap.Intentions = []mesh.Intention{
		{Source: "web", Destination: "far", Allow: true, Precedence: 9},
		{Source: mesh.Wildcard, Destination: mesh.Wildcard, Precedence: 5},
	}
	start := time.Now()
	r.set(snap)
	if resets, took := r.ends([]*client{near}, start); resets != 1 {
		t.Errorf("the connection to near did not end by a reset (after %v)", took)
	}
	if err := far.ask(); err != nil {
		t.Errorf("the connection to far, which is allowed: %v", err)
	}
}

// TestFragmentsDoNotPassTheCheck sends the opening of a connection in two
// fragments, of which the first is too short to hold a header of TCP (RFC
// 1858, section 3).
func TestFragmentsDoNotPassTheCheck(t *testing.T) {
	r := newRig(t)
	snap, servers := r.neighbours()
	open := r.serve("h3", h3+":8080") // no instance of anything
	snap.DefaultDeny = true
	r.begin(snap)
	from := r.raw("h2")
	answers := make(chan uint16, 16)
	stop := from.listen(func(h heard) {
		// A SYN with an ACK, to a port of ours.
		if b := h.frame; !h.outgoing && len(b) >= 54 && b[23] == 6 && b[47] == 0x12 && b[36]>>4 == 7 {
			answers <- uint16(b[34])<<8 | uint16(b[35])
		}
	})
	defer stop()
	send := func(port uint16, first int) {
		t.Helper()
		whole := syn(h2, h3, 0x7000+port%16, port, nil)
		for _, f := range fragments(whole, first) {
			if err := from.send(frame{mac(t, mac3), mac(t, mac2), etherIPv4, f}.bytes()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.mustOpen("h2", 0, open.ID).ask(); err != nil { // ARP is known
		t.Fatal(err)
	}
	for _, first := range []int{8, 16} {
		send(servers["far"].Addr.Port(), first)
	}
	// In one piece, and to a port that nobody guards.
	if err := from.send(frame{mac(t, mac3), mac(t, mac2), etherIPv4, syn(h2, h3, 0x7000, 8080, nil)}.bytes()); err != nil {
		t.Fatal(err)
	}
	select {
	case port := <-answers:
		if port != 8080 {
			t.Errorf("port %d answers to fragments, though nobody may call it", port)
		}
	case <-time.After(patience):
		t.Error("no answer of the port that all may call")
	}
}
