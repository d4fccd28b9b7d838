package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// denied sends a packet that an intention must keep from its destination.
func (l *lab) denied(from string, p emulator.Packet) {
	l.t.Helper()
	sent := l.send(from, p)
	sent.ToController = withoutSigns(sent.ToController)
	if len(sent.Delivered) != 0 || len(sent.ToController) != 1 || sent.ToController[0].Flow.Table != pipeline.TableDeny {
		l.t.Fatalf("%v from %s: delivered %v, to the controller %v; want it denied", p, from, sent.Delivered, sent.ToController)
	}
}

func intention(source, destination string, allow bool) mesh.Intention {
	precedence := 9
	if source == mesh.Wildcard {
		precedence--
	}
	if destination == mesh.Wildcard {
		precedence -= 3
	}
	return mesh.Intention{Source: source, Destination: destination, Allow: allow, Precedence: precedence}
}

func TestIntentionsDecideByPrecedence(t *testing.T) {
	const any = mesh.Wildcard
	for _, c := range []struct {
		name        string
		defaultDeny bool
		intentions  []mesh.Intention
		web, jobs   bool // may call api
		direct      bool // anybody may reach api beside the mesh
	}{
		{"none", false, nil, true, true, true},
		{"none, deny by default", true, nil, false, false, false},
		{"one denied", false, []mesh.Intention{intention("web", "api", false)}, false, true, false},
		{"one allowed, deny by default", true, []mesh.Intention{intention("web", "api", true)}, true, false, false},
		{"of another service", false, []mesh.Intention{intention("web", "other", false)}, true, true, true},
		{"exact before any source", false, []mesh.Intention{intention("web", "api", true), intention(any, "api", false)}, true, false, false},
		{"any source before any destination", false, []mesh.Intention{intention(any, "api", true), intention("web", any, false)}, true, true, true},
		{"any destination before any", false, []mesh.Intention{intention("web", any, true), intention(any, any, false)}, true, false, false},
		{"any before the default", true, []mesh.Intention{intention(any, any, true)}, true, true, true},
		{"any to any denied", false, []mesh.Intention{intention(any, any, false)}, false, false, false},
	} {
		for _, server := range []string{"h3", "h2", "h1"} { // at another switch, at the same, at the client itself
			t.Run(c.name+" at "+server, func(t *testing.T) {
				addr := map[string]string{"h1": h1, "h2": h2, "h3": h3}[server]
				snap := snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000), calls(h1, "jobs", "api", 9001)}, inst("a", addr+":80"))
				snap.Intentions, snap.DefaultDeny = c.intentions, c.defaultDeny
				l := newLab(t, snap)
				for port, may := range map[string]bool{"9000": c.web, "9001": c.jobs} {
					syn := emulator.TCP(mac1, vipMAC, h1+":50"+port[2:], vip+":"+port, emulator.SYN)
					if may {
						if sent := l.send("h1", syn); len(sent.Delivered) != 1 || sent.Delivered[0].Host != server {
							t.Errorf("port %s: delivered %v; want it allowed", port, sent.Delivered)
						}
					} else {
						l.denied("h1", syn)
					}
				}
				if server != "h3" {
					return
				}
				direct := emulator.TCP(mac1, mac3, h1+":7000", h3+":80", emulator.SYN)
				if c.direct {
					l.arrives("h1", direct, "h3", h1+":7000", h3+":80")
				} else {
					l.denied("h1", direct)
				}
			})
		}
	}
}

func TestADenialCutsWhatRuns(t *testing.T) {
	up := []mesh.Upstream{calls(h1, "web", "api", 9000)}
	snap := snapshot(up, inst("a", h3+":80"))
	l := newLab(t, snap)
	c := l.fromH1("5000", "9000", "h3", h3+":80")
	c.handshake()
	c.exchange()
	denying := snap
	denying.Intentions = []mesh.Intention{intention("web", "api", false)}
	l.install(denying)
	l.denied("h1", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9000", emulator.ACK))
	c.back(emulator.ACK) // what a says still comes: it is the client that may not speak
	// The reset of the controller, in the name of a, and that of the client
	// get through.
	c.back(emulator.RST)
	l.arrives("h1", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9000", emulator.RST), "h3", h1+":5000", h3+":80")
	l.install(snap)
	c.handshake()
	c.exchange()
}

func TestNobodySneaksInByAKnownPort(t *testing.T) {
	// b, an instance itself, calls a from its own service port, as if it answered.
	snap := snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80"), inst("b", h1+":80"))
	snap.Intentions = []mesh.Intention{intention(mesh.Wildcard, "api", false)}
	l := newLab(t, snap)
	l.denied("h1", emulator.TCP(mac1, mac3, h1+":80", h3+":80", emulator.SYN|emulator.ACK))
	l.denied("h1", emulator.TCP(mac1, mac3, h1+":80", h3+":80", emulator.ACK))
}

// An intention is kept on the way to one host. TCP for everybody would reach
// all hosts beside it.
func TestNobodySneaksInByBroadcast(t *testing.T) {
	snap := snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80"))
	snap.Intentions = []mesh.Intention{intention(mesh.Wildcard, "api", false)}
	l := newLab(t, snap)
	for _, mac := range []string{"ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"} {
		for _, flags := range []uint64{emulator.SYN, emulator.ACK} {
			if sent := l.send("h1", emulator.TCP(mac1, mac, h1+":5000", h3+":80", flags)); len(sent.Delivered) > 0 {
				t.Errorf("TCP to %s was delivered: %v", mac, sent.Delivered)
			}
		}
	}
}

// shares sends the first packets of connections and tells where they went.
func (l *lab) shares(n int, to string) map[string]int {
	l.t.Helper()
	counts := map[string]int{}
	for port := range n {
		p := emulator.TCP(mac1, vipMAC, h1+":1", to, emulator.SYN)
		p[flow.TCPSrc] = uint64(1024 + port)
		sent := l.send("h1", p)
		switch {
		case len(sent.Delivered) == 1:
			counts[sent.Delivered[0].Packet.Dst().String()]++
		default:
			counts["refused"]++
		}
	}
	return counts
}

func TestLegs(t *testing.T) {
	sub := func(i mesh.Instance, subsets ...string) mesh.Instance {
		i.Subsets = subsets
		return i
	}
	v1, v2 := sub(inst("v1", h2+":81"), "v1"), sub(inst("v2", h3+":82"), "v2")
	other := inst("other", h3+":83")
	to := func(weight uint32, targets ...mesh.Target) mesh.Leg {
		return mesh.Leg{Weight: weight, Targets: targets}
	}
	for _, c := range []struct {
		name      string
		instances []mesh.Instance
		legs      []mesh.Leg
		want      map[string]int // in 4,000
		warning   string
	}{
		{"one per cent", []mesh.Instance{v1, v2}, []mesh.Leg{to(9900, mesh.Target{Service: "api", Subset: "v1"}), to(100, mesh.Target{Service: "api", Subset: "v2"})},
			map[string]int{h2 + ":81": 3953, h3 + ":82": 47}, ""},
		{"ten per cent", []mesh.Instance{v1, v2}, []mesh.Leg{to(9000, mesh.Target{Service: "api", Subset: "v1"}), to(1000, mesh.Target{Service: "api", Subset: "v2"})},
			map[string]int{h2 + ":81": 3594, h3 + ":82": 406}, ""},
		{"half", []mesh.Instance{v1, v2}, []mesh.Leg{to(5000, mesh.Target{Service: "api", Subset: "v1"}), to(5000, mesh.Target{Service: "api", Subset: "v2"})},
			map[string]int{h2 + ":81": 2000, h3 + ":82": 2000}, ""},
		{"nothing for v2", []mesh.Instance{v1, v2}, []mesh.Leg{to(10000, mesh.Target{Service: "api", Subset: "v1"}), to(0, mesh.Target{Service: "api", Subset: "v2"})},
			map[string]int{h2 + ":81": 4000}, ""},
		{"to another service", []mesh.Instance{v1}, []mesh.Leg{to(1, mesh.Target{Service: "api"}), to(1, mesh.Target{Service: "other"})},
			map[string]int{h2 + ":81": 2000, h3 + ":83": 2000}, ""},
		{"redirect", nil, []mesh.Leg{to(1, mesh.Target{Service: "other"})}, map[string]int{h3 + ":83": 4000}, ""},
		{"failover", []mesh.Instance{sick(v1)}, []mesh.Leg{to(1, mesh.Target{Service: "api"}, mesh.Target{Service: "other"})}, map[string]int{h3 + ":83": 4000}, ""},
		{"no failover while it works", []mesh.Instance{v1}, []mesh.Leg{to(1, mesh.Target{Service: "api"}, mesh.Target{Service: "other"})}, map[string]int{h2 + ":81": 4000}, ""},
		{"a share without an instance", []mesh.Instance{v1}, []mesh.Leg{to(1, mesh.Target{Service: "api", Subset: "v1"}), to(1, mesh.Target{Service: "api", Subset: "v2"})},
			map[string]int{h2 + ":81": 2000, "refused": 2000}, "no instance of v2.api is healthy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, mesh.Snapshot{
				Services:  []*mesh.Service{{Name: "api", Instances: c.instances, Legs: c.legs}, {Name: "other", Instances: []mesh.Instance{other}}},
				Upstreams: []mesh.Upstream{calls(h1, "web", "api", 9000), calls(h1, "web", "other", 9001)},
			})
			got := l.shares(4000, vip+":9000")
			for where, n := range c.want {
				if diff := got[where] - n; diff*diff > 16*n { // four standard deviations
					t.Errorf("%d of 4000 went to %s, want %d", got[where], where, n)
				}
				delete(got, where)
			}
			if len(got) > 0 {
				t.Errorf("connections went to %v too", got)
			}
			if all := strings.Join(l.at["s1"].Warnings, "\n"); c.warning == "" && all != "" || !strings.Contains(all, c.warning) {
				t.Errorf("warnings %q, want %q", all, c.warning)
			}
			// A whole conversation through the mesh, also by the other name.
			if c.want[h3+":83"] == 4000 {
				l.fromH1("500", "9000", "h3", h3+":83").handshake()
				l.fromH1("501", "9001", "h3", h3+":83").handshake()
			}
		})
	}
}

func TestAffinitySendsAClientToOneInstance(t *testing.T) {
	svc := &mesh.Service{Name: "api", Affinity: true, Instances: []mesh.Instance{inst("a", h2+":80"), inst("b", h3+":80")}}
	l := newLab(t, mesh.Snapshot{Services: []*mesh.Service{svc}, Upstreams: []mesh.Upstream{calls(h1, "web", "api", 9000)}})
	if got := l.shares(500, vip+":9000"); len(got) != 1 {
		t.Errorf("500 connections of one client went to %v, want one instance", got)
	}
}

func TestLimitsAreInTheProgram(t *testing.T) {
	svc := &mesh.Service{Name: "api", Instances: []mesh.Instance{inst("a", h3+":80")}, Limits: mesh.Limits{Connections: 10, ConnectionsPerSec: 5}}
	l := newLab(t, mesh.Snapshot{Services: []*mesh.Service{svc}, Upstreams: []mesh.Upstream{calls(h1, "web", "api", 9000)}})
	p := l.at["s1"]
	if len(p.Zones) != 1 {
		t.Errorf("limited zones %v, want one", p.Zones)
	}
	for _, limit := range p.Zones {
		if limit != 10 {
			t.Errorf("limit %d, want 10", limit)
		}
	}
	var rate uint32
	for _, f := range p.Flows {
		if f.Table == pipeline.TableBalance {
			for _, m := range p.Meters {
				if m.ID == f.Meter {
					rate = m.Rate
				}
			}
		}
	}
	if rate != 5 {
		t.Errorf("new connections are metered at %d a second, want 5", rate)
	}
	if sent := l.send("h1", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9000", emulator.SYN)); len(sent.Delivered) != 1 {
		t.Errorf("within the limits: delivered %v, want it at h3", sent.Delivered)
	}
}

func TestTracedConnectionsAreCounted(t *testing.T) {
	snap := snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80"))
	l := newLab(t, mesh.Snapshot{})
	l.change = func(f *pipeline.Fabric) { f.TraceEvery = 8 }
	l.install(snap)
	traced := l.fromH1("5009", "9000", "h3", h3+":80") // 5008 is a multiple of 16
	traced.handshake()
	traced.exchange()
	l.fromH1("5010", "9000", "h3", h3+":80").handshake()
	packets := map[uint8]int{}
	for _, f := range l.switches["s1"].Learned() {
		packets[f.Flow.Table] += f.Packets
	}
	if packets[pipeline.TableForwardSpans] != 3 || packets[pipeline.TableReplySpans] != 2 || len(packets) != 2 {
		t.Errorf("traced packets by table: %v; want 3 forward and 2 back", packets)
	}
}

// A switch that has lost its connections lets an answer through as it came,
// and the client resets what it does not know: that must not reach the
// instance, whose connection the client is about to take up again.
func TestAStrayResetDoesNotEndWhatIsTakenUpAgain(t *testing.T) {
	l := newLab(t, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80")))
	c := l.fromH1("5000", "9000", "h3", h3+":80")
	c.handshake()
	l.switches["s1"].Forget()
	l.arrives("h3", emulator.TCP(mac3, mac1, h3+":80", h1+":5000", emulator.ACK), "h1", h3+":80", h1+":5000")
	if sent := l.send("h1", emulator.TCP(mac1, mac3, h1+":5000", h3+":80", emulator.RST)); len(sent.Delivered) != 0 {
		t.Errorf("the client's reset was delivered: %v", sent.Delivered)
	}
	c.exchange()
	abort := emulator.TCP(mac1, mac3, h1+":6000", h3+":80", emulator.RST|emulator.ACK)
	l.arrives("h1", abort, "h3", h1+":6000", h3+":80") // of a direct connection
}

func TestDNSGoesToTheController(t *testing.T) {
	l := newLab(t, mesh.Snapshot{})
	l.change = func(f *pipeline.Fabric) { f.DNS = true }
	l.install(mesh.Snapshot{})
	for _, p := range []emulator.Packet{
		emulator.UDP(mac1, vipMAC, h1+":5000", vip+":53"), emulator.TCP(mac1, vipMAC, h1+":5000", vip+":53", emulator.SYN),
	} {
		sent := l.send("h1", p)
		if len(sent.Delivered) != 0 || len(sent.ToController) != 1 || sent.ToController[0].Flow.Table != pipeline.TableDNS {
			t.Errorf("%v: delivered %v, to the controller %v; want it there for DNS", p, sent.Delivered, sent.ToController)
		}
	}
}

func TestSignsOfFailure(t *testing.T) {
	l := newLab(t, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80")))
	c := l.fromH1("5000", "9000", "h3", h3+":80")
	c.out(emulator.SYN)
	table := func(sent emulator.Sent) string {
		var all []string
		for _, p := range sent.ToController {
			all = append(all, fmt.Sprint(p.Flow.Table))
		}
		return strings.Join(all, " ")
	}
	if got := table(l.send("h1", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9000", emulator.SYN))); got != "104" {
		t.Errorf("a repeated SYN went to tables %q of the controller, want 104", got)
	}
	sent := l.send("h3", emulator.TCP(mac3, mac1, h3+":80", h1+":5000", emulator.RST|emulator.ACK))
	if got := table(sent); got != "103" || len(sent.Delivered) != 1 {
		t.Errorf("a reset of the instance went to tables %q of the controller, and to %v; want 103 and h1", got, sent.Delivered)
	}
}
