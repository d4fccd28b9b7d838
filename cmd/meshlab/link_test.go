//go:build integration

package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// linkLab is a network whose file gives two links a character, one between
// switches, which is a cable by that, and leaves three without.
const linkLab = `name: links
%s
nodes:
  h1: { kind: host, ipv4: 10.1.0.1/24 }
  h2: { kind: host, ipv4: 10.1.0.2/24 }
  h3: { kind: host, ipv4: 10.1.0.3/24 }
  s1: { kind: switch }
  s2: { kind: switch }
  s3: { kind: switch }
links:
  - { endpoints: ["h1:eth0", "s1:1"], delay: 10ms }
  - { endpoints: ["s1:2", "s2:2"], delay: 20ms, bandwidth: 100Mbit }
  - endpoints: ["h2:eth0", "s2:1"]
  - endpoints: ["s1:3", "s3:3"]
  - endpoints: ["h3:eth0", "s3:1"]
`

// roundTrip is how long it takes a host to be refused by another: one round
// trip, when it knows its neighbour.
func (l lab) roundTrip(t *testing.T, from, to string) time.Duration {
	t.Helper()
	const script = `s=$(date +%s%N); echo > /dev/tcp/$0/9; e=$(date +%s%N); echo $((e-s))`
	r := l.exec(t, "", from, "timeout", "10", "bash", "-c", script, to)
	if !strings.Contains(r.stderr, "refused") {
		t.Fatalf("%s to %s: %v, want a refusal", from, to, r)
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(r.stdout), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ns)
}

// takes fails unless a round trip takes at least that long, and, at its best,
// not much longer.
func (l lab) takes(t *testing.T, from, to string, want time.Duration) {
	t.Helper()
	best := time.Hour
	l.roundTrip(t, from, to) // asks for the neighbour
	for range 20 {
		d := l.roundTrip(t, from, to)
		if d < want {
			t.Errorf("%s to %s in %v, and not before %v", from, to, d, want)
		}
		if best = min(best, d); best < want+want/2+5*time.Millisecond {
			return
		}
	}
	t.Errorf("%s to %s in %v at best, want %v", from, to, best, want)
}

func TestLinks(t *testing.T) {
	// Bridges of one Open vSwitch as an ordinary user, who may do less.
	for kind, user := range map[string]func(*testing.T) person{"shared": ordinary, "isolated": root} {
		t.Run(kind, func(t *testing.T) {
			p := user(t)
			file := p.writeFile(t, "links.yaml", fmt.Sprintf(linkLab, "switches: "+kind))
			l := p.up(t, "links-"+kind, file, "--mesh", "direct")
			const h2, h3 = "10.1.0.2", "10.1.0.3"
			l.takes(t, "h1", h2, 60*time.Millisecond)
			l.takes(t, "h1", h3, 20*time.Millisecond)

			// A link without a character, between switches: a patch port, if shared.
			text := l.ok(t, "link", "set", "s3-s1", "--delay", "5ms", l.name)
			if want := "Link s1-s3: 5ms (before: as fast as the machine)"; !strings.Contains(text, want) {
				t.Errorf("%q, want %q", text, want)
			}
			l.takes(t, "h1", h3, 30*time.Millisecond)
			l.ok(t, "link", "set", "h1-s1", "--loss", "0.1%", "--lab", l.name) // the delay stays
			l.takes(t, "h1", h3, 30*time.Millisecond)
			l.ok(t, "link", "reset", "h1-s1", l.name)
			l.ok(t, "link", "set", "s1-s3", "--delay", "0s", l.name)
			l.takes(t, "h1", h3, 20*time.Millisecond)

			var all []supervisor.LinkCounters
			decode(t, l.ok(t, "link", "list", l.name, "--output", "json"), &all)
			if len(all) != 6 || // with that of the Consul server
				all[0].Name != "h1-s1" || *all[0].Character != (supervisor.Character{Delay: "10ms"}) || all[1].Character.Bandwidth != "100Mbit" || all[3].Character != nil {
				t.Errorf("%+v", all)
			}
			if s := all[0].Shaped; s == nil || s.AToB.Frames == 0 || s.BToA.Frames == 0 || all[0].Means == "" {
				t.Errorf("%+v", all[0])
			}
			text = strings.Join(strings.Fields(l.ok(t, "link", "list", "--lab", l.name)), " ")
			for _, want := range []string{"LATE P99", "h1-s1 10ms", "s1-s2 100Mbit, 20ms", "s1-s3 as fast"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}

			l.fails(t, exitUsage, []string{"link", "set", "h1-s2", "--delay", "1ms", l.name}, `no link "h1-s2"`, "h1-s1, s1-s2, h2-s2, s1-s3, h3-s3")
			l.fails(t, exitUsage, []string{"link", "set", "h1-s1", "--delay", "soon", l.name}, "--delay", "5ms")
			l.fails(t, exitUsage, []string{"link", "set", "h1-s1", "--jitter", "1s", l.name}, "at most the delay")
			l.fails(t, exitUsage, []string{"link", "set", "h1-s1", l.name}, "--bandwidth, --delay, --jitter or --loss")
			l.fails(t, exitUsage, []string{"link", "set", "h1-s1", "--loss", "5", l.name}, "loss")

			l.shaperKilled(t)
		})
	}
}

// shaperKilled kills the shaper, if it is that which delays frames: it comes
// back, and no answer was ever too fast.
func (l lab) shaperKilled(t *testing.T) {
	t.Helper()
	var st supervisor.Status
	decode(t, l.ok(t, "ps", "--lab", l.name, "--output", "json"), &st)
	for _, pr := range st.Processes {
		if pr.Name != "shaper" {
			continue
		}
		l.ok(t, "exec", "--lab", l.name, "s1", "--", "kill", "-"+strconv.Itoa(int(syscall.SIGKILL)), strconv.Itoa(pr.PID))
		eventually(t, patience, func() error {
			script := `s=$(date +%s%N); echo > /dev/tcp/10.1.0.3/9; e=$(date +%s%N); echo $((e-s))`
			r := l.exec(t, "", "h1", "timeout", "1", "bash", "-c", script)
			if !strings.Contains(r.stderr, "refused") {
				return fmt.Errorf("h1 to h3: %v", r) // it is cut
			}
			if ns, err := strconv.Atoi(strings.TrimSpace(r.stdout)); err != nil || ns < int(20*time.Millisecond) {
				t.Errorf("an answer in %s ns, %v", r.stdout, err)
			}
			return nil
		})
	}
}
