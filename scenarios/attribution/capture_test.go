package attribution_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/attribution"
	"meshlab.dev/meshlab/topo"
)

var update = flag.Bool("update", false, "rewrite the expected spans")

func loadLab(t testing.TB, name string) *topo.Lab {
	t.Helper()
	lab, _, err := labs.Load(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

// under is the way to a service of a lab under a mesh. The ports of sidecars
// are those of orchestrate/consul in the labs of these tests.
func under(t testing.TB, lab *topo.Lab, mesh, to string) attribution.Way {
	t.Helper()
	way := attribution.Way{Lab: lab, To: to}
	switch mesh {
	case "direct":
	case "ovs":
		way.Virtual = lab.Mesh.VIP
	case "consul-connect":
		way.Sidecars = map[string]uint16{}
		next := map[string]uint16{}
		for _, s := range lab.Services {
			way.Sidecars[s.Name] = 21000 + next[s.Node]
			next[s.Node]++
		}
	default:
		t.Fatalf("no mesh %s", mesh)
	}
	return way
}

// readCapture reads a capture of a real lab: a line of ports, and a line for
// each packet.
func readCapture(t testing.TB, path string) (c attribution.Capture) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for first := true; lines.Scan(); first = false {
		var p attribution.Packet
		if first {
			err = json.Unmarshal(lines.Bytes(), &c.Ports)
		} else if err = json.Unmarshal(lines.Bytes(), &p); err == nil {
			c.Packets = append(c.Packets, p)
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	return c
}

// captures were recorded in real labs, four requests each. What is expected of
// them is in files beside them; what a reader can check by eye is here.
var captures = []struct {
	name, lab, mesh, to string
	ports               attribution.Side // where the client's requests leave
	request             netip.AddrPort   // their destination there
	course              []string         // of depth 0: where, and kind
}{
	{"direct-frontend", "hashicups", "direct", "frontend", attribution.Sent, netip.MustParseAddrPort("192.168.1.11:17564"),
		[]string{"client client", "s3, s1 switch", "h1 service", "s1, s3 switch"}},
	{"direct-api", "hashicups", "direct", "public-api", attribution.Sent, netip.MustParseAddrPort("192.168.1.11:20863"),
		[]string{"client client", "s3, s1 switch", "h1 service", "s1, s3 switch"}},
	{"ovs-api", "hashicups", "ovs", "public-api", attribution.Sent, netip.MustParseAddrPort("192.168.1.250:9191"),
		[]string{"client client", "s3, s1 switch", "h1 service", "s1, s3 switch"}},
	{"consul-connect-api", "hashicups", "consul-connect", "public-api", attribution.Loopback, netip.MustParseAddrPort("127.0.0.1:9191"),
		[]string{"client client", "client proxy", "s3, s1 switch", "h1 proxy", "h1 service", "h1 proxy", "s1, s3 switch", "client proxy"}},
	{"direct-api-single-node", "hashicups-single-node", "direct", "public-api", attribution.Sent, netip.MustParseAddrPort("192.168.1.11:20863"),
		[]string{"client client", "s1 switch", "h1 service", "s1 switch"}},
	{"ovs-api-single-node", "hashicups-single-node", "ovs", "public-api", attribution.Sent, netip.MustParseAddrPort("192.168.1.250:9191"),
		[]string{"client client", "s1 switch", "h1 service", "s1 switch"}},
	{"consul-connect-api-single-node", "hashicups-single-node", "consul-connect", "public-api", attribution.Loopback, netip.MustParseAddrPort("127.0.0.1:9191"),
		[]string{"client client", "client proxy", "s1 switch", "h1 proxy", "h1 service", "h1 proxy", "s1 switch", "client proxy"}},
}

func TestCaptures(t *testing.T) {
	for _, tc := range captures {
		t.Run(tc.name, func(t *testing.T) {
			lab := loadLab(t, tc.lab)
			c := readCapture(t, filepath.Join("testdata", tc.name+".ndjson"))
			r, err := attribution.Attribute(under(t, lab, tc.mesh, tc.to), []attribution.Capture{c}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if r.Requests != 3 || len(r.Lost) != 0 {
				t.Errorf("%d requests, lost %v; want 3 and none", r.Requests, r.Lost)
			}
			var course []string
			sum := 0.0
			for _, s := range r.Spans {
				if s.Depth == 0 {
					course = append(course, s.Where+" "+string(s.Kind))
					sum += s.Duration
				}
			}
			if !slices.Equal(course, tc.course) {
				t.Errorf("course %q, want %q", course, tc.course)
			}
			// What a request took is also the distance of two answers.
			if want := betweenAnswers(c, tc.ports, tc.request); math.Abs(sum-want) > 1e-6 {
				t.Errorf("the spans add up to %.6f ms, answers are %.6f ms apart", sum, want)
			}
			checkShape(t, r.Spans)
			golden(t, filepath.Join("testdata", tc.name+".golden"), table(r.Spans))
		})
	}
}

// betweenAnswers is the mean time from the last packet of an answer to that of
// the next, of all but the first answer. In order to need nothing of what is
// tested, it takes for granted that no packet is missing or comes twice.
func betweenAnswers(c attribution.Capture, requests attribution.Side, server netip.AddrPort) float64 {
	answers := attribution.Delivered
	if requests == attribution.Loopback {
		answers = attribution.Loopback
	}
	packets := slices.Clone(c.Packets)
	slices.SortFunc(packets, func(a, b attribution.Packet) int { return int(a.At - b.At) })
	var ends []int64
	var last int64 // 0: no answer since the first request
	asked := false
	for _, p := range packets {
		port := c.Ports[p.Port]
		switch {
		case port.Host == "client" && port.Side == requests && p.Dst == server:
			if last != 0 {
				ends = append(ends, last)
			}
			asked = true
		case asked && port.Host == "client" && port.Side == answers && p.Src == server:
			last = p.At
		}
	}
	ends = append(ends, last)
	return float64(ends[len(ends)-1]-ends[0]) / float64(len(ends)-1) / 1e6
}

// checkShape holds spans to what is true of all: nothing is negative, those of
// depth 0 follow each other without gaps, and calls are within what calls.
func checkShape(t testing.TB, spans []scenarios.Span) {
	t.Helper()
	const least = 1e-9
	at := 0.0
	for i, s := range spans {
		if s.Start < 0 || s.Duration < 0 || s.P95 < 0 || s.Within < 0 || s.Within > s.Duration+least {
			t.Errorf("span %+v", s)
		}
		if s.Depth == 0 {
			if math.Abs(s.Start-at) > 1e-6 {
				t.Errorf("%s at %s starts at %f, and what is before it ends at %f", s.What, s.Where, s.Start, at)
			}
			at = s.Start + s.Duration
			continue
		}
		in := slices.ContainsFunc(spans[:i], func(p scenarios.Span) bool {
			return p.Kind == scenarios.SpanService && p.Depth == s.Depth-1 && p.Start <= s.Start+least && s.Start+s.Duration <= p.Start+p.Duration+least
		})
		if !in {
			t.Errorf("nothing of depth %d holds %+v", s.Depth-1, s)
		}
	}
}

func table(spans []scenarios.Span) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "kind\twhere\tdepth\tstart\tlength\tp95\twithin\twhat")
	for _, s := range spans {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.6f\t%.6f\t%.6f\t%.6f\t%s\n", s.Kind, s.Where, s.Depth, s.Start, s.Duration, s.P95, s.Within, s.What)
	}
	w.Flush()
	return b.String()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("spans differ from %s (-update rewrites it):\n%s", path, got)
	}
}
