package pipeline_test

import (
	"net/netip"
	"slices"
	"testing"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

const (
	vip, hairpin, vipMAC = "192.168.1.250", "192.168.1.251", "02:00:00:00:00:fa"

	h1, mac1 = "192.168.1.11", "00:00:00:00:00:01"
	h2, mac2 = "192.168.1.12", "00:00:00:00:00:02"
	h3, mac3 = "192.168.1.13", "00:00:00:00:00:03"
)

func mac(s string) pipeline.MAC {
	m, err := pipeline.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// line is three hosts behind s1 (h1, h2) and s2 (h3), with s3 between them.
func line() (pipeline.Fabric, []pipeline.Datapath) {
	ip := netip.MustParseAddr
	f := pipeline.Fabric{
		Mesh: true, VIP: ip(vip), Hairpin: ip(hairpin), VIPMAC: mac(vipMAC),
		Hosts: []pipeline.Host{{Name: "h1", Addr: ip(h1), MAC: mac(mac1)}, {Name: "h2", Addr: ip(h2), MAC: mac(mac2)}, {Name: "h3", Addr: ip(h3), MAC: mac(mac3)}},
	}
	return f, []pipeline.Datapath{
		{Name: "s1", DPID: 1, Access: map[string]uint32{"h1": 1, "h2": 2}, ToHost: map[string]uint32{"h1": 1, "h2": 2, "h3": 3}, Flood: []uint32{1, 2, 3}, Trunks: map[uint32]pipeline.Peer{3: {}}},
		{Name: "s2", DPID: 2, Access: map[string]uint32{"h3": 1}, ToHost: map[string]uint32{"h1": 3, "h2": 3, "h3": 1}, Flood: []uint32{1, 3}, Trunks: map[uint32]pipeline.Peer{3: {}}},
		{Name: "s3", DPID: 3, Access: map[string]uint32{}, ToHost: map[string]uint32{"h1": 1, "h2": 1, "h3": 2}, Flood: []uint32{1, 2}, Trunks: map[uint32]pipeline.Peer{1: {}, 2: {}}},
	}
}

func inst(id, addr string) mesh.Instance {
	return mesh.Instance{ID: id, Addr: netip.MustParseAddrPort(addr), Healthy: true, Weight: 1}
}

func sick(i mesh.Instance) mesh.Instance {
	i.Healthy = false
	return i
}

func calls(client, source, destination string, bindPort uint16) mesh.Upstream {
	return mesh.Upstream{Client: netip.MustParseAddr(client), Source: source, Destination: destination, BindPort: bindPort}
}

func snapshot(upstreams []mesh.Upstream, instances ...mesh.Instance) mesh.Snapshot {
	return mesh.Snapshot{Services: []*mesh.Service{{Name: "api", Instances: instances}}, Upstreams: upstreams}
}

// lab is the line in memory.
type lab struct {
	t        *testing.T
	switches map[string]*emulator.Switch
	net      *emulator.Network
	at       map[string]pipeline.Program
	change   func(*pipeline.Fabric) // before it is compiled
}

func newLab(t *testing.T, snap mesh.Snapshot) *lab {
	t.Helper()
	l := &lab{t: t, switches: map[string]*emulator.Switch{}, at: map[string]pipeline.Program{}, change: func(*pipeline.Fabric) {}}
	for _, name := range []string{"s1", "s2", "s3"} {
		s, err := emulator.NewSwitch(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		l.switches[name] = s
	}
	l.net = emulator.NewNetwork(l.switches)
	l.net.Wire(emulator.Port{Switch: "s1", Port: 3}, emulator.Port{Switch: "s3", Port: 1})
	l.net.Wire(emulator.Port{Switch: "s2", Port: 3}, emulator.Port{Switch: "s3", Port: 2})
	l.net.Attach("h1", emulator.Port{Switch: "s1", Port: 1})
	l.net.Attach("h2", emulator.Port{Switch: "s1", Port: 2})
	l.net.Attach("h3", emulator.Port{Switch: "s2", Port: 1})
	l.install(snap)
	return l
}

func (l *lab) install(snap mesh.Snapshot) {
	l.t.Helper()
	f, dps := line()
	l.change(&f)
	for _, dp := range dps {
		p, err := pipeline.Compile(f, dp, snap)
		if err != nil {
			l.t.Fatal(err)
		}
		if err := l.switches[dp.Name].Replace(p.Flows, p.Groups); err != nil {
			l.t.Fatal(err)
		}
		l.at[dp.Name] = p
	}
}

func (l *lab) send(host string, p emulator.Packet) emulator.Sent {
	l.t.Helper()
	sent, err := l.net.Send(host, p)
	if err != nil {
		l.t.Fatal(err)
	}
	return sent
}

// arrives sends a packet that must come to exactly one host, as one from src
// to dst, and returns it.
func (l *lab) arrives(from string, p emulator.Packet, at, src, dst string) emulator.Packet {
	l.t.Helper()
	sent := l.send(from, p)
	sent.ToController = withoutSigns(sent.ToController)
	if len(sent.Delivered) != 1 || len(sent.ToController) != 0 {
		l.t.Fatalf("%v from %s: delivered %v, to the controller %v; want it at %s", p, from, sent.Delivered, sent.ToController, at)
	}
	d := sent.Delivered[0]
	if d.Host != at || d.Packet.Src().String() != src || d.Packet.Dst().String() != dst {
		l.t.Fatalf("%v from %s: came to %s as %v; want %s as %s > %s", p, from, d.Host, d.Packet, at, src, dst)
	}
	if want := hostMAC(at); d.Packet[flow.EthDst] != emulator.MAC(want) {
		l.t.Fatalf("%v came to %s with the MAC address of another", d.Packet, at)
	}
	if sent.Tracked > 1 {
		l.t.Fatalf("%v was tracked %d times on its way; want at most once", p, sent.Tracked)
	}
	return d.Packet
}

// refused sends a packet that must go to the controller as it was sent.
func (l *lab) refused(from string, p emulator.Packet) {
	l.t.Helper()
	sent := l.send(from, p)
	sent.ToController = withoutSigns(sent.ToController)
	if len(sent.Delivered) != 0 || len(sent.ToController) != 1 {
		l.t.Fatalf("%v from %s: delivered %v, %d to the controller; want it refused", p, from, sent.Delivered, len(sent.ToController))
	}
	if got := sent.ToController[0].Packet; got.Src() != p.Src() || got.Dst() != p.Dst() || sent.ToController[0].Flow.Table != pipeline.TableRefuse {
		l.t.Fatalf("the controller saw %v, the client sent %v", got, p)
	}
}

// withoutSigns leaves out the copies that only tell of failing instances.
func withoutSigns(all []emulator.Punt) []emulator.Punt {
	return slices.DeleteFunc(all, func(p emulator.Punt) bool {
		return p.Flow.Table == pipeline.TableResetSeen || p.Flow.Table == pipeline.TableRepeatedSYN
	})
}

func hostMAC(host string) string {
	return map[string]string{"h1": mac1, "h2": mac2, "h3": mac3}[host]
}

// conversation is one connection through the mesh.
type conversation struct {
	l                       *lab
	client, clientAddr, mac string
	server, serverAddr      string
	virtual, seenFrom       string
	answerMAC               string
}

// out and back send one packet each way and check both.
func (c conversation) out(flags uint64) {
	c.l.t.Helper()
	got := c.l.arrives(c.client, emulator.TCP(c.mac, vipMAC, c.clientAddr, c.virtual, flags), c.server, c.seenFrom, c.serverAddr)
	if got[flow.EthSrc]>>28 != 0x0a4d4 {
		c.l.t.Fatalf("%v came with a source MAC address that names no service", got)
	}
}

func (c conversation) back(flags uint64) {
	c.l.t.Helper()
	got := c.l.arrives(c.server, emulator.TCP(hostMAC(c.server), c.answerMAC, c.serverAddr, c.seenFrom, flags), c.client, c.virtual, c.clientAddr)
	if got[flow.EthSrc] != emulator.MAC(vipMAC) {
		c.l.t.Fatalf("%v did not come from the MAC address of the mesh", got)
	}
}

func (c conversation) handshake() {
	c.l.t.Helper()
	c.out(emulator.SYN)
	c.back(emulator.SYN | emulator.ACK)
	c.out(emulator.ACK)
}

func (c conversation) exchange() {
	c.l.t.Helper()
	c.out(emulator.ACK)
	c.back(emulator.ACK)
}

func (c conversation) end() {
	c.l.t.Helper()
	c.out(emulator.FIN | emulator.ACK)
	c.back(emulator.FIN | emulator.ACK)
	c.out(emulator.ACK)
}

// fromH1 is a connection of h1 to an instance on another host.
func (l *lab) fromH1(port, virtualPort, server, serverAddr string) conversation {
	return conversation{l: l, client: "h1", clientAddr: h1 + ":" + port, mac: mac1, server: server, serverAddr: serverAddr,
		virtual: vip + ":" + virtualPort, seenFrom: h1 + ":" + port, answerMAC: mac1}
}

func TestCallAcrossThreeSwitches(t *testing.T) {
	l := newLab(t, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80")))
	c := l.fromH1("5000", "9000", "h3", h3+":80")
	c.handshake()
	c.exchange()
	c.end()
	c.handshake() // the same port again
}

func TestCallOnTheSameSwitch(t *testing.T) {
	l := newLab(t, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h2+":80")))
	c := l.fromH1("5000", "9000", "h2", h2+":80")
	c.handshake()
	c.exchange()
}

func TestCallToTheOwnHost(t *testing.T) {
	l := newLab(t, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h1+":80")))
	c := conversation{l: l, client: "h1", clientAddr: h1 + ":5000", mac: mac1, server: "h1", serverAddr: h1 + ":80",
		virtual: vip + ":9000", seenFrom: hairpin + ":5000", answerMAC: vipMAC}
	c.handshake()
	c.exchange()
	c.end()
}

func TestDirectTrafficBesideTheMesh(t *testing.T) {
	l := newLab(t, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80"), sick(inst("b", h2+":80"))))
	c := l.fromH1("5000", "9000", "h3", h3+":80")
	c.handshake()
	for _, port := range []string{"5000", "6000"} { // b is another instance of the same service: nothing is mixed up
		l.arrives("h1", emulator.TCP(mac1, mac2, h1+":"+port, h2+":80", emulator.SYN), "h2", h1+":"+port, h2+":80")
		l.arrives("h2", emulator.TCP(mac2, mac1, h2+":80", h1+":"+port, emulator.SYN|emulator.ACK), "h1", h2+":80", h1+":"+port)
	}
	l.arrives("h1", emulator.TCP(mac1, mac3, h1+":6000", h3+":80", emulator.SYN), "h3", h1+":6000", h3+":80")
	l.arrives("h3", emulator.TCP(mac3, mac1, h3+":80", h1+":6000", emulator.SYN|emulator.ACK), "h1", h3+":80", h1+":6000")
	c.exchange()

	// A direct connection to a from the port of one through the mesh does not
	// disturb that. Once it has ended, the port is free at once.
	again := emulator.TCP(mac1, mac3, h1+":5000", h3+":80", emulator.SYN)
	l.arrives("h1", again, "h3", h1+":5000", h3+":80")
	c.exchange()
	c.end()
	l.arrives("h1", again, "h3", h1+":5000", h3+":80")
	l.arrives("h3", emulator.TCP(mac3, mac1, h3+":80", h1+":5000", emulator.SYN|emulator.ACK), "h1", h3+":80", h1+":5000")
}

func TestTwoBindPortsToOneService(t *testing.T) {
	l := newLab(t, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000), calls(h1, "jobs", "api", 9001)}, inst("a", h3+":80")))
	first, second := l.fromH1("5000", "9000", "h3", h3+":80"), l.fromH1("5001", "9001", "h3", h3+":80")
	first.handshake()
	second.handshake()
	first.exchange()
	second.exchange()
	// To a these two would be one connection, so the later is refused ...
	l.refused("h1", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9001", emulator.SYN))
	first.exchange()
	// ... until the first has ended.
	first.end()
	l.fromH1("5000", "9001", "h3", h3+":80").handshake()
}

func TestInstanceLifeInMidConnection(t *testing.T) {
	up := []mesh.Upstream{calls(h1, "web", "api", 9000)}
	a, b := inst("a", h3+":80"), inst("b", h2+":80")
	l := newLab(t, snapshot(up, a))
	running := l.fromH1("5000", "9000", "h3", h3+":80")
	running.handshake()

	l.install(snapshot(up, sick(a)))
	running.exchange()
	l.refused("h1", emulator.TCP(mac1, vipMAC, h1+":5001", vip+":9000", emulator.SYN))

	l.install(snapshot(up, sick(a), b))
	running.exchange()
	l.fromH1("5002", "9000", "h2", h2+":80").handshake()

	l.install(snapshot(up, b)) // a is no longer listed, not even as draining
	l.refused("h1", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9000", emulator.ACK))
	l.fromH1("5002", "9000", "h2", h2+":80").exchange()
	l.fromH1("5000", "9000", "h2", h2+":80").handshake()
}

func TestNewConnectionsSpreadOverHealthyInstances(t *testing.T) {
	up := []mesh.Upstream{calls(h1, "web", "api", 9000)}
	heavy := inst("b", h3+":80")
	heavy.Weight = 3
	l := newLab(t, snapshot(up, inst("a", h2+":80"), heavy, sick(inst("c", h1+":80"))))
	counts := map[string]int{}
	for port := range 2000 {
		p := emulator.TCP(mac1, vipMAC, h1+":1", vip+":9000", emulator.SYN)
		p[flow.TCPSrc] = uint64(10000 + port)
		first := l.send("h1", p).Delivered[0].Host
		counts[first]++
		p[flow.TCPFlags] = emulator.ACK
		if again := l.send("h1", p).Delivered[0].Host; again != first {
			t.Fatalf("port %d: first packet to %s, next to %s", port, first, again)
		}
	}
	if counts["h1"] != 0 || counts["h2"] < 400 || counts["h2"] > 600 {
		t.Errorf("2000 connections over weights 1 and 3 went to %v", counts)
	}
}

func TestStrayPackets(t *testing.T) {
	l := newLab(t, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80")))
	dropped := func(name string, p emulator.Packet) {
		t.Helper()
		if sent := l.send("h1", p); len(sent.Delivered)+len(sent.ToController) != 0 {
			t.Errorf("%s: %v was delivered as %v, to the controller as %v", name, p, sent.Delivered, sent.ToController)
		}
	}
	dropped("reset to an unused port", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":1", emulator.RST))
	dropped("reset of an unknown connection", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9000", emulator.RST))
	dropped("answer to the mesh", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9000", emulator.SYN|emulator.ACK))
	dropped("UDP to the mesh", emulator.UDP(mac1, vipMAC, h1+":5000", vip+":9000"))
	dropped("a forged address", emulator.TCP(mac1, vipMAC, h2+":5000", vip+":9000", emulator.SYN))
	dropped("a forged MAC address", emulator.TCP(mac2, vipMAC, h1+":5000", vip+":9000", emulator.SYN))
	dropped("the name of a service", emulator.TCP("0a:4d:40:00:00:01", mac3, h1+":5000", h3+":80", emulator.SYN))
	dropped("a forged ARP question", emulator.ARPRequest(mac1, h2, h3))
	dropped("IPv6", emulator.Ethernet(mac1, "33:33:00:00:00:01", flow.EthTypeIPv6))
	dropped("unknown MAC address", emulator.TCP(mac1, "00:00:00:00:00:99", h1+":5000", "192.168.1.99:1", emulator.SYN))
	l.refused("h1", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":1", emulator.SYN))
	l.refused("h2", emulator.TCP(mac2, vipMAC, h2+":5000", vip+":9000", emulator.SYN)) // another host's upstream
	l.switches["s1"].Forget()
	l.arrives("h1", emulator.TCP(mac1, vipMAC, h1+":5000", vip+":9000", emulator.ACK), "h3", h1+":5000", h3+":80")
}

func TestARP(t *testing.T) {
	l := newLab(t, mesh.Snapshot{})
	for _, target := range []string{vip, hairpin} {
		sent := l.send("h1", emulator.ARPRequest(mac1, h1, target))
		if len(sent.Delivered) != 1 || sent.Delivered[0].Host != "h1" {
			t.Fatalf("question for %s: delivered %v; want an answer to h1 only", target, sent.Delivered)
		}
		got := sent.Delivered[0].Packet
		want := map[flow.Field]uint64{
			flow.EthSrc: emulator.MAC(vipMAC), flow.EthDst: emulator.MAC(mac1), flow.EthType: flow.EthTypeARP, flow.ARPOp: 2,
			flow.ARPSHA: emulator.MAC(vipMAC), flow.ARPSPA: emulator.IP(netip.MustParseAddr(target)),
			flow.ARPTHA: emulator.MAC(mac1), flow.ARPTPA: emulator.IP(netip.MustParseAddr(h1)),
		}
		for f, v := range want {
			if got[f] != v {
				t.Errorf("answer for %s: %v is %#x, want %#x", target, f, got[f], v)
			}
		}
	}
	var reached []string
	for _, d := range l.send("h1", emulator.ARPRequest(mac1, h1, h3)).Delivered {
		reached = append(reached, d.Host)
	}
	slices.Sort(reached)
	if !slices.Equal(reached, []string{"h2", "h3"}) {
		t.Errorf("question for a host reached %v, want h2 and h3 once each", reached)
	}
}

func TestPlainSwitching(t *testing.T) {
	f, dps := line()
	f = pipeline.Fabric{Hosts: f.Hosts} // no mesh
	l := newLab(t, mesh.Snapshot{})
	for _, dp := range dps {
		p, err := pipeline.Compile(f, dp, snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80")))
		if err != nil {
			t.Fatal(err)
		}
		for _, fl := range p.Flows {
			if fl.Table != pipeline.TableIdentity && fl.Table != pipeline.TableL2 {
				t.Errorf("%s has a flow in table %d without a mesh: %v", dp.Name, fl.Table, fl)
			}
		}
		if err := l.switches[dp.Name].Replace(p.Flows, p.Groups); err != nil {
			t.Fatal(err)
		}
	}
	l.arrives("h1", emulator.TCP(mac1, mac3, h1+":5000", h3+":80", emulator.SYN), "h3", h1+":5000", h3+":80")
	if sent := l.send("h1", emulator.ARPRequest(mac1, h1, vip)); len(sent.Delivered) != 2 {
		t.Errorf("question for the virtual address of no mesh: delivered %v, want it flooded to two hosts", sent.Delivered)
	}
}
