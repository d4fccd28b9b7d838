//go:build integration

package meshtest_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// TestForgedFramesReachNobody sends from h2, in another's name, frames that
// would reach h1 and h3 if they came in its own.
func TestForgedFramesReachNobody(t *testing.T) {
	r := newRig(t)
	far := r.serve("h3", h3+":8001")
	// far is restricted: only web may call. An identity that h2 forges would open it.
	r.begin(mesh.Snapshot{
		Services: []*mesh.Service{{Name: "far", Instances: []mesh.Instance{far.Instance}}, {Name: "web"}},
		Upstreams: []mesh.Upstream{
			calls(t, "web@"+h1+" -> far:9001"), calls(t, "other@"+h2+" -> far:9001"),
		},
		Intentions:  []mesh.Intention{{Source: "web", Destination: "far", Allow: true, Precedence: 9}},
		DefaultDeny: true,
	})
	at1, stop1 := r.collect("h1")
	at3, stop3 := r.collect("h3")
	honest := run([]*client{r.mustOpen("h1", 0, vip+":9001")})
	own := r.serve("h3", h3+":8080")
	beside := run([]*client{r.mustOpen("h2", 0, own.ID)}) // of h2 itself, and all in order

	one, two, three := mac(t, mac1), mac(t, mac2), mac(t, mac3)
	broadcast := pipeline.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	identity := pipeline.MAC{0x0a, 0x4d, 0x40, 0, 0, 1}
	question := func(src, dst string) []byte { return ipv4(src, dst, 17, udp(4000, 4001, marked("forged"))) }
	forged := map[string][]byte{
		"address of h1 to h3":         frame{three, two, etherIPv4, question(h1, h3)}.bytes(),
		"address of h3 to h1":         frame{one, two, etherIPv4, question(h3, h1)}.bytes(),
		"address of nobody":           frame{one, two, etherIPv4, question("10.9.8.7", h1)}.bytes(),
		"virtual address":             frame{one, two, etherIPv4, question(vip, h1)}.bytes(),
		"hairpin address":             frame{one, two, etherIPv4, question(hairpin, h1)}.bytes(),
		"MAC of h1":                   frame{three, one, etherIPv4, question(h2, h3)}.bytes(),
		"all of h1":                   frame{three, one, etherIPv4, question(h1, h3)}.bytes(),
		"MAC of the virtual address":  frame{one, mac(t, vipMAC), etherIPv4, question(h2, h1)}.bytes(),
		"MAC of nobody":               frame{one, pipeline.MAC{2, 1, 2, 3, 4, 5}, etherIPv4, question(h2, h1)}.bytes(),
		"identity, own address":       frame{three, identity, etherIPv4, syn(h2, h3, 4000, 8001, marked("forged"))}.bytes(),
		"identity, address of h1":     frame{three, identity, etherIPv4, syn(h1, h3, 4000, 8001, marked("forged"))}.bytes(),
		"call of h1":                  frame{mac(t, vipMAC), one, etherIPv4, syn(h1, vip, 4000, 9001, marked("forged"))}.bytes(),
		"call with the address of h1": frame{mac(t, vipMAC), two, etherIPv4, syn(h1, vip, 4000, 9001, marked("forged"))}.bytes(),
		"broadcast of h1":             frame{broadcast, one, etherIPv4, question(h1, "255.255.255.255")}.bytes(),
		"ARP: h1 is here, to all":     frame{broadcast, two, etherARP, arp(1, two, h1, pipeline.MAC{}, h1, marked("forged"))}.bytes(),
		"ARP: h1 is here, to h3":      frame{three, two, etherARP, arp(2, two, h1, three, h3, marked("forged"))}.bytes(),
		"ARP: I am h1":                frame{three, two, etherARP, arp(2, one, h2, three, h3, marked("forged"))}.bytes(),
		"ARP as h1":                   frame{three, one, etherARP, arp(2, one, h1, three, h3, marked("forged"))}.bytes(),
		"ARP: the virtual address":    frame{broadcast, two, etherARP, arp(2, two, vip, broadcast, vip, marked("forged"))}.bytes(),
		"ARP: the hairpin address":    frame{one, two, etherARP, arp(2, two, hairpin, one, h1, marked("forged"))}.bytes(),
		"ARP from an identity":        frame{broadcast, identity, etherARP, arp(1, identity, h2, pipeline.MAC{}, h3, marked("forged"))}.bytes(),
		"another protocol":            frame{broadcast, two, 0x88b5, marked("forged")}.bytes(), // IEEE 802, local experiments
		"another protocol, MAC of h1": frame{three, one, 0x88b5, marked("forged")}.bytes(),
		"tagged, address of h1":       frame{three, two, etherVLAN, append([]byte{0, 5, 8, 0}, question(h1, h3)...)}.bytes(),
		"tagged, MAC and IP of h1":    frame{three, one, etherVLAN, append([]byte{0, 5, 8, 0}, question(h1, h3)...)}.bytes(),
		"priority tag, address of h1": frame{three, two, etherVLAN, append([]byte{0xe0, 0, 8, 0}, question(h1, h3)...)}.bytes(),
		"tagged ARP: h1 is here":      frame{broadcast, two, etherVLAN, append([]byte{0, 5, 8, 6}, arp(1, two, h1, pipeline.MAC{}, h1, marked("forged"))...)}.bytes(),
	}
	before := r.spoofed("h2")
	from := r.raw("h2")
	const each = 40
	send := func(frames ...[]byte) {
		t.Helper()
		for _, b := range frames {
			if err := from.send(b); err != nil {
				t.Fatalf("send a frame from h2: %v", err)
			}
		}
	}
	for i := range each {
		send(slices.Collect(maps.Values(forged))...)
		// Frames keep their order: when this one has come, the others would have.
		// It also keeps the queue in front of the switch, which drops, short.
		round := fmt.Sprint("round ", i)
		send(frame{one, two, etherIPv4, ipv4(h2, h1, 17, udp(4000, 4001, marked(round)))}.bytes())
		r.until("the frame behind the forged ones", func() bool { return at1.count(round) == 1 })
	}
	send(frame{one, two, etherIPv4, ipv4(h2, h1, 17, udp(4000, 4001, marked("honest")))}.bytes(),
		frame{three, two, etherIPv4, ipv4(h2, h3, 17, udp(4000, 4001, marked("honest")))}.bytes(),
		frame{broadcast, two, etherARP, arp(1, two, h2, pipeline.MAC{}, "192.168.1.99", marked("honest ARP"))}.bytes())
	for _, at := range []*collector{at1, at3} {
		r.until("honest frames of h2", func() bool { return at.count("honest") == 1 && at.count("honest ARP") == 1 })
	}
	if n1, n3 := at1.count("forged"), at3.count("forged"); n1 > 0 || n3 > 0 {
		t.Errorf("of the forged frames %d arrived at h1 and %d at h3", n1, n3)
	}
	want := uint64(each * len(forged))
	r.until("all forged frames to be counted", func() bool { return r.spoofed("h2")-before >= want })
	asked := honest.asked.Load() + beside.asked.Load()
	r.until("more honest traffic", func() bool { return honest.asked.Load()+beside.asked.Load() >= asked+40 })
	if got := r.spoofed("h2") - before; got != want {
		t.Errorf("%d frames of h2 were counted as forged, want %d", got, want)
	}
	t.Logf("%d forged frames of %d kinds: none arrived, all counted", want, len(forged))
	if err := append(honest.stop(), beside.stop()...); err[0] != nil || err[1] != nil {
		t.Errorf("honest traffic ended with %v", err)
	}
	if lost := stop1() + stop3(); lost > 0 {
		t.Fatalf("the listeners lost %d frames", lost)
	}
}

// spoofed is how many packets of a host were dropped for their addresses.
func (r *rig) spoofed(host string) uint64 {
	r.t.Helper()
	for _, d := range r.flows().Datapaths {
		for _, f := range d.Flows {
			if f.Reason == "not an address of "+host {
				return f.Packets
			}
		}
	}
	r.t.Fatalf("there is no flow for the forged addresses of %s", host)
	return 0
}
