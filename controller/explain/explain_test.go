package explain

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

func mustTrace(t *testing.T, n Network, q Question) Trace {
	t.Helper()
	tr, err := TraceOf(n, q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return tr
}

func TestVerdicts(t *testing.T) {
	n := compiled(t, nil)
	for _, c := range []struct {
		name    string
		q       Question
		outcome Outcome
		text    string
		back    string // empty: no answer is traced
	}{
		{"call", Question{From: "public-api", To: "payments"}, Reaches,
			"reaches payments at h3 (192.168.1.13:8080), from public-api's call of payments at 192.168.1.250:9340",
			"the answer comes back to h1 from 192.168.1.250:9340"},
		{"call by bind port", Question{From: "h1", To: vip + ":9340"}, Reaches,
			"reaches payments at h3 (192.168.1.13:8080), from public-api's call of payments at 192.168.1.250:9340",
			"the answer comes back to h1 from 192.168.1.250:9340"},
		{"hairpin", Question{From: "frontend", To: "public-api"}, Reaches,
			"reaches public-api at h1 itself (192.168.1.11:8080), from frontend's call of public-api at 192.168.1.250:9191; it sees 192.168.1.254:40000 as the client",
			"the answer comes back to h1 from 192.168.1.250:9191"},
		{"beside the mesh", Question{From: "h1", To: "h3:8002"}, Reaches,
			"reaches api at h3 (192.168.1.13:8002), beside the mesh", "the answer comes back to h1 from 192.168.1.13:8002"},
		{"no service", Question{From: "h1", To: h3 + ":9"}, Reaches,
			"reaches h3 (192.168.1.13:9), where no service is registered", "the answer comes back to h1 from 192.168.1.13:9"},
		{"refused", Question{From: "public-api", To: "refunds"}, Refused, "refused: refunds has no healthy instance; h1 gets a reset", ""},
		{"nothing called", Question{From: "h1", To: vip + ":1"}, Refused, "refused: nothing is called at this port; h1 gets a reset", ""},
		{"denied", Question{From: "frontend", To: "payments"}, Denied, "denied by the intention frontend -> payments; both ends get a reset", ""},
		{"denied beside the mesh", Question{From: "h1", To: "h3:8080"}, Denied,
			"denied as sent beside the mesh, to a service that not everybody may call; both ends get a reset", ""},
		{"stray", Question{From: "h1", To: vip + ":9340", Flags: "RST"}, Dropped,
			"dropped: the reset of a connection that is not stored, in table 30 state of s1", ""},
		{"ARP for the mesh", Question{From: "h1", To: vip, Protocol: "ARP"}, Answered,
			"answered by s1: 192.168.1.250 is at 02:00:c0:a8:01:fa (the mesh)", ""},
		{"ARP for a host", Question{From: "h1", To: "h3", Protocol: "arp"}, Reaches, "reaches h2, h3", ""},
		{"DNS", Question{From: "h1", To: vip + ":53", Protocol: "udp"}, Controller, "a question to the mesh's DNS, which the controller answers", ""},
		{"ping", Question{From: "h2", To: "h3", Protocol: "icmp"}, Reaches, "reaches h3 (192.168.1.13)", "the answer comes back to h2 from 192.168.1.13"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := mustTrace(t, n, c.q)
			if got := tr.There.Verdict; got.Outcome != c.outcome || got.Text != c.text {
				t.Errorf("verdict %s: %s\nwant %s: %s", got.Outcome, got.Text, c.outcome, c.text)
			}
			switch {
			case c.back == "" && tr.Back != nil:
				t.Errorf("there is an answer: %s", tr.Answer)
			case c.back != "" && tr.Back == nil:
				t.Error("there is no answer")
			case c.back != "" && tr.Back.Verdict.Text != c.back:
				t.Errorf("answer: %s, want: %s", tr.Back.Verdict.Text, c.back)
			}
		})
	}
}

func TestDefaultDeny(t *testing.T) {
	n := compiled(t, func(_ *pipeline.Fabric, s *mesh.Snapshot) { s.DefaultDeny = true })
	tr := mustTrace(t, n, Question{From: "frontend", To: "public-api"})
	if got := tr.There.Verdict; got.Outcome != Denied || !strings.Contains(got.Text, "no intention says otherwise") {
		t.Errorf("verdict %s: %s", got.Outcome, got.Text)
	}
}

// Where the wires are not known, the trace says so.
func TestUnknownWire(t *testing.T) {
	n := compiled(t, nil)
	for i := range n.Datapaths {
		n.Datapaths[i].Trunks = nil
	}
	tr := mustTrace(t, n, Question{From: "public-api", To: "payments"})
	if got := tr.There.Verdict; got.Outcome != Leaves || got.Text != "leaves s1 by port 3, and what is behind that is not known here" {
		t.Errorf("verdict %s: %s", got.Outcome, got.Text)
	}
}

// A program of a few flows, which the compiler would not write.
func TestEndsWithoutAMatch(t *testing.T) {
	n := compiled(t, nil)
	n.Programs["s1"] = pipeline.Program{Flows: []flow.Flow{flow.Flow{Priority: 1, Reason: "all", Actions: []flow.Action{flow.Resubmit{Table: 90}}}.Seal()}}
	tr := mustTrace(t, n, Question{From: "h1", To: "h3:9"})
	if got := tr.There.Verdict.Text; got != "dropped: nothing in table 90 l2 of s1 matches it" {
		t.Error(got)
	}
	if steps := tr.There.Hops[0].Steps; len(steps) != 2 || !steps[1].Miss {
		t.Errorf("steps %+v", steps)
	}
	n.Programs["s1"] = pipeline.Program{Flows: []flow.Flow{flow.Flow{Priority: 1, Reason: "back", Actions: []flow.Action{flow.Output{Port: 1}}}.Seal()}}
	tr = mustTrace(t, n, Question{From: "h1", To: "h3:9"})
	if got := tr.There.Verdict.Text; got != "dropped: it would have to leave s1 by the port it came in by (back)" {
		t.Error(got)
	}
	n.Programs["s1"] = pipeline.Program{Flows: []flow.Flow{{Actions: []flow.Action{flow.Resubmit{}}}}}
	if _, err := TraceOf(n, Question{From: "h1", To: "h3:9"}); err == nil || !strings.Contains(err.Error(), "loop") {
		t.Errorf("a loop: %v", err)
	}
}

func TestShares(t *testing.T) {
	weighted := func(_ *pipeline.Fabric, s *mesh.Snapshot) {
		heavy := instance("api-2", h3+":8002")
		heavy.Weight = 3
		s.Services[0] = service("api", instance("api-1", h2+":8001"), heavy, sick(instance("api-3", h1+":8003")))
	}
	tr := mustTrace(t, compiled(t, weighted), Question{From: "web@h2", To: "api", SourcePort: 5000})
	if len(tr.Shares) != 2 || tr.Shares[0].Instance != "api-2" || tr.Shares[0].Address != h3+":8002" || tr.Shares[0].Service != "api" {
		t.Fatalf("shares %+v, want api-2 and api-1", tr.Shares)
	}
	if r := tr.Shares[0].Ratio; math.Abs(r-0.75) > 0.01 {
		t.Errorf("api-2 gets %.3f, want 0.75", r)
	}
	chosen := 0
	for _, s := range tr.Shares {
		if s.Chosen {
			chosen++
			if !strings.Contains(tr.There.Verdict.Text, s.Address) {
				t.Errorf("chosen is %s, and the packet %s", s.Instance, tr.There.Verdict.Text)
			}
		}
	}
	if chosen != 1 {
		t.Errorf("%d are chosen", chosen)
	}
	affine := func(_ *pipeline.Fabric, s *mesh.Snapshot) { s.Services[0].Affinity = true }
	tr = mustTrace(t, compiled(t, affine), Question{From: "web@h2", To: "api"})
	if len(tr.Shares) != 2 || tr.Shares[0].Slots != tr.Shares[1].Slots || tr.Shares[0].Chosen == tr.Shares[1].Chosen {
		t.Errorf("with affinity: shares %+v", tr.Shares)
	}
	split := func(_ *pipeline.Fabric, s *mesh.Snapshot) {
		s.Services[0].Legs = []mesh.Leg{{Weight: 90, Targets: []mesh.Target{{Service: "payments"}}}, {Weight: 10, Targets: []mesh.Target{{Service: "refunds"}}}}
	}
	tr = mustTrace(t, compiled(t, split), Question{From: "web@h2", To: "api"})
	if len(tr.Shares) != 2 || tr.Shares[0].Service != "payments" || tr.Shares[1].Instance != "refused" || math.Abs(tr.Shares[1].Ratio-0.1) > 0.01 {
		t.Errorf("split over a service without healthy instances: shares %+v", tr.Shares)
	}
}

func TestNotesTellLimits(t *testing.T) {
	limit := func(_ *pipeline.Fabric, s *mesh.Snapshot) {
		s.Services[2].Limits = mesh.Limits{Connections: 7, ConnectionsPerSec: 5}
	}
	all := strings.Join(mustTrace(t, compiled(t, limit), Question{From: "public-api", To: "payments"}).Notes, "\n")
	for _, want := range []string{"a new connection", "at most 7 connections", "5 packets per second"} {
		if !strings.Contains(all, want) {
			t.Errorf("notes %q lack %q", all, want)
		}
	}
}

func TestQuestionsThatCannotBeAsked(t *testing.T) {
	n := compiled(t, func(f *pipeline.Fabric, s *mesh.Snapshot) {
		s.Upstreams = append(s.Upstreams, calls(h2, "web", "api", 9195), calls(h1, "frontend", "h3", 9999))
		s.Services = append(s.Services, service("h3", instance("h3-1", h2+":99")))
	})
	for _, c := range []struct {
		q    Question
		want string
	}{
		{Question{From: "nobody", To: "api"}, `no host or service "nobody": there are the hosts h1, h2, h3 and the services api,`},
		{Question{From: "h1", To: "nobody"}, `no host or service "nobody"`},
		{Question{From: "web", To: "api:9194"}, "web runs on several hosts: say which, web@h1, web@h2"},
		{Question{From: "web@h3", To: "api"}, "service web is not on h3: it is on h1, h2"},
		{Question{From: "nobody@h1", To: "api"}, `no service "nobody"`},
		{Question{From: "h3", To: "h1:80"}, "h3 is a host and a service: say which, 192.168.1.13 (the host), h3@h2"},
		{Question{From: "h1", To: "h3:80"}, "h3 is a host and a service: write 192.168.1.13:PORT"},
		{Question{From: "h1", To: "api"}, "h1 calls api at several bind ports: say which, api:9192, api:9194"},
		{Question{From: "web@h2", To: "api"}, "say which, api:9194, api:9195"},
		{Question{From: "web@h2", To: "payments"}, "web on h2 does not call payments: it calls api at 192.168.1.250:9194"},
		{Question{From: "web@h2", To: "api:1"}, "does not call api"},
		{Question{From: "h1", To: "h2"}, "say which port: write h2:PORT; there are 8001 (api), 80 (web)"},
		{Question{From: "h2", To: vip}, "there are 9194 (api)"},
		{Question{From: "h1", To: "h2:0"}, "ends in no port"},
		{Question{From: "h1", To: "h2:x"}, "ends in no port"},
		{Question{From: "h1", To: "h2:70000"}, "ends in no port"},
		{Question{From: "h1", To: "h2:1", Protocol: "icmp"}, "icmp has no ports"},
		{Question{From: "h1", To: "api", Protocol: "udp"}, "services are called over tcp"},
		{Question{From: "h1", To: "10.9.9.9:80"}, "no host has the address 10.9.9.9"},
		{Question{From: "h1", To: "h1:80"}, "without any switch"},
		{Question{From: "h1", To: "::1"}, "not an IPv4 address"},
		{Question{From: "h1", To: "api:"}, "ends in no port"},
		{Question{From: "h1", To: "2001:db8::1:80"}, "not an IPv4 address"},
		{Question{From: "h1", To: "h2:80", Protocol: "sctp"}, `protocol "sctp" is not known`},
		{Question{From: "h1", To: "h2:80", Flags: "syn,psh"}, `TCP flag "psh" is not known`},
	} {
		_, err := TraceOf(n, c.q)
		var wrong *QuestionError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want a QuestionError with %q", c.q, err, c.want)
		}
	}
}

func TestWithoutAMesh(t *testing.T) {
	n := compiled(t, func(f *pipeline.Fabric, _ *mesh.Snapshot) {
		*f = pipeline.Fabric{Hosts: f.Hosts}
	})
	if got := mustTrace(t, n, Question{From: "h1", To: "h3:8080"}).There.Verdict; got.Outcome != Reaches {
		t.Errorf("verdict %+v", got)
	}
	if _, err := TraceOf(n, Question{From: "public-api", To: "payments"}); err == nil {
		t.Error("a service is called without a mesh")
	}
}

func TestText(t *testing.T) {
	hop := Hop{Switch: "s1", InPort: 1, From: "h1", OVS: []string{"ofproto/trace", "s1", "tcp,in_port=1"}, Steps: []Step{
		{Table: 0, Name: "identity", Reason: "IP of h1", Priority: 200, Match: "in_port=1", Actions: "resubmit(,48)"},
		{Table: 48, Name: "forward-spans", Miss: true},
		{Table: 90, Name: "l2", Reason: "to h2", Changes: []string{"destination becomes 10.0.0.2:80", "out of port 2 to h2"}, Priority: 100, Actions: "output:2"},
	}}
	tr := Trace{
		From: Party{Host: "h1", Service: "web", Address: "10.0.0.1:40000"}, To: Party{Service: "api", Address: "10.0.0.9:9000"}, Packet: "tcp SYN",
		There: Way{Hops: []Hop{hop}, Verdict: Verdict{Reaches, "reaches api at h2"}}, Answer: "tcp SYN ACK", Back: &Way{Verdict: Verdict{Dropped, "dropped: why"}},
		Shares: []Share{{Service: "api", Instance: "api-1", Address: "10.0.0.2:80", Slots: 3, Ratio: 0.75, Chosen: true}, {Instance: "refused", Slots: 1, Ratio: 0.25}},
		Notes:  []string{"A note."},
	}
	const short = `web on h1 (10.0.0.1:40000) to api (10.0.0.9:9000): tcp SYN

s1, in by port 1 from h1
    0 identity      IP of h1
   48 forward-spans no flow for it
   90 l2            to h2 | destination becomes 10.0.0.2:80; out of port 2 to h2
  => reaches api at h2

The answer: tcp SYN ACK
  => dropped: why

New connections are shared out by slots:
  api-1    api  10.0.0.2:80  3 slots  75.0 %  <- this one
  refused                    1 slots  25.0 %

A note.
`
	var out bytes.Buffer
	if err := Text(&out, tr, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if out.String() != short {
		t.Errorf("got\n%swant\n%s", out.String(), short)
	}
	out.Reset()
	if err := Text(&out, tr, TextOptions{Rules: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"      ovs-appctl ofproto/trace s1 'tcp,in_port=1'\n", "      priority=200,in_port=1 actions=resubmit(,48)\n", "      priority=100 actions=output:2\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("with rules, the text lacks %q:\n%s", want, out.String())
		}
	}
}

// A program that changes the port of the server, and not back.
func TestAnswerThatIsNone(t *testing.T) {
	n := compiled(t, nil)
	n.Programs["s1"] = pipeline.Program{Flows: []flow.Flow{
		{Priority: 2, Match: flow.Match{flow.InputPort.Is(1)}, Actions: []flow.Action{flow.SetField{Field: flow.TCPDst, Value: 81}, flow.Output{Port: 2}}},
		{Priority: 1, Actions: []flow.Action{flow.Output{Port: 1}}},
	}}
	tr := mustTrace(t, n, Question{From: "h1", To: "h2:80"})
	if tr.Back == nil || !strings.Contains(tr.Back.Verdict.Text, "from 192.168.1.12:81, which is not what it asked") {
		t.Errorf("back: %+v", tr.Back)
	}
}

// What ofproto/trace does not find out is in the question.
func TestQuestionsToOpenVSwitch(t *testing.T) {
	tr := mustTrace(t, compiled(t, nil), Question{From: "web@h2", To: "api"})
	there := strings.Join(tr.There.Hops[0].OVS, " ")
	for _, want := range []string{"ofproto/trace s1 tcp,in_port=2,", ",tp_src=40000,tp_dst=9194,nw_ttl=64,tcp_flags=0x2,dp_hash=0x", " --ct-next trk,new"} {
		if !strings.Contains(there, want) {
			t.Errorf("%s lacks %q", there, want)
		}
	}
	last := tr.Back.Hops[len(tr.Back.Hops)-1].OVS
	if back := strings.Join(last, " "); !strings.Contains(back, ",ct_mark=0x") || !strings.HasSuffix(back, " --ct-next trk,est,rpl") {
		t.Errorf("%s lacks the mark or the state", back)
	}
}

// A service that the client does not call cannot be what it means.
func TestHostThatIsAServiceToo(t *testing.T) {
	n := compiled(t, func(_ *pipeline.Fabric, s *mesh.Snapshot) {
		s.Services = append(s.Services, service("h3", instance("h3-1", h3+":99")))
	})
	if got := mustTrace(t, n, Question{From: "h3", To: "h1:80"}).There.Verdict.Outcome; got != Reaches {
		t.Errorf("from h3: %s", got)
	}
	if got := mustTrace(t, n, Question{From: "h1", To: "h3:9"}).To; got.Host != "h3" || got.Address != h3+":9" {
		t.Errorf("to h3:9: %+v", got)
	}
}

// What a real program makes a step do is told in words.
func TestChanges(t *testing.T) {
	n := compiled(t, nil)
	tr := mustTrace(t, n, Question{From: "web@h2", To: "api"})
	for port := uint16(40000); len(tr.There.Hops) < 2 && port < 50000; port += 128 { // an instance elsewhere, and traced
		tr = mustTrace(t, n, Question{From: "web@h2", To: "api", SourcePort: port})
	}
	var all []string
	for _, w := range []Way{tr.There, *tr.Back} {
		for _, h := range w.Hops {
			for _, s := range h.Steps {
				all = append(all, s.Changes...)
			}
		}
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{
		"(the service, for connection tracking)", "(the calling service)", ": new", "the connection is stored in zone ",
		"table 48 counts this connection from now on", "destination becomes 192.168.1.1", "destination MAC becomes 00:00:00:00:00:0",
		"out of port 3 to s3", "an answer in a stored connection", "source becomes 192.168.1.250:9194 (the virtual address)",
		"source MAC becomes 02:00:c0:a8:01:fa (the mesh)", "out of port 2 to h2",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no change says %q:\n%s", want, text)
		}
	}
	if !strings.Contains(text, "slot ") || !strings.Contains(text, " of api") {
		t.Errorf("no change tells the slot:\n%s", text)
	}
}

// A large mesh must be explained in a time that a person waits for.
func BenchmarkTrace(b *testing.B) {
	n := compiled(b, func(_ *pipeline.Fabric, s *mesh.Snapshot) {
		for i := range 10_000 {
			at := func(h string, k int) string { return fmt.Sprintf("%s:%d", h, 10_000+3*i+k) }
			s.Services = append(s.Services, service(fmt.Sprintf("x%05d", i), instance(fmt.Sprintf("x%05d-0", i), at(h2, 0)),
				instance(fmt.Sprintf("x%05d-1", i), at(h3, 1)), instance(fmt.Sprintf("x%05d-2", i), at(h3, 2))))
			s.Upstreams = append(s.Upstreams, mesh.Upstream{Client: netip.MustParseAddr(h2), Source: "web", Destination: fmt.Sprintf("x%05d", i), BindPort: uint16(10_000 + i)})
		}
	})
	for b.Loop() {
		if _, err := TraceOf(n, Question{From: "web@h2", To: "x05000"}); err != nil {
			b.Fatal(err)
		}
	}
}
