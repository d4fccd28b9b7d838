//go:build integration

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/orchestrate/sandbox/tuntest"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/openloop"
	"meshlab.dev/meshlab/topo"
)

// The lab of these tests: a client and a service with a link between switches
// in the middle.
const labSource = `
name: measured
mesh: { server: client } # so that all that goes to h1 crosses both switches
nodes:
  h1: { kind: host, ipv4: 10.77.0.1/24 }
  client: { kind: host, ipv4: 10.77.0.2/24 }
  s1: { kind: switch }
  s2: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["s1:2", "s2:2"]
  - endpoints: ["s2:1", "client:eth0"]
services:
  web: { node: h1, port: 8080, builtin: echo, environment: { BIND_ADDRESS: ":{{ port }}", NAME: web } }
client: { upstreams: { web: 9080 } }
requests:
  web: { to: web, expect: { contains: [web] } }
`

// folderVar names the folder with the programs, of a test that was started
// again as an ordinary user.
const folderVar = "MESHLAB_TEST_PROGRAMS"

// programs is a folder, readable for everybody, with meshlab, consul and this
// test.
func programs(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(folderVar); dir != "" {
		return dir
	}
	dir, err := os.MkdirTemp("", "meshlabtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "meshlab"), "../../cmd/meshlab").CombinedOutput(); err != nil {
		t.Fatalf("build meshlab: %v\n%s", err, out)
	}
	found, err := consul.Find(t.Context(), consul.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"consul": found.Path, "test": "/proc/self/exe"} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// launch brings the lab up on the program.
func launch(t *testing.T, dir, program string) (name string, st Status, err error) {
	t.Helper()
	lab, err := topo.Parse("measured.yaml", []byte(labSource), topo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	name = fmt.Sprintf("test-%d", os.Getpid())
	t.Cleanup(func() {
		if _, err := Remove(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	st, err = Launch(t.Context(), LaunchConfig{
		Name: name, Lab: lab, File: "measured.yaml", Source: []byte(labSource), Mesh: orchestrate.Direct,
		Consul: filepath.Join(dir, "consul"), ConsulVersion: consul.Version, Command: "supervise", Program: program,
	}, func(Event) {})
	return name, st, err
}

// What measurements side by side ask of a lab, as root and as an ordinary user.
func TestLab(t *testing.T) {
	dir := programs(t)
	t.Run("this user", func(t *testing.T) { measured(t, dir) })
	asOrdinaryUser(t, dir)
}

// asOrdinaryUser runs the test once more, as an ordinary user.
func asOrdinaryUser(t *testing.T, dir string) {
	if os.Geteuid() != 0 {
		return // it was
	}
	test := t.Name()
	t.Run("ordinary user", func(t *testing.T) {
		const uid = 23456
		home, err := os.MkdirTemp(dir, "home")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(home, uid, uid); err != nil {
			t.Skipf("needs a second user, so root on the machine itself: %v", err)
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "test"), "-test.run=^"+test+"$", "-test.v")
		cmd.Dir = home
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "XDG_RUNTIME_DIR=" + home, folderVar + "=" + dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		var out []byte
		ended := make(chan error)
		go func() {
			// Never unlocked, so the thread and its mounts end with the goroutine.
			runtime.LockOSThread()
			err := unix.Unshare(unix.CLONE_NEWNS)
			if err == nil {
				err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
			}
			if err == nil {
				err = tuntest.Share()
			}
			if err == nil {
				out, err = cmd.CombinedOutput() // a child has the mounts of the thread that made it
			}
			ended <- err
		}()
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func measured(t *testing.T, dir string) {
	name, st, err := launch(t, dir, filepath.Join(dir, "meshlab"))
	if err != nil {
		t.Fatal(err)
	}
	state := orchestrate.StateOf(name)
	web := netip.MustParseAddrPort("10.77.0.1:8080")
	outside := &http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{}}
	if resp, err := outside.Get("http://" + web.String() + "/"); err == nil {
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(text), `"name":"web"`) {
			t.Fatal("the service is reached from outside the lab: the rest would prove nothing")
		}
	}

	sockets, err := openloop.Sockets(t.Context(), state.Exec(), "client", "tcp4", 3)
	if err != nil || len(sockets) != 3 {
		t.Fatalf("%d sockets, %v", len(sockets), err)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if len(sockets) == 0 {
				return nil, errors.New("no socket left")
			}
			s := sockets[0]
			sockets = sockets[1:]
			return s.Connect(ctx, "tcp4", web)
		},
	}}
	defer func() {
		client.CloseIdleConnections()
		for _, s := range sockets {
			s.Close()
		}
	}()
	ask := func() {
		resp, err := client.Get("http://" + web.String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), `"name":"web"`) {
			t.Fatalf("%q, %v", text, err)
		}
	}
	ask()
	socketSettings(t, state.Exec(), st)

	ctl := NewClient(state.Control())
	costBefore, linksBefore := costs(t, ctl), links(t, ctl)
	const requests = 500
	for range requests {
		ask()
	}
	costAfter := costs(t, ctl)
	for _, part := range []process.Part{process.PartSwitch, process.PartController, process.PartRegistry, process.PartService} {
		if costAfter[part].MemoryBytes < 1<<20 || costAfter[part].CPUSeconds <= 0 {
			t.Errorf("%s: %+v", part, costAfter[part])
		}
	}
	if len(costAfter) != 4 {
		t.Errorf("parts %+v", costAfter)
	}
	for _, part := range []process.Part{process.PartSwitch, process.PartService} {
		if used := costAfter[part].CPUSeconds - costBefore[part].CPUSeconds; used < requests*5e-6 || used > 60 {
			t.Errorf("%s used %.6f s for %d requests", part, used, requests)
		}
	}
	// Open vSwitch counts between switches up to a second late.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := carried(linksBefore, links(t, ctl), requests)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// socketSettings compares what is handed out with what the lab's hosts have.
func socketSettings(t *testing.T, path string, st Status) {
	t.Helper()
	a, fds := askSockets(t, path, fmt.Sprintf(`{"sockets":{"node":"client","network":"tcp4","count":%d}}`, socketBatch+1))
	if len(fds) != socketBatch+1 {
		t.Fatalf("%+v, %d sockets", a, len(fds))
	}
	for _, fd := range fds {
		if got, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); got != st.Environment.CongestionControl {
			t.Fatalf("congestion control %q, %v; the lab's is %q", got, err, st.Environment.CongestionControl)
		}
	}
	if a, fds := askSockets(t, path, `{"sockets":{"node":"nobody","network":"tcp4","count":1}}`); len(fds) != 0 || !strings.Contains(a.Error, `no node "nobody"`) {
		t.Errorf("of a node that is not there: %+v", a)
	}
}

func costs(t *testing.T, c *Client) map[process.Part]scenarios.Cost {
	t.Helper()
	all, err := c.Cost(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	by := map[process.Part]scenarios.Cost{}
	for _, x := range all {
		by[process.Part(x.Part)] = x
	}
	return by
}

func links(t *testing.T, c *Client) []LinkCounters {
	t.Helper()
	all, err := c.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// carried checks that each link carried the requests, in both directions, the
// one between the switches too. Requests are of some 150 bytes, answers of 200.
func carried(before, after []LinkCounters, requests uint64) error {
	want := [][2]string{{"h1:eth0", "s1:1"}, {"s1:2", "s2:2"}, {"s2:1", "client:eth0"}}
	if len(after) != len(want) || len(before) != len(want) {
		return fmt.Errorf("links %+v", after)
	}
	for i, l := range after {
		if l.A != want[i][0] || l.B != want[i][1] {
			return fmt.Errorf("link %d joins %s and %s", i, l.A, l.B)
		}
		for direction, n := range map[string]scenarios.Counter{
			"answers":  {Packets: l.AToB.Packets - before[i].AToB.Packets, Bytes: l.AToB.Bytes - before[i].AToB.Bytes},
			"requests": {Packets: l.BToA.Packets - before[i].BToA.Packets, Bytes: l.BToA.Bytes - before[i].BToA.Bytes},
		} {
			most := 1000 * requests
			if n.Packets < requests || n.Packets > 10*requests || n.Bytes < 100*requests || n.Bytes > most {
				return fmt.Errorf("%s of %d over %s to %s: %+v", direction, requests, l.A, l.B, n)
			}
		}
	}
	// h1 is alone at s1: what goes to it crosses both links. This counts since the
	// lab came up, for what was counted late before is no difference of it.
	h1, between := after[0].BToA.Packets, after[1].BToA.Packets
	if between+between/10 < h1 || h1+h1/10 < between {
		return fmt.Errorf("%d packets to h1, %d between the switches", h1, between)
	}
	return nil
}

// A program that is no meshlab leaves an error that names it, and nothing else.
func TestLaunchOnAnotherProgram(t *testing.T) {
	dir := programs(t)
	name, _, err := launch(t, dir, "/bin/true")
	if err == nil || !strings.Contains(err.Error(), "with /bin/true") {
		t.Errorf("/bin/true: %v", err)
	}
	if found, err := Remove(t.Context(), name); found || err != nil {
		t.Errorf("something is left: %v, %v", found, err)
	}
	if _, _, err := launch(t, dir, filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
}
