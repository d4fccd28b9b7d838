package supervisor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// SocketRequest asks for sockets of a node. It comes over the exec socket as
// {"sockets": ...} after its length, like a Command, but without files. The
// answer is a length and a socketAnswer, and without an error then the
// sockets themselves, at most socketBatch with each data byte.
//
// The sockets are not connected, do not block, and close on exec. They belong
// to the node's network namespace, so they get its addresses, routes, ports
// and congestion control, whoever connects them.
type SocketRequest struct {
	Node    string `json:"node"`    // a host; a switch or "" is where the switches are
	Network string `json:"network"` // tcp4 or udp4
	Count   int    `json:"count"`   // 1 to maxSockets
}

type socketAnswer struct {
	Count int    `json:"count,omitempty"`
	Error string `json:"error,omitempty"`
}

const (
	maxSockets = 20_000
	// socketBatch is below SCM_MAX_FD, 253 (unix(7)).
	socketBatch = 200
	// socketLimit bounds the time for one request: a caller that does not take
	// its sockets holds none back for ever.
	socketLimit = 30 * time.Second
)

func (r SocketRequest) kind() (int, error) {
	if r.Count < 1 || r.Count > maxSockets {
		return 0, fmt.Errorf("make sockets: %d wanted; one request may ask for 1 to %d", r.Count, maxSockets)
	}
	switch r.Network {
	case "tcp4":
		return unix.SOCK_STREAM, nil
	case "udp4":
		return unix.SOCK_DGRAM, nil
	}
	return 0, fmt.Errorf("make sockets: unknown network %q; there are tcp4 and udp4", r.Network)
}

// serveSockets answers a request for sockets; err is what was wrong with it
// already.
func (s *Supervisor) serveSockets(c *net.UnixConn, req *SocketRequest, err error) {
	if err == nil {
		err = s.sendSockets(c, *req)
	}
	if err != nil {
		_ = answerSockets(c, socketAnswer{Error: err.Error()}) // the caller may be gone: nothing to do then
	}
}

// sendSockets makes the sockets and hands them over batch by batch: that many
// are open here at a time, whatever the count. An error has not been told to
// the caller yet; one that comes after the first batch ends the connection
// short of the count, and is in the log.
func (s *Supervisor) sendSockets(c *net.UnixConn, req SocketRequest) error {
	kind, err := req.kind()
	if err != nil {
		return err
	}
	ns, err := s.namespaceOf(req.Node)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(socketLimit)
	if err := c.SetDeadline(deadline); err != nil {
		return fmt.Errorf("make sockets: %w", err)
	}
	return netns.Do(ns, func() error {
		for sent := 0; sent < req.Count; {
			batch, err := openSockets(kind, min(req.Count-sent, socketBatch))
			if err == nil && sent == 0 {
				err = answerSockets(c, socketAnswer{Count: req.Count})
			}
			if err == nil {
				err = sendFiles(c, batch, deadline)
			}
			for _, fd := range batch {
				unix.Close(fd)
			}
			if err != nil && sent > 0 {
				s.log.Warn("hand out sockets", "node", req.Node, "sent", sent, "wanted", req.Count, "error", err)
				return nil
			}
			if err != nil {
				return fmt.Errorf("make sockets on %s: %w", req.Node, err)
			}
			sent += len(batch)
		}
		return nil
	})
}

// openSockets makes n sockets in the namespace of the calling thread. What it
// returns is to be closed, with an error too.
func openSockets(kind, n int) ([]int, error) {
	fds := make([]int, 0, n)
	for range n {
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fds, fmt.Errorf("open socket: %w", err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// sendFiles sends one batch. The kernel bounds how many files of a user are on
// their way at once, by the user's limit of open files (unix(7), ETOOMANYREFS);
// there is room again when the receiver has read.
func sendFiles(c *net.UnixConn, fds []int, deadline time.Time) error {
	for {
		_, _, err := c.WriteMsgUnix([]byte{'f'}, unix.UnixRights(fds...), nil)
		if !errors.Is(err, unix.ETOOMANYREFS) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func answerSockets(c *net.UnixConn, a socketAnswer) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}
