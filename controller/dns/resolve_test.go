package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
)

func testInstance(id, addr string, healthy bool, weight uint16) mesh.Instance {
	return mesh.Instance{ID: id, Node: "n", Addr: netip.MustParseAddrPort(addr), Healthy: healthy, Weight: weight}
}

func testSnapshot() mesh.Snapshot {
	client1, client2 := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("192.168.1.2")
	return mesh.Snapshot{
		Services: []*mesh.Service{
			{Name: "Mixed", Instances: []mesh.Instance{testInstance("m", "192.168.1.30:80", true, 1)}},
			{Name: "down", Instances: []mesh.Instance{testInstance("d", "192.168.1.40:80", false, 1)}},
			{Name: "odd one", Instances: []mesh.Instance{testInstance("o", "192.168.1.60:80", true, 1)}},
			{Name: "split", Legs: []mesh.Leg{{Weight: 1, Targets: []mesh.Target{{Service: "web"}}}}},
			{Name: "web", Instances: []mesh.Instance{
				testInstance("a", "192.168.1.11:8080", true, 7),
				testInstance("b", "192.168.1.12:8080", true, 1),
				testInstance("c", "192.168.1.13:8080", false, 1),
				testInstance("d", "192.168.1.11:8081", true, 1),
				testInstance("e", "192.168.1.11:8081", true, 2), // registered twice
			}},
		},
		Upstreams: []mesh.Upstream{
			{Client: client1, Source: "x", Destination: "down", BindPort: 9000},
			{Client: client1, Source: "x", Destination: "web", BindPort: 9001},
			{Client: client1, Source: "y", Destination: "web", BindPort: 9001},
			{Client: client1, Source: "z", Destination: "web", BindPort: 9002},
			{Client: client2, Source: "x", Destination: "web", BindPort: 9100},
		},
	}
}

func testZone(t testing.TB, domain, datacenter string) *zone {
	t.Helper()
	z, err := newZone(domain, datacenter, testVIP, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	z.shuffle = func(int, func(i, j int)) {}
	return z
}

// text is a reply in one line: code, answers, "+" and additional records.
func text(r reply) string {
	parts := []string{dns.RcodeToString[r.rcode]}
	for _, rr := range r.answer {
		parts = append(parts, record(rr))
	}
	if len(r.extra) > 0 {
		parts = append(parts, "+")
	}
	for _, rr := range r.extra {
		parts = append(parts, record(rr))
	}
	if r.more {
		parts = append(parts, "...")
	}
	return strings.Join(parts, " ")
}

func record(rr dns.RR) string {
	f := strings.Split(rr.String(), "\t") // name, TTL, class, type, data
	return f[0] + ":" + f[3] + ":" + strings.ReplaceAll(f[4], " ", ":")
}

func TestResolve(t *testing.T) {
	const webSRV = "web.service.consul.:SRV:1:7:8080:c0a8010b.addr.dc1.consul. web.service.consul.:SRV:1:1:8081:c0a8010b.addr.dc1.consul. web.service.consul.:SRV:1:1:8080:c0a8010c.addr.dc1.consul."
	const webExtra = " + c0a8010b.addr.dc1.consul.:A:192.168.1.11 c0a8010c.addr.dc1.consul.:A:192.168.1.12"
	for name, tc := range map[string]struct {
		name   string
		qtype  uint16
		client string
		want   string
	}{
		"service A":                  {"web.service.consul.", dns.TypeA, "", "NOERROR web.service.consul.:A:192.168.1.11 web.service.consul.:A:192.168.1.12"},
		"service ANY":                {"web.service.consul.", dns.TypeANY, "", "NOERROR web.service.consul.:A:192.168.1.11 web.service.consul.:A:192.168.1.12"},
		"service AAAA":               {"web.service.consul.", dns.TypeAAAA, "", "NOERROR"},
		"service TXT":                {"web.service.consul.", dns.TypeTXT, "", "NOERROR"},
		"service SRV":                {"web.service.consul.", dns.TypeSRV, "", "NOERROR " + webSRV + webExtra},
		"with the datacenter":        {"web.service.dc1.consul.", dns.TypeA, "", "NOERROR web.service.dc1.consul.:A:192.168.1.11 web.service.dc1.consul.:A:192.168.1.12"},
		"of another datacenter":      {"web.service.dc2.consul.", dns.TypeA, "", "NXDOMAIN"},
		"the case of the name stays": {"WeB.sErViCe.dC1.CONSUL.", dns.TypeA, "", "NOERROR WeB.sErViCe.dC1.CONSUL.:A:192.168.1.11 WeB.sErViCe.dC1.CONSUL.:A:192.168.1.12"},
		"registered in mixed case":   {"mixed.service.consul.", dns.TypeA, "", "NOERROR mixed.service.consul.:A:192.168.1.30"},
		"asked in mixed case":        {"Mixed.service.consul.", dns.TypeA, "", "NOERROR Mixed.service.consul.:A:192.168.1.30"},
		"with a space":               {`odd\032one.service.consul.`, dns.TypeA, "", `NOERROR odd\ one.service.consul.:A:192.168.1.60`},
		"no healthy instance":        {"down.service.consul.", dns.TypeA, "", "NOERROR"},
		"no healthy instance, SRV":   {"down.service.consul.", dns.TypeSRV, "", "NOERROR"},
		"legs are not followed":      {"split.service.consul.", dns.TypeA, "", "NOERROR"},
		"unknown service":            {"nosuch.service.consul.", dns.TypeA, "", "NXDOMAIN"},
		"tag":                        {"v1.web.service.consul.", dns.TypeA, "", "NXDOMAIN"},
		"dot within a label":         {`v1\.web.service.consul.`, dns.TypeA, "", "NXDOMAIN"},
		"RFC 2782":                   {"_web._tcp.service.consul.", dns.TypeSRV, "", "NOERROR " + strings.ReplaceAll(webSRV, "web.service", "_web._tcp.service") + webExtra},
		"RFC 2782, datacenter":       {"_web._tcp.service.dc1.consul.", dns.TypeA, "", "NOERROR _web._tcp.service.dc1.consul.:A:192.168.1.11 _web._tcp.service.dc1.consul.:A:192.168.1.12"},
		"RFC 2782, unknown service":  {"_nosuch._tcp.service.consul.", dns.TypeSRV, "", "NXDOMAIN"},
		"RFC 2782, UDP":              {"_web._udp.service.consul.", dns.TypeSRV, "", "NXDOMAIN"},
		"RFC 2782, no underscore":    {"web._tcp.service.consul.", dns.TypeSRV, "", "NXDOMAIN"},
		"RFC 2782, no name":          {"_._tcp.service.consul.", dns.TypeSRV, "", "NXDOMAIN"},
		"RFC 2782, above the names":  {"_tcp.service.consul.", dns.TypeSRV, "", "NOERROR"},

		"virtual A":                       {"web.virtual.consul.", dns.TypeA, "", "NOERROR web.virtual.consul.:A:192.168.1.250"},
		"virtual A, datacenter":           {"web.virtual.dc1.consul.", dns.TypeA, "", "NOERROR web.virtual.dc1.consul.:A:192.168.1.250"},
		"virtual A, no healthy instance":  {"down.virtual.consul.", dns.TypeA, "", "NOERROR down.virtual.consul.:A:192.168.1.250"},
		"virtual A, legs only":            {"split.virtual.consul.", dns.TypeA, "", "NOERROR split.virtual.consul.:A:192.168.1.250"},
		"virtual AAAA":                    {"web.virtual.consul.", dns.TypeAAAA, "", "NOERROR"},
		"virtual SRV, two ports":          {"web.virtual.consul.", dns.TypeSRV, "192.168.1.1", "NOERROR web.virtual.consul.:SRV:1:1:9001:web.virtual.consul. web.virtual.consul.:SRV:1:1:9002:web.virtual.consul. + web.virtual.consul.:A:192.168.1.250"},
		"virtual SRV, the last client":    {"web.virtual.consul.", dns.TypeSRV, "192.168.1.2", "NOERROR web.virtual.consul.:SRV:1:1:9100:web.virtual.consul. + web.virtual.consul.:A:192.168.1.250"},
		"virtual SRV, not for the client": {"down.virtual.consul.", dns.TypeSRV, "192.168.1.2", "NOERROR"},
		"virtual SRV, unknown client":     {"web.virtual.consul.", dns.TypeSRV, "192.168.1.3", "NOERROR"},
		"virtual, unknown service":        {"nosuch.virtual.consul.", dns.TypeA, "", "NXDOMAIN"},
		"virtual, tag":                    {"v1.web.virtual.consul.", dns.TypeA, "", "NXDOMAIN"},

		"address":                  {"c0a8010b.addr.consul.", dns.TypeA, "", "NOERROR c0a8010b.addr.consul.:A:192.168.1.11"},
		"address, datacenter":      {"C0A8010B.addr.dc1.consul.", dns.TypeA, "", "NOERROR C0A8010B.addr.dc1.consul.:A:192.168.1.11"},
		"address AAAA":             {"c0a8010b.addr.consul.", dns.TypeAAAA, "", "NOERROR"},
		"address, not hexadecimal": {"c0a8010x.addr.consul.", dns.TypeA, "", "NXDOMAIN"},
		"address, too short":       {"c0a801.addr.consul.", dns.TypeA, "", "NXDOMAIN"},
		"address of IPv6":          {"20010db8000000000000000000000001.addr.consul.", dns.TypeAAAA, "", "NXDOMAIN"},
		"address below another":    {"x.c0a8010b.addr.consul.", dns.TypeA, "", "NXDOMAIN"},

		"apex SOA":          {"consul.", dns.TypeSOA, "", "NOERROR consul.:SOA:ns.consul.:hostmaster.consul.:1:3600:600:86400:5"},
		"apex SOA, case":    {"CONsul.", dns.TypeSOA, "", "NOERROR CONsul.:SOA:ns.consul.:hostmaster.consul.:1:3600:600:86400:5"},
		"apex NS":           {"consul.", dns.TypeNS, "", "NOERROR consul.:NS:ns.consul. + ns.consul.:A:192.168.1.250"},
		"apex A":            {"consul.", dns.TypeA, "", "NOERROR"},
		"name server":       {"ns.consul.", dns.TypeA, "", "NOERROR ns.consul.:A:192.168.1.250"},
		"below name server": {"x.ns.consul.", dns.TypeA, "", "NXDOMAIN"},

		// Names between others exist (RFC 8020).
		"between: service":             {"service.consul.", dns.TypeNS, "", "NOERROR"},
		"between: virtual":             {"virtual.consul.", dns.TypeNS, "", "NOERROR"},
		"between: addr":                {"addr.dc1.consul.", dns.TypeNS, "", "NOERROR"},
		"between: datacenter":          {"dc1.consul.", dns.TypeNS, "", "NOERROR"},
		"not between":                  {"dc2.consul.", dns.TypeNS, "", "NXDOMAIN"},
		"kinds that Consul has beside": {"n.node.consul.", dns.TypeA, "", "NXDOMAIN"},
	} {
		t.Run(name, func(t *testing.T) {
			z := testZone(t, "consul", "dc1")
			labels, ok := splitName(tc.name)
			if !ok {
				t.Fatal("no name")
			}
			labels, ok = z.below(labels)
			if !ok {
				t.Fatal("outside the domain")
			}
			q := question{name: tc.name, labels: labels, qtype: tc.qtype, size: dns.MaxMsgSize}
			if tc.client != "" {
				q.client = netip.MustParseAddr(tc.client)
			}
			if got := text(z.resolve(q, testSnapshot(), true)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func resolveName(t *testing.T, z *zone, name string, qtype uint16, size int, snap mesh.Snapshot, known bool) reply {
	t.Helper()
	labels, ok := splitName(name)
	if !ok {
		t.Fatalf("%s is no name", name)
	}
	labels, ok = z.below(labels)
	if !ok {
		t.Fatalf("%s is outside", name)
	}
	return z.resolve(question{name: name, labels: labels, qtype: qtype, size: size}, snap, known)
}

// Before the first snapshot a denial would be a lie that clients keep. What
// needs no snapshot is answered.
func TestResolveBeforeTheFirstSnapshot(t *testing.T) {
	z := testZone(t, "consul", "dc1")
	for name, want := range map[string]int{
		"web.service.consul.":           dns.RcodeServerFailure,
		"web.virtual.consul.":           dns.RcodeServerFailure,
		"v1.web.virtual.consul.":        dns.RcodeNameError,
		"c0a8010b.addr.consul.":         dns.RcodeSuccess,
		"consul.":                       dns.RcodeSuccess,
		"ns.consul.":                    dns.RcodeSuccess,
		"service.consul.":               dns.RcodeSuccess,
		"nosuch.nosuch.consul.":         dns.RcodeNameError,
		"_web._tcp.service.dc1.consul.": dns.RcodeServerFailure,
	} {
		if got := resolveName(t, z, name, dns.TypeA, 512, mesh.Snapshot{}, false).rcode; got != want {
			t.Errorf("%s: %s, want %s", name, dns.RcodeToString[got], dns.RcodeToString[want])
		}
	}
}

func TestResolveWithoutDatacenter(t *testing.T) {
	z := testZone(t, "Mesh.Example.", "")
	snap := testSnapshot()
	if r := resolveName(t, z, "web.service.mesh.example.", dns.TypeSRV, 512, snap, true); !strings.Contains(text(r), "c0a8010b.addr.mesh.example.:A:192.168.1.11") {
		t.Errorf("targets: %s", text(r))
	}
	if r := resolveName(t, z, "web.service.dc1.mesh.example.", dns.TypeA, 512, snap, true); r.rcode != dns.RcodeNameError {
		t.Errorf("a datacenter that nobody named: %s", text(r))
	}
}

// The number of records made is bounded by what the answer may hold, and each
// instance has the same chance to be among them.
func TestResolveChooses(t *testing.T) {
	z, err := newZone("consul", "dc1", testVIP, 0)
	if err != nil {
		t.Fatal(err)
	}
	snap := manyInstances(2000)
	for _, tc := range []struct {
		qtype      uint16
		size, most int
	}{{dns.TypeA, 512, 32}, {dns.TypeA, 1232, 77}, {dns.TypeSRV, 512, 12}, {dns.TypeSRV, 1232, 29}} {
		r := resolveName(t, z, "many.service.consul.", tc.qtype, tc.size, snap, true)
		if !r.more || len(r.answer) > tc.most || len(r.answer) < tc.most/2 {
			t.Errorf("%s in %d bytes: %d records, more %t", dns.TypeToString[tc.qtype], tc.size, len(r.answer), r.more)
		}
	}
	if r := resolveName(t, z, "many.service.consul.", dns.TypeA, dns.MaxMsgSize, snap, true); r.more || len(r.answer) != 2000 {
		t.Errorf("TCP: %d records, more %t", len(r.answer), r.more)
	}
	seen := map[string]int{}
	for range 4000 {
		seen[resolveName(t, z, "web.service.consul.", dns.TypeA, 512, testSnapshot(), true).answer[0].(*dns.A).A.String()]++
	}
	if len(seen) != 2 || seen["192.168.1.11"] < 1800 || seen["192.168.1.12"] < 1800 {
		t.Errorf("first answers: %v", seen)
	}
}

func manyInstances(n int) mesh.Snapshot {
	s := &mesh.Service{Name: "many"}
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		s.Instances = append(s.Instances, mesh.Instance{ID: fmt.Sprint(i), Addr: netip.AddrPortFrom(addr, 80), Healthy: true, Weight: 1})
	}
	return mesh.Snapshot{Services: []*mesh.Service{s}}
}

// A snapshot that is replaced is seen at once, also by the index of names in
// mixed case.
func TestFindFollowsTheSnapshot(t *testing.T) {
	z := testZone(t, "consul", "")
	a, b := &mesh.Service{Name: "Web"}, &mesh.Service{Name: "wEB"}
	for _, tc := range []struct {
		services []*mesh.Service
		want     *mesh.Service
	}{
		{[]*mesh.Service{a}, a},
		{[]*mesh.Service{b}, b},
		{nil, nil},
		{[]*mesh.Service{a, {Name: "zone"}}, a},
		{[]*mesh.Service{{Name: "other"}}, nil},
	} {
		for range 2 {
			if got := z.find(tc.services, "web"); got != tc.want {
				t.Errorf("%v: found %v", tc.services, got)
			}
		}
	}
}

func TestSplitName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, tc := range map[string]struct {
		in   string
		want []string
		ok   bool
	}{
		"root":             {".", []string{}, true},
		"lower case":       {"A.bC.", []string{"a", "bc"}, true},
		"not ended":        {"a.b", []string{"a", "b"}, true},
		"escaped dot":      {`a\.b.c.`, []string{"a.b", "c"}, true},
		"escaped number":   {`\065\000.c.`, []string{"a\x00", "c"}, true},
		"letters of UTF-8": {`\195\132.`, []string{"\xc3\x84"}, true},
		"63 bytes":         {long + ".", []string{long}, true},
		"64 bytes":         {long + "a.", nil, false},
		"255 bytes":        {long + "." + long + "." + long + "." + long[:61] + ".", []string{long, long, long, long[:61]}, true},
		"256 bytes":        {long + "." + long + "." + long + "." + long[:62] + ".", nil, false},
		"empty label":      {"a..b.", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := splitName(tc.in)
			if ok != tc.ok || ok && !slices.Equal(got, tc.want) {
				t.Errorf("got %q, %t", got, ok)
			}
		})
	}
}

func TestNewZone(t *testing.T) {
	for name, tc := range map[string]struct {
		domain, dc string
		ttl        time.Duration
		want       string
	}{
		"plain":                {"consul", "dc1", time.Second, ""},
		"with a dot":           {"consul.", "DC1", 0, ""},
		"no domain":            {"", "", 0, "no DNS name"},
		"root":                 {".", "", 0, "no DNS name"},
		"empty label":          {"a..b", "", 0, "no DNS name"},
		"domain too long":      {strings.Repeat("abcdefg.", 30), "dc1", 0, "too long"},
		"two labels":           {"consul", "dc1.eu", 0, "no label"},
		"a kind as datacenter": {"consul", "Service", 0, "kind of names"},
		"negative TTL":         {"consul", "", -time.Second, "TTL"},
		"half a second":        {"consul", "", time.Second / 2, "TTL"},
		"TTL of 69 years":      {"consul", "", (1 << 31) * time.Second, "TTL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newZone(tc.domain, tc.dc, testVIP, tc.ttl)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
