// Package remote runs commands on the machines of a lab, by SSH. What they mean
// is others' business.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Machine is a machine that answers SSH.
type Machine struct {
	User, Address string // HOST:PORT
	Key           string // path of the private key that it lets in
	// KnownHosts is the path of a file in OpenSSH's format. A machine that is not
	// in it is believed what it says to be, and written down; one that says
	// something else later is not talked to.
	KnownHosts string
}

// ErrHostKey says that a machine is not the one that was met before.
var ErrHostKey = errors.New("it is not the machine that was met before: its host key has changed")

// Fault is a command that a machine has run, and that has failed there.
type Fault struct {
	Command, Said string
	Err           error
}

func (f *Fault) Error() string { return fmt.Sprintf("run %q there: %v: %s", f.Command, f.Err, f.Said) }
func (f *Fault) Unwrap() error { return f.Err }

// handshake bounds how long a machine may take to answer.
const handshake = 15 * time.Second

// Output runs a command and returns what it prints. Errors match ErrHostKey, are
// a *Fault, or say why the machine could not be reached, which a machine that is
// starting cannot.
func (m Machine) Output(ctx context.Context, command string) ([]byte, error) {
	out, err := m.output(ctx, command)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s@%s: %w", m.User, m.Address, err)
	}
	return out, nil
}

func (m Machine) output(ctx context.Context, command string) ([]byte, error) {
	text, err := os.ReadFile(m.Key)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", m.Key, err)
	}
	known, err := m.known()
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: handshake}).DialContext(ctx, "tcp", m.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(handshake)); err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, m.Address, &ssh.ClientConfig{
		User: m.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: known,
	})
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	if err := conn.SetDeadline(time.Now().Add(4 * handshake)); err != nil {
		return nil, err
	}
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	defer session.Close()
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	if err := session.Run(command); err != nil {
		if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) {
			return nil, &Fault{command, strings.TrimSpace(stderr.String()), err}
		}
		return nil, err
	}
	return stdout.Bytes(), nil
}

// known checks a machine's key against the file, and writes one of a machine that
// is not in it.
func (m Machine) known() (ssh.HostKeyCallback, error) {
	f, err := os.OpenFile(m.KnownHosts, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	f.Close()
	check, err := knownhosts.New(m.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := check(host, remote, key)
		var other *knownhosts.KeyError
		switch {
		case !errors.As(err, &other):
			return err
		case len(other.Want) > 0:
			return fmt.Errorf("%w; if the lab was made anew, remove %s", ErrHostKey, m.KnownHosts)
		}
		f, err := os.OpenFile(m.KnownHosts, os.O_APPEND|os.O_WRONLY, fs.FileMode(0o600))
		if err != nil {
			return fmt.Errorf("known hosts: %w", err)
		}
		_, err = fmt.Fprintln(f, knownhosts.Line([]string{knownhosts.Normalize(host)}, key))
		return errors.Join(err, f.Close())
	}, nil
}
