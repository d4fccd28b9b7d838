package shape

import (
	"encoding/binary"
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many frames one system call carries at most.
const batchSize = 32

// maxFrame is the largest frame there is room for: the largest MTU of a veth
// device, 65535, an Ethernet header, and two VLAN tags.
const maxFrame = 65535 + 14 + 8

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	n      uint32
	_      [4]byte
}

// controlSize has room for one timestamp (cmsg(3)).
const controlSize = unix.SizeofCmsghdr + 16

// receiver reads batches of frames with the kernel's time of each.
type receiver struct {
	messages [batchSize]mmsghdr
	vectors  [batchSize]unix.Iovec
	control  [batchSize][controlSize]byte
	buffers  [batchSize][]byte
}

// arrival is a frame that was read. The bytes are the receiver's until the
// caller calls keep.
type arrival struct {
	frame []byte
	wall  time.Time // zero: unknown
}

func newReceiver(size int) *receiver {
	r := &receiver{}
	for i := range r.messages {
		r.setBuffer(i, make([]byte, size))
		h := &r.messages[i].header
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
	}
	return r
}

func (r *receiver) setBuffer(i int, b []byte) {
	r.buffers[i] = b
	r.vectors[i].Base = &b[0]
	r.vectors[i].SetLen(len(b))
}

// read reads what is there, without waiting; 0: nothing.
func (r *receiver) read(fd int) (int, error) {
	for i := range r.messages {
		h := &r.messages[i].header
		h.Flags = 0
		h.SetControllen(controlSize)
	}
	// Raw: it does not wait, and so does not need to give up the processor's
	// slot in Go's scheduler.
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.messages[0])), batchSize, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	switch {
	case errno == 0:
		return int(n), nil
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, nil
	default:
		return 0, errno
	}
}

// at returns the i-th frame of the last read; false: it did not fit.
func (r *receiver) at(i int) (arrival, bool) {
	m := &r.messages[i]
	if int(m.n) > len(r.buffers[i]) || m.n == 0 {
		return arrival{}, false
	}
	control := r.control[i][:min(controlSize, int(m.header.Controllen))]
	return arrival{r.buffers[i][:m.n], timestamp(control)}, true
}

// keep hands the i-th buffer over to the caller and puts another in its place.
func (r *receiver) keep(i int, other []byte) { r.setBuffer(i, other) }

// timestamp reads the first control message if it is a time (SO_TIMESTAMPNS,
// socket(7)); the zero time otherwise.
func timestamp(control []byte) time.Time {
	if len(control) < controlSize || unix.SizeofCmsghdr != 16 {
		return time.Time{}
	}
	length := binary.NativeEndian.Uint64(control)
	level, kind := binary.NativeEndian.Uint32(control[8:]), binary.NativeEndian.Uint32(control[12:])
	if length < controlSize || level != unix.SOL_SOCKET || kind != unix.SCM_TIMESTAMPNS {
		return time.Time{}
	}
	seconds, nanoseconds := int64(binary.NativeEndian.Uint64(control[16:])), int64(binary.NativeEndian.Uint64(control[24:]))
	if nanoseconds < 0 || nanoseconds >= int64(time.Second) {
		return time.Time{}
	}
	return time.Unix(seconds, nanoseconds)
}

// sender sends batches of frames.
type sender struct {
	messages [batchSize]mmsghdr
	vectors  [batchSize]unix.Iovec
	frames   [batchSize][]byte
	n        int
}

func (s *sender) add(frame []byte) {
	s.frames[s.n] = frame
	s.vectors[s.n].Base = &frame[0]
	s.vectors[s.n].SetLen(len(frame))
	h := &s.messages[s.n].header
	h.Iov = &s.vectors[s.n]
	h.SetIovlen(1)
	s.n++
}

func (s *sender) full() bool { return s.n == batchSize }

// flush sends the batch and returns how many frames the device did not take,
// with the last reason.
func (s *sender) flush(fd int) (refused int, err error) {
	for from := 0; from < s.n; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.messages[from])), uintptr(s.n-from), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0 && n > 0:
			from += int(n)
		case errors.Is(errno, unix.EINTR):
		default: // of the first frame of the rest
			refused, err = refused+1, errno
			from++
		}
	}
	s.n = 0
	return refused, err
}
