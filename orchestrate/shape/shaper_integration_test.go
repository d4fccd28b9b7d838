//go:build integration

package shape

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/topo"
)

// The truths here are coarse ones, which hold on a busy machine too; the
// accuracy has a benchmark of its own.

func TestShaperDelays(t *testing.T) {
	r := newRig(t)
	const delay = 20 * time.Millisecond
	s := r.shaper(t, topo.Character{Delay: delay})
	for _, d := range r.oneWay(t, 50, time.Millisecond) {
		if d < delay {
			t.Errorf("a datagram took %v", d)
		}
	}
	if all, err := r.echo(t, 5); err != nil {
		t.Fatal(err)
	} else if min := quantile(all, 0); min < 2*delay {
		t.Errorf("a round trip took %v", min)
	}
	rep := s.Reports()
	if len(rep) != 1 || rep[0].AToB.Frames < 55 || rep[0].BToA.Frames < 5 || rep[0].AToB.Lost+rep[0].AToB.Overflow+rep[0].AToB.Refused > 0 || rep[0].AToB.LateP99US < rep[0].AToB.LateP50US {
		t.Errorf("%+v", rep)
	}
}

// send sends n datagrams of a size from A to B as fast as it can, and returns
// how many came, in which order, and over which time.
func (r rig) send(t *testing.T, n, size int, meanwhile func(i int)) (got []int, span time.Duration) {
	t.Helper()
	to, from := listen(t, r.b, r.addrB), listen(t, r.a, r.addrA)
	defer from.Close()
	defer to.Close()
	go func() {
		buf := make([]byte, size)
		for i := range n {
			binary.NativeEndian.PutUint32(buf, uint32(i))
			if _, err := from.WriteToUDPAddrPort(buf, udpAddr(to)); err != nil {
				t.Error(err)
				return
			}
			meanwhile(i)
		}
	}()
	buf := make([]byte, size)
	var first, last time.Time
	for {
		if err := to.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := to.ReadFromUDPAddrPort(buf); err != nil {
			return got, last.Sub(first)
		}
		if last = time.Now(); len(got) == 0 {
			first = last
		}
		got = append(got, int(binary.NativeEndian.Uint32(buf)))
	}
}

func TestShaperLoses(t *testing.T) {
	r := newRig(t)
	const n, p, sigmas = 20_000, 0.1, 6.1 // once in 1e9
	s := r.shaper(t, topo.Character{Loss: p})
	got, _ := r.send(t, n, 100, func(i int) {
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // what is measured is no burst
		}
	})
	rep := s.Reports()[0].AToB
	if off := math.Abs(float64(rep.Lost) - n*p); off > sigmas*math.Sqrt(n*p*(1-p)) {
		t.Errorf("%d of %d lost: %+v", rep.Lost, n, rep)
	}
	if missing := n - len(got); uint64(missing) != rep.Lost+rep.Overflow {
		t.Errorf("%d are missing: %+v", missing, rep)
	}
}

// Many frames in, no more out than the bandwidth carries; what has no room is
// counted, and the order is kept.
func TestShaperBounds(t *testing.T) {
	r := newRig(t)
	const size, n, bandwidth = 1000, 3000, 20_000_000
	s := r.shaper(t, topo.Character{Bandwidth: bandwidth, Delay: 2 * time.Millisecond, Jitter: 2 * time.Millisecond})
	got, span := r.send(t, n, size, func(i int) {
		if i%10 == 0 {
			time.Sleep(time.Millisecond) // some 80 Mbit/s
		}
	})
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			t.Fatalf("datagram %d came after %d", got[i], got[i-1])
		}
	}
	bits := float64(len(got)-1) * (size + 8 + 20 + 14) * 8
	// The receiver looks at the clock late, and at the first one too.
	if limit := bandwidth * (span + 20*time.Millisecond).Seconds(); bits > limit || len(got) < 200 {
		t.Errorf("%d datagrams, %.0f bits in %v", len(got), bits, span)
	}
	if rep := s.Reports()[0].AToB; rep.Overflow == 0 || int(rep.Overflow)+len(got) != n {
		t.Errorf("%d came: %+v", len(got), rep)
	}
}

// A character can come, change and go under load without a frame lost or two
// in the wrong order.
func TestShaperUnderLoad(t *testing.T) {
	r := newRig(t)
	s := NewShaper(slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	const n = 6000
	steps := []topo.Character{{Delay: 3 * time.Millisecond}, {Delay: 20 * time.Millisecond, Bandwidth: 1e9}, {Delay: time.Millisecond}, {}, {Delay: 5 * time.Millisecond}, {}}
	got, _ := r.send(t, n, 200, func(i int) {
		if i%1000 == 500 {
			if err := s.Apply([]Link{r.link(steps[i/1000])}); err != nil {
				t.Error(err)
			}
		}
		if i%10 == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	})
	if len(got) != n {
		t.Fatalf("%d of %d came", len(got), n)
	}
	for i := range got {
		if got[i] != i {
			t.Fatalf("datagram %d came as number %d", got[i], i)
		}
	}
	if left := devices(t, r.a); left != 2 { // lo, eth0
		t.Errorf("%d devices in the namespace", left)
	}
}

func devices(t *testing.T, ns string) (n int) {
	t.Helper()
	err := netns.Do(ns, func() error {
		all, err := netlink.LinkList()
		n = len(all)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A shaper that ends leaves the link cut; its successor takes it over with the
// plan. A device that was replaced gets its character again.
func TestRun(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	cfg := Config{Plan: filepath.Join(dir, "plan"), Socket: filepath.Join(dir, "socket"), Logger: slog.New(slog.DiscardHandler)}
	start := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Run(ctx, cfg) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	const delay = 5 * time.Millisecond
	takes := func(least time.Duration) func() error {
		return func() error {
			all, err := r.echo(t, 1)
			if err == nil && all[0] < least {
				err = errors.New("a round trip took " + all[0].String())
			}
			return err
		}
	}
	stop := start()
	client := NewClient(cfg.Socket)
	plan := []Link{r.link(topo.Character{Delay: delay})}
	eventually(t, func() error { return client.Apply(t.Context(), plan) })
	if err := takes(2 * delay)(); err != nil {
		t.Error(err)
	}
	if rep, err := client.Reports(t.Context()); err != nil || len(rep) != 1 || rep[0].AToB.Frames == 0 || rep[0].Character != plan[0].Character {
		t.Errorf("%+v, %v", rep, err)
	}
	bad := []Link{plan[0], {Name: "bad", A: End{r.a, "none"}, B: End{r.b, "eth0"}, Character: plan[0].Character}}
	if err := client.Apply(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "none in "+r.a) {
		t.Errorf("a device that is not there: %v", err)
	}
	if err := client.Apply(t.Context(), []Link{{Name: "bad"}}); err == nil || !strings.Contains(err.Error(), "device at both ends") {
		t.Errorf("no devices: %v", err)
	}
	if err := client.Apply(t.Context(), plan); err != nil {
		t.Error(err)
	}
	r.cable(t)
	eventually(t, takes(2*delay))

	text := `[{"name":"a-b","a":{"netns":"` + r.a + `","device":"eth0"},"b":{"netns":"` + r.b + `","device":"eth0"},"character":{"Delay":5000000}}]`
	if err := os.WriteFile(cfg.Plan, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stop()
	// Run has ended, but not its process, which would close everything: that
	// is what a second shaper finds of a first one that hangs.
	stop = start()
	eventually(t, takes(2*delay))
	if err := client.Apply(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := takes(0)(); err != nil {
		t.Error(err)
	}
	stop()
	if err := os.WriteFile(cfg.Plan, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), cfg.Plan) {
		t.Errorf("a plan that is none: %v", err)
	}
}

// When the TAP device of a link goes, as with the process that holds it, the
// link is cut.
func TestCut(t *testing.T) {
	r := newRig(t)
	s := r.shaper(t, topo.Character{Delay: time.Millisecond})
	s.mu.Lock()
	s.links["a-b"].runner.end()
	s.links["a-b"].runner = nil
	s.mu.Unlock()
	var came atomic.Int32
	got, _ := r.send(t, 10, 100, func(int) { came.Add(1) })
	if len(got) != 0 || came.Load() != 10 {
		t.Errorf("%d of %d datagrams passed", len(got), came.Load())
	}
	s.look() // sets it up again
	if _, err := r.echo(t, 3); err != nil {
		t.Error(err)
	}
}

func TestProbe(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("outside a lab only root may make network namespaces")
	}
	means, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("links get a character by %s", means)
	if means != Netem {
		return
	}
	r := newRig(t)
	l := r.link(topo.Character{Delay: 5 * time.Millisecond})
	if err := SetNetem(l); err != nil {
		t.Fatal(err)
	}
	all, err := r.echo(t, 3)
	if err != nil || quantile(all, 0) < 10*time.Millisecond {
		t.Errorf("%v, %v", all, err)
	}
	l.Character = topo.Character{}
	if err := SetNetem(l); err != nil {
		t.Fatal(err)
	}
}

// Taking away what is not there is no error; a device that is not there is.
func TestSetNetem(t *testing.T) {
	r := newRig(t)
	l := r.link(topo.Character{})
	if err := SetNetem(l); err != nil {
		t.Error(err)
	}
	if rep, err := NetemReports([]Link{l}); err != nil || len(rep) != 1 || rep[0].AToB != (Counters{}) {
		t.Errorf("%+v, %v", rep, err)
	}
	l.B.Device = "none"
	if err := SetNetem(l); err == nil || !strings.Contains(err.Error(), "none in "+r.b) {
		t.Errorf("a device that is not there: %v", err)
	}
}

func eventually(t *testing.T, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
