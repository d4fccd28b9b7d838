package ovs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ReceiveBuffer is what each port of the userspace datapath should be able
// to hold, in bytes. With the kernel's usual default (net.core.rmem_default,
// 208 KiB: some ninety full frames) the answers to a hundred clients at once
// overrun the port's packet socket, and what is measured then is TCP's
// retransmission timer: 1 s at p99 where 50 ms is right.
const ReceiveBuffer = 8 << 20

// EnlargeReceiveBuffers gives the packet sockets of the running switch, which
// must be a descendant of the caller, a receive buffer of size bytes, and
// waits until at least the given number of ports has one. It returns the
// smallest size in force: an ordinary user gets no more than twice
// net.core.rmem_max (socket(7)).
func EnlargeReceiveBuffers(ctx context.Context, pid, ports, size int) (smallest int, err error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("open process %d of ovs-vswitchd: %w", pid, err)
	}
	defer unix.Close(process)
	err = poll(ctx, func() (bool, error) {
		found := 0
		smallest, found, err = enlarge(process, pid, size)
		return found >= ports, err
	})
	return smallest, err
}

func enlarge(process, pid, size int) (smallest, found int, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("list files of ovs-vswitchd: %w", err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fd, err := unix.PidfdGetfd(process, n, 0)
		if errors.Is(err, unix.EBADF) {
			continue // closed since
		}
		if err != nil {
			return 0, 0, fmt.Errorf("reach file %d of ovs-vswitchd: %w", n, err)
		}
		got, isPort, err := enlargeSocket(fd, size)
		unix.Close(fd)
		if err != nil {
			return 0, 0, fmt.Errorf("enlarge receive buffer of a switch port: %w", err)
		}
		if !isPort {
			continue
		}
		found++
		if smallest == 0 || got < smallest {
			smallest = got
		}
	}
	return smallest, found, nil
}

// enlargeSocket leaves alone what is not the packet socket of a port: the
// switch has another one, bound to no device, that it only sends by.
func enlargeSocket(fd, size int) (got int, isPort bool, err error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_PACKET {
		return 0, false, nil // no socket, or another kind
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return 0, false, err
	}
	if to, ok := address.(*unix.SockaddrLinklayer); !ok || to.Ifindex == 0 {
		return 0, false, nil
	}
	// The kernel doubles the value, for its own overhead (socket(7)).
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size/2); err != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size/2); err != nil {
			return 0, true, err
		}
	}
	got, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return got, true, err
}
