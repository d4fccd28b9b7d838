package controller

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/controller/pipeline"
)

// Datapath is one switch and how to reach it.
type Datapath struct {
	pipeline.Datapath
	// Address is where the switch takes OpenFlow connections: the path of a
	// unix socket, with or without "unix:" before it, "tcp:HOST:PORT" or
	// "tls:HOST:PORT". By tcp anybody on the way can read and change what is
	// said, so it is for networks that nobody else is on.
	Address string `json:"address"`
	// TLS says what differs for this switch from the TLS of the whole file.
	TLS TLS `json:"tls,omitzero"`
	// RunDir is the run directory of the Open vSwitch that the switch belongs
	// to, on this machine. It is that of the socket when not given. A switch
	// that has none gets no limits of connections.
	RunDir string `json:"run_dir,omitempty"`
}

// TLS are the paths of PEM files.
type TLS struct {
	CA          string `json:"ca,omitempty"`          // certificates that sign those of switches
	Certificate string `json:"certificate,omitempty"` // that the controller shows
	Key         string `json:"key,omitempty"`         // of the certificate
	// Name is whose certificate a switch must show; its own name when not given.
	Name string `json:"name,omitempty"`
}

// Or completes t with what only other says.
func (t TLS) Or(other TLS) TLS {
	return TLS{
		CA: cmp.Or(t.CA, other.CA), Certificate: cmp.Or(t.Certificate, other.Certificate),
		Key: cmp.Or(t.Key, other.Key), Name: cmp.Or(t.Name, other.Name),
	}
}

// Ways to a switch.
const (
	NetworkUnix = "unix"
	NetworkTCP  = "tcp"
	NetworkTLS  = "tls"
)

// Way reads an address: the network, and the path, or host and port, there.
func (d Datapath) Way() (network, address string, err error) {
	kind, rest, found := strings.Cut(d.Address, ":")
	switch {
	case d.Address == "":
		return "", "", fmt.Errorf("datapath %s has no address", d.Name)
	case !found || strings.HasPrefix(d.Address, "/"):
		return NetworkUnix, d.Address, nil
	case kind == NetworkUnix && rest != "":
		return NetworkUnix, rest, nil
	case kind != NetworkTCP && kind != NetworkTLS:
		return "", "", fmt.Errorf("datapath %s: address %q: write unix:/path, tcp:HOST:PORT or tls:HOST:PORT", d.Name, d.Address)
	}
	host, port, err := net.SplitHostPort(rest)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		return "", "", fmt.Errorf("datapath %s: address %q: write %s:HOST:PORT, such as %[3]s:192.0.2.1:6653 or %[3]s:[2001:db8::1]:6653", d.Name, d.Address, kind)
	}
	return kind, rest, nil
}

// Home is the run directory of the Open vSwitch on this machine that the
// datapath belongs to; empty when it is not known.
func (d Datapath) Home() string {
	if network, path, err := d.Way(); d.RunDir == "" && err == nil && network == NetworkUnix {
		return filepath.Dir(path)
	}
	return d.RunDir
}
