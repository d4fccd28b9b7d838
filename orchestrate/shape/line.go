package shape

import (
	"math/rand/v2"
	"time"

	"meshlab.dev/meshlab/topo"
)

// What a line may hold. Frames wait for two reasons: the delay, which a real
// cable has room for, and the bandwidth, where a real port has a buffer and
// drops what does not fit.
const (
	// queueTime is how long a frame may wait for the bandwidth: what tbf calls
	// latency. Shorter, a single connection of TCP would not fill the line.
	queueTime = 100 * time.Millisecond
	// queueFrames full frames find room at any bandwidth: at 1 Mbit/s, queueTime
	// alone would be eight.
	queueFrames = 32
	// maxBytes and maxFrames bound the memory of frames under way: half a second
	// of 1 Gbit/s.
	maxBytes  = 64 << 20
	maxFrames = 1 << 17
)

// fullFrame is an Ethernet frame of 1500 bytes without its checksum.
const fullFrame = 1514 // bytes

// Verdict says what became of a frame that was put on a line.
type Verdict int

// The verdicts.
const (
	Queued   Verdict = iota
	Lost             // on purpose
	Overflow         // there was no room
)

// Line is one direction of a link: frames are put in with the time of their
// arrival and come out, in the same order, with the time of their departure.
// All times are on one clock of the caller's. It is not safe for concurrent
// use.
//
// A frame that arrives at t leaves at t + delay + jitter + bits/bandwidth, but
// not before the frame ahead of it has left and its own bits have followed. So
// the bandwidth is never exceeded over any span of time, and jitter changes
// distances, never the order: a cable does not reorder. Where frames are closer
// together than the jitter, one that is late holds up those behind it, and
// their mean delay is more than the delay stated.
type Line struct {
	character topo.Character
	random    *rand.Rand
	last      time.Duration // departure of the newest frame, lost ones too
	frames    ring
	bytes     int
}

// NewLine makes a line. The character must have passed CheckCharacter. Equal
// seeds lose the same frames.
func NewLine(c topo.Character, seed uint64) *Line {
	return &Line{character: c, random: rand.New(rand.NewPCG(seed, 0x6d657368))}
}

// Set changes the character for the frames that come. Those under way keep
// their departure, and none passes them.
func (l *Line) Set(c topo.Character) { l.character = c }

// Put puts a frame on the line at the time at. A frame with another verdict
// than Queued is the caller's again.
func (l *Line) Put(at time.Duration, frame []byte) Verdict {
	c := l.character
	own := serialisation(len(frame), c.Bandwidth)
	earliest := at + c.Delay + own
	if c.Jitter > 0 {
		earliest += time.Duration(l.random.Int64N(2*int64(c.Jitter)+1)) - c.Jitter
	}
	departure := max(earliest, l.last+own)
	if c.Bandwidth > 0 {
		// A frame ahead that jitter has made late is not a full buffer.
		room := max(queueTime, serialisation(queueFrames*fullFrame, c.Bandwidth)) + 2*c.Jitter
		if departure-earliest > room {
			return Overflow
		}
	}
	if l.frames.len() >= maxFrames || l.bytes+len(frame) > maxBytes {
		return Overflow
	}
	l.last = departure
	if c.Loss > 0 && l.random.Float64() < c.Loss {
		return Lost // its bits have taken their time all the same
	}
	l.frames.push(parcel{departure, frame})
	l.bytes += len(frame)
	return Queued
}

// Next returns when the next frame leaves; false: none is under way.
func (l *Line) Next() (time.Duration, bool) {
	if l.frames.len() == 0 {
		return 0, false
	}
	return l.frames.front().departure, true
}

// Take returns the next frame if its time has come, and what its time was.
func (l *Line) Take(now time.Duration) (frame []byte, departure time.Duration, ok bool) {
	if l.frames.len() == 0 || l.frames.front().departure > now {
		return nil, 0, false
	}
	p := l.frames.pop()
	l.bytes -= len(p.frame)
	return p.frame, p.departure, true
}

// Release lets all frames under way leave at now.
func (l *Line) Release(now time.Duration) {
	for i := range l.frames.len() {
		p := l.frames.at(i)
		p.departure = min(p.departure, now)
	}
	l.last = min(l.last, now)
}

// serialisation is how long the bits of a frame take. It is rounded up, so
// that the bandwidth is not exceeded by rounding.
func serialisation(bytes int, bandwidth uint64) time.Duration {
	if bandwidth == 0 {
		return 0
	}
	bits := uint64(bytes) * 8
	return time.Duration((bits*uint64(time.Second) + bandwidth - 1) / bandwidth)
}

// parcel is a frame under way.
type parcel struct {
	departure time.Duration
	frame     []byte
}

// ring is a queue that grows.
type ring struct {
	slots []parcel // a power of two of them, or none
	head  int
	n     int
}

func (r *ring) len() int         { return r.n }
func (r *ring) at(i int) *parcel { return &r.slots[(r.head+i)&(len(r.slots)-1)] }
func (r *ring) front() *parcel   { return r.at(0) }

func (r *ring) push(p parcel) {
	if r.n == len(r.slots) {
		grown := make([]parcel, max(64, 2*len(r.slots)))
		for i := range r.n {
			grown[i] = *r.at(i)
		}
		r.slots, r.head = grown, 0
	}
	r.n++
	*r.at(r.n - 1) = p
}

func (r *ring) pop() parcel {
	p := *r.front()
	*r.front() = parcel{}
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.n--
	return p
}
