package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Host is what the lab holds of a host container. Closing it ends the
// container.
type Host struct {
	NetNS     *os.File   // its network namespace
	Container *Container // nil if Accept alone was called
	conn      *net.UnixConn
}

// Close lets go of the network namespace and ends the host container.
func (h *Host) Close() error { return errors.Join(h.NetNS.Close(), h.conn.Close()) }

// Listen makes the socket at which host containers hand their namespaces over.
// Only root can connect to it.
func Listen(path string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen for host containers: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for host containers: %w", err), l.Close())
	}
	return l, nil
}

// ErrMissing says that hosts did not hand over their namespaces in time; the
// message names them.
var ErrMissing = errors.New("host containers did not hand over their network namespaces")

// Sentinels of what came in at the socket and is not a host. Accept counts
// them and goes on: containers see the folder that the socket is in.
var (
	errNotHello = errors.New("not the message of a host")
	errNotNetNS = errors.New("not a network namespace")
	errNotRoot  = errors.New("not from root")
)

// helloTimeout is how long a connection may take to say who it is.
const helloTimeout = 5 * time.Second

// Accept waits until each of the named hosts has handed over its network
// namespace, once. It may be called again later for other hosts. Connections
// that say something else are closed. When ctx ends before all are there,
// those that came are closed; the error wraps ErrMissing and the cause of ctx.
func Accept(ctx context.Context, l *net.UnixListener, names []string) (map[string]*Host, error) {
	if err := l.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("accept hosts: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	type arrival struct {
		name string
		host *Host
		err  error
	}
	arrivals := make(chan arrival)
	inner, cancel := context.WithCancelCause(ctx)
	var group errgroup.Group
	group.SetLimit(starts + 1) // the loop, and those that have not said who they are
	group.Go(func() error {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				cancel(err) // the listener's deadline or its end; when ctx has ended, that stays the cause
				return nil
			}
			group.Go(func() error {
				name, host, err := receive(conn)
				select {
				case arrivals <- arrival{name, host, err}:
				case <-inner.Done():
					if host != nil {
						_ = host.Close()
					}
				}
				return nil
			})
		}
	})

	hosts := map[string]*Host{}
	var strange []error
	accept := func() error {
		for len(hosts) < len(names) {
			select {
			case a := <-arrivals:
				switch {
				case a.err != nil:
					strange = append(strange, a.err)
				case !slices.Contains(names, a.name) || hosts[a.name] != nil:
					strange = append(strange, fmt.Errorf("a host %q that was not waited for", a.name), a.host.Close())
				default:
					hosts[a.name] = a.host
				}
				strange = strange[max(0, len(strange)-4):] // enough to tell what happens
			case <-inner.Done():
				return context.Cause(inner)
			}
		}
		return nil
	}
	err := accept()
	cancel(nil)
	_ = l.SetDeadline(time.Unix(1, 0)) // ends the loop
	_ = group.Wait()                   // its functions return no errors
	if err != nil {
		missing := slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(n string) bool { return hosts[n] != nil })
		for h := range maps.Values(hosts) {
			_ = h.Close()
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrMissing, strings.Join(missing, ", "), errors.Join(append(strange, err)...))
	}
	return hosts, nil
}

// A hello is one packet: this word, the host's name, and a line feed; with it
// comes one file descriptor.
const (
	helloWord  = "meshlab-host/1 "
	longestKey = 64 // bytes of a host's name; topo allows 14
)

func encodeHello(name string) ([]byte, error) {
	msg := []byte(helloWord + name + "\n")
	if _, err := decodeHello(msg); err != nil {
		return nil, fmt.Errorf("host %q: %w", name, err)
	}
	return msg, nil
}

// decodeHello returns the name of the host. The message comes from containers.
func decodeHello(msg []byte) (string, error) {
	name, ok := strings.CutPrefix(string(msg), helloWord)
	if !ok {
		return "", errNotHello
	}
	name, ok = strings.CutSuffix(name, "\n")
	if !ok || name == "" || len(name) > longestKey || sanitize(name) != name {
		return "", errNotHello
	}
	return name, nil
}

// receive reads the one message of a connection. On an error it has closed all
// that came.
func receive(conn *net.UnixConn) (string, *Host, error) {
	name, ns, err := receiveHello(conn)
	if err != nil {
		_ = conn.Close()
		return "", nil, err
	}
	return name, &Host{NetNS: ns, conn: conn}, nil
}

func receiveHello(conn *net.UnixConn) (string, *os.File, error) {
	if err := checkPeer(conn); err != nil {
		return "", nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return "", nil, err
	}
	// One byte more than the longest message, and room for more descriptors
	// than the one that is wanted: what does not fit has the kernel set a flag.
	msg, oob := make([]byte, len(helloWord)+longestKey+2), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, _, err := conn.ReadMsgUnix(msg, oob)
	if err != nil {
		return "", nil, fmt.Errorf("read the message of a host: %w", err)
	}
	fds, err := descriptors(oob[:oobn])
	keep := -1
	defer func() {
		for _, fd := range fds {
			if fd != keep {
				_ = unix.Close(fd)
			}
		}
	}()
	if err != nil {
		return "", nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(fds) != 1 {
		return "", nil, fmt.Errorf("%w: flags %#x, %d descriptors", errNotHello, flags, len(fds))
	}
	name, err := decodeHello(msg[:n])
	if err != nil {
		return "", nil, err
	}
	// ioctl_ns(2): the type of the namespace that a descriptor refers to.
	kind, err := unix.IoctlRetInt(fds[0], unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return "", nil, fmt.Errorf("host %s: %w", name, errNotNetNS)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return "", nil, err
	}
	keep = fds[0]
	return name, os.NewFile(uintptr(keep), "netns of "+name), nil
}

// descriptors returns the file descriptors of control messages, those before
// an error too.
func descriptors(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotHello, err)
	}
	var all []int
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&m)
		all = append(all, fds...)
		if err != nil {
			return all, fmt.Errorf("%w: %w", errNotHello, err)
		}
	}
	return all, nil
}

// checkPeer makes sure that root connected (unix(7), SO_PEERCRED).
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if cred.Uid != 0 {
		return fmt.Errorf("%w: %w", errNotRoot, fs.ErrPermission)
	}
	return nil
}
