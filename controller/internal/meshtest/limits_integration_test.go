//go:build integration

package meshtest_test

import (
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

func TestLimitOfConnections(t *testing.T) {
	r := newRig(t)
	snap := api(t, r.four()...)
	snap.Services[0].Limits.Connections = 10
	r.begin(snap)
	r.until("the limit in the datapath", func() bool {
		return strings.Contains(r.ovs.Appctl("dpctl/ct-get-limits"), "limit=10,")
	})
	var conns []*client
	for range 10 {
		conns = append(conns, r.mustOpen("h1", 0, apiAt))
	}
	for range 3 {
		r.refused("h1", apiAt, "ten connections are open")
	}
	for _, c := range conns {
		if err := c.ask(); err != nil {
			t.Errorf("one of the ten: %v", err)
		}
	}
	for _, name := range []string{"close", "reset"} {
		end := conns[0].Close
		if name == "reset" {
			end = conns[1].abort
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var again *client
		told := false
		r.until("room for one more", func() bool {
			if !told && time.Since(start) > 3*time.Second {
				told = true
				t.Log(r.ovs.Appctl("dpctl/ct-get-limits"), r.ovs.Appctl("dpctl/dump-conntrack"))
			}
			c, err := r.open("h1", 0, apiAt)
			if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatal(err)
			}
			again = c
			return err == nil
		})
		defer again.Close()
		took := time.Since(start)
		t.Logf("after a %s, there was room for a new connection in %v", name, took.Round(time.Millisecond))
		if took > 3*time.Second {
			t.Errorf("after a %s, there was room for a new connection only in %v, want about 2 s", name, took)
		}
		r.refused("h1", apiAt, "ten are open again")
	}

	snap = api(t)
	snap.Services[0] = &mesh.Service{Name: "api", Instances: r.last.Services[0].Instances}
	r.set(snap)
	r.until("the end of the limit", func() bool {
		c, err := r.open("h1", 0, apiAt)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// TestLimitOfNewConnections opens 200 connections a second through a limit of
// 50 a second, each with one SYN: who is turned away gives up.
func TestLimitOfNewConnections(t *testing.T) {
	r := newRig(t)
	servers := r.four()
	snap := api(t, servers...)
	const limit, offered, seconds = 50, 200, 5
	snap.Services[0].Limits.ConnectionsPerSec = limit
	r.begin(snap)
	var through, late atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	tick := time.NewTicker(time.Second / offered)
	defer tick.Stop()
	for range offered * seconds {
		all.Go(func() {
			conn, err := r.dial("h1", 0, apiAt, 800*time.Millisecond) // the next SYN would go after 1 s
			if err == nil {
				through.Add(1)
				conn.Close()
				return
			}
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("over the limit: %v, want no answer", err)
			}
			late.Add(1)
		})
		<-tick.C
	}
	all.Wait()
	// The burst is one second's worth (docs/circuit-breaking.md).
	took := time.Since(start).Seconds() - 0.8
	most := limit * (took + 1)
	t.Logf("%d of %d connections in %.1f s got through, %d did not; %.0f are allowed", through.Load(), offered*seconds, took, late.Load(), most)
	if got := float64(through.Load()); got > 1.1*most || got < 0.7*most {
		t.Errorf("%.0f connections got through, want about %.0f", got, most)
	}
}
