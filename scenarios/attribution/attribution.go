// Package attribution tells where the time of requests goes, from the packets
// that were seen on the ports along their way. It is pure: who listened, and
// how, is not its business. Requests that it cannot put together without
// guessing count as lost.
package attribution

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// Side is where, at a host, packets were seen.
type Side string

// The sides of a host.
const (
	Sent      Side = "sent"      // at the switch: what comes from the host
	Delivered Side = "delivered" // at the switch: what goes to the host
	Loopback  Side = "loopback"  // in the host: what its processes say to each other
)

// Port is a place where packets were seen.
type Port struct {
	Host string `json:"host"`
	Side Side   `json:"side"`
}

// Packet is one TCP segment with data.
type Packet struct {
	Port    int            `json:"port"` // index of Capture.Ports
	At      int64          `json:"at"`   // nanoseconds, by one clock for all ports
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	Seq     uint32         `json:"seq"` // of its first byte
	Payload int            `json:"len"` // bytes of data
}

// Capture is all that was seen in one stretch of time, while requests were sent.
type Capture struct {
	Ports   []Port
	Packets []Packet // in any order
	Dropped int      // packets that passed and were not kept
}

// Way is how the requests of a lab's client travel.
type Way struct {
	Lab *topo.Lab
	To  string // service that the client calls

	// How services reach their upstreams: by sidecars when there are any, else
	// at Virtual when it is valid, else at the instances' own addresses.
	Sidecars map[string]uint16 // by instance: the port at which its sidecar takes connections
	Virtual  netip.Addr
}

// Result is what became of the requests.
type Result struct {
	Spans    []scenarios.Span // in the order of their starts
	Requests int              // that make up the figures
	Lost     map[string]int   // requests that were left out, by the reason
}

// ErrNothing says that no request could be put together.
var ErrNothing = errors.New("no request could be put together")

// maxPayload is what fits into an IPv4 packet (RFC 791, section 3.1), in bytes.
const maxPayload = 65535

// Attribute puts requests together that the client sent one after the other,
// and returns their spans: means over the middle half of the requests, by what
// a whole one took. What happened between two captures does not matter.
//
// The first skip requests of each connection in a capture warm up and do not
// count. Most requests of a kind take the same course: the same calls, in the
// same order; those that take another are lost too.
//
// The spans of depth 0 follow one another without gaps, from one answer at
// the client's port to the next: their lengths add up to what a request of the
// middle half took.
//
// When no request is left, the error matches ErrNothing and tells the reasons.
// All else that is odd in the packets costs requests, and is no error.
func Attribute(way Way, captures []Capture, skip int) (Result, error) {
	m, err := newModel(way)
	if err != nil {
		return Result{}, err
	}
	r := Result{Lost: map[string]int{}}
	var traces []trace
	for _, c := range captures {
		seen := m.sort(c)
		roots, broken := seen.roots(skip)
		if broken > 0 {
			r.Lost[errHoles.Error()] += broken
		}
		for _, root := range roots {
			if root.number < skip {
				continue
			}
			t, err := seen.trace(root)
			if err != nil {
				r.Lost[err.Error()]++
				continue
			}
			traces = append(traces, t)
		}
	}
	common := commonest(traces)
	kept := traces[:0]
	for _, t := range traces {
		if t.course() == common {
			kept = append(kept, t)
		} else {
			r.Lost[errCourse.Error()]++
		}
	}
	r.Requests, r.Spans = len(kept), summarize(kept)
	if r.Requests == 0 {
		return r, fmt.Errorf("%w: %s", ErrNothing, reasons(r.Lost))
	}
	return r, nil
}

// Why a request is lost.
var (
	errFirst   = errors.New("the answer before it was not seen")
	errOverlap = errors.New("another request of the client was under way")
	errHoles   = errors.New("packets are missing")
	errUnseen  = errors.New("packets were not seen at the other end of a switch")
	errMissing = errors.New("packets were not seen behind a sidecar")
	errSeveral = errors.New("more than one exchange fits")
	errOrder   = errors.New("the times are not in order")
	errCourse  = errors.New("it took another course than most")
)

func reasons(lost map[string]int) string {
	if len(lost) == 0 {
		return "the client sent none"
	}
	var all []string
	for _, why := range slices.Sorted(maps.Keys(lost)) {
		all = append(all, fmt.Sprintf("%d times %s", lost[why], why))
	}
	return strings.Join(all, "; ")
}

// commonest is the course that most requests took; of equally common ones the
// first.
func commonest(traces []trace) string {
	count, best := map[string]int{}, ""
	for _, t := range traces {
		count[t.course()]++
	}
	for _, t := range traces {
		if c := t.course(); count[c] > count[best] {
			best = c
		}
	}
	return best
}
