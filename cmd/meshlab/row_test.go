//go:build integration

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// rowLab is so many switches of one Open vSwitch in a row, with a host at each
// end.
func rowLab(n int) string {
	var nodes, links strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&nodes, "  s%d: { kind: switch }\n", i)
		if i < n {
			fmt.Fprintf(&links, "  - endpoints: [\"s%d:3\", \"s%d:2\"]\n", i, i+1)
		}
	}
	return fmt.Sprintf(`name: row
nodes:
  first: { kind: host, ipv4: 10.1.0.1/24 }
  last: { kind: host, ipv4: 10.1.0.2/24 }
%slinks:
  - endpoints: ["first:eth0", "s1:1"]
  - endpoints: ["last:eth0", "s%d:1"]
%s`, &nodes, n, &links)
}

// Open vSwitch follows a frame through 64 bridges that patch ports join. In a
// longer row some links are cables, which are links like all others.
func TestLongRow(t *testing.T) {
	p := root(t)
	l := p.up(t, "row", p.writeFile(t, "row.yaml", rowLab(70)), "--mesh", "direct")
	const last = "10.1.0.2"
	reaches := func(t *testing.T, want bool) {
		t.Helper()
		r := l.exec(t, "", "first", "timeout", "2", "bash", "-c", "echo > /dev/tcp/"+last+"/9")
		if got := strings.Contains(r.stderr, "refused"); got != want { // who refuses, is there
			t.Errorf("the first host reaches the last: %v, want %v: %v", got, want, r)
		}
	}
	reaches(t, true)
	ports := l.exec(t, "", "s1", "ovs-vsctl", "--bare", "--columns=name", "find", "interface", "type=\"\"").stdout
	if !strings.Contains(ports, "s30.3") || strings.Contains(ports, "s31.3") {
		t.Errorf("cables end in %s, want the link of s30 and s31", ports)
	}

	t.Run("trace", func(t *testing.T) {
		if text := l.ok(t, "trace", "first", last, "--protocol", "icmp", "--check", "--lab", l.name); !strings.Contains(text, "Open vSwitch agrees") || !strings.Contains(text, "s70") {
			t.Error(text)
		}
	})
	t.Run("counters", func(t *testing.T) {
		carried := func() (cable, patch uint64) {
			all, err := supervisor.NewClient(orchestrate.StateOf(l.name).Control()).Links(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range all {
				switch k.Name {
				case "s30-s31":
					cable = k.AToB.Packets
				case "s29-s30":
					patch = k.AToB.Packets
				}
			}
			return cable, patch
		}
		cable, patch := carried()
		for range 10 {
			reaches(t, true)
		}
		eventually(t, 10*time.Second, func() error {
			if c, q := carried(); c < cable+10 || q < patch+10 {
				return fmt.Errorf("the cable carried %d more packets, the patch port before it %d", c-cable, q-patch)
			}
			return nil
		})
	})
	t.Run("a character", func(t *testing.T) {
		l.ok(t, "link", "set", "s30-s31", "--delay", "20ms", "--lab", l.name)
		l.takes(t, "first", last, 40*time.Millisecond)
		l.ok(t, "link", "reset", "s30-s31", "--lab", l.name)
		reaches(t, true)
	})
	for _, link := range []string{"s30-s31", "s31-s32"} {
		t.Run("cut "+link, func(t *testing.T) {
			l.ok(t, "fault", "cut", link, "--for", "0", "--lab", l.name)
			// It would become a cable that carries, before the fault has ended.
			l.fails(t, exitFailed, []string{"link", "set", link, "--delay", "1ms", "--lab", l.name}, "under a fault already", "cut "+link, "meshlab fault undo")
			reaches(t, false)
			l.ok(t, "fault", "undo", "--all", "--lab", l.name)
			reaches(t, true)
		})
	}
}
