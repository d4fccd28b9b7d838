//go:build integration

package main

import (
	"slices"
	"strings"
	"testing"
)

// A lab without services is a network: it comes up where there is no Consul and
// none can be built, under each mesh, and its hosts reach each other.
func TestNetworkAlone(t *testing.T) {
	p := root(t)
	p.env = slices.DeleteFunc(p.env, func(v string) bool { return strings.HasPrefix(v, "PATH=") })
	p.env = append(p.env, "PATH=/usr/bin:/bin", "MESHLAB_CACHE="+t.TempDir(), "GOPROXY=off")
	file := p.writeFile(t, "net.yaml", `name: net
nodes:
  h1: { kind: host, ipv4: 10.1.0.1/24 }
  h2: { kind: host, ipv4: 10.1.0.2/24 }
  s1: { kind: switch }
  s2: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["h2:eth0", "s2:1"]
  - endpoints: ["s1:2", "s2:2"]
`)
	for _, mesh := range []string{"ovs", "direct", "consul-connect"} {
		t.Run(mesh, func(t *testing.T) {
			l := p.up(t, "net-"+mesh, file, "--mesh", mesh)
			if text := p.ok(t, "ps", "--lab", l.name); strings.Contains(text, "consul@") || !strings.Contains(text, "ovs-vswitchd") {
				t.Errorf("what runs:\n%s", text)
			}
			// Who refuses, is there: no answer would be a time-out.
			r := l.exec(t, "", "h1", "timeout", "5", "bash", "-c", "echo > /dev/tcp/10.1.0.2/9")
			if r.code == 0 || !strings.Contains(r.stderr, "refused") {
				t.Errorf("h1 to h2: %v, want a refusal", r)
			}
		})
	}
}
