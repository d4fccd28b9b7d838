//go:build integration

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/docker/dockertest"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// withDocker is root with an engine of the tests' own: that of the machine sees
// no folder of the test machine.
func withDocker(t *testing.T) (p person, socket string) {
	t.Helper()
	p, engine := withEngine(t)
	return p, engine.Socket()
}

// withEngine is withDocker for tests that look into the engine.
func withEngine(t *testing.T) (p person, engine *dockertest.Server) {
	t.Helper()
	// The folder of the engine, in which it clears up when it likes, must not be
	// among what a lab could leave.
	dir, err := os.MkdirTemp("/tmp", "meshlab-engine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p = root(t)
	t.Setenv("TMPDIR", dir)
	engine = dockertest.NewServer(t)
	p.env = append(p.env, "DOCKER_HOST=unix://"+engine.Socket())
	return p, engine
}

// TestConformance brings the thesis' lab up on each runtime, with each kind of
// switches, and holds all of them to the same: answers, addresses, flows, and
// what the verbs do.
func TestConformance(t *testing.T) {
	p, socket := withDocker(t)
	_, source, err := labs.Load("hashicups", builtin.Names())
	if err != nil {
		t.Fatal(err)
	}
	p.up(t, "first", "single-upstream", "--runtime", "docker") // builds the image, which stays
	p.ok(t, "down", "first")
	for _, switches := range []string{"shared", "isolated"} {
		file := p.writeFile(t, switches+".yaml", strings.Replace(string(source), "\nname: hashicups\n", "\nname: hashicups\nswitches: "+switches+"\n", 1))
		seen := map[orchestrate.Runtime]sameEverywhere{}
		for _, runtime := range orchestrate.Runtimes() {
			t.Run(switches+"/"+string(runtime), func(t *testing.T) {
				seen[runtime] = conform(t, p, socket, file, runtime)
			})
		}
		if len(seen) < 2 {
			continue // -run asked for one alone
		}
		a, b := seen[orchestrate.Namespaces], seen[orchestrate.Docker]
		for _, d := range difference(a.addresses, b.addresses) {
			t.Errorf("%s: addresses under Docker: %s", switches, d)
		}
		for _, d := range difference(a.flows, b.flows) {
			t.Errorf("%s: flows under Docker: %s", switches, d)
		}
		if len(a.flows) < 100 || len(a.addresses) < 12 {
			t.Errorf("%s: %d flows and %d addresses compared", switches, len(a.flows), len(a.addresses))
		}
	}
}

// sameEverywhere is what two labs of one file have in common, whatever runs
// their hosts.
type sameEverywhere struct {
	addresses []string // of hosts
	flows     []string // and groups, of switches
}

func conform(t *testing.T, p person, socket, file string, runtime orchestrate.Runtime) sameEverywhere {
	const name = "conform"
	before, inEngine := inventory(t), engineInventory(t, socket)
	l := p.up(t, name, file, "--runtime", string(runtime), "--no-publish")
	if l.status.Runtime != runtime {
		t.Fatalf("runtime %s", l.status.Runtime)
	}
	t.Run("answers", func(t *testing.T) { l.answers(t) })
	same0 := l.comparable(t)
	t.Run("exec", func(t *testing.T) {
		if r := l.exec(t, "in\n", "h2", "sh", "-c", "cat; hostname -I >&2; exit 42"); r.code != 42 || r.stdout != "in\n" || !strings.Contains(r.stderr, "192.168.1.12") {
			t.Error(r)
		}
	})
	t.Run("logs", func(t *testing.T) {
		if text := l.ok(t, "logs", "payments", "--lab", name); !strings.Contains(text, "listening") {
			t.Error(text)
		}
	})
	t.Run("cost", func(t *testing.T) { l.costs(t) })
	t.Run("a killed service comes back", func(t *testing.T) { l.comesBack(t, "payments") })
	t.Run("an intention denies", func(t *testing.T) { l.denies(t) })
	p.ok(t, "down", name)
	if err := same(t, before); err != nil {
		t.Error(err)
	}
	if left := difference(inEngine, engineInventory(t, socket)); len(left) > 0 {
		t.Errorf("the engine has changed:\n%s", strings.Join(left, "\n"))
	}
	return same0
}

// answers sends one request over each call of the shop, and one to a service on
// its own host.
func (l lab) answers(t *testing.T) {
	l.nineCoffees(t, "client", "http://192.168.1.250:9191/api")
	l.nineCoffees(t, "h1", "http://localhost:20863/api")
	for name, tc := range map[string]struct{ node, method, url, body, want string }{
		"the page":    {"client", http.MethodGet, "http://192.168.1.250:9190/", "", "HashiCups"},
		"product-api": {"h1", http.MethodGet, "http://192.168.1.250:9341/coffees", "", "HCP Aeropress"},
		"payments": {"h1", http.MethodPost, "http://192.168.1.250:9340/",
			`{"name": "A", "type": "VISA", "number": "1234", "expiry": "01/30", "cvv": "123"}`, "message"},
	} {
		if text, err := l.fetch(t, tc.node, tc.method, tc.url, tc.body); err != nil || !strings.Contains(text, tc.want) {
			t.Errorf("%s: %v: %.300s", name, err, text)
		}
	}
	sql := l.exec(t, "SELECT count(*) FROM coffees", "h2",
		"env", "PGPASSWORD=password", "psql", "-At", "-h", "192.168.1.250", "-p", "9567", "-U", "postgres", "-d", "products")
	if sql.code != 0 || strings.TrimSpace(sql.stdout) != "9" {
		t.Errorf("the database, through the virtual address: %v", sql)
	}
}

// comparable is what does not depend on what runs the hosts.
func (l lab) comparable(t *testing.T) sameEverywhere {
	t.Helper()
	var s sameEverywhere
	for _, n := range l.status.Nodes {
		s.addresses = append(s.addresses, fmt.Sprintf("%s %s %s %s %s %d", n.Name, n.Kind, n.IPv4, n.MAC, n.DPID, n.Ports))
		if n.Kind != "host" {
			continue
		}
		for _, what := range []string{"addr", "link"} {
			r := l.exec(t, "", n.Name, "ip", "-br", what, "show", "dev", "eth0")
			// "eth0@if7 UP 192.168.1.11/24": the number is that of the peer's device.
			f := strings.Fields(r.stdout)
			if r.code != 0 || len(f) < 3 {
				t.Fatal(r)
			}
			s.addresses = append(s.addresses, n.Name+" eth0 "+strings.Join(f[1:3], " "))
		}
	}
	var all controller.Flows
	decode(t, l.ok(t, "flows", "--lab", l.name, "--output", "json"), &all)
	for _, d := range all.Datapaths {
		for _, f := range d.Flows {
			if !f.Present {
				t.Errorf("%s has no flow %s", d.Name, f.Reason)
			}
			s.flows = append(s.flows, fmt.Sprintf("%s table=%d,priority=%d,%s actions=%s", d.Name, f.Table, f.Priority, f.Match, f.Actions))
		}
		for _, g := range d.Groups {
			s.flows = append(s.flows, fmt.Sprintf("%s group %d %s", d.Name, g.ID, g.Text))
		}
	}
	slices.Sort(s.flows)
	return s
}

// costs holds the account to what must be in it.
func (l lab) costs(t *testing.T) {
	all, err := supervisor.NewClient(orchestrate.StateOf(l.name).Control()).Cost(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	memory := map[string]uint64{}
	for _, c := range all {
		if memory[c.Part] = c.MemoryBytes; c.CPUSeconds <= 0 {
			t.Errorf("%s has used no processor", c.Part)
		}
	}
	for _, part := range []process.Part{process.PartSwitch, process.PartController, process.PartRegistry, process.PartService} {
		if m := memory[string(part)]; m < 1<<20 || m > 4<<30 {
			t.Errorf("%s uses %d bytes", part, m)
		}
	}
}

// comesBack kills a service, from outside the lab.
func (l lab) comesBack(t *testing.T, service string) {
	killed := 0
	for _, p := range labProcesses(t) {
		if strings.HasSuffix(p.command, "service hashicups/"+service) {
			killed++
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if killed != 1 {
		t.Fatalf("%d processes of %s", killed, service)
	}
	eventually(t, patience, func() error {
		var st supervisor.Status
		decode(t, l.ok(t, "ps", "--lab", l.name, "--output", "json"), &st)
		at := slices.IndexFunc(st.Processes, func(i process.Info) bool { return i.Name == service })
		if i := st.Processes[at]; i.State != process.Running || i.Restarts != 1 || i.Exit != "signal: killed" {
			return fmt.Errorf("%+v", i)
		}
		return nil
	})
	eventually(t, patience, func() error {
		_, err := l.fetch(t, "h3", http.MethodGet, "http://localhost:13427/actuator/health", "")
		return err
	})
}

const coffeesDenied = `
kind    = "service-intentions"
name    = "public-api"
sources = [{ name = "client", action = "deny" }]
`

func (l lab) denies(t *testing.T) {
	const url = "http://192.168.1.250:9191/api"
	l.consul(t, coffeesDenied, "config", "write", "-")
	eventually(t, patience, func() error {
		if _, err := l.prices(t, "client", url); err == nil {
			return errors.New("the client is let through")
		}
		return nil
	})
	l.consul(t, "", "config", "delete", "-kind", "service-intentions", "-name", "public-api")
	eventually(t, patience, func() error {
		_, err := l.prices(t, "client", url)
		return err
	})
}

// engineInventory is everything that a lab could leave in an engine, one line
// each.
func engineInventory(t *testing.T, socket string) []string {
	t.Helper()
	client := engineClient(socket)
	var all []string
	for kind, path := range map[string]string{
		"container": "/containers/json?all=1",
		"network":   "/networks",
		"image":     "/images/json", // those without a tag too, but for the layers of one with a tag
		"volume":    "/volumes",
	} {
		resp, err := client.Get("http://engine/v1.41" + path)
		if err != nil {
			t.Fatal(err)
		}
		var list []map[string]any
		if kind == "volume" {
			var v struct{ Volumes []map[string]any }
			err, list = json.NewDecoder(resp.Body).Decode(&v), v.Volumes
		} else {
			err = json.NewDecoder(resp.Body).Decode(&list)
		}
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			all = append(all, fmt.Sprint(kind, " ", o["Id"], o["Name"], o["Names"], o["RepoTags"]))
		}
	}
	slices.Sort(all)
	return all
}

// What is wrong with the engine, an image or a user is said before anything is
// made.
func TestDockerRefused(t *testing.T) {
	p, socket := withDocker(t)
	image := p.writeFile(t, "image.yaml", strings.Replace(ownLab, "command: [./serve", "image: nobody/has:this\n    command: [./serve", 1))
	p.up(t, "first", "single-upstream", "--runtime", "docker") // builds the image
	p.ok(t, "down", "first")
	before, inEngine := inventory(t), engineInventory(t, socket)
	refused := func(who person, code int, args []string, want ...string) {
		t.Helper()
		who.fails(t, code, append([]string{"up"}, args...), want...)
		if err := same(t, before); err != nil {
			t.Error(err)
		}
		if left := difference(inEngine, engineInventory(t, socket)); len(left) > 0 {
			t.Errorf("left in the engine: %v", left)
		}
	}
	docker := []string{"--runtime", "docker"}
	refused(p, exitUsage, []string{image, "--runtime", "namespaces"}, "--runtime docker", "nobody/has:this")
	refused(p, exitFailed, append(docker, image), "image nobody/has:this", "registry", "nothing is left")
	refused(p, exitUsage, []string{"hashicups", "--runtime", "podman"}, "namespaces or docker")
	none := p
	none.env = append(slices.Clone(p.env), "DOCKER_HOST=unix:///nowhere.sock")
	refused(none, exitFailed, append(docker, "hashicups"), "no Docker engine", "/nowhere.sock")
	if os.Geteuid() == 0 {
		ordinary := ordinary(t)
		before = inventory(t)
		refused(ordinary, exitFailed, append(docker, "hashicups"), "needs root", "--runtime namespaces")
	}
}

// A container that dies at its start ends `up`, with its last words.
func TestDockerDiesAtStart(t *testing.T) {
	p, socket := withDocker(t)
	file := p.writeFile(t, "dies.yaml", ownLab)
	if err := os.Chmod(p.writeFile(t, "serve", "#!/bin/sh\necho the last words of $2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.fails(t, exitFailed, []string{"up", filepath.Base(file), "--runtime", "docker"}, "the last words of", "exit status 3", "nothing is left")
	for _, o := range engineInventory(t, socket) {
		if strings.HasPrefix(o, "container") {
			t.Errorf("left: %s", o)
		}
	}
}

// Whoever dies, `down` and the next `up` of the name remove what is left.
func TestDockerLeftovers(t *testing.T) {
	p, socket := withDocker(t)
	containers := func() (n int) {
		for _, o := range engineInventory(t, socket) {
			if strings.HasPrefix(o, "container") {
				n++
			}
		}
		return n
	}
	kill := func(name string) {
		t.Helper()
		rec, err := orchestrate.StateOf(name).Read()
		if err != nil {
			t.Fatal(err)
		}
		if err := rec.Kill(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	l := p.up(t, "dead", "single-upstream", "--runtime", "docker", "--no-publish")
	if n := containers(); n < 6 { // hosts, agents, service
		t.Fatalf("%d containers", n)
	}
	kill(l.name)
	p.ok(t, "up", "single-upstream", "--name", l.name, "--runtime", "docker", "--no-publish")
	l.nothingBroken(t)
	kill(l.name)
	p.ok(t, "down", l.name)
	if n := containers(); n != 0 {
		t.Errorf("%d containers after down", n)
	}
}

// nothingBroken fails unless the lab's service answers.
func (l lab) nothingBroken(t *testing.T) {
	t.Helper()
	if text, err := l.fetch(t, "h1", http.MethodGet, "http://localhost:8080/", ""); err != nil || !strings.Contains(text, "backend") {
		t.Errorf("%v: %s", err, text)
	}
}
