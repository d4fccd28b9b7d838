package shape

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counters is what one direction of a link has done since it got a character.
type Counters struct {
	Frames    uint64 `json:"frames"` // that left
	Bytes     uint64 `json:"bytes"`  // of them, with their Ethernet headers
	Lost      uint64 `json:"lost"`   // on purpose
	Overflow  uint64 `json:"overflow"`
	Refused   uint64 `json:"refused,omitempty"`    // by the device, when they should have left
	UnderWay  int    `json:"under_way"`            // frames that have arrived and not left
	LateP50US int64  `json:"late_p50_us"`          // microseconds after their time that frames left: half of them less than this,
	LateP99US int64  `json:"late_p99_us"`          // and 99 of 100
	LateMaxUS int64  `json:"late_max_us"`          //
	LastError string `json:"last_error,omitempty"` // why the device refused
}

// lateness records how late frames leave.
type lateness struct{ h *hdrhistogram.Histogram }

func newLateness() lateness {
	return lateness{hdrhistogram.New(1, int64(10*time.Second), 2)}
}

func (l lateness) record(d time.Duration) {
	_ = l.h.RecordValue(min(max(int64(d), 1), int64(10*time.Second))) // within its bounds
}

func (l lateness) fill(c *Counters) {
	if l.h.TotalCount() == 0 {
		return
	}
	us := func(ns int64) int64 { return (ns + 500) / 1000 }
	c.LateP50US, c.LateP99US, c.LateMaxUS = us(l.h.ValueAtQuantile(50)), us(l.h.ValueAtQuantile(99)), us(l.h.Max())
}
