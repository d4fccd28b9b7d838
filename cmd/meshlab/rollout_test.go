//go:build integration

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"meshlab.dev/meshlab/labs/builtin/echo"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// rolloutLab has a service in two versions: two instances of the old one and
// one of the new, which tell their version in every answer.
const rolloutLab = `name: rollout
nodes:
  client: { kind: host, ipv4: 10.10.0.10/24 }
  h1: { kind: host, ipv4: 10.10.0.1/24 }
  h2: { kind: host, ipv4: 10.10.0.2/24 }
  h3: { kind: host, ipv4: 10.10.0.3/24 }
  s1: { kind: switch }
  s2: { kind: switch }
links:
  - endpoints: ["client:eth0", "s1:1"]
  - endpoints: ["h1:eth0", "s1:2"]
  - endpoints: ["h2:eth0", "s2:1"]
  - endpoints: ["h3:eth0", "s2:2"]
  - endpoints: ["s1:9", "s2:9"]
services:
  old-1: { service: api, node: h1, port: 8080, builtin: echo, environment: { BIND_ADDRESS: ":8080", NAME: v1 }, meta: { version: v1 } }
  old-2: { service: api, node: h2, port: 8080, builtin: echo, environment: { BIND_ADDRESS: ":8080", NAME: v1 }, meta: { version: v1 } }
  new-1: { service: api, node: h3, port: 8080, builtin: echo, environment: { BIND_ADDRESS: ":8080", NAME: v2 }, meta: { version: v2 } }
client: { node: client, upstreams: { api: 9090 } }
requests:
  api: { to: api }
`

const (
	apiAddress = "10.10.0.254:9090"
	// newInOpenFlow is the address of new-1 as ovs-ofctl writes it.
	newInOpenFlow = "set_field:0xa0a0003->reg1"
	// rolloutSlots is how many slots a service has whose instances differ in
	// weight.
	rolloutSlots = 256
	// rolloutConnections are made at each step, one request each.
	rolloutConnections = 4000
	// refusedLimit is less than any interval at which something is asked for
	// again, and many times what the change takes.
	refusedLimit = 3 * time.Second
	// deviations is how many standard deviations chance may take: more than
	// 4 happen once in 16,000 times.
	deviations = 4
)

const apiProtocol = `
kind     = "service-defaults"
name     = "api"
protocol = "http"
`

const apiSubsets = `
kind           = "service-resolver"
name           = "api"
default_subset = "v1"
subsets = {
  v1 = { filter = "Service.Meta.version == v1" }
  v2 = { filter = "Service.Meta.version == v2" }
}
`

const apiSplit = `
kind   = "service-splitter"
name   = "api"
splits = [
  { weight = %d, service_subset = "v1" },
  { weight = %d, service_subset = "v2" },
]
`

const apiRoute = `
kind   = "service-router"
name   = "api"
routes = [{
  match       = { http = { path_prefix = "/admin" } }
  destination = { service = "api", service_subset = "v2" }
}]
`

const apiDenied = `
kind    = "service-intentions"
name    = "api"
sources = [{ name = "client", action = "deny" }]
`

// A real Consul, changed by nothing but its own command, drives the mesh of a
// lab that is up.
func TestRollout(t *testing.T) {
	p := root(t)
	l := p.up(t, "rollout", p.writeFile(t, "rollout.yaml", rolloutLab))

	t.Run("shares follow the splitter", func(t *testing.T) {
		running := l.startLoad(t, "client", apiAddress, 20)
		running.more(t, 100)
		l.consul(t, apiProtocol, "config", "write", "-")
		l.consul(t, apiSubsets, "config", "write", "-")
		l.share(t, 0, 0)
		// 256 slots for three instances, by the largest remainder: the new
		// one's share is off by less than one slot.
		for _, tc := range []struct{ percent, slots int }{{1, 2}, {10, 26}, {50, 128}} {
			l.consul(t, fmt.Sprintf(apiSplit, 100-tc.percent, tc.percent), "config", "write", "-")
			l.share(t, tc.percent, tc.slots)
			running.more(t, 100)
		}
		l.consul(t, "", "config", "delete", "-kind", "service-splitter", "-name", "api")
		l.share(t, 0, 0)
		running.more(t, 100)
		r := running.stop(t)
		t.Logf("meanwhile: %d requests on %d kept connections, longest pause %v; %d new connections, longest %v",
			r.Requests, r.Connections, r.Pause, r.New, r.NewPause)
		if r.Broken != 0 || r.NewFailed != 0 {
			t.Errorf("%d of %d kept connections broke, %d of %d new ones failed: %v", r.Broken, r.Connections, r.NewFailed, r.New, r.Errors)
		}
	})

	t.Run("a route by path is a warning", func(t *testing.T) {
		warned := func() error {
			var st supervisor.Status
			decode(t, l.ok(t, "ps", "--lab", l.name, "--output", "json"), &st)
			if st.Controller == nil {
				return errors.New("no word of the controller")
			}
			for _, w := range st.Controller.Warnings {
				if strings.Contains(w, "service-router api") && strings.Contains(w, "/admin") {
					return nil
				}
			}
			return fmt.Errorf("warnings %q", st.Controller.Warnings)
		}
		if err := warned(); err == nil {
			t.Fatal("the warning is there before its cause")
		}
		l.consul(t, apiRoute, "config", "write", "-")
		eventually(t, patience, warned)
		if text := l.ok(t, "ps", "--lab", l.name); !strings.Contains(text, "Not honoured:\n  service-router api") {
			t.Errorf("ps does not show it:\n%s", text)
		}
		l.share(t, 0, 0) // as without the route, and not all to v2
		l.consul(t, "", "config", "delete", "-kind", "service-router", "-name", "api")
		eventually(t, patience, func() error {
			if warned() == nil {
				return errors.New("the warning is still there")
			}
			return nil
		})
	})

	t.Run("an intention cuts and refuses", func(t *testing.T) {
		running := l.startLoad(t, "client", apiAddress, 20)
		running.more(t, 100)
		l.consul(t, apiDenied, "config", "write", "-")
		written := time.Now()
		eventually(t, patience, func() error {
			if _, err := l.fetch(t, "client", http.MethodGet, "http://"+apiAddress, ""); err == nil {
				return errors.New("a new connection is let through")
			}
			return nil
		})
		refused := time.Since(written)
		// The load asks on each connection every 5 ms: what is left of it
		// would end without an error.
		stopped := time.Now()
		r := running.stop(t)
		ended := time.Since(stopped)
		t.Logf("%d of %d kept connections cut and new ones refused %v after the command; the load's end took %v: %v",
			r.Broken, r.Connections, refused, ended, r.Errors)
		if r.Broken != r.Connections {
			t.Errorf("%d of %d running connections were cut", r.Broken, r.Connections)
		}
		if refused > refusedLimit {
			t.Errorf("it took %v", refused)
		}
		// A connection that gets no answer, and no reset, waits far longer.
		if ended > answerLimit/4 {
			t.Errorf("the end of the load took %v: something was left without an answer", ended)
		}
		l.consul(t, "", "config", "delete", "-kind", "service-intentions", "-name", "api")
		eventually(t, patience, func() error {
			_, err := l.fetch(t, "client", http.MethodGet, "http://"+apiAddress, "")
			return err
		})
	})
}

// consul types a command of Consul's own on the client's host.
func (l lab) consul(t *testing.T, stdin string, args ...string) {
	t.Helper()
	if r := l.exec(t, stdin, "client", append([]string{"consul"}, args...)...); r.code != 0 {
		t.Fatalf("consul %s: %v", strings.Join(args, " "), r)
	}
}

// share waits until the new version has so many slots of 256, makes new
// connections, and holds the share of the new version to what these slots and
// chance allow.
func (l lab) share(t *testing.T, percent, slots int) {
	t.Helper()
	began := time.Now()
	eventually(t, patience, func() error {
		got, err := l.newSlots(t)
		if err == nil && got != slots {
			err = fmt.Errorf("v2 has %d slots instead of %d", got, slots)
		}
		return err
	})
	seen := time.Since(began)
	r := l.run(t, "", "exec", "--lab", l.name, "client", "--", "/usr/bin/env", stageVar+"=versions",
		filepath.Join(os.Getenv(binVar), "bin", "test"), apiAddress, strconv.Itoa(rolloutConnections))
	if r.code != 0 {
		t.Fatalf("connect %d times: %v", rolloutConnections, r)
	}
	counts := map[string]int{}
	decode(t, r.stdout, &counts)
	if counts["v1"]+counts["v2"] != rolloutConnections {
		t.Fatalf("answers %v", counts)
	}
	want := float64(slots) / rolloutSlots
	got := float64(counts["v2"]) / rolloutConnections
	bound := deviations * math.Sqrt(want*(1-want)/rolloutConnections)
	t.Logf("splitter %d %%: %d of %d slots (%.2f %%), in the switch %v after the command; %d of %d new connections went to v2 (%.2f %%, allowed %.2f to %.2f %%)",
		percent, slots, rolloutSlots, 100*want, seen.Round(time.Millisecond), counts["v2"], rolloutConnections, 100*got, 100*(want-bound), 100*(want+bound))
	if math.Abs(got-want) > bound {
		t.Errorf("the share of v2 is %.2f %%, %.2f %% ± %.2f is allowed", 100*got, 100*want, 100*bound)
	}
}

var (
	newInstance = regexp.MustCompile(`tcp,reg6=(0x[0-9a-f]+) actions=` + regexp.QuoteMeta(newInOpenFlow))
	slotOf      = regexp.MustCompile(`actions=set_field:(0x[0-9a-f]+)->reg6`)
)

// newSlots asks the client's switch itself how many slots new-1 has of the
// only group there is.
func (l lab) newSlots(t *testing.T) (int, error) {
	t.Helper()
	groups := l.exec(t, "", "s1", "ovs-ofctl", "-O", "OpenFlow15", "dump-groups", "s1")
	flows := l.exec(t, "", "s1", "ovs-ofctl", "-O", "OpenFlow15", "--no-stats", "dump-flows", "s1", "table=45")
	if groups.code != 0 || flows.code != 0 {
		t.Fatalf("%v\n%v", groups, flows)
	}
	all := slotOf.FindAllStringSubmatch(groups.stdout, -1)
	number := newInstance.FindStringSubmatch(flows.stdout)
	n := 0
	for _, slot := range all {
		if number != nil && slot[1] == number[1] {
			n++
		}
	}
	if n > 0 && len(all) != rolloutSlots {
		return n, fmt.Errorf("%d slots instead of %d", len(all), rolloutSlots)
	}
	return n, nil
}

// versions is what the test program does on a node: connections, one after the
// other by a few at a time, and one request on each. It prints how many
// answers had which name.
func versions(address string, connections int) error {
	const atOnce = 4
	counts := map[string]int{}
	var failed error
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range atOnce {
		all.Go(func() {
			for n := i; n < connections; n += atOnce {
				name, err := versionOf(address)
				mu.Lock()
				counts[name]++
				if failed == nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if failed != nil {
		return failed
	}
	return json.NewEncoder(os.Stdout).Encode(counts)
}

func versionOf(address string) (string, error) {
	client := http.Client{Timeout: answerLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	var reply echo.Reply
	err = json.NewDecoder(resp.Body).Decode(&reply)
	return reply.Name, err
}
