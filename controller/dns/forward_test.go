package dns

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// recursor runs a DNS server on a loopback port, over UDP and TCP.
func recursor(t *testing.T, h dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	p, err := net.ListenPacket("udp", at.String())
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	servers := []*dns.Server{{Listener: l, Handler: h}, {PacketConn: p, Handler: h}}
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		wg.Go(func() { _ = s.ActivateAndServe() })
		<-started
	}
	t.Cleanup(func() {
		for _, s := range servers {
			_ = s.Shutdown()
		}
		wg.Wait()
	})
	return at
}

// says answers with a TXT record that has the text and the transport.
func says(text string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, req *dns.Msg) {
		m := new(dns.Msg).SetReply(req)
		m.RecursionAvailable = true
		if opt := req.IsEdns0(); opt != nil {
			m.SetEdns0(4096, opt.Do())
		}
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: req.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 77},
			Txt: []string{text, w.RemoteAddr().Network()}}}
		_ = w.WriteMsg(m)
	}
}

func fails(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, req *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(req, rcode)) }
}

func TestForward(t *testing.T) {
	checkLeaks(t)
	for name, tc := range map[string]struct {
		recursors []dns.HandlerFunc
		question  func(m *dns.Msg)
		rcode     int
		want      string // of the TXT record
	}{
		"one":                 {[]dns.HandlerFunc{says("a")}, nil, dns.RcodeSuccess, "a"},
		"the first of two":    {[]dns.HandlerFunc{says("a"), says("b")}, nil, dns.RcodeSuccess, "a"},
		"the second":          {[]dns.HandlerFunc{fails(dns.RcodeServerFailure), says("b")}, nil, dns.RcodeSuccess, "b"},
		"one refuses":         {[]dns.HandlerFunc{fails(dns.RcodeRefused), says("b")}, nil, dns.RcodeSuccess, "b"},
		"a denial counts":     {[]dns.HandlerFunc{fails(dns.RcodeNameError), says("b")}, nil, dns.RcodeNameError, ""},
		"all fail":            {[]dns.HandlerFunc{fails(dns.RcodeServerFailure)}, nil, dns.RcodeServerFailure, ""},
		"answers another":     {[]dns.HandlerFunc{func(w dns.ResponseWriter, req *dns.Msg) { req.Question[0].Name = "evil.example."; says("e")(w, req) }, says("b")}, nil, dns.RcodeSuccess, "b"},
		"in another case":     {[]dns.HandlerFunc{func(w dns.ResponseWriter, req *dns.Msg) { req.Question[0].Name = "example.org."; says("a")(w, req) }}, nil, dns.RcodeSuccess, "a"},
		"no recursion wanted": {[]dns.HandlerFunc{says("a")}, func(m *dns.Msg) { m.RecursionDesired = false }, dns.RcodeRefused, ""},
		"with EDNS":           {[]dns.HandlerFunc{says("a")}, func(m *dns.Msg) { m.SetEdns0(1232, true) }, dns.RcodeSuccess, "a"},
		"extended code": {[]dns.HandlerFunc{func(w dns.ResponseWriter, req *dns.Msg) {
			m := new(dns.Msg).SetRcode(req, dns.RcodeBadCookie)
			m.SetEdns0(4096, false)
			_ = w.WriteMsg(m)
		}}, nil, dns.RcodeServerFailure, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFabric(t, testSnapshot(), func(c *Config) {
				for _, h := range tc.recursors {
					c.Forward = append(c.Forward, recursor(t, h))
				}
			})
			h := f.host(1)
			for _, network := range []string{"udp", "tcp"} {
				m := newQuestion("Example.ORG.", dns.TypeTXT)
				if tc.question != nil {
					tc.question(m)
				}
				resp, err := h.ask(network, m)
				if err != nil {
					t.Fatal(err)
				}
				if resp.Rcode != tc.rcode || !resp.RecursionAvailable || resp.Authoritative || (resp.IsEdns0() != nil) != (m.IsEdns0() != nil) ||
					resp.Question[0].Name != "Example.ORG." {
					t.Errorf("%s: %v", network, resp)
				}
				if tc.want != "" && (len(resp.Answer) != 1 || resp.Answer[0].Header().Ttl != 77 || strings.Join(resp.Answer[0].(*dns.TXT).Txt, " ") != tc.want+" "+network) {
					t.Errorf("%s: %v", network, resp.Answer)
				}
			}
		})
	}
}

// No name of the domain leaves it, whatever is known of it.
func TestForwardNothingOfTheDomain(t *testing.T) {
	var asked atomic.Int64
	at := recursor(t, func(w dns.ResponseWriter, req *dns.Msg) {
		asked.Add(1)
		says("leak")(w, req)
	})
	f := newFabric(t, testSnapshot(), func(c *Config) { c.Forward = []netip.AddrPort{at} })
	h := f.host(1)
	for _, name := range []string{"consul.", "nosuch.service.consul.", "web.service.CONSUL.", "web.service.dc2.consul.", "a.b.consul.", `x\.y.consul.`} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeDS, dns.TypeSRV} {
			resp, err := h.ask("udp", newQuestion(name, qtype))
			if err != nil || !resp.Authoritative {
				t.Errorf("%s: %v, %v", name, err, resp)
			}
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d questions left", asked.Load())
	}
}

// An answer of a recursor that is too large for the client is cut.
func TestForwardCutsLargeAnswers(t *testing.T) {
	at := recursor(t, says(strings.Repeat("x", 250)+"\x00"))
	many := recursor(t, func(w dns.ResponseWriter, req *dns.Msg) {
		m := new(dns.Msg).SetReply(req)
		for range 8 {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: req.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{strings.Repeat("x", 100)}})
		}
		_ = w.WriteMsg(m)
	})
	for _, tc := range []struct {
		at      netip.AddrPort
		network string
		records int
		cut     bool
	}{{at, "udp", 1, false}, {many, "udp", 4, true}, {many, "tcp", 8, false}} {
		f := newFabric(t, testSnapshot(), func(c *Config) { c.Forward = []netip.AddrPort{tc.at} })
		resp, err := f.host(1).ask(tc.network, newQuestion("example.org.", dns.TypeTXT))
		if err != nil || resp.Truncated != tc.cut || len(resp.Answer) > tc.records || len(resp.Answer) == 0 {
			t.Errorf("%s: %v, TC %t, %d records", tc.network, err, resp.Truncated, len(resp.Answer))
		}
	}
}

// One client that waits for silent recursors does not take the others'
// chance, and its own questions fail at once beyond a bound.
func TestForwardLimits(t *testing.T) {
	checkLeaks(t)
	hold := make(chan struct{})
	var waiting atomic.Int64
	at := recursor(t, func(w dns.ResponseWriter, req *dns.Msg) {
		if req.Question[0].Name == "slow.example." {
			waiting.Add(1)
			<-hold
			return
		}
		says("quick")(w, req)
	})
	f := newFabric(t, testSnapshot(), func(c *Config) { c.Forward = []netip.AddrPort{at} })
	t.Cleanup(sync.OnceFunc(func() { close(hold) }))
	packed, err := newQuestion("slow.example.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	greedy, other := f.host(1), f.host(2)
	for i := range 3 * forwardsPerHost {
		f.server.Input(1, udpFrame(greedy.addr, uint16(6000+i), packed))
	}
	await(t, "the bound of one client reached", func() bool {
		return f.server.Stats().Failures == 2*forwardsPerHost && waiting.Load() == forwardsPerHost
	})
	if resp, err := other.ask("udp", newQuestion("quick.example.", dns.TypeTXT)); err != nil || resp.Rcode != dns.RcodeSuccess {
		t.Errorf("another client: %v, %v", err, resp)
	}
	if resp, err := greedy.ask("udp", newQuestion("web.service.consul.", dns.TypeA)); err != nil || resp.Rcode != dns.RcodeSuccess {
		t.Errorf("a name of the domain: %v, %v", err, resp)
	}
}

// A recursor that says nothing costs its time and no more.
func TestForwardTimeout(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	at := recursor(t, says("b"))
	f := newFabric(t, testSnapshot(), func(c *Config) {
		c.Forward = []netip.AddrPort{silent.LocalAddr().(*net.UDPAddr).AddrPort(), at}
	})
	begin := time.Now()
	resp, err := f.host(1).ask("udp", newQuestion("example.org.", dns.TypeTXT))
	if took := time.Since(begin); err != nil || resp.Rcode != dns.RcodeSuccess || took < forwardTimeout {
		t.Errorf("%v after %s, %v", err, took, resp)
	}
}

// Close does not wait for recursors.
func TestCloseEndsForwards(t *testing.T) {
	checkLeaks(t)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := Config{Forward: []netip.AddrPort{silent.LocalAddr().(*net.UDPAddr).AddrPort()}}
	f := newFabric(t, testSnapshot(), func(all *Config) {
		all.Forward = c.Forward
		c = *all
	})
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	f.host(1)
	packed, err := newQuestion("example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	s.Input(1, udpFrame(netip.MustParseAddr("192.168.1.1"), 6000, packed))
	await(t, "the question passed on", func() bool { return s.Stats().Forwarded == 1 })
	begin := time.Now()
	s.Close()
	if took := time.Since(begin); took > forwardTimeout/2 {
		t.Errorf("Close took %s", took)
	}
}

// What a recursor cut over UDP is cut for the client too, who asks again
// over TCP.
func TestForwardPassesTruncationOn(t *testing.T) {
	at := recursor(t, func(w dns.ResponseWriter, req *dns.Msg) {
		if w.RemoteAddr().Network() == "tcp" {
			says("whole")(w, req)
			return
		}
		m := new(dns.Msg).SetReply(req)
		m.Truncated = true
		_ = w.WriteMsg(m)
	})
	h := newFabric(t, testSnapshot(), func(c *Config) { c.Forward = []netip.AddrPort{at} }).host(1)
	for network, cut := range map[string]bool{"udp": true, "tcp": false} {
		resp, err := h.ask(network, newQuestion("example.org.", dns.TypeTXT))
		if err != nil || resp.Truncated != cut || (len(resp.Answer) == 0) != cut {
			t.Errorf("%s: %v, %v", network, err, resp)
		}
	}
}
