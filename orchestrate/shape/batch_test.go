package shape

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/topo"
)

func controlMessage(length uint64, level, kind uint32, seconds, nanoseconds int64) []byte {
	b := binary.NativeEndian.AppendUint64(nil, length)
	b = binary.NativeEndian.AppendUint32(b, level)
	b = binary.NativeEndian.AppendUint32(b, kind)
	b = binary.NativeEndian.AppendUint64(b, uint64(seconds))
	return binary.NativeEndian.AppendUint64(b, uint64(nanoseconds))
}

func TestTimestamp(t *testing.T) {
	good := controlMessage(controlSize, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, 1234, 5678)
	if got := timestamp(good); !got.Equal(time.Unix(1234, 5678)) {
		t.Errorf("got %v", got)
	}
	for name, b := range map[string][]byte{
		"none":           nil,
		"cut":            good[:controlSize-1],
		"another kind":   controlMessage(controlSize, unix.SOL_SOCKET, 1, 1234, 5678),
		"another level":  controlMessage(controlSize, unix.SOL_PACKET, unix.SCM_TIMESTAMPNS, 1234, 5678),
		"too short":      controlMessage(controlSize-1, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, 1234, 5678),
		"no nanoseconds": controlMessage(controlSize, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, 1234, 1_000_000_000),
	} {
		if got := timestamp(b); !got.IsZero() {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzTimestamp(f *testing.F) {
	f.Add(controlMessage(controlSize, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, 1, 2))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if at := timestamp(b); !at.IsZero() && len(b) < controlSize {
			t.Errorf("%v of %d bytes", at, len(b))
		}
	})
}

func TestCheck(t *testing.T) {
	ends := func(c topo.Character) Link {
		return Link{Name: "x", A: End{"", "a"}, B: End{"", "b"}, Character: c}
	}
	for name, tc := range map[string]struct {
		link Link
		want string // "": it is right
	}{
		"no character":    {ends(topo.Character{}), ""},
		"all of it":       {ends(topo.Character{Bandwidth: 1e9, Delay: time.Second, Jitter: time.Second, Loss: 1}), ""},
		"no device":       {Link{Name: "x", A: End{Device: "a"}}, "a device at both ends"},
		"no name":         {Link{A: End{Device: "a"}, B: End{Device: "b"}}, "needs a name"},
		"slow":            {ends(topo.Character{Bandwidth: 999}), "8kbit to 100Gbit"},
		"fast":            {ends(topo.Character{Bandwidth: 2e11}), "8kbit to 100Gbit"},
		"into the past":   {ends(topo.Character{Delay: -1}), "delay of -1ns"},
		"far":             {ends(topo.Character{Delay: time.Hour}), "0s to 10s"},
		"more jitter":     {ends(topo.Character{Delay: 1, Jitter: 2}), "jitter 2ns must be at most the delay"},
		"negative jitter": {ends(topo.Character{Delay: 1, Jitter: -1}), "negative"},
		"loss in percent": {ends(topo.Character{Loss: 5}), "probability"},
		"no number":       {ends(topo.Character{Loss: nan()}), "probability"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.link.Check()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func nan() float64 { z := 0.0; return z / z }
