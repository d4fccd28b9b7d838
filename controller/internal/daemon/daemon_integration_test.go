//go:build integration

package daemon_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/internal/ovstest"
)

const vip = "10.0.0.250:9000"

// network is one machine with two bridges that a patch joins: h1, which
// calls api at the virtual address, and h2, which answers, are at br0.
func network(t *testing.T) (machine, registry) {
	t.Helper()
	m := machine{t, ovstest.Start(t)}
	m.bridge("br0")
	m.bridge("br1")
	m.Vsctl("add-port", "br0", "p0", "--", "set", "Interface", "p0", "type=patch", "options:peer=p1",
		"--", "add-port", "br1", "p1", "--", "set", "Interface", "p1", "type=patch", "options:peer=p0")
	r := newRegistry(t)
	m.host("br0", "h1", 1, "iface-id=h1") // its address is in the catalog
	m.host("br0", "h2", 2, "iface-id=4711", "meshlab-ip=10.0.0.2")
	r.service("h1", "10.0.0.1", "web", 8000, api.Upstream{DestinationName: "api", LocalBindPort: 9000})
	r.service("h2", "10.0.0.2", "api", 80)
	m.echo("h2", 80)
	return m, r
}

// configuration is a file for a network, and the path of the status socket.
func configuration(t *testing.T, m machine, r registry, more string) (file, status string) {
	t.Helper()
	dir := files(t)
	file, status = filepath.Join(dir, "controller.yaml"), filepath.Join(dir, "run", "s")
	write(t, file, config(m, r, status)+more)
	return file, status
}

func config(m machine, r registry, status string) string {
	return fmt.Sprintf("consul: {address: \"unix://%s\"}\nvip: 10.0.0.250\nhairpin: 10.0.0.254\novsdb: unix:%s\nnode: m1\nstatus: %s\n",
		r.Socket, filepath.Join(m.RunDir, "db.sock"), status)
}

func TestDaemonWithoutLab(t *testing.T) {
	m, r := network(t)
	web := freePort(t)
	file, status := configuration(t, m, r, "metrics: "+web+"\n")
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	d := start(t, file, status)
	d.health("both bridges in sync", synced(2))
	t.Logf("in sync %v after the start", time.Since(begun))
	running, err := m.dial("h1", vip)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	goesOn := func(when string) {
		t.Helper()
		if who, err := running.ask(); err != nil || who != "h2" {
			t.Fatalf("%s: the running connection gave %q, error %v", when, who, err)
		}
	}
	goesOn("at first")

	var h controller.Health
	if code, text, err := get("http://"+web+"/healthz", &h); err != nil || code != 200 || !h.OK {
		t.Errorf("healthz: %d %s, error %v", code, text, err)
	}
	if code, text, err := get("http://"+web+"/metrics", nil); err != nil || code != 200 || !strings.Contains(text, "meshlab_") {
		t.Errorf("metrics: %d %.300s, error %v", code, text, err)
	}

	// A host that comes while the controller runs, at the other bridge.
	r.service("h3", "10.0.0.3", "api", 80)
	m.host("br1", "h3", 3, "iface-id=h3")
	m.echo("h3", 80)
	begun = time.Now()
	eventually(t, "the new host to answer", func() error {
		who, err := m.call("h1", vip)
		if err == nil && who != "h3" {
			err = fmt.Errorf("%s answered", who)
		}
		return err
	})
	t.Logf("the new host answered %v after it was there", time.Since(begun))
	goesOn("with a second instance")

	// Its port goes: calls to it cannot work, those to h2 do.
	m.Vsctl("del-port", "br1", "h3")
	d.health("br1 with one host less", synced(2))
	if _, err := r.Client.Catalog().Deregister(&api.CatalogDeregistration{Node: "h3"}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "h2 alone", func() error {
		for range 8 {
			if who, err := m.call("h1", vip); err != nil || who != "h2" {
				return fmt.Errorf("%s answered, error %w", who, err)
			}
		}
		return nil
	})
	goesOn("with h2 alone")

	// Consul goes: what was known goes on.
	r.Kill()
	if who, err := m.call("h1", vip); err != nil || who != "h2" {
		t.Errorf("without Consul %q answered, error %v", who, err)
	}
	d.stop()
	goesOn("after the end of the controller")
	if who, err := m.call("h1", vip); err != nil || who != "h2" {
		t.Errorf("without a controller %q answered, error %v", who, err)
	}
}

func TestReload(t *testing.T) {
	m, r := network(t)
	file, status := configuration(t, m, r, "bridges: [br0]\n")
	d := start(t, file, status)
	d.health("br0 in sync", synced(1))
	running, err := m.dial("h1", vip)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	goesOn := func(when string) {
		t.Helper()
		if who, err := running.ask(); err != nil || who != "h2" {
			t.Fatalf("%s: the running connection gave %q, error %v", when, who, err)
		}
	}
	goesOn("at first")

	write(t, file, config(m, r, status)+"bridgs: [br0]\n")
	d.signal(syscall.SIGHUP)
	d.logged("level=ERROR", "the one in force stays", `:7:1: unknown key \"bridgs\"; did you mean \"bridges\"?`)
	goesOn("after a bad file")

	write(t, file, config(m, r, status)+"drain: 90s\nlog_level: debug\nlog_format: json\ndns: {}\n")
	d.signal(syscall.SIGHUP)
	d.logged("read again", `changed="[bridges drain log_level]"`)
	d.logged("next start only", `keys="[dns log_format]"`)
	d.health("both bridges, as none is listed any more", synced(2))
	goesOn("with another bridge")

	write(t, file, strings.Replace(config(m, r, status), "10.0.0.250", "10.0.0.251", 1)+"default_policy: deny\n")
	d.signal(syscall.SIGHUP)
	d.logged("read again", "default_policy", "vip")
	eventually(t, "a call to be denied at the new virtual address", func() error {
		if who, err := m.call("h1", "10.0.0.251:9000"); err == nil || strings.Contains(err.Error(), "no route") {
			return fmt.Errorf("%q answered, error %v", who, err)
		}
		return nil
	})
	write(t, file, strings.Replace(config(m, r, status), "10.0.0.250", "10.0.0.251", 1))
	d.signal(syscall.SIGHUP)
	eventually(t, "an answer at the new virtual address", func() error {
		_, err := m.call("h1", "10.0.0.251:9000")
		return err
	})
	d.stop()
}

// TestTakeOver kills the controller that works while a second one waits.
func TestTakeOver(t *testing.T) {
	m, r := network(t)
	web := freePort(t)
	file, status := configuration(t, m, r, "")
	write(t, file, config(m, r, status)+"metrics: "+web+"\nstandby: "+filepath.Join(filepath.Dir(status), "lock")+"\n")
	first := start(t, file, status)
	first.health("the first in sync", synced(2))
	second := start(t, file, status+".standby")
	h := second.health("the second ready", func(h controller.Health) bool { return h.OK && len(h.Datapaths) == 2 })
	if h.Role != "standby" || h.Datapaths[0].Connected || h.Snapshot == 0 {
		t.Errorf("the second is %+v", h)
	}
	second.logged("waiting for the lock", fmt.Sprintf("held_by=%d", first.cmd.Process.Pid))
	running, err := m.dial("h1", vip)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	// It counts what goes wrong from now on until the second one works.
	stop, faults := make(chan struct{}), make(chan error, 1)
	go func() {
		var bad error
		n := 0
		for ; bad == nil; n++ {
			select {
			case <-stop:
				t.Logf("%d calls during the change", n)
				faults <- bad
				return
			default:
			}
			if _, err := running.ask(); err != nil {
				bad = fmt.Errorf("running connection: %w", err)
			} else if who, err := m.call("h1", vip); err != nil || who != "h2" {
				bad = fmt.Errorf("new connection: %s, %w", who, err)
			}
		}
		faults <- bad
	}()
	first.signal(syscall.SIGKILL)
	killed := time.Now()
	active := controller.NewClient(status)
	defer active.Close()
	eventually(t, "the second to work", func() error {
		h, err := active.Health(t.Context())
		if err == nil && !synced(2)(h) {
			err = fmt.Errorf("health %+v", h)
		}
		return err
	})
	t.Logf("the second had both bridges in sync %v after the kill", time.Since(killed))
	close(stop)
	if err := <-faults; err != nil {
		t.Error(err)
	}
	if code, text, err := get("http://"+web+"/healthz", nil); err != nil || code != 200 {
		t.Errorf("healthz of the second: %d %s, error %v", code, text, err)
	}
	// It works: it follows Consul.
	m.host("br1", "h3", 3, "iface-id=h3")
	m.echo("h3", 80)
	r.service("h3", "10.0.0.3", "api", 80)
	eventually(t, "the new host to answer", func() error {
		who, err := m.call("h1", vip)
		if err == nil && who != "h3" {
			err = fmt.Errorf("%s answered", who)
		}
		return err
	})
	// A third one takes over when the second ends by itself.
	third := start(t, file, status+".standby")
	third.health("the third ready", func(h controller.Health) bool { return h.OK && h.Role == "standby" && len(h.Datapaths) == 2 })
	second.stop()
	third.logged("holds the lock")
	if who, err := running.ask(); err != nil || who != "h2" {
		t.Errorf("the running connection gave %q, error %v", who, err)
	}
}

// TestThreeMachines joins three machines in a full mesh of links, each with a
// controller of its own.
func TestThreeMachines(t *testing.T) {
	r := newRegistry(t)
	names := []string{"m1", "m2", "m3"}
	var all []machine
	for i, name := range names {
		m := machine{t, ovstest.Start(t)}
		m.bridge("br0")
		n := byte(i + 1)
		host := fmt.Sprint("h", n)
		m.host("br0", host, n, "iface-id="+host)
		m.echo(host, 80)
		var upstreams []api.Upstream
		if i == 0 {
			upstreams = []api.Upstream{{DestinationName: "web2", LocalBindPort: 9000}, {DestinationName: "web3", LocalBindPort: 9001}}
		}
		r.node(host, fmt.Sprint("10.0.0.", n), map[string]string{"meshlab-at": name, "meshlab-mac": fmt.Sprintf("02:00:00:00:00:%02x", n)})
		r.service(host, "", fmt.Sprint("web", n), 80, upstreams...)
		for j, other := range all {
			peer := names[j]
			run(t, fmt.Sprintf("ip -n %s link add to-%s type veth peer name to-%s netns %s", m.NetNS, peer, name, other.NetNS))
			run(t, fmt.Sprintf("ip -n %s link set to-%s up", m.NetNS, peer))
			run(t, fmt.Sprintf("ip -n %s link set to-%s up", other.NetNS, name))
			m.Vsctl("add-port", "br0", "to-"+peer, "--", "set", "Interface", "to-"+peer, "external_ids:meshlab-peer="+peer)
			other.Vsctl("add-port", "br0", "to-"+name, "--", "set", "Interface", "to-"+name, "external_ids:meshlab-peer="+name)
		}
		all = append(all, m)
	}
	for i, m := range all {
		file, status := configuration(t, m, r, "")
		write(t, file, strings.Replace(config(m, r, status), "node: m1", "node: "+names[i], 1))
		d := start(t, file, status)
		d.health(names[i]+" in sync", synced(1))
	}
	for from, m := range all {
		for to := range all {
			if from == to {
				continue
			}
			// ARP goes to everybody, by way of m1.
			eventually(t, fmt.Sprintf("h%d to reach h%d", from+1, to+1), func() error {
				_, err := m.call(fmt.Sprint("h", from+1), fmt.Sprintf("10.0.0.%d:80", to+1))
				return err
			})
		}
	}
	for port, want := range map[string]string{"9000": "h2", "9001": "h3"} {
		if who, err := all[0].call("h1", "10.0.0.250:"+port); err != nil || who != want {
			t.Errorf("at the virtual address, port %s, %q answered, error %v; want %s", port, who, err, want)
		}
	}
}

// TestSystemd plays systemd's part of the notification protocol (sd_notify(3)).
func TestSystemd(t *testing.T) {
	m, r := network(t)
	file, status := configuration(t, m, r, "")
	socket := filepath.Join(filepath.Dir(file), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	told := make(chan string, 1000)
	go func() {
		defer close(told)
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			told <- string(buf[:n])
		}
	}()
	until := func(what string, ok func(string) bool) {
		t.Helper()
		deadline := time.After(patience)
		var all []string
		for {
			select {
			case text := <-told:
				all = append(all, text)
				if ok(text) {
					return
				}
			case <-deadline:
				t.Fatalf("waited for %s; heard %q", what, all)
			}
		}
	}
	is := func(want string) func(string) bool {
		return func(got string) bool { return strings.HasPrefix(got, want) }
	}
	// Root without any capability, as the unit file has it.
	bare := strings.Fields("setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs")
	d := startAs(t, bare, file, status, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=300000")
	until("the state", is("STATUS=2 of 2 bridges in sync"))
	until("the end of the start", is("READY=1"))
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid)); err != nil || !strings.Contains(string(text), "CapEff:\t0000000000000000") {
		t.Errorf("it has capabilities: %s, error %v", text, err)
	}
	for range 3 {
		until("a sign of life", is("WATCHDOG=1"))
	}
	d.signal(syscall.SIGHUP)
	until("the begin of a reload", is("RELOADING=1\nMONOTONIC_USEC="))
	until("the end of a reload", is("READY=1"))
	d.signal(syscall.SIGTERM)
	until("the end", is("STOPPING=1"))
	<-d.ended
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestNothingThere starts a controller before Consul and Open vSwitch.
func TestNothingThere(t *testing.T) {
	dir := files(t)
	file, status := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "s")
	write(t, file, fmt.Sprintf("consul: {address: \"unix://%[1]s/none\"}\nvip: 10.0.0.250\nhairpin: 10.0.0.254\novsdb: unix:%[1]s/db.sock\nstatus: %[2]s\n", dir, status))
	d := start(t, file, status)
	h := d.health("an answer", func(controller.Health) bool { return true })
	if h.OK || h.Registry {
		t.Errorf("health without anything: %+v", h)
	}
	d.logged("lost the database")
	second := start(t, file, status)
	<-second.ended
	if code := second.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(second.logs.String(), "another controller answers") {
		t.Errorf("a second one at the same socket ended with %d and said %s", code, second.logs)
	}
	d.stop()
}
