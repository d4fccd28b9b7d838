package shape

import (
	"fmt"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/topo"
)

// runner shapes one link: both directions, on a thread of its own.
type runner struct {
	directions [2]*direction
	wake       int // eventfd: there is an order
	base       time.Time
	done       chan struct{}
	timerLate  time.Duration // how late timers are as a rule
	orders     chan order
}

// order is something for the thread of a runner to do between two frames. The
// thread shares no lock with others: one that holds it may be kept from
// running, on a busy machine for long, and frames would wait.
type order struct {
	do   func()
	done chan struct{}
	last bool // the thread ends after it has handled what has arrived
}

// direction is one of the two of a link.
type direction struct {
	tapped   *capture
	line     *Line
	counters Counters
	late     lateness
	receiver *receiver
	sender   sender
	spare    [][]byte // buffers
	size     int      // of a buffer, in bytes
	failed   error    // the socket is of no more use
}

// maxSpare is how many buffers a direction keeps for later.
const maxSpare = 4096

func newDirection(c *capture, character topo.Character, seed uint64, mtu int) *direction {
	size := min(mtu+14+8, maxFrame)
	return &direction{tapped: c, line: NewLine(character, seed), late: newLateness(), receiver: newReceiver(size), size: size}
}

// startRunner begins to shape. The captures are the runner's from then on.
func startRunner(a, b *direction) (*runner, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an event: %w", err)
	}
	r := &runner{directions: [2]*direction{a, b}, wake: wake, base: time.Now(), done: make(chan struct{}), orders: make(chan order, 1)}
	go r.run()
	return r, nil
}

func (r *runner) run() {
	defer close(r.done)
	runtime.LockOSThread() // never unlocked: the thread has a priority of its own
	prioritise()
	files := [3]unix.PollFd{{Fd: int32(r.wake), Events: unix.POLLIN}}
	stop := false
	for {
		var next time.Duration
		waiting := false
		for i, d := range r.directions {
			d.pass(r.base)
			if at, ok := d.line.Next(); ok && (!waiting || at < next) {
				next, waiting = at, true
			}
			files[i+1] = unix.PollFd{Fd: int32(d.tapped.in), Events: unix.POLLIN}
			if d.failed != nil {
				files[i+1].Fd = -1 // ignored (poll(2))
			}
		}
		if stop {
			return
		}
		r.wait(&files, next, waiting)
		select {
		case o := <-r.orders:
			o.do()
			stop = o.last
			close(o.done)
		default:
		}
	}
}

// order has the thread do something, and waits until it has.
func (r *runner) order(o order) {
	o.done = make(chan struct{})
	r.orders <- o
	one := [8]byte{1}
	_, _ = unix.Write(r.wake, one[:])
	<-o.done
}

// earliest is how much before a departure the thread may wake up: on a virtual
// machine a timer is some 40 us late, and the thread looks at the clock for the
// rest of the time.
const earliest = 60 * time.Microsecond

// wait returns when the time next has come, if there is one, or a frame.
func (r *runner) wait(files *[3]unix.PollFd, next time.Duration, timed bool) {
	var timeout *unix.Timespec
	var until time.Duration
	if timed {
		now := time.Since(r.base)
		until = next - r.timerLate
		if until <= now {
			for now < next {
				now = time.Since(r.base)
			}
			return
		}
		ts := unix.NsecToTimespec(int64(until - now))
		timeout = &ts
	}
	n, err := unix.Ppoll(files[:], timeout, nil)
	switch {
	case err != nil: // a signal
	case n == 0:
		late := min(time.Since(r.base)-until, earliest)
		r.timerLate += (late - r.timerLate) / 8
		// The next round waits for the rest.
	case files[0].Revents != 0:
		var sink [8]byte
		_, _ = unix.Read(r.wake, sink[:])
	}
}

// maxBatches are handled in one go: the other direction wants its turn.
const maxBatches = 8

// pass takes in what has arrived and sends what is due.
func (d *direction) pass(base time.Time) {
	// Departures first: they have a time.
	for range maxBatches {
		d.send(base)
		n, err := d.receiver.read(d.tapped.in)
		if err != nil && !transient(err) {
			d.failed = err
			d.counters.LastError = err.Error()
		}
		if n == 0 {
			return
		}
		now := time.Now()
		for i := range n {
			d.arrive(i, now, base)
		}
		d.send(base)
		if n < batchSize {
			return
		}
	}
}

func (d *direction) arrive(i int, now, base time.Time) {
	a, ok := d.receiver.at(i)
	if !ok {
		d.counters.Overflow++
		return
	}
	at := now.Sub(base)
	// The time by the wall clock says how long ago that was; a clock that was
	// set meanwhile says nonsense.
	if age := now.Round(0).Sub(a.wall); !a.wall.IsZero() && age > 0 && age < time.Second {
		at -= age
	}
	switch d.line.Put(at, a.frame) {
	case Queued:
		d.receiver.keep(i, d.buffer())
	case Lost:
		d.counters.Lost++
	case Overflow:
		d.counters.Overflow++
	}
}

// send sends what is due.
func (d *direction) send(base time.Time) {
	if _, ok := d.line.Next(); !ok {
		return
	}
	now := time.Since(base)
	for {
		for !d.sender.full() {
			frame, departure, ok := d.line.Take(now)
			if !ok {
				break
			}
			d.sender.add(frame)
			d.late.record(now - departure)
			d.counters.Bytes += uint64(len(frame))
		}
		n := d.sender.n
		if n == 0 {
			return
		}
		refused, err := d.sender.flush(d.tapped.out)
		d.counters.Frames += uint64(n - refused)
		if refused > 0 {
			d.counters.Refused += uint64(refused)
			d.counters.LastError = err.Error()
		}
		for _, b := range d.sender.frames[:n] {
			if len(d.spare) < maxSpare {
				d.spare = append(d.spare, b[:cap(b)])
			}
		}
		now = time.Since(base)
	}
}

func (d *direction) buffer() []byte {
	if n := len(d.spare); n > 0 {
		b := d.spare[n-1]
		d.spare = d.spare[:n-1]
		return b
	}
	return make([]byte, d.size)
}

// transient errors of a packet socket pass: the device is down for now.
func transient(err error) bool { return err == unix.ENETDOWN || err == unix.ENOBUFS }

// set changes the character while frames pass.
func (r *runner) set(c topo.Character) {
	r.order(order{do: func() {
		for _, d := range r.directions {
			d.line.Set(c)
		}
	}})
}

// read returns the counters, from A to B and from B to A.
func (r *runner) read() (aToB, bToA Counters) {
	var all [2]Counters
	var late [2]lateness
	r.order(order{do: func() {
		for i, d := range r.directions {
			all[i], late[i] = d.read()
		}
	}})
	for i := range all {
		late[i].fill(&all[i])
	}
	return all[0], all[1]
}

// read runs on the runner's thread.
func (d *direction) read() (Counters, lateness) {
	// What the kernel could not keep for the shaper (packet(7)); reading it sets
	// it to zero.
	if s, err := unix.GetsockoptTpacketStats(d.tapped.in, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		d.counters.Overflow += uint64(s.Drops)
	}
	c := d.counters
	c.UnderWay = d.line.frames.len()
	return c, lateness{hdrhistogram.Import(d.late.h.Export())}
}

// intact tells whether both devices are still the ones that were tapped.
func (r *runner) intact() bool {
	failed := false
	r.order(order{do: func() { failed = r.directions[0].failed != nil || r.directions[1].failed != nil }})
	return !failed && r.directions[0].tapped.present() && r.directions[1].tapped.present()
}

// release ends the shaping without losing a frame: those under way leave at
// once, and the devices pass frames by themselves again.
func (r *runner) release() error {
	var first error
	for _, d := range r.directions {
		r.order(order{do: func() {
			d.line.Set(topo.Character{})
			d.line.Release(time.Since(r.base))
			d.send(r.base)
		}})
		if err := d.tapped.letGo(); err != nil && first == nil {
			first = err
		}
	}
	r.end()
	return first
}

// end stops the thread, after it has handled what has arrived, and closes
// everything. The link is cut unless its devices were let go before.
func (r *runner) end() {
	r.order(order{do: func() {}, last: true})
	<-r.done
	for _, d := range r.directions {
		d.tapped.close()
	}
	unix.Close(r.wake)
}
