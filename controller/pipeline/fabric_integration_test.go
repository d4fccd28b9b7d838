//go:build integration

package pipeline_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// patience bounds every wait of a test.
const patience = 5 * time.Second

// realLab is two bridges of a private Open vSwitch, joined by a patch, with
// three namespaces behind them: h1 and h2 at s1, h3 at s2.
type realLab struct {
	t      testing.TB
	ovs    *ovstest.OVS
	fabric pipeline.Fabric
	dps    []pipeline.Datapath
	ns     map[string]string // host -> name of its namespace

	metered map[string]bool // bridge and meter
}

func newRealLab(t testing.TB) *realLab {
	t.Helper()
	l := &realLab{t: t, ovs: ovstest.Start(t), ns: map[string]string{}}
	f, _ := line()
	l.fabric = f
	l.dps = []pipeline.Datapath{
		{Name: "s1", DPID: 1, Access: map[string]uint32{"h1": 1, "h2": 2}, ToHost: map[string]uint32{"h3": 3}, Flood: []uint32{1, 2, 3}, Trunks: map[uint32]pipeline.Peer{3: {}}},
		{Name: "s2", DPID: 2, Access: map[string]uint32{"h3": 1}, ToHost: map[string]uint32{"h1": 2, "h2": 2}, Flood: []uint32{1, 2}, Trunks: map[uint32]pipeline.Peer{2: {}}},
	}
	l.ovs.AddBridge("s1")
	l.ovs.AddBridge("s2")
	for _, p := range [][]string{{"s1", "p12", "p21", "3"}, {"s2", "p21", "p12", "2"}} {
		l.ovs.Vsctl("add-port", p[0], p[1], "--", "set", "Interface", p[1], "type=patch", "options:peer="+p[2], "ofport_request="+p[3])
	}
	for i, h := range f.Hosts {
		bridge, port := "s1", i+1
		if h.Name == "h3" {
			bridge, port = "s2", 1
		}
		l.addHost(h, bridge, port)
	}
	return l
}

func (l *realLab) addHost(h pipeline.Host, bridge string, port int) {
	l.t.Helper()
	ns := l.ovs.NetNS + h.Name
	l.ns[h.Name] = ns
	l.command("ip", "netns", "add", ns)
	l.t.Cleanup(func() { l.command("ip", "netns", "del", ns) })
	l.command("ip", "-n", l.ovs.NetNS, "link", "add", h.Name, "type", "veth", "peer", "name", "eth0", "netns", ns)
	l.command("ip", "-n", l.ovs.NetNS, "link", "set", h.Name, "up")
	for _, s := range []string{"net.ipv6.conf.all.disable_ipv6=1", "net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=1024 65000"} {
		l.command("ip", "netns", "exec", ns, "sysctl", "-qw", s)
	}
	l.command("ip", "-n", ns, "link", "set", "lo", "up")
	l.command("ip", "-n", ns, "link", "set", "eth0", "address", h.MAC.String(), "up")
	l.command("ip", "-n", ns, "addr", "add", h.Addr.String()+"/24", "dev", "eth0")
	l.command("ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off")
	l.ovs.Vsctl("add-port", bridge, h.Name, "--", "set", "Interface", h.Name, fmt.Sprintf("ofport_request=%d", port))
}

func (l *realLab) command(name string, args ...string) {
	l.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("run %s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// install brings both bridges to the program of the snapshot, through
// ovs-ofctl and the text form of flows, and waits until the datapath's cache
// of decisions has followed the tables.
func (l *realLab) install(snap mesh.Snapshot) {
	l.t.Helper()
	for _, dp := range l.dps {
		p, err := pipeline.Compile(l.fabric, dp, snap)
		if err != nil {
			l.t.Fatal(err)
		}
		var flows []string
		for _, f := range p.Flows {
			flows = append(flows, fmt.Sprintf("cookie=%#x,%s", f.Cookie, f))
		}
		file := filepath.Join(l.t.TempDir(), "flows")
		if err := os.WriteFile(file, []byte(strings.Join(flows, "\n")), 0o600); err != nil {
			l.t.Fatal(err)
		}
		l.meters(dp.Name, p)
		for _, g := range p.Groups {
			l.ovs.Ofctl("--may-create", "mod-group", dp.Name, g.String())
		}
		l.ovs.Ofctl("replace-flows", dp.Name, file)
	}
	l.ovs.Appctl("revalidator/wait")
}

// meters makes the meters of a program at a bridge; those of before stay.
func (l *realLab) meters(bridge string, p pipeline.Program) {
	l.t.Helper()
	if l.metered == nil {
		l.metered = map[string]bool{}
	}
	for _, m := range p.Meters {
		verb, key := "add-meter", fmt.Sprint(bridge, m.ID)
		if l.metered[key] {
			verb = "mod-meter"
		}
		l.metered[key] = true
		l.ovs.Ofctl(verb, bridge, fmt.Sprintf("meter=%d,pktps,burst,stats,bands=type=drop,rate=%d,burst_size=%d", m.ID, m.Rate, m.Burst))
	}
}

// in runs fn with its thread in the namespace of a host. Sockets made there
// stay there.
func (l *realLab) in(host string, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(l.ns[host])
		if err != nil {
			result <- err
			return
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			result <- err
			return
		}
		result <- fn()
	}()
	return <-result
}

// serve answers each line with the name of the instance and the address that
// the connection seems to come from.
func (l *realLab) serve(host, name string, port uint16) {
	l.t.Helper()
	ln := l.listen(host, port)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				line := make([]byte, 64<<10)
				for {
					n, err := conn.Read(line)
					if err != nil {
						return
					}
					if n > 0 && line[n-1] == '\n' {
						fmt.Fprintf(conn, "%s %s\n", name, conn.RemoteAddr().(*net.TCPAddr).IP)
					}
				}
			}()
		}
	}()
}

func (l *realLab) listen(host string, port uint16) net.Listener {
	l.t.Helper()
	var ln net.Listener
	if err := l.in(host, func() (err error) {
		ln, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	}); err != nil {
		l.t.Fatalf("listen on %s: %v", host, err)
	}
	l.t.Cleanup(func() { ln.Close() })
	return ln
}

// dial connects from a host; local 0 is any port.
func (l *realLab) dial(host string, local uint16, to string) (net.Conn, error) {
	var conn net.Conn
	err := l.in(host, func() (err error) {
		d := net.Dialer{Timeout: patience}
		if local != 0 {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), local))
		}
		conn, err = d.Dial("tcp4", to)
		return err
	})
	return conn, err
}
