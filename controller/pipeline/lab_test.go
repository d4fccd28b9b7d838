package pipeline_test

import (
	"net/netip"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
	"meshlab.dev/meshlab/topo"
)

const labFile = `
name: two
nodes:
  h1: { kind: host, ipv4: 192.168.1.11/24, mac: "00:00:00:00:00:01" }
  h2: { kind: host, ipv4: 192.168.1.12/24, mac: "00:00:00:00:00:02" }
  s1: { kind: switch }
  s2: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["h2:eth0", "s2:1"]
  - endpoints: ["s1:2", "s2:2"]
services:
  api: { node: h2, port: 80, command: [api] }
  web: { node: h1, port: 80, command: [web], upstreams: { api: 9000 } }
`

func TestFromLab(t *testing.T) {
	lab, err := topo.Parse("two.yaml", []byte(labFile), topo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, dps := pipeline.FromLab(lab, true)
	snap := snapshot([]mesh.Upstream{calls("192.168.1.11", "web", "api", 9000)}, inst("api", "192.168.1.12:80"))
	for _, dp := range dps {
		p := mustCompile(t, f, dp, snap)
		if len(p.Warnings) != 0 || len(p.Flows) == 0 {
			t.Errorf("%s: %d flows, warnings %q", dp.Name, len(p.Flows), p.Warnings)
		}
	}
	if len(dps) != 2 || dps[0].Name != "s1" || dps[0].Access["h1"] != 1 || dps[0].ToHost["h2"] != 2 || dps[0].DPID == 0 {
		t.Errorf("datapaths %+v", dps)
	}
	if f.VIP == (netip.Addr{}) || f.VIPMAC == (pipeline.MAC{}) || len(f.Hosts) < 2 {
		t.Errorf("fabric %+v", f)
	}
	if plain, _ := pipeline.FromLab(lab, false); plain.Mesh || plain.VIP.IsValid() {
		t.Errorf("fabric without a mesh: %+v", plain)
	}
}
