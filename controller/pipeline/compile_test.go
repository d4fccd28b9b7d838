package pipeline_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

var update = flag.Bool("update", false, "write the golden files anew")

// hashicups is the reference lab: s1 = {h1, h2, s3}, s2 = {h3, db1, s3},
// s3 = {s1, s2, server}.
func hashicups() (pipeline.Fabric, []pipeline.Datapath, mesh.Snapshot) {
	ip := netip.MustParseAddr
	f := pipeline.Fabric{
		Mesh: true, VIP: ip(vip), Hairpin: ip(hairpin), VIPMAC: mac(vipMAC),
		Hosts: []pipeline.Host{
			{Name: "h1", Addr: ip(h1), MAC: mac(mac1)}, {Name: "h2", Addr: ip(h2), MAC: mac(mac2)},
			{Name: "h3", Addr: ip(h3), MAC: mac(mac3)}, {Name: "db1", Addr: ip("192.168.1.21"), MAC: mac("00:00:00:00:00:04")},
			{Name: "server", Addr: ip("192.168.1.200"), MAC: mac("00:00:00:00:00:05")},
		},
	}
	dps := []pipeline.Datapath{
		{Name: "s1", DPID: 1, Access: map[string]uint32{"h1": 1, "h2": 2}, ToHost: map[string]uint32{"h1": 1, "h2": 2, "h3": 3, "db1": 3, "server": 3}, Flood: []uint32{1, 2, 3}, Trunks: map[uint32]pipeline.Peer{3: {}}},
		{Name: "s2", DPID: 2, Access: map[string]uint32{"h3": 1, "db1": 2}, ToHost: map[string]uint32{"h1": 3, "h2": 3, "h3": 1, "db1": 2, "server": 3}, Flood: []uint32{1, 2, 3}, Trunks: map[uint32]pipeline.Peer{3: {}}},
		{Name: "s3", DPID: 3, Access: map[string]uint32{"server": 3}, ToHost: map[string]uint32{"h1": 1, "h2": 1, "h3": 2, "db1": 2, "server": 3}, Flood: []uint32{1, 2, 3}, Trunks: map[uint32]pipeline.Peer{1: {}, 2: {}}},
	}
	one := func(name, addr string) *mesh.Service {
		return &mesh.Service{Name: name, Instances: []mesh.Instance{inst(name+"-1", addr)}}
	}
	snap := mesh.Snapshot{
		Services: []*mesh.Service{
			one("frontend", h1+":17564"), one("payments", h3+":13427"),
			{Name: "product-api", Instances: []mesh.Instance{inst("product-api-1", h2+":19572"), inst("product-api-2", h3+":19572")}},
			one("product-db", "192.168.1.21:5432"), one("public-api", h1+":20863"),
		},
		Upstreams: []mesh.Upstream{
			calls(h1, "frontend", "public-api", 9191), calls(h1, "public-api", "payments", 9340),
			calls(h1, "public-api", "product-api", 9341), calls(h2, "product-api", "product-db", 9567),
		},
	}
	return f, dps, snap
}

func mustCompile(t *testing.T, f pipeline.Fabric, dp pipeline.Datapath, snap mesh.Snapshot) pipeline.Program {
	t.Helper()
	p, err := pipeline.Compile(f, dp, snap)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGolden(t *testing.T) {
	f, dps, snap := hashicups()
	for _, dp := range dps {
		p := mustCompile(t, f, dp, snap)
		var b strings.Builder
		for _, fl := range p.Flows {
			fmt.Fprintf(&b, "# %s\n%s\n", fl.Reason, fl)
		}
		for _, g := range p.Groups {
			fmt.Fprintf(&b, "# %s\n%s\n", g.Reason, g.Summary())
		}
		path := filepath.Join("testdata", "hashicups-"+dp.Name+".flows")
		if *update {
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != b.String() {
			t.Errorf("%s: the program differs from %s; look at it with -update and git diff\n%s", dp.Name, path, b.String())
		}
	}
}

func TestEveryFlowIsAcceptableSealedAndExplained(t *testing.T) {
	f, dps, snap := hashicups()
	for _, dp := range dps {
		p := mustCompile(t, f, dp, snap)
		seen := map[uint64]flow.Flow{}
		for _, fl := range p.Flows {
			if err := flow.Check(fl); err != nil {
				t.Errorf("%s: %v", dp.Name, err)
			}
			if fl.Seal().Cookie != fl.Cookie || fl.Cookie == 0 {
				t.Errorf("%s: not sealed: %v", dp.Name, fl)
			}
			if fl.Reason == "" || fl.Priority == 0 || pipeline.TableName(fl.Table) == "" {
				t.Errorf("%s: no reason, priority or table name: %v", dp.Name, fl)
			}
			if other, ok := seen[fl.Cookie]; ok {
				t.Errorf("%s: the same flow twice: %v and %v", dp.Name, fl, other)
			}
			seen[fl.Cookie] = fl
		}
		again := mustCompile(t, f, dp, snap)
		if !slices.EqualFunc(p.Flows, again.Flows, func(a, b flow.Flow) bool { return a.Cookie == b.Cookie }) {
			t.Errorf("%s: compiled twice, two programs", dp.Name)
		}
	}
}

// grown is one switch with hosts attached, each of them calling all of the
// services, of instances each.
func grown(hosts, services, instances int) (pipeline.Fabric, pipeline.Datapath, mesh.Snapshot) {
	f := pipeline.Fabric{Mesh: true, VIP: netip.MustParseAddr("10.255.0.1"), Hairpin: netip.MustParseAddr("10.255.0.2"), VIPMAC: mac(vipMAC)}
	dp := pipeline.Datapath{Name: "s1", Access: map[string]uint32{}}
	snap := mesh.Snapshot{}
	for i := range hosts {
		name, addr := fmt.Sprintf("h%d", i), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		f.Hosts = append(f.Hosts, pipeline.Host{Name: name, Addr: addr, MAC: pipeline.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}})
		dp.Access[name] = uint32(i + 1)
	}
	for s := range services {
		service := &mesh.Service{Name: fmt.Sprintf("service-%d", s)}
		for i := range instances {
			at := netip.AddrPortFrom(f.Hosts[i%hosts].Addr, uint16(1000+s))
			service.Instances = append(service.Instances, mesh.Instance{ID: fmt.Sprintf("%d-%d", s, i), Addr: at, Healthy: true, Weight: 1})
		}
		snap.Services = append(snap.Services, service)
		snap.Upstreams = append(snap.Upstreams, mesh.Upstream{Client: f.Hosts[s%hosts].Addr, Source: "x", Destination: service.Name, BindPort: uint16(20000 + s)})
	}
	return f, dp, snap
}

// TestSizeIsASum counts flows: each thing has a fixed price, whatever there
// is of the others.
func TestSizeIsASum(t *testing.T) {
	count := func(hosts, services, instances int) int {
		f, dp, snap := grown(hosts, services, instances)
		return len(mustCompile(t, f, dp, snap).Flows)
	}
	for _, c := range [][3]int{{4, 1, 1}, {4, 10, 1}, {4, 10, 4}, {40, 10, 4}, {40, 100, 20}, {200, 100, 20}} {
		hosts, services, instances := c[0], c[1], c[2]
		// 10 a host: 4 in table 0, 1 each in 18, 50, 60, 72, 90, 100. 4 a service
		// with its upstream: 2 in 20, 1 each in 34, 40. 5 an instance: 12, 32, 45,
		// 70, 75. 43 always.
		if got, want := count(hosts, services, instances), 10*hosts+4*services+5*services*instances+43; got != want {
			t.Errorf("%d hosts, %d services of %d instances: %d flows, want %d", hosts, services, instances, got, want)
		}
	}
}

func TestOneServiceMoreLeavesTheOthersAlone(t *testing.T) {
	f, dp, small := grown(10, 200, 2)
	_, _, large := grown(10, 201, 2)
	want := map[uint64]bool{}
	for _, fl := range mustCompile(t, f, dp, large).Flows {
		want[fl.Cookie] = true
	}
	for _, fl := range mustCompile(t, f, dp, small).Flows {
		if !want[fl.Cookie] {
			t.Errorf("one more service changed a flow of another: %v", fl)
		}
	}
}

func TestContradictionsBecomeWarnings(t *testing.T) {
	f, dps := line()
	for _, c := range []struct {
		name string
		snap mesh.Snapshot
		want string
	}{
		{"one bind port for two services", mesh.Snapshot{Upstreams: []mesh.Upstream{calls(h1, "a", "x", 9000), calls(h1, "b", "y", 9000)}},
			"choose another local_bind_port"},
		{"two services at one address", mesh.Snapshot{
			Services:  []*mesh.Service{{Name: "x", Instances: []mesh.Instance{inst("x1", h3+":80")}}, {Name: "y", Instances: []mesh.Instance{inst("y1", h3+":80")}}},
			Upstreams: []mesh.Upstream{calls(h1, "a", "x", 9000), calls(h1, "a", "y", 9001)},
		}, "only x gets connections there"},
		{"an instance elsewhere", snapshot([]mesh.Upstream{calls(h1, "a", "api", 9000)}, inst("far", "10.9.9.9:80")), "on no host of this network"},
		{"the same upstream twice", mesh.Snapshot{Upstreams: []mesh.Upstream{calls(h1, "a", "x", 9000), calls(h1, "b", "x", 9000)}}, "intentions take both for a"},
		{"an upstream twice", mesh.Snapshot{Upstreams: []mesh.Upstream{calls(h1, "a", "x", 9000), calls(h1, "a", "x", 9000)}}, ""},
	} {
		p := mustCompile(t, f, dps[0], c.snap)
		if got := strings.Join(p.Warnings, "\n"); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: warnings %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBadFabric(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*pipeline.Fabric, *pipeline.Datapath)
		want   string
	}{
		{"vip of IPv6", func(f *pipeline.Fabric, _ *pipeline.Datapath) { f.VIP = netip.MustParseAddr("::1") }, "not an IPv4"},
		{"no vip", func(f *pipeline.Fabric, _ *pipeline.Datapath) { f.VIP = netip.Addr{} }, "not an IPv4"},
		{"hairpin is vip", func(f *pipeline.Fabric, _ *pipeline.Datapath) { f.Hairpin = f.VIP }, "different addresses"},
		{"host is vip", func(f *pipeline.Fabric, _ *pipeline.Datapath) { f.Hosts[0].Addr = f.VIP }, "is that of vip"},
		{"multicast MAC", func(f *pipeline.Fabric, _ *pipeline.Datapath) { f.VIPMAC[0] = 1 }, "not a unicast"},
		{"MAC twice", func(f *pipeline.Fabric, _ *pipeline.Datapath) { f.Hosts[0].MAC = f.Hosts[1].MAC }, "is that of h1"},
		{"unknown host", func(_ *pipeline.Fabric, d *pipeline.Datapath) { d.ToHost["h9"] = 3 }, "h9"},
		{"port twice", func(_ *pipeline.Fabric, d *pipeline.Datapath) { d.Access["h2"] = 1 }, "both attached at port 1"},
		{"port 0", func(_ *pipeline.Fabric, d *pipeline.Datapath) { d.Access["h2"] = 0 }, "port 0"},
		{"reserved port", func(_ *pipeline.Fabric, d *pipeline.Datapath) { d.Flood = []uint32{0xfffb} }, "65531"},
	} {
		f, dps := line()
		c.change(&f, &dps[0])
		if _, err := pipeline.Compile(f, dps[0], mesh.Snapshot{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestFabricSurvivesJSON(t *testing.T) {
	f, dps, snap := hashicups()
	text, err := json.Marshal(struct {
		F  pipeline.Fabric
		DP pipeline.Datapath
	}{f, dps[0]})
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		F  pipeline.Fabric
		DP pipeline.Datapath
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	want, got := mustCompile(t, f, dps[0], snap), mustCompile(t, back.F, back.DP, snap)
	if !slices.EqualFunc(want.Flows, got.Flows, func(a, b flow.Flow) bool { return a.Cookie == b.Cookie }) {
		t.Errorf("the program changed through JSON %s", text)
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, services := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprintf("%dx3", services), func(b *testing.B) {
			f, dp, snap := grown(100, services, 3)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pipeline.Compile(f, dp, snap); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
