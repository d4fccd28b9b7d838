package orchestrate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Each close of a packet socket waits for a grace period of the kernel's RCU,
// some 12 ms (packet_release in net/packet/af_packet.c), and a switch in user
// space has one for each port. A process that ends closes them one after the
// other: a switch of 200 ports needs two seconds. Whoever closes a socket last
// is the one that waits, and those who wait at the same time share a grace
// period. So the sockets are taken over before the lab is killed, and closed
// side by side when it has ended.
const (
	switchProgram = "ovs-vswitchd"
	closers       = 64 // threads that wait at the same time
)

// takePacketSockets returns descriptors for the packet sockets of the
// switches in a sandbox, whose first process is pid. Those that it cannot
// have are left out: the lab ends all the same, only later.
func takePacketSockets(pid int) []int {
	inside, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return nil
	}
	var sockets []int
	entries, _ := os.ReadDir("/proc") // what was read counts
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		if name, err := os.ReadFile(filepath.Join(dir, "comm")); err != nil || strings.TrimSpace(string(name)) != switchProgram {
			continue
		}
		if ns, err := os.Readlink(filepath.Join(dir, "ns/pid")); err == nil && ns == inside {
			sockets = append(sockets, packetSockets(e.Name())...)
		}
	}
	return sockets
}

func packetSockets(pid string) []int {
	number, err := strconv.Atoi(pid)
	if err != nil {
		return nil
	}
	process, err := unix.PidfdOpen(number, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(process)
	var sockets []int
	entries, _ := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fd, err := unix.PidfdGetfd(process, n, 0)
		if err != nil {
			continue
		}
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_PACKET {
			unix.Close(fd)
			continue
		}
		sockets = append(sockets, fd)
	}
	return sockets
}

// closeTogether closes sockets, many at a time.
func closeTogether(sockets []int) {
	work := make(chan int)
	var all sync.WaitGroup
	for range min(closers, len(sockets)) {
		all.Go(func() {
			for fd := range work {
				unix.Close(fd)
			}
		})
	}
	for _, fd := range sockets {
		work <- fd
	}
	close(work)
	all.Wait()
}
