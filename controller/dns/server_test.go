package dns

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
)

func TestServerAnswersOverUDPAndTCP(t *testing.T) {
	checkLeaks(t)
	f := newFabric(t, testSnapshot(), nil)
	hosts := []*host{f.host(1), f.host(2)}
	for _, network := range []string{"udp", "tcp"} {
		for _, h := range hosts {
			resp, err := h.ask(network, newQuestion("WEB.service.consul.", dns.TypeA))
			if err != nil {
				t.Fatalf("%s: %v", network, err)
			}
			if !resp.Authoritative || resp.Truncated || resp.RecursionAvailable || len(resp.Answer) != 2 || resp.IsEdns0() != nil ||
				resp.Question[0].Name != "WEB.service.consul." || resp.Answer[0].Header().Name != "WEB.service.consul." || resp.Answer[0].Header().Ttl != 5 {
				t.Errorf("%s: %v", network, resp)
			}
			// Each client is told its own ports.
			resp, err = h.ask(network, newQuestion("web.virtual.consul.", dns.TypeSRV))
			if err != nil {
				t.Fatalf("%s: %v", network, err)
			}
			if want := map[uint32]int{1: 2, 2: 1}[h.port]; len(resp.Answer) != want || len(resp.Extra) != 1 {
				t.Errorf("%s, port %d: %v", network, h.port, resp)
			}
		}
	}
	if s := f.server.Stats(); s.Malformed+s.Dropped+s.Failures != 0 || s.Answers != 8 || s.Frames < 8 || s.Sent < 8 {
		t.Errorf("stats: %+v", s)
	}
}

func TestServerDenies(t *testing.T) {
	f := newFabric(t, testSnapshot(), nil)
	h := f.host(1)
	for name, rcode := range map[string]int{"nosuch.service.consul.": dns.RcodeNameError, "web.service.consul.": dns.RcodeSuccess} {
		resp, err := h.ask("udp", newQuestion(name, dns.TypeAAAA))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Rcode != rcode || !resp.Authoritative || len(resp.Answer) != 0 || len(resp.Ns) != 1 {
			t.Errorf("%s: %v", name, resp)
			continue
		}
		if soa, ok := resp.Ns[0].(*dns.SOA); !ok || soa.Hdr.Name != "consul." || soa.Minttl != 5 || soa.Hdr.Ttl != 5 {
			t.Errorf("%s: %v", name, resp.Ns[0])
		}
	}
}

// A large answer is cut over UDP, at the size that the client names, and
// whole over TCP.
func TestServerLargeAnswers(t *testing.T) {
	f := newFabric(t, manyInstances(1000), nil)
	h := f.host(1)
	for name, tc := range map[string]struct {
		edns     uint16 // 0: none
		min, max int    // records
	}{
		"no EDNS":        {0, 28, 30},
		"512":            {512, 27, 29},
		"1000":           {1000, 58, 60},
		"1232":           {1232, 72, 74},
		"4096, too much": {4096, 72, 74},
		"1, too little":  {1, 27, 29},
	} {
		m := newQuestion("many.service.consul.", dns.TypeA)
		if tc.edns > 0 {
			m.SetEdns0(tc.edns, false)
		}
		resp, err := h.ask("udp", m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !resp.Truncated || len(resp.Answer) < tc.min || len(resp.Answer) > tc.max || (resp.IsEdns0() != nil) != (tc.edns > 0) {
			t.Errorf("%s: TC %t, %d records, EDNS %v", name, resp.Truncated, len(resp.Answer), resp.IsEdns0())
		}
		resp.Compress = true
		if limit := min(max(int(tc.edns), 512), maxUDP); resp.Len() > limit {
			t.Errorf("%s: %d bytes", name, resp.Len())
		}
	}
	resp, err := h.ask("tcp", newQuestion("many.service.consul.", dns.TypeA))
	if err != nil || resp.Truncated || len(resp.Answer) != 1000 {
		t.Errorf("TCP: %v, %d records", err, len(resp.Answer))
	}

	// More than a message of DNS can hold.
	more := manyInstances(6000)
	f.snap.Store(&more)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
		resp, err = h.ask("tcp", newQuestion("many.service.consul.", qtype))
		if err != nil || resp.Truncated || len(resp.Answer) < 1000 {
			t.Errorf("TCP, %s: %v, %d records", dns.TypeToString[qtype], err, len(resp.Answer))
		}
	}
}

// Answers that fit are whole, and additional records that do not fit are no
// reason to ask again.
func TestServerAdditionalRecordsAreOptional(t *testing.T) {
	f := newFabric(t, manyInstances(9), nil)
	resp, err := f.host(1).ask("udp", newQuestion("many.service.consul.", dns.TypeSRV))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Truncated || len(resp.Answer) != 9 || len(resp.Extra) == 0 || len(resp.Extra) == 9 {
		t.Errorf("TC %t, %d records, %d additional", resp.Truncated, len(resp.Answer), len(resp.Extra))
	}
}

func TestServerFollowsTheSnapshot(t *testing.T) {
	f := newFabric(t, testSnapshot(), nil)
	h := f.host(1)
	f.snap.Store(&mesh.Snapshot{})
	resp, err := h.ask("udp", newQuestion("web.service.consul.", dns.TypeA))
	if err != nil || resp.Rcode != dns.RcodeNameError {
		t.Errorf("%v, %v", err, resp)
	}
}

// raw sends bytes as a UDP payload and returns the answer, or nil when none
// comes in time.
func raw(t *testing.T, h *host, payload []byte, wait time.Duration) *dns.Msg {
	t.Helper()
	c, err := h.dial("udp")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Conn.Write(payload); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(wait))
	resp, err := c.ReadMsg()
	if err != nil {
		return nil
	}
	return resp
}

func TestServerProtocol(t *testing.T) {
	f := newFabric(t, testSnapshot(), nil)
	h := f.host(1)
	const silent = -1
	base := func(change func(m *dns.Msg)) []byte {
		m := newQuestion("web.service.consul.", dns.TypeA)
		change(m)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	opt := func(name string, version uint8) *dns.OPT {
		o := &dns.OPT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeOPT}}
		o.SetUDPSize(1232)
		o.SetVersion(version)
		return o
	}
	header := func(counts ...uint16) []byte {
		b := make([]byte, 12)
		b[1] = 7
		for i, n := range counts {
			binary.BigEndian.PutUint16(b[4+2*i:], n)
		}
		return b
	}
	for name, tc := range map[string]struct {
		payload []byte
		rcode   int
	}{
		"plain":           {base(func(*dns.Msg) {}), dns.RcodeSuccess},
		"an answer":       {base(func(m *dns.Msg) { m.Response = true }), silent},
		"NOTIFY's answer": {base(func(m *dns.Msg) { m.Response, m.Opcode = true, dns.OpcodeNotify }), silent},
		"empty":           {nil, silent},
		"half a header":   {[]byte{1, 2, 3}, silent},
		"no question":     {base(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		"two questions":   {base(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		"cut off":         {base(func(*dns.Msg) {})[:20], dns.RcodeFormatError},
		"only a count":    {header(1), dns.RcodeFormatError},
		"pointer loop":    {append(header(1), 0xc0, 12, 0, 1, 0, 1), dns.RcodeFormatError},
		"100 records":     {header(1, 100, 100, 100), dns.RcodeFormatError},
		"NOTIFY":          {base(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		"UPDATE":          {base(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		"IQUERY":          {base(func(m *dns.Msg) { m.Opcode = dns.OpcodeIQuery }), dns.RcodeNotImplemented},
		"opcode 15":       {base(func(m *dns.Msg) { m.Opcode = 15 }), dns.RcodeNotImplemented},
		"CHAOS": {base(func(m *dns.Msg) {
			m.Question[0] = dns.Question{Name: "version.bind.", Qtype: dns.TypeTXT, Qclass: dns.ClassCHAOS}
		}), dns.RcodeRefused},
		"class ANY":     {base(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }), dns.RcodeRefused},
		"AXFR":          {base(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
		"IXFR":          {base(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeIXFR }), dns.RcodeRefused},
		"OPT as a type": {base(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeOPT }), dns.RcodeFormatError},
		"other domain":  {base(func(m *dns.Msg) { m.Question[0].Name = "example.org." }), dns.RcodeRefused},
		"ends alike":    {base(func(m *dns.Msg) { m.Question[0].Name = "web.service.notconsul." }), dns.RcodeRefused},
		"root":          {base(func(m *dns.Msg) { m.Question[0].Name = "." }), dns.RcodeRefused},
		"EDNS":          {base(func(m *dns.Msg) { m.Extra = []dns.RR{opt(".", 0)} }), dns.RcodeSuccess},
		"EDNS 1":        {base(func(m *dns.Msg) { m.Extra = []dns.RR{opt(".", 1)} }), dns.RcodeBadVers},
		"EDNS twice":    {base(func(m *dns.Msg) { m.Extra = []dns.RR{opt(".", 0), opt(".", 0)} }), dns.RcodeFormatError},
		"EDNS, named":   {base(func(m *dns.Msg) { m.Extra = []dns.RR{opt("a.", 0)} }), dns.RcodeFormatError},
		"255 bytes":     {base(func(m *dns.Msg) { m.Question[0].Name = strings.Repeat("abcdefg.", 29) + "abcdef.service.consul." }), dns.RcodeNameError},
	} {
		t.Run(name, func(t *testing.T) {
			wait := 5 * time.Second
			if tc.rcode == silent {
				wait = 200 * time.Millisecond
			}
			resp := raw(t, h, tc.payload, wait)
			switch {
			case resp == nil && tc.rcode == silent:
			case resp == nil || tc.rcode == silent:
				t.Errorf("got %v", resp)
			case resp.Rcode != tc.rcode || !resp.Response:
				t.Errorf("got %s, want %s", dns.RcodeToString[resp.Rcode], dns.RcodeToString[tc.rcode])
			case len(tc.payload) > 2 && resp.Id != binary.BigEndian.Uint16(tc.payload):
				t.Error("the answer is to another message")
			case strings.HasPrefix(name, "EDNS") && tc.rcode != dns.RcodeFormatError && (resp.IsEdns0() == nil || resp.IsEdns0().UDPSize() != maxUDP || resp.IsEdns0().Version() != 0):
				t.Errorf("OPT: %v", resp.IsEdns0())
			}
		})
	}
}

// DO is copied (RFC 3225), though nothing is signed.
func TestServerCopiesDO(t *testing.T) {
	f := newFabric(t, testSnapshot(), nil)
	m := newQuestion("web.service.consul.", dns.TypeA)
	m.SetEdns0(1232, true)
	resp, err := f.host(1).ask("udp", m)
	if err != nil || resp.IsEdns0() == nil || !resp.IsEdns0().Do() {
		t.Errorf("%v, %v", err, resp)
	}
}

// Several questions on one connection, all written before the first answer
// is read (RFC 7766, section 6.2.1).
func TestServerPipelinedTCP(t *testing.T) {
	f := newFabric(t, testSnapshot(), nil)
	c, err := f.host(1).dial("tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for i := range 50 {
		m := newQuestion("web.service.consul.", dns.TypeA)
		m.Id = uint16(i)
		if err := c.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		resp, err := c.ReadMsg()
		if err != nil || resp.Id != uint16(i) {
			t.Fatalf("answer %d: %v, %v", i, err, resp)
		}
	}
}

// One client with too many connections is cut off, and only that one.
func TestServerLimitsConnections(t *testing.T) {
	checkLeaks(t)
	f := newFabric(t, testSnapshot(), nil)
	greedy, other := f.host(1), f.host(2)
	var open []*dns.Conn
	for range connsPerClient {
		c, err := greedy.dial("tcp")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	if _, err := greedy.ask("tcp", newQuestion("web.service.consul.", dns.TypeA)); err == nil {
		t.Error("a connection beyond the limit was served")
	}
	if _, err := other.ask("tcp", newQuestion("web.service.consul.", dns.TypeA)); err != nil {
		t.Errorf("another client: %v", err)
	}
	client := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	if _, _, err := client.ExchangeWithConn(newQuestion("web.service.consul.", dns.TypeA), open[0]); err != nil {
		t.Errorf("a connection within the limit: %v", err)
	}
	open[0].Close()
	await(t, "room for one more connection", func() bool {
		_, err := greedy.ask("tcp", newQuestion("web.service.consul.", dns.TypeA))
		return err == nil
	})
}

// While the switch takes no answers, frames go on coming in, up to a bound,
// and nothing piles up behind the answers.
func TestInputNeverBlocks(t *testing.T) {
	checkLeaks(t)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	f := newFabric(t, testSnapshot(), func(c *Config) { c.Send = func(uint32, []byte) { <-gate } })
	t.Cleanup(open)
	packed, err := newQuestion("web.service.consul.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := udpFrame(netip.MustParseAddr("192.168.1.1"), 5000, packed)
	goroutines := runtime.NumGoroutine()
	await(t, "frames and answers dropped", func() bool {
		for range 1000 {
			f.server.Input(1, q)
		}
		return f.server.Stats().Dropped > 2*queuedFrames
	})
	await(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	open()
	before := f.server.Stats().Sent
	await(t, "answers again", func() bool {
		f.server.Input(1, q)
		return f.server.Stats().Sent > before+2*queuedFrames
	})
}

func TestCloseEndsAll(t *testing.T) {
	checkLeaks(t)
	var after atomic.Bool
	snap := testSnapshot()
	s, err := New(Config{
		Addr: testVIP, MAC: testVIPMAC, Domain: "consul",
		Snapshot: func() (mesh.Snapshot, bool) { return snap, true },
		Send: func(uint32, []byte) {
			if after.Load() {
				t.Error("a frame after Close")
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	packed, err := newQuestion("web.service.consul.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := udpFrame(netip.MustParseAddr("192.168.1.1"), 5000, packed)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				s.Input(1, q)
			}
		})
	}
	s.Close()
	after.Store(true)
	wg.Wait()
	s.Input(1, q)
}
