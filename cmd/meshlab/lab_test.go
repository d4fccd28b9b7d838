//go:build integration

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// getCoffees is the query of the reference application.
const getCoffees = `{"query": "query GetCoffees { coffees { id name price } }"}`

// prices asks for the coffees at a URL from a node, and returns the price of
// each.
func (l lab) prices(t *testing.T, node, url string) (map[string]float64, error) {
	t.Helper()
	text, err := l.fetch(t, node, http.MethodPost, url, getCoffees)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Coffees []struct {
				Name  string
				Price float64
			}
		}
	}
	decode(t, text, &answer)
	byName := map[string]float64{}
	for _, c := range answer.Data.Coffees {
		byName[c.Name] = c.Price
	}
	return byName, nil
}

// nineCoffees fails unless the whole menu comes back.
func (l lab) nineCoffees(t *testing.T, node, url string) map[string]float64 {
	t.Helper()
	got, err := l.prices(t, node, url)
	if err != nil {
		t.Fatalf("ask %s from %s: %v", url, node, err)
	}
	if len(got) != 9 {
		t.Fatalf("ask %s from %s: %d coffees instead of 9: %v", url, node, len(got), got)
	}
	return got
}

func TestHashicups(t *testing.T) {
	l := root(t).up(t, "story", "hashicups")

	t.Run("coffees come from Postgres", func(t *testing.T) {
		const onHost, throughVIP = "http://localhost:20863/api", "http://192.168.1.250:9191/api"
		before := l.nineCoffees(t, "h1", onHost)
		if p := before["Vaulatte"]; p == 777 {
			t.Fatalf("the price is %v before it is changed", p)
		}
		sql := l.exec(t, "UPDATE coffees SET price = 777 WHERE name = 'Vaulatte'", "db1",
			"env", "PGPASSWORD=password", "psql", "-h", "192.168.1.21", "-U", "postgres", "-d", "products")
		if sql.code != 0 || !strings.Contains(sql.stdout, "UPDATE 1") {
			t.Fatalf("psql on db1: %v", sql)
		}
		for node, url := range map[string]string{"h1": onHost, "client": throughVIP} {
			if p := l.nineCoffees(t, node, url)["Vaulatte"]; p != 777 {
				t.Errorf("from %s the Vaulatte costs %v, in the database 777", node, p)
			}
		}
	})

	t.Run("no sidecar runs", func(t *testing.T) {
		var st supervisor.Status
		decode(t, l.ok(t, "ps", "--lab", l.name, "--output", "json"), &st)
		if len(st.Processes) < 10 {
			t.Errorf("only %d processes", len(st.Processes))
		}
		for _, p := range st.Processes {
			if p.Part == process.PartSidecar {
				t.Errorf("a sidecar: %+v", p)
			}
		}
		for _, s := range st.Services {
			if s.Health != "passing" {
				t.Errorf("service %s is %s", s.Name, s.Health)
			}
		}
		for _, p := range labProcesses(t) {
			if strings.Contains(p.command, "envoy") || strings.Contains(p.command, "connect proxy") {
				t.Errorf("a proxy runs: %s", p.command)
			}
		}
	})

	t.Run("no static ARP entry", func(t *testing.T) {
		seen := ""
		for _, host := range []string{"h1", "h2", "h3", "db1", "client"} {
			r := l.exec(t, "", host, "ip", "neigh")
			if r.code != 0 {
				t.Fatal(r)
			}
			if strings.Contains(r.stdout, "PERMANENT") {
				t.Errorf("on %s:\n%s", host, r.stdout)
			}
			seen += r.stdout
		}
		if !strings.Contains(seen, "192.168.1.250 ") {
			t.Errorf("no host has learned the virtual address:\n%s", seen)
		}
	})

	t.Run("the published port answers from outside", func(t *testing.T) {
		if len(l.status.Published) != 1 {
			t.Fatalf("published: %+v", l.status.Published)
		}
		resp, err := http.Get("http://" + l.status.Published[0].Address + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(page), "HashiCups") {
			t.Errorf("%s, %v: %.200s", resp.Status, err, page)
		}
	})

	t.Run("flows have reasons and count", func(t *testing.T) {
		const reason = "the client calls public-api at 192.168.1.250:9191"
		count := func() (packets uint64) {
			var f controller.Flows
			decode(t, l.ok(t, "flows", "--lab", l.name, "--output", "json"), &f)
			if len(f.Datapaths) != 3 {
				t.Fatalf("%d switches instead of 3", len(f.Datapaths))
			}
			for _, d := range f.Datapaths {
				for _, flow := range d.Flows {
					if flow.Reason == "" || !flow.Present {
						t.Errorf("%s: %+v", d.Name, flow)
					}
					if strings.Contains(flow.Reason, "calls public-api at 192.168.1.250:9191") && strings.Contains(flow.Reason, "client") {
						packets += flow.Packets
					}
				}
			}
			return packets
		}
		before := count()
		l.nineCoffees(t, "client", "http://192.168.1.250:9191/api")
		eventually(t, patience, func() error { // the switch counts with a delay of up to a second
			if now := count(); now <= before {
				return fmt.Errorf("%d packets as %q, and %d before", now, reason, before)
			}
			return nil
		})
		l.fails(t, exitUsage, []string{"flows", "s9", "--lab", l.name}, "s9", "s1, s2, s3")
	})

	t.Run("logs", func(t *testing.T) {
		if text := l.ok(t, "logs", "product-db", "--lab", l.name, "-n", "5"); strings.Count(text, "\n") > 5 || text == "" {
			t.Errorf("not up to five lines: %s", text)
		}
		l.fails(t, exitFailed, []string{"logs", "nothing", "--lab", l.name}, "nothing")
		l.fails(t, exitUsage, []string{"logs", "product-db", "--lab", l.name, "-n", "0"}, "at least 1")
	})

	t.Run("exec", func(t *testing.T) { testExec(t, l) })

	t.Run("down, and down again", func(t *testing.T) {
		if out := l.ok(t, "down", l.name); !strings.Contains(out, "is down") {
			t.Error(out)
		}
		if left := labProcesses(t); len(left) > 0 {
			t.Errorf("left behind: %+v", left)
		}
		if _, err := os.Stat(orchestrate.StateOf(l.name).Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("state folder: %v", err)
		}
		if out := l.ok(t, "down", l.name); !strings.Contains(out, "nothing to do") {
			t.Error(out)
		}
		l.fails(t, exitFailed, []string{"ps", "--lab", l.name}, "not up")
	})
}

// testExec runs commands on nodes of a lab that is up.
func testExec(t *testing.T, l lab) {
	if r := l.exec(t, "two\nlines\n", "h2", "sh", "-c", "cat; hostname -I >&2; exit 42"); r.code != 42 || r.stdout != "two\nlines\n" || !strings.Contains(r.stderr, "192.168.1.12") {
		t.Errorf("stdin, stdout, stderr or exit code: %v", r)
	}
	if r := l.exec(t, "", "h1", "sh", "-c", "kill -9 $$"); r.code != 128+9 {
		t.Errorf("killed by signal 9: %v", r)
	}
	l.fails(t, exitFailed, []string{"exec", "--lab", l.name, "h9", "--", "true"}, `no node "h9"`, "h1")
	l.fails(t, exitFailed, []string{"exec", "--lab", l.name, "h1", "--", "no-such-program"}, "no-such-program")
	l.fails(t, exitUsage, []string{"exec", "--lab", l.name, "h1"}, "arg")

	// A signal for the verb is one for the command; without a handler it ends it.
	for name, tc := range map[string]struct {
		script string
		signal syscall.Signal
		code   int
	}{
		"interrupt":           {"echo ready; exec sleep 60", syscall.SIGINT, 128 + 2},
		"terminate":           {"echo ready; exec sleep 60", syscall.SIGTERM, 128 + 15},
		"command handles it":  {"trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done", syscall.SIGTERM, 7},
		"verb killed at once": {"echo ready; sleep 61; true", syscall.SIGKILL, -1},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := l.command(ctx, "exec", "--lab", l.name, "h1", "--", "sh", "-c", tc.script)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its code is looked at below
			if code := cmd.ProcessState.ExitCode(); code != tc.code {
				t.Errorf("exit code %d instead of %d", code, tc.code)
			}
			eventually(t, patience, func() error {
				for _, p := range labProcesses(t) {
					if strings.HasPrefix(p.command, "sleep 6") {
						return fmt.Errorf("the command still runs: %+v", p)
					}
				}
				return nil
			})
		})
	}
}

func TestSingleNode(t *testing.T) {
	l := root(t).up(t, "single", "hashicups-single-node")
	l.nineCoffees(t, "h1", "http://localhost:20863/api")
	l.nineCoffees(t, "client", "http://192.168.1.250:9191/api")
	// Of a host to itself, through the virtual address.
	l.nineCoffees(t, "h1", "http://192.168.1.250:9191/api")
}

// ownLab is a lab file of a user, with a command of the user's own.
const ownLab = `
name: own
nodes:
  h1: { kind: host }
  h2: { kind: host }
  s1: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["h2:eth0", "s1:2"]
services:
  shop:
    node: h1
    port: 8080
    command: [sh, ./serve, "0.0.0.0:{{ port }}", shop, 'http://{{ upstream "stock" }}']
    upstreams: { stock: 9091 }
  stock:
    node: h2
    port: 8081
    command: [./serve, ":{{ port }}", stock]
client:
  upstreams: { shop: 9090 }
requests:
  shop:
    to: shop
    expect: { status: 200, contains: ['"name":"shop"', '"name":"stock"'] }
`

// ownServe is the program of that user: it stands beside the lab file.
const ownServe = `#!/bin/sh
echo "serving $2 in $PWD"
touch "$HOME/mine" || exit 1
BIND_ADDRESS="$1" NAME="$2" UPSTREAM_URI="$3" exec meshlab service echo
`

func TestOwnCommands(t *testing.T) {
	p := root(t)
	file := p.writeFile(t, "own.yaml", ownLab)
	if err := os.Chmod(p.writeFile(t, "serve", ownServe), 0o755); err != nil {
		t.Fatal(err)
	}
	upstream := map[orchestrate.Mesh]string{
		orchestrate.Direct: "stock at 10.", orchestrate.OVS: "stock at 10.", orchestrate.ConsulConnect: "stock at 127.0.0.1:9091",
	}
	for _, mesh := range orchestrate.Meshes() {
		t.Run(string(mesh), func(t *testing.T) {
			t.Parallel()
			l := p.up(t, "own-"+string(mesh), filepath.Base(file), "--mesh", string(mesh))
			if l.status.Mesh != mesh {
				t.Errorf("mesh %s", l.status.Mesh)
			}
			var sidecars int
			for _, pr := range l.status.Processes {
				if pr.Part == process.PartSidecar {
					sidecars++
				}
			}
			if want := map[bool]int{true: 3}[mesh == orchestrate.ConsulConnect]; sidecars != want {
				t.Errorf("%d sidecars instead of %d", sidecars, want)
			}
			at := slices.IndexFunc(l.status.Services, func(s supervisor.ServiceStatus) bool { return s.Name == "shop" })
			if got := l.status.Services[at].Upstreams; len(got) != 1 || !strings.HasPrefix(got[0], upstream[mesh]) {
				t.Errorf("upstreams %v", got)
			}
			if log := l.ok(t, "logs", "stock", "--lab", l.name); !strings.Contains(log, "serving stock in "+p.dir) {
				t.Errorf("it does not run beside the lab file: %s", log)
			}
			if text, err := l.fetch(t, "h1", http.MethodGet, "http://localhost:8080/", ""); err != nil || !strings.Contains(text, `"name":"stock"`) {
				t.Errorf("%v: %s", err, text)
			}
		})
	}
}

// Two labs with the same addresses inside know nothing of each other.
func TestTwoLabs(t *testing.T) {
	p := root(t)
	a := p.up(t, "first", "single-upstream", "--no-publish")
	b := p.up(t, "second", "single-upstream", "--no-publish")
	for _, l := range []lab{a, b} {
		if r := l.exec(t, "", "h1", "sh", "-c", "echo "+l.name+" >/run/mine; cat /run/mine"); r.stdout != l.name+"\n" {
			t.Error(r)
		}
		if len(l.status.Published) != 0 {
			t.Errorf("published in spite of --no-publish: %+v", l.status.Published)
		}
	}
	if a.status.Nodes[0].IPv4 != b.status.Nodes[0].IPv4 {
		t.Fatalf("the addresses differ: the test shows nothing")
	}
	if r := a.exec(t, "", "h1", "cat", "/run/mine"); r.stdout != "first\n" {
		t.Errorf("the second lab changed the first: %v", r)
	}
	p.fails(t, exitUsage, []string{"ps"}, "several labs", "first", "second")
	p.ok(t, "down", "first")
	if text, err := b.fetch(t, "h1", http.MethodGet, "http://localhost:8080/", ""); err != nil || !strings.Contains(text, "backend") {
		t.Errorf("the second lab no longer answers: %v: %s", err, text)
	}
	p.ok(t, "ps") // it is the only one now
}
