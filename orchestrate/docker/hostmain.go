package docker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// HostMain is the first process of a host container. It hands the network
// namespace that it is in over to the lab that listens at the socket, under the
// host's name, collects orphans, and returns when the lab has closed the
// connection: the lab has ended, or wants the host to end.
func HostMain(socket, name string) error {
	msg, err := encodeHello(name)
	if err != nil {
		return err
	}
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("hand over host %s: %w", name, err)
	}
	defer ns.Close()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("hand over host %s: %w", name, err)
	}
	defer conn.Close()
	if _, _, err := conn.WriteMsgUnix(msg, unix.UnixRights(int(ns.Fd())), nil); err != nil {
		return fmt.Errorf("hand over host %s: %w", name, err)
	}
	if os.Getpid() == 1 {
		go collectOrphans()
	}
	// Nothing is ever sent this way.
	if _, err := conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("wait for the end of the lab: %w", err)
	}
	return nil
}

// collectOrphans waits for processes whose parents have ended; the first
// process of a PID namespace gets them all (pid_namespaces(7)).
func collectOrphans() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		<-ended
	}
}
