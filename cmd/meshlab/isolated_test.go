//go:build integration

package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// machines is the catalogue's lab of HashiCups on three machines, with tunnels
// between them as there, or with cables in their place.
func machines(t *testing.T, tunnels bool) string {
	t.Helper()
	_, source, err := labs.Load("hashicups-machines", nil)
	if err != nil {
		t.Fatal(err)
	}
	const tunnel = ", tunnel: vxlan"
	text := string(source)
	if strings.Count(text, tunnel) != 3 {
		t.Fatalf("the lab hashicups-machines does not have %q three times", tunnel)
	}
	if !tunnels {
		text = strings.ReplaceAll(text, tunnel, "")
	}
	return text
}

func TestHashicupsOnMachines(t *testing.T) {
	p := root(t)
	for name, c := range map[string]struct {
		tunnels bool
		mtu     int // bytes
	}{"cables": {false, 1500}, "tunnels": {true, 1450}} {
		t.Run(name, func(t *testing.T) {
			l := p.up(t, "machines-"+name, p.writeFile(t, name+".yaml", machines(t, c.tunnels)))
			l.nineCoffees(t, "h1", "http://localhost:20863/api")
			l.nineCoffees(t, "client", "http://192.168.1.250:9191/api")
			t.Run("a machine for each switch", func(t *testing.T) { ownMachines(t, l) })
			t.Run("full packets and larger ones", func(t *testing.T) { largest(t, l, c.mtu) })
			t.Run("trace agrees", func(t *testing.T) {
				if text := l.ok(t, "trace", "--lab", l.name, "product-api", "product-db", "--check"); !strings.Contains(text, "Open vSwitch agrees") || !strings.Contains(text, "s1, s2") {
					t.Error(text)
				}
			})
			t.Run("a slow link between machines", func(t *testing.T) {
				l.ok(t, "fault", "degrade", "s1-s2", "--delay", "30ms", "--for", "0", "--lab", l.name)
				l.takes(t, "h2", "192.168.1.21", 60*time.Millisecond)
				l.ok(t, "fault", "undo", "--all", "--lab", l.name)
				eventually(t, 10*time.Second, func() error {
					if d := l.roundTrip(t, "h2", "192.168.1.21"); d >= 60*time.Millisecond {
						return fmt.Errorf("a round trip of %v after the end of the fault", d)
					}
					return nil
				})
			})
			p.ok(t, "down", l.name)
			if left := labProcesses(t); len(left) > 0 {
				t.Errorf("left behind: %+v", left)
			}
		})
	}
}

// ownMachines looks at what each switch has to itself.
func ownMachines(t *testing.T, l lab) {
	st, err := l.now(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"s1", "s2", "s3"} {
		for _, program := range []string{"ovsdb-server@", "ovs-vswitchd@"} {
			if !slices.ContainsFunc(st.Processes, func(i process.Info) bool {
				return i.Name == program+name && i.Node == name && i.Part == process.PartSwitch
			}) {
				t.Errorf("no process %s%s", program, name)
			}
		}
		if r := l.exec(t, "", name, "ovs-vsctl", "list-br"); r.stdout != name+"\n" {
			t.Errorf("bridges of %s: %v", name, r)
		}
		if r := l.exec(t, "", name, "ovs-ofctl", "-O", "OpenFlow13", "dump-flows", name); r.code != 0 || !strings.Contains(r.stdout, "cookie") {
			t.Errorf("flows of %s: %v", name, r)
		}
		if r := l.exec(t, "", name, "ss", "-tnH", "state", "established", "sport", "=", "6653"); !strings.Contains(r.stdout, ":6653") {
			t.Errorf("no controller at %s: %v", name, r)
		}
		// Whoever has no certificate of the lab learns nothing, not even a hello.
		r := l.exec(t, "", name, "timeout", "2", "bash", "-c", `a=$(ip -4 -o addr show mgmt.0 | sed 's/.*inet \([0-9.]*\).*/\1/'); exec 3<>/dev/tcp/$a/6653; printf '\4\0\0\10\0\0\0\1' >&3; head -c 8 <&3 | od -An -tx1`)
		if strings.Contains(r.stdout, "04 00") || strings.Contains(r.stderr, "refused") {
			t.Errorf("%s speaks OpenFlow to anybody: %v", name, r)
		}
	}
}

// largest sends datagrams that must not be cut up: that of the MTU arrives,
// and a host refuses one more byte.
func largest(t *testing.T, l lab, mtu int) {
	const headers = 20 + 8 // IPv4 (RFC 791, section 3.1) and UDP (RFC 768)
	client := supervisor.NewClient(orchestrate.StateOf(l.name).Control())
	arrived := func() uint64 {
		all, err := client.Links(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range all {
			if k.A == "h3:eth0" {
				return k.BToA.Bytes
			}
		}
		t.Fatal("no link of h3")
		return 0
	}
	send := func(size, count int) result {
		return l.exec(t, "", "client", "/usr/bin/env", stageVar+"=datagrams", filepath.Join(os.Getenv(binVar), "bin", "test"),
			"192.168.1.13:9", fmt.Sprint(size-headers), fmt.Sprint(count))
	}
	const packets = 200
	before := arrived()
	if r := send(mtu, packets); r.code != 0 {
		t.Fatalf("packets of %d bytes: %v", mtu, r)
	}
	eventually(t, patience, func() error {
		// A busy machine may lose some of a burst.
		if got := arrived() - before; got < uint64(packets*mtu/2) {
			return fmt.Errorf("%d bytes arrived of %d packets of %d", got, packets, mtu)
		}
		return nil
	})
	if r := send(mtu+1, 1); r.code == 0 || !strings.Contains(r.stderr, unix.EMSGSIZE.Error()) {
		t.Errorf("a packet of %d bytes: %v, want that it is too long", mtu+1, r)
	}
}

// datagrams sends so many datagrams of so many bytes, none of which may be cut
// up, to an address.
func datagrams(args []string) error {
	address, size, count := args[0], 0, 0
	if _, err := fmt.Sscan(args[1]+" "+args[2], &size, &count); err != nil {
		return err
	}
	c, err := net.Dial("udp4", address)
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	if err := errors.Join(err, refused); err != nil {
		return err
	}
	for range count {
		// From the second on, the port may have been called unreachable.
		if _, err := c.Write(make([]byte, size)); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
	}
	return nil
}

// switchKilled ends one switch of three: what does not pass it goes on, what
// passes it continues later, and it comes back as it was.
func switchKilled(t *testing.T, l lab) {
	beside := l.startLoad(t, "client", "10.10.0.4:8082", 10)
	across := l.startLoad(t, "client", "10.10.0.254:9090", 10)
	beside.more(t, 500)
	across.more(t, 500)
	if err := l.killed(t, "ovs-vswitchd@s2", allFlowsPresent(t)); err != nil {
		t.Fatal(err)
	}
	beside.more(t, 500)
	across.more(t, 500)
	r := beside.stop(t)
	if err := nothingNoticed(r); err != nil || r.Pause > time.Second {
		t.Errorf("at another switch: %v, a pause of %v: %s", err, r.Pause, strings.Join(r.Errors, "; "))
	}
	r = across.stop(t)
	if err := noneBroken(4 * time.Second)(r); err != nil {
		t.Errorf("through it: %v: %s", err, strings.Join(r.Errors, "; "))
	}
	t.Logf("longest wait of those through the killed switch: %v", ms(r.Pause))
	st, err := l.now(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range st.Processes {
		if strings.HasPrefix(p.Name, "ovs-vswitchd@") && (p.Restarts > 0) != (p.Name == "ovs-vswitchd@s2") {
			t.Errorf("%s was restarted %d times", p.Name, p.Restarts)
		}
	}
	for _, name := range []string{"s1", "s2", "s3"} {
		r := l.exec(t, "", name, "sh", "-c", "ovs-vsctl get open_vswitch . other_config; ovs-appctl dpctl/ct-get-tcp-seq-chk")
		if !strings.Contains(r.stdout, `flow-restore-wait="true"`) || !strings.Contains(r.stdout, "disabled") {
			t.Errorf("%s is not as before: %v", name, r)
		}
	}
	if before, after := l.status.Environment.SwitchBufferBytes, st.Environment.SwitchBufferBytes; before == 0 || after != before {
		t.Errorf("receive buffers of %d bytes at the ports, and of %d before", after, before)
	}
}

// balancedLab has an instance of web at each switch but the client's, where
// another service is. The two links
// from the client's switch are the shortest ways; the third closes a ring.
const balancedLab = `name: balanced
switches: isolated
nodes:
  client: { kind: host }
  h1: { kind: host }
  h2: { kind: host }
  h3: { kind: host, ipv4: 10.10.0.4/24 }
  s1: { kind: switch }
  s2: { kind: switch }
  s3: { kind: switch }
links:
  - endpoints: ["client:eth0", "s3:9"]
  - endpoints: ["h1:eth0", "s1:9"]
  - endpoints: ["h2:eth0", "s2:9"]
  - endpoints: ["h3:eth0", "s3:8"]
  - { endpoints: ["s1:1", "s3:1"], tunnel: vxlan }
  - { endpoints: ["s2:1", "s3:2"], tunnel: vxlan }
  - { endpoints: ["s1:2", "s2:2"], tunnel: vxlan }
services:
  web-1: { service: web, node: h1, port: 8081, builtin: echo, environment: { BIND_ADDRESS: ":8081", NAME: web-1 } }
  web-2: { service: web, node: h2, port: 8081, builtin: echo, environment: { BIND_ADDRESS: ":8081", NAME: web-2 } }
  near: { node: h3, port: 8082, builtin: echo, environment: { BIND_ADDRESS: ":8082", NAME: near } }
client: { node: client, upstreams: { web: 9090 } }
requests:
  web: { to: web, expect: { status: 200 } }
`

func TestSwitchesOnMachines(t *testing.T) {
	p := root(t)
	l := p.up(t, "balanced", p.writeFile(t, "balanced.yaml", balancedLab))
	t.Run("balanced at the client's switch", func(t *testing.T) { balancedOnce(t, l) })
	t.Run("one killed", func(t *testing.T) { switchKilled(t, l) })
}

// balancedOnce sees that the client's switch chooses the instance, and what is
// between keeps it: the frames of a request go the one way to the instance that
// answers.
func balancedOnce(t *testing.T, l lab) {
	client := supervisor.NewClient(orchestrate.StateOf(l.name).Control())
	bytes := func() map[string]uint64 {
		all, err := client.Links(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]uint64{}
		for _, k := range all {
			out[k.A] = k.AToB.Bytes + k.BToA.Bytes
		}
		return out
	}
	st, err := l.now(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range st.Controller.Datapaths {
		if want := map[string]int{"s3": 1}[d.Name]; d.Groups != want {
			t.Errorf("%s has %d groups to choose by, want %d", d.Name, d.Groups, want)
		}
	}
	before := bytes()
	answers := map[string]int{}
	body := strings.Repeat("x", 40_000) // far more than what Consul gossips in the meantime
	for range 60 {
		text, err := l.fetch(t, "client", http.MethodPost, "http://10.10.0.254:9090/", body)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"web-1", "web-2"} {
			if strings.Contains(text, `"name":"`+name+`"`) {
				answers[name]++
			}
		}
	}
	after := bytes()
	if answers["web-1"] < 10 || answers["web-2"] < 10 || answers["web-1"]+answers["web-2"] != 60 {
		t.Errorf("answers %v", answers)
	}
	for link, name := range map[string]string{"s1:1": "web-1", "s2:1": "web-2"} {
		carried, least := after[link]-before[link], uint64(answers[name]*len(body))
		if carried < least || carried > least*3/2+200_000 {
			t.Errorf("%s carried %d bytes for %d requests of %d to %s", link, carried, answers[name], len(body), name)
		}
	}
	if stray := after["s1:2"] - before["s1:2"]; stray > 200_000 { // Consul's gossip between h1 and h2
		t.Errorf("%d bytes between the switches of the instances", stray)
	}
}
