//go:build integration

package daemon_test

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/certificate"
	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/pipeline"
)

// papers is a folder of PEM files that a CA has signed.
type papers struct {
	t   *testing.T
	dir string
	ca  *certificate.Authority
}

func newPapers(t *testing.T, name string) papers {
	t.Helper()
	a, err := certificate.NewAuthority(name, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	p := papers{t, files(t), a}
	write(t, p.path("ca.pem"), string(a.PEM()))
	for _, who := range []string{"s1", "controller"} {
		p.issue(who)
	}
	return p
}

func (p papers) path(name string) string { return filepath.Join(p.dir, name) }

func (p papers) issue(name string) {
	p.t.Helper()
	cert, key, err := p.ca.Issue(name, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	write(p.t, p.path(name+".pem"), string(cert))
	write(p.t, p.path(name+".key"), string(key))
}

// TestSwitchesByTCPAndTLS has a controller of the machine that the bridges are
// on, but that reaches one by TLS and one by TCP.
func TestSwitchesByTCPAndTLS(t *testing.T) {
	m := machine{t, ovstest.Start(t)}
	lab, other := newPapers(t, "lab"), newPapers(t, "other")
	m.AddBridge("s1")
	m.AddBridge("s2")
	m.host("s1", "h1", 1)
	m.host("s1", "h2", 2)
	m.echo("h2", 80)
	m.Vsctl("set-ssl", lab.path("s1.key"), lab.path("s1.pem"), lab.path("ca.pem"),
		"--", "set-controller", "s1", "pssl:6653:127.0.0.1", "--", "set-controller", "s2", "ptcp:6654:127.0.0.1")

	dir := files(t)
	file, status := filepath.Join(dir, "c.json"), filepath.Join(dir, "s")
	ip := netip.MustParseAddr
	cfg := controller.FileConfig{
		Fabric: pipeline.Fabric{Hosts: []pipeline.Host{
			{Name: "h1", Addr: ip("10.0.0.1"), MAC: pipeline.MAC{2, 0, 0, 0, 0, 1}}, {Name: "h2", Addr: ip("10.0.0.2"), MAC: pipeline.MAC{2, 0, 0, 0, 0, 2}}}},
		Datapaths: []controller.Datapath{
			{Datapath: pipeline.Datapath{Name: "s1", DPID: 1, Access: map[string]uint32{"h1": 1, "h2": 2}, Flood: []uint32{1, 2}}, Address: "tls:127.0.0.1:6653", RunDir: m.RunDir},
			{Datapath: pipeline.Datapath{Name: "s2", DPID: 2}, Address: "tcp:127.0.0.1:6654"},
		},
		TLS: controller.TLS{CA: lab.path("ca.pem"), Certificate: lab.path("controller.pem"), Key: lab.path("controller.key")}, Status: status,
	}
	save := func() {
		t.Helper()
		text, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		write(t, file, string(text))
	}
	save()
	d := startAs(t, []string{"ip", "netns", "exec", m.NetNS}, file, status)
	d.health("both switches in sync", synced(2))
	if who, err := m.call("h1", "10.0.0.2:80"); err != nil || who != "h2" {
		t.Fatalf("a call gave %q, error %v", who, err)
	}
	if flows := m.Ofctl("dump-flows", "s2"); !strings.Contains(flows, "cookie=0x4d4c") { // as all of meshlab's
		t.Errorf("flows of s2:\n%s", flows)
	}

	again := func(what string) {
		t.Helper()
		m.KillSwitch()
		d.logged("lost the switch", "s1")
		m.StartSwitch()
		d.health("both switches in sync again: "+what, synced(2))
	}
	again("after a restart")

	// The switch shows what another CA has signed, then what is another
	// switch's, then refuses the controller.
	m.Vsctl("set-ssl", other.path("s1.key"), other.path("s1.pem"), lab.path("ca.pem"))
	d.reconnect(m)
	d.logged("datapath=s1", `issued by \"other\", does not fit the CA in `+lab.path("ca.pem"))
	m.Vsctl("set-ssl", lab.path("controller.key"), lab.path("controller.pem"), lab.path("ca.pem"))
	d.logged("datapath=s1", `its certificate is that of controller, and \"s1\" is expected`)
	m.Vsctl("set-ssl", lab.path("s1.key"), lab.path("s1.pem"), other.path("ca.pem"))
	d.logged("datapath=s1", "unknown certificate authority: the switch refused what the controller showed")

	// With what the switch trusts, and a reload, all is well again.
	cfg.TLS.Certificate, cfg.TLS.Key = other.path("controller.pem"), other.path("controller.key")
	save()
	d.signal(syscall.SIGHUP)
	d.logged("the configuration was read again", "changed=[tls]")
	d.health("both switches in sync after the reload", synced(2))

	// A file that cannot be used is told, and what is in force stays.
	cfg.TLS.Key = lab.path("s1.key")
	save()
	d.signal(syscall.SIGHUP)
	d.logged("the configuration was not read again", "does not fit the certificate in "+other.path("controller.pem"))
	again("with the settings before the bad file")
	d.stop()
}

// reconnect ends the connections to all switches.
func (d *daemon) reconnect(m machine) {
	d.t.Helper()
	m.KillSwitch()
	m.StartSwitch()
}
