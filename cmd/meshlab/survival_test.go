//go:build integration

package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate/process"
)

var consulPause = flag.Duration("survival.consul", 15*time.Second, "how long TestSurvival keeps Consul stopped")

// survivalLab has two instances of a service at another switch than the
// client's.
const survivalLab = `name: survival
nodes:
  h1: { kind: host }
  h2: { kind: host }
  h3: { kind: host }
  s1: { kind: switch }
  s2: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["h2:eth0", "s2:1"]
  - endpoints: ["h3:eth0", "s2:2"]
  - endpoints: ["s1:9", "s2:9"]
services:
  web-1: { service: web, node: h2, port: 8081, builtin: echo, environment: { BIND_ADDRESS: ":8081" } }
  web-2: { service: web, node: h3, port: 8081, builtin: echo, environment: { BIND_ADDRESS: ":8081" } }
client:
  node: h1
  upstreams: { web: 9090 }
requests:
  web:
    to: web
    expect: { status: 200 }
`

// webAddress is the service of survivalLab; the lab chooses the address.
const webAddress = "10.10.0.254:9090"

// What is killed or stops while a load runs, and what the load may see of it.
func TestSurvival(t *testing.T) {
	p := root(t)
	l := p.up(t, "survival", p.writeFile(t, "survival.yaml", survivalLab))
	for _, tc := range []struct {
		name  string
		fault func(*testing.T) error // returns once the lab is as before
		ok    func(loadReport) error
	}{
		{
			name:  "controller killed",
			fault: func(t *testing.T) error { return l.killed(t, "controller", allFlowsPresent(t)) },
			ok:    nothingNoticed,
		},
		{
			name:  "all of Consul killed",
			fault: func(t *testing.T) error { return l.killed(t, "consul@", allPassing(t)) },
			ok:    nothingNoticed,
		},
		{
			name: "all of Consul stopped",
			fault: func(t *testing.T) error {
				if err := l.signal(t, "STOP", "consul@"); err != nil {
					return err
				}
				<-time.After(*consulPause)
				return l.signal(t, "CONT", "consul@")
			},
			ok: nothingNoticed,
		},
		{
			name:  "ovsdb-server killed",
			fault: func(t *testing.T) error { return l.killed(t, "ovsdb-server", both(allFlowsPresent(t), switchTuned(t))) },
			ok:    noneBroken(3 * time.Second),
		},
		{
			name:  "ovs-vswitchd killed",
			fault: func(t *testing.T) error { return l.killed(t, "ovs-vswitchd", both(allFlowsPresent(t), switchTuned(t))) },
			// Connection tracking is lost with it. Each connection finds its
			// instance again, as the choice is the same as at first.
			ok: mostSurvive(1, 3*time.Second),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			load := l.startLoad(t, "h1", webAddress, 60)
			load.more(t, 5000)
			if err := tc.fault(t); err != nil {
				t.Fatal(err)
			}
			load.more(t, 10000)
			r := load.stop(t)
			t.Logf("%d of %d connections survived, %d requests, longest wait %v (median of the connections %v); new: %d failed of %d, %d late, longest %v",
				r.Connections-r.Broken, r.Connections, r.Requests, ms(r.Pause), ms(r.Pauses[len(r.Pauses)/2]), r.NewFailed, r.New, r.NewLate, ms(r.NewPause))
			if err := tc.ok(r); err != nil {
				t.Errorf("%v: %s", err, strings.Join(r.Errors, "; "))
			}
		})
	}
	st, err := l.now(t)
	if err != nil {
		t.Fatal(err)
	}
	if before, after := l.status.Environment.SwitchBufferBytes, st.Environment.SwitchBufferBytes; before == 0 || after != before {
		t.Errorf("receive buffers of %d bytes at the ports, and of %d before", after, before)
	}
}

// A switch that was started again keeps packets back until the controller
// has restored its flows, and not for ever when the controller does not come.
func TestRestartedSwitchWaits(t *testing.T) {
	p := root(t)
	l := p.up(t, "waits", p.writeFile(t, "survival.yaml", survivalLab))
	if err := l.signal(t, "STOP", "controller"); err != nil {
		t.Fatal(err)
	}
	if err := l.signal(t, "KILL", "ovs-vswitchd"); err != nil {
		t.Fatal(err)
	}
	// By hand, flows that carry everything: they are there long before the end
	// of the wait, and what is lost until then is lost because of it.
	script := `until ovs-ofctl -O OpenFlow13 add-flow s2 priority=65535,actions=normal; do :; done 2>/dev/null`
	if r := l.exec(t, "", "s2", "sh", "-c", script); r.code != 0 {
		t.Fatal(r)
	}
	begin := time.Now()
	eventually(t, patience, func() error {
		_, err := l.fetch(t, "h2", "GET", "http://10.10.0.3:8081/", "")
		return err
	})
	if took := time.Since(begin); took < 1500*time.Millisecond {
		t.Errorf("packets pass %v after flows are there: the switch does not wait", took)
	} else {
		t.Logf("packets pass %v after flows are there", ms(took))
	}
	if err := l.signal(t, "CONT", "controller"); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		_, err := l.fetch(t, "h1", "GET", "http://"+webAddress+"/", "")
		return errors.Join(err, allFlowsPresent(t)(l), switchTuned(t)(l))
	})
}

// signal sends a signal to all processes of the lab whose names begin like
// that, the switches', controller's or agents', at once.
func (l lab) signal(t *testing.T, signal, prefix string) error {
	t.Helper()
	st, err := l.now(t)
	if err != nil {
		return err
	}
	command := []string{"kill", "-" + signal}
	for _, p := range st.Processes {
		if strings.HasPrefix(p.Name, prefix) && p.State == process.Running {
			command = append(command, fmt.Sprint(p.PID))
		}
	}
	if r := l.exec(t, "", "s1", command...); r.code != 0 {
		return fmt.Errorf("%v: %v", command, r)
	}
	return nil
}

// killed kills the processes whose names begin like that, and returns when
// they run again and the lab is as it should be.
func (l lab) killed(t *testing.T, prefix string, restored func(lab) error) error {
	t.Helper()
	before := map[string]int{}
	st, err := l.now(t)
	if err != nil {
		return err
	}
	for _, p := range st.Processes {
		before[p.Name] = p.Restarts
	}
	if err := l.signal(t, "KILL", prefix); err != nil {
		return err
	}
	begin := time.Now()
	eventually(t, patience, func() error {
		st, err := l.now(t)
		if err != nil {
			return err
		}
		for _, p := range st.Processes {
			if strings.HasPrefix(p.Name, prefix) && (p.State != process.Running || p.Restarts == before[p.Name]) {
				return fmt.Errorf("%s is %s after %d restarts", p.Name, p.State, p.Restarts)
			}
		}
		return restored(l)
	})
	t.Logf("as before after at most %v", ms(time.Since(begin)))
	return nil
}

// switchTuned sees what a switch in user space forgets.
func switchTuned(t *testing.T) func(lab) error {
	return func(l lab) error {
		st, err := l.now(t)
		if err != nil {
			return err
		}
		if st.Environment.SwitchBufferBytes != l.status.Environment.SwitchBufferBytes {
			return fmt.Errorf("receive buffers of %d bytes", st.Environment.SwitchBufferBytes)
		}
		sockets := l.exec(t, "", "s1", "ss", "-0", "-m", "-n", "-H")
		hosts := 0
		for _, n := range st.Nodes {
			if n.IPv4 != "" {
				hosts++
			}
		}
		if n := strings.Count(sockets.stdout, fmt.Sprintf("rb%d,", st.Environment.SwitchBufferBytes)); n != hosts {
			return fmt.Errorf("%d large receive buffers for %d hosts: %v", n, hosts, sockets)
		}
		r := l.exec(t, "", "s1", "ovs-vsctl", "get", "open_vswitch", ".", "other_config")
		if !strings.Contains(r.stdout, `flow-restore-wait="true"`) {
			return fmt.Errorf("the next start would not wait: %v", r)
		}
		return sequenceCheckOff(t)(l)
	}
}

func nothingNoticed(r loadReport) error {
	if r.Broken+r.NewFailed > 0 {
		return fmt.Errorf("%d connections broken, %d new ones failed", r.Broken, r.NewFailed)
	}
	return nil
}

func noneBroken(longest time.Duration) func(loadReport) error { return mostSurvive(0, longest) }

// mostSurvive allows some broken connections, and a pause; new ones must all
// come about.
func mostSurvive(broken int, longest time.Duration) func(loadReport) error {
	return func(r loadReport) error {
		if r.Broken > broken || r.NewFailed > 0 {
			return fmt.Errorf("%d connections broken, %d new ones failed", r.Broken, r.NewFailed)
		}
		if r.Pause > longest || r.NewPause > longest {
			return fmt.Errorf("a pause of %v, %v for new connections", r.Pause, r.NewPause)
		}
		return nil
	}
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
