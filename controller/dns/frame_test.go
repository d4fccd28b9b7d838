package dns

import (
	"net/netip"
	"slices"
	"testing"
)

func TestParseFrame(t *testing.T) {
	client := netip.MustParseAddr("192.168.1.1")
	good := udpFrame(client, 5000, []byte("question"))
	with := func(at int, bytes ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], bytes)
		return b
	}
	const ip = etherLen
	options := slices.Insert(slices.Clone(good), ip+ipv4MinLen, 1, 1, 1, 1)
	options[ip] = 0x46
	options[ip+3] += 4
	for name, tc := range map[string]struct {
		frame []byte
		ok    bool
	}{
		"UDP":                     {good, true},
		"UDP, padded":             {append(slices.Clone(good), make([]byte, 18)...), true},
		"UDP, IPv4 options":       {options, true},
		"TCP":                     {ipFrame(client, protoTCP, join(be16(5000), be16(Port), make([]byte, 16))), true},
		"empty":                   {nil, false},
		"Ethernet alone":          {good[:etherLen], false},
		"half an IPv4 header":     {good[:etherLen+10], false},
		"cut off":                 {good[:len(good)-1], false},
		"to another MAC":          {with(5, 0), false},
		"broadcast":               {with(0, 255, 255, 255, 255, 255, 255), false},
		"from a group":            {with(6, 1), false},
		"from no MAC":             {with(6, 0, 0, 0, 0, 0, 0), false},
		"ARP":                     {with(12, 8, 6), false},
		"VLAN tag":                {with(12, 0x81, 0), false},
		"IPv6":                    {with(ip, 0x65), false},
		"header of 4 bytes":       {with(ip, 0x41), false},
		"header of 60 bytes":      {with(ip, 0x4f), false},
		"total below header":      {with(ip+2, 0, 19), false},
		"total above frame":       {with(ip+2, 255, 255), false},
		"first fragment":          {with(ip+6, 0x20, 0), false},
		"later fragment":          {with(ip+6, 0, 1), false},
		"ICMP":                    {with(ip+9, 1), false},
		"UDP header cut off":      {ipFrame(client, protoUDP, make([]byte, 7)), false},
		"TCP header cut off":      {ipFrame(client, protoTCP, join(be16(5000), be16(Port), make([]byte, 15))), false},
		"to another address":      {with(ip+19, 1), false},
		"from the address itself": {with(ip+12, 192, 168, 1, 250), false},
		"from nobody":             {with(ip+12, 0, 0, 0, 0), false},
		"from loopback":           {with(ip+12, 127, 0, 0, 1), false},
		"from a group's address":  {with(ip+12, 224, 0, 0, 1), false},
		"from all":                {with(ip+12, 255, 255, 255, 255), false},
		"from port 0":             {udpFrame(client, 0, nil), false},
		"to port 54":              {with(ip+ipv4MinLen+2, 0, 54), false},
		"larger than the MTU":     {udpFrame(client, 5000, make([]byte, mtu)), false},
	} {
		t.Run(name, func(t *testing.T) {
			f, ok := parseFrame(tc.frame, testVIP, testVIPMAC)
			if ok != tc.ok {
				t.Fatalf("taken: %t", ok)
			}
			if ok && (f.src != client || f.srcMAC != [6]byte{0, 0, 0, 0, 1, 1} || len(f.packet) != int(f.packet[3])) {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestClientsForgetTheSilent(t *testing.T) {
	c := newClients(3)
	addr := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, i}) }
	for _, i := range []byte{1, 2, 3, 1, 4} {
		c.learn(addr(i), place{port: uint32(i)})
	}
	for i, want := range map[byte]bool{1: true, 2: false, 3: true, 4: true} {
		if p, ok := c.find(addr(i)); ok != want || ok && p.port != uint32(i) {
			t.Errorf("client %d: found %t at %d", i, ok, p.port)
		}
	}
	c.learn(addr(3), place{port: 9})
	if p, _ := c.find(addr(3)); p.port != 9 || len(c.at) != 3 || c.used.Len() != 3 {
		t.Errorf("moved client at %d; %d and %d entries", p.port, len(c.at), c.used.Len())
	}
}

func TestQuota(t *testing.T) {
	a, b, c := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	q := newQuota(3, 2)
	for i, step := range []struct {
		client netip.Addr
		ok     bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {b, false}, {c, false}} {
		if got := q.take(step.client); got != step.ok {
			t.Errorf("step %d: %t", i, got)
		}
	}
	q.give(a)
	if !q.take(c) {
		t.Error("what was given back cannot be taken")
	}
	q.give(a)
	q.give(b)
	q.give(c)
	if len(q.by) != 0 || q.used != 0 {
		t.Errorf("left: %v, %d", q.by, q.used)
	}
}
