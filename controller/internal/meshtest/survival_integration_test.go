//go:build integration

package meshtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// crowd adds services that web on h1 calls to a snapshot.
func crowd(t testing.TB, snap mesh.Snapshot, n int) mesh.Snapshot {
	t.Helper()
	snap.Services, snap.Upstreams = slices.Clone(snap.Services), slices.Clone(snap.Upstreams)
	for i := range n {
		s := &mesh.Service{Name: fmt.Sprintf("crowd%04d", i)}
		for j := range 2 {
			one := instance(fmt.Sprintf("%s:%d", []string{h2, h3}[j], 20000+i))
			s.Instances = append(s.Instances, one)
		}
		snap.Services = append(snap.Services, s)
		snap.Upstreams = append(snap.Upstreams, calls(t, fmt.Sprintf("web@%s -> %s:%d", h1, s.Name, 20000+i)))
	}
	return snap
}

// TestCutInTheMiddleOfAnUpdate cuts the connection to s1 after so many bytes
// of a large update. The switch is then in the old state or in the new one,
// and in none between.
func TestCutInTheMiddleOfAnUpdate(t *testing.T) {
	r := newRig(t)
	p := r.through(0)
	small := api(t, r.four()...)
	large := crowd(t, small, 500)
	// A change of what is there too: api has an instance less.
	one := *large.Services[0]
	one.Instances = one.Instances[1:]
	large.Services[0] = &one
	r.begin(small)
	held := func() int { return strings.Count(r.ovs.Ofctl("dump-flows", "s1"), "cookie=") }
	groups := func() int { return strings.Count(r.ovs.Ofctl("dump-groups", "s1"), "group_id=") }

	before, groupsBefore := held(), groups()
	sent := p.sent()
	r.set(large)
	size := p.sent() - sent
	after, groupsAfter := held(), groups()
	t.Logf("the update has %d bytes; it takes s1 from %d flows and %d groups to %d and %d", size, before, groupsBefore, after, groupsAfter)
	if after < before+1000 {
		t.Fatalf("the large state has only %d flows", after)
	}
	r.set(small)

	var conns []*client
	for range 20 {
		conns = append(conns, r.mustOpen("h1", 0, apiAt))
	}
	for _, n := range []int64{1, size / 100, size / 4, size / 2, size * 9 / 10, size - 100, size - 1} {
		running := run(conns)
		asked := func(more int64) {
			t.Helper()
			from := running.asked.Load()
			r.until("answers on running connections", func() bool { return running.bad.Load() > 0 || running.asked.Load() >= from+more })
		}
		p.cutAfter(n)
		r.emit(large)
		r.until("the cut", func() bool { return p.isShut() && !r.ctl.Health().Datapaths[0].Connected })
		flows, grouped := held(), groups()
		old, fresh := flows == before && grouped == groupsBefore, flows == after && grouped == groupsAfter
		if !old && !fresh {
			t.Errorf("cut after %d of %d bytes: s1 has %d flows and %d groups, want %d and %d, or %d and %d",
				n, size, flows, grouped, before, groupsBefore, after, groupsAfter)
		}
		asked(60)
		if err := r.mustOpen("h1", 0, apiAt).ask(); err != nil {
			t.Errorf("cut after %d bytes: a new connection while the switch is alone: %v", n, err)
		}
		p.open()
		r.until("the switches in sync", func() bool { return r.ctl.Health().OK })
		if missing := r.missing("s1"); len(missing) > 0 {
			t.Errorf("cut after %d bytes: s1 lacks %d flows, such as %s", n, len(missing), missing[0])
		}
		if got, gotGroups := held(), groups(); got != after || gotGroups != groupsAfter {
			t.Errorf("cut after %d bytes: in the end s1 has %d flows and %d groups, want %d and %d", n, got, gotGroups, after, groupsAfter)
		}
		asked(60)
		t.Logf("cut after %d bytes: s1 stayed in the %s state", n, map[bool]string{true: "old", false: "new"}[old])
		for _, err := range running.stop() {
			if err != nil {
				t.Errorf("cut after %d bytes: a running connection: %v", n, err)
			}
		}
		r.set(small)
	}
}

// TestFlowDeletedByHand tells what happens when somebody else changes a
// bridge: nothing, until the controller connects again and compares.
func TestFlowDeletedByHand(t *testing.T) {
	r := newRig(t)
	p := r.through(0)
	r.begin(api(t, r.four()...))
	if err := r.mustOpen("h1", 0, apiAt).ask(); err != nil {
		t.Fatal(err)
	}
	r.ovs.Ofctl("del-flows", "s1", "table=40")
	r.ovs.Appctl("revalidator/wait")
	if conn, err := r.dial("h1", 0, apiAt, 500*time.Millisecond); err == nil {
		conn.Close()
		t.Error("a connection went through a table that is empty")
	}
	if !r.ctl.Health().OK {
		t.Error("the controller notices by itself now; say so in docs/controller.md")
	}
	if missing := r.missing("s1"); len(missing) == 0 {
		t.Error("the controller lists all flows as present, and one is not")
	}
	p.cut()
	r.until("the flow again", func() bool { return r.ctl.Health().OK && len(r.missing("s1")) == 0 })
	r.ovs.Appctl("revalidator/wait")
	if err := r.mustOpen("h1", 0, apiAt).ask(); err != nil {
		t.Errorf("behind a new connection to the switch: %v", err)
	}
}
