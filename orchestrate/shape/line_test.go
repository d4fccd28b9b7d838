package shape

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"meshlab.dev/meshlab/topo"
)

// passed is a frame that has left a line.
type passed struct {
	id    int
	bytes int
	leave time.Duration
}

// drain takes everything off the line.
func drain(l *Line) (all []passed) {
	for {
		at, ok := l.Next()
		if !ok {
			return all
		}
		frame, departure, ok := l.Take(at)
		if !ok || departure != at {
			panic("the next frame cannot be taken at its time")
		}
		all = append(all, passed{id: frameID(frame), bytes: len(frame), leave: departure})
	}
}

func frame(id, bytes int) []byte {
	b := make([]byte, max(bytes, 3))
	b[0], b[1], b[2] = byte(id), byte(id>>8), byte(id>>16)
	return b
}

func frameID(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func TestLine(t *testing.T) {
	type put struct {
		at    time.Duration
		bytes int
	}
	for name, tc := range map[string]struct {
		character topo.Character
		put       []put
		leave     []time.Duration
	}{
		"no character":              {topo.Character{}, []put{{5, 100}, {5, 100}, {9, 100}}, []time.Duration{5, 5, 9}},
		"delay":                     {topo.Character{Delay: time.Second}, []put{{0, 100}, {7, 100}}, []time.Duration{time.Second, time.Second + 7}},
		"bandwidth, one behind one": {topo.Character{Bandwidth: 8_000_000}, []put{{0, 1000}, {0, 500}, {10 * time.Millisecond, 1000}}, []time.Duration{time.Millisecond, 1500 * time.Microsecond, 11 * time.Millisecond}},
		"bandwidth, then delay":     {topo.Character{Bandwidth: 8_000_000, Delay: time.Second}, []put{{0, 1000}, {0, 1000}}, []time.Duration{time.Second + time.Millisecond, time.Second + 2*time.Millisecond}},
		"rounded up":                {topo.Character{Bandwidth: 3_000_000_000}, []put{{0, 1}, {0, 1}}, []time.Duration{8, 16}}, // three bytes each: 8 ns
		"all lost":                  {topo.Character{Loss: 1}, []put{{0, 100}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLine(tc.character, 1)
			for i, p := range tc.put {
				if v := l.Put(p.at, frame(i, p.bytes)); v == Overflow {
					t.Fatalf("no room for frame %d", i)
				}
			}
			got := drain(l)
			if len(got) != len(tc.leave) {
				t.Fatalf("%d frames left: %+v", len(got), got)
			}
			for i, p := range got {
				if p.id != i || p.leave != tc.leave[i] {
					t.Errorf("frame %d leaves at %v, want frame %d at %v", p.id, p.leave, i, tc.leave[i])
				}
			}
		})
	}
}

// What does not fit is dropped at the tail: after queueTime of frames.
func TestLineOverflow(t *testing.T) {
	l := NewLine(topo.Character{Bandwidth: 8_000_000, Delay: time.Second}, 1)
	room := 0
	for i := 0; l.Put(0, frame(i, 1000)) == Queued; i++ {
		room++
	}
	if room < 100 || room > 102 { // a millisecond each
		t.Errorf("room for %d frames", room)
	}
	if v := l.Put(50*time.Millisecond, frame(0, 1000)); v != Queued {
		t.Errorf("after half of them have left: %v", v)
	}
	slow := NewLine(topo.Character{Bandwidth: 1_000_000}, 1)
	room = 0
	for i := 0; slow.Put(0, frame(i, fullFrame)) == Queued; i++ {
		room++
	}
	if room < queueFrames || room > queueFrames+2 {
		t.Errorf("room for %d full frames at 1 Mbit/s", room)
	}
	// Without a bandwidth nothing waits, but memory has an end.
	far := NewLine(topo.Character{Delay: time.Hour}, 1)
	for i := range maxFrames {
		if far.Put(0, frame(i, 64)) != Queued {
			t.Fatalf("no room for frame %d", i)
		}
	}
	if far.Put(0, frame(0, 64)) != Overflow {
		t.Error("room for more than maxFrames")
	}
}

// A new character is for the frames that come, and none passes those under
// way; Release lets all go.
func TestLineSetAndRelease(t *testing.T) {
	l := NewLine(topo.Character{Delay: 100 * time.Millisecond}, 1)
	l.Put(0, frame(0, 100))
	l.Set(topo.Character{Delay: time.Millisecond})
	l.Put(10*time.Millisecond, frame(1, 100))
	if at, _ := l.Next(); at != 100*time.Millisecond {
		t.Errorf("the first leaves at %v", at)
	}
	if got := drain(l); got[0].id != 0 || got[1].id != 1 || got[1].leave != 100*time.Millisecond {
		t.Errorf("%+v", got)
	}
	l.Put(200*time.Millisecond, frame(2, 100))
	l.Release(150 * time.Millisecond)
	if _, _, ok := l.Take(150 * time.Millisecond); !ok {
		t.Error("it was not released")
	}
	l.Put(160*time.Millisecond, frame(3, 100))
	if at, _ := l.Next(); at != 161*time.Millisecond {
		t.Errorf("after that: %v", at)
	}
}

// The loss of many frames is within the bounds that a binomial distribution
// passes once in 1e9, by its normal approximation; equal seeds lose the same.
func TestLineLoss(t *testing.T) {
	const n, sigmas = 200_000, 6.1
	for _, p := range []float64{0.001, 0.01, 0.1, 0.5} {
		lost := func(seed uint64) (n0 int) {
			l := NewLine(topo.Character{Loss: p}, seed)
			for i := range n {
				if l.Put(time.Duration(i), frame(i, 60)) == Lost {
					n0++
				}
				l.Take(time.Duration(i))
			}
			return n0
		}
		got := lost(7)
		if off := math.Abs(float64(got) - n*p); off > sigmas*math.Sqrt(n*p*(1-p)) {
			t.Errorf("loss of %v: %d of %d", p, got, n)
		}
		if again := lost(7); again != got {
			t.Errorf("the same seed lost %d and %d", got, again)
		}
	}
}

func character(t *rapid.T) topo.Character {
	delay := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "delay"))
	return topo.Character{
		Bandwidth: rapid.SampledFrom([]uint64{0, topo.MinBandwidth, 1_000_000, 10_000_000, 1_000_000_000, 3_333_333_333}).Draw(t, "bandwidth"),
		Delay:     delay,
		Jitter:    time.Duration(rapid.Int64Range(0, int64(delay)).Draw(t, "jitter")),
		Loss:      rapid.SampledFrom([]float64{0, 0.1, 0.9}).Draw(t, "loss"),
	}
}

// Whatever the character: the order is kept, no frame leaves before its delay,
// and over no window do more bits leave than the bandwidth carries in it (and
// the last frame's, which are all there when the frame is).
func TestLineProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := character(t)
		l := NewLine(c, rapid.Uint64().Draw(t, "seed"))
		n := rapid.IntRange(1, 200).Draw(t, "frames")
		var now time.Duration
		arrived := map[int]time.Duration{}
		for i := range n {
			now += time.Duration(rapid.Int64Range(0, int64(time.Millisecond)).Draw(t, "gap"))
			if l.Put(now, frame(i, rapid.IntRange(60, fullFrame).Draw(t, "bytes"))) == Queued {
				arrived[i] = now
			}
		}
		got := drain(l)
		if len(got) != len(arrived) {
			t.Fatalf("%d of %d frames left", len(got), len(arrived))
		}
		for i, p := range got {
			if i > 0 && (p.id <= got[i-1].id || p.leave < got[i-1].leave) {
				t.Fatalf("frame %d at %v after %d at %v", p.id, p.leave, got[i-1].id, got[i-1].leave)
			}
			if early := arrived[p.id] + c.Delay - c.Jitter; p.leave < early {
				t.Fatalf("frame %d leaves at %v, and not before %v", p.id, p.leave, early)
			}
		}
		if c.Bandwidth == 0 {
			return
		}
		for i := range got {
			bits := 0.0
			for j := i + 1; j < len(got); j++ {
				bits += float64(8 * got[j].bytes)
				if window := (got[j].leave - got[i].leave).Seconds(); bits > float64(c.Bandwidth)*window*(1+1e-9) {
					t.Fatalf("%.0f bits in %v at %d bit/s", bits, window, c.Bandwidth)
				}
			}
		}
	})
}

// FuzzLine puts anything on lines of any character that passes the check.
func FuzzLine(f *testing.F) {
	f.Add(uint64(1_000_000), int64(time.Millisecond), int64(0), 0.1, uint64(1), []byte{1, 2, 3, 255})
	f.Add(uint64(0), int64(topo.MaxDelay), int64(topo.MaxDelay), 1.0, uint64(0), []byte{0})
	f.Add(uint64(topo.MaxBandwidth), int64(5), int64(5), 0.0, uint64(9), []byte{9, 9, 9})
	f.Fuzz(func(t *testing.T, bandwidth uint64, delay, jitter int64, loss float64, seed uint64, steps []byte) {
		c := topo.Character{Bandwidth: bandwidth, Delay: time.Duration(delay), Jitter: time.Duration(jitter), Loss: loss}
		if CheckCharacter(c) != nil {
			return
		}
		l := NewLine(c, seed)
		var now, last time.Duration
		queued, taken, bytes := 0, 0, 0
		for _, s := range steps {
			now += time.Duration(s) * 100 * time.Microsecond
			b := make([]byte, 1+int(s)*200)
			if l.Put(now, b) == Queued {
				queued++
				bytes += len(b)
			}
			for {
				b, at, ok := l.Take(now)
				if !ok {
					break
				}
				if at < last || at > now {
					t.Fatalf("a frame leaves at %v; the one before at %v, and it is %v", at, last, now)
				}
				last, taken, bytes = at, taken+1, bytes-len(b)
			}
		}
		l.Release(now)
		for {
			b, _, ok := l.Take(now)
			if !ok {
				break
			}
			taken, bytes = taken+1, bytes-len(b)
		}
		if queued != taken || bytes != 0 || l.bytes != 0 {
			t.Fatalf("%d queued, %d taken, %d and %d bytes left", queued, taken, bytes, l.bytes)
		}
	})
}
