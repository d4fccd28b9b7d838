package dns

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// maxUDP is the largest message over UDP, in bytes, and what clients and
// recursors are told so: with its headers, it fits the smallest MTU of IPv6
// (RFC 8200, section 5), and so is nowhere fragmented (RFC 9715).
const maxUDP = 1232

// accept looks at the header of a message before the rest is read. Answers
// get no answer, so that two servers cannot talk to each other for ever.
func accept(h dns.Header) dns.MsgAcceptAction {
	const response = 1 << 15 // RFC 1035, section 4.1.1
	switch opcode := int(h.Bits>>11) & 0xf; {
	case h.Bits&response != 0:
		return dns.MsgIgnore
	case opcode != dns.OpcodeQuery:
		return dns.MsgRejectNotImplemented
	case h.Qdcount != 1: // RFC 9619
		return dns.MsgReject
	}
	return dns.DefaultMsgAcceptFunc(h)
}

// serve answers one question.
func (s *Server) serve(w dns.ResponseWriter, req *dns.Msg) {
	client, udp := clientOf(w)
	resp, size := s.answer(req, client, udp)
	s.count.answers.Add(1)
	if resp.Rcode == dns.RcodeServerFailure {
		s.count.failures.Add(1)
	}
	fit(resp, size, udp)
	if err := w.WriteMsg(resp); err != nil {
		s.log.Debug("dns answer not sent", "client", client, "error", err)
	}
}

func clientOf(w dns.ResponseWriter) (client netip.Addr, udp bool) {
	switch a := w.RemoteAddr().(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap(), true
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap(), false
	}
	return netip.Addr{}, false
}

// answer makes the message that answers req, and says how many bytes it may
// have.
func (s *Server) answer(req *dns.Msg, client netip.Addr, udp bool) (*dns.Msg, int) {
	size := dns.MaxMsgSize
	if udp {
		size = dns.MinMsgSize
	}
	resp := new(dns.Msg).SetReply(req)
	resp.RecursionAvailable = s.forward.available()
	fail := func(rcode int) (*dns.Msg, int) {
		resp.Rcode = rcode
		return resp, size
	}
	opt, ok := optOf(req)
	// A message may end before the question that its header promises.
	if !ok || len(req.Question) != 1 || req.Question[0].Qtype == dns.TypeOPT {
		return fail(dns.RcodeFormatError)
	}
	if opt != nil {
		if udp {
			size = int(min(max(opt.UDPSize(), dns.MinMsgSize), maxUDP))
		}
		resp.SetEdns0(maxUDP, opt.Do()) // RFC 3225, section 3: DO is copied
		if opt.Version() != 0 {
			return fail(dns.RcodeBadVers)
		}
	}
	q := req.Question[0]
	labels, ok := splitName(q.Name)
	switch {
	case !ok:
		return fail(dns.RcodeFormatError)
	case q.Qclass != dns.ClassINET, q.Qtype == dns.TypeAXFR, q.Qtype == dns.TypeIXFR:
		return fail(dns.RcodeRefused)
	}
	labels, inside := s.zone.below(labels)
	if !inside {
		return s.pass(req, resp, client, udp), size
	}
	snap, known := s.snapshot()
	r := s.zone.resolve(question{name: q.Name, labels: labels, qtype: q.Qtype, client: client, size: size}, snap, known)
	s.fill(resp, r)
	return resp, size
}

// fill puts what a reply means into a message.
func (s *Server) fill(resp *dns.Msg, r reply) {
	resp.Rcode, resp.Answer = r.rcode, r.answer
	resp.Extra = append(r.extra, resp.Extra...) // OPT last
	resp.Truncated = r.more
	if r.rcode == dns.RcodeServerFailure {
		return
	}
	resp.Authoritative = true
	if len(r.answer) == 0 {
		resp.Ns = []dns.RR{s.zone.soa(s.zone.apex)} // RFC 2308, section 2
	}
}

// pass answers a question for a name outside the domain.
func (s *Server) pass(req, resp *dns.Msg, client netip.Addr, udp bool) *dns.Msg {
	if !s.forward.available() || !req.RecursionDesired {
		resp.Rcode = dns.RcodeRefused
		return resp
	}
	s.count.forwarded.Add(1)
	from := s.forward.ask(req, client, udp)
	if from == nil {
		resp.Rcode = dns.RcodeServerFailure
		return resp
	}
	resp.Rcode, resp.Truncated = from.Rcode, from.Truncated
	resp.Authoritative, resp.AuthenticatedData = from.Authoritative, from.AuthenticatedData
	resp.Answer, resp.Ns = from.Answer, from.Ns
	resp.Extra = append(withoutOPT(from.Extra), resp.Extra...)
	if resp.Rcode > 0xf && resp.IsEdns0() == nil { // such codes need EDNS (RFC 6891, section 6.1.3)
		resp.Rcode = dns.RcodeServerFailure
	}
	return resp
}

// fit takes records away until a message has at most size bytes. TC is set
// when answers are missing, over UDP: over TCP there is nothing to try next.
// Additional records may be missing without it (RFC 2181, section 9).
func fit(m *dns.Msg, size int, udp bool) {
	answers, truncated := len(m.Answer), m.Truncated
	m.Truncate(size)
	m.Truncated = udp && (truncated || len(m.Answer) < answers)
	m.Compress = true
}

// optOf returns the OPT record of a message, if it has one. It is false for
// more than one, and for one that has a name (RFC 6891, section 6.1.1).
func optOf(m *dns.Msg) (*dns.OPT, bool) {
	var opt *dns.OPT
	for _, rr := range m.Extra {
		if o, is := rr.(*dns.OPT); is {
			if opt != nil || o.Hdr.Name != "." {
				return nil, false
			}
			opt = o
		}
	}
	return opt, true
}

func withoutOPT(all []dns.RR) []dns.RR {
	kept := make([]dns.RR, 0, len(all)+1)
	for _, rr := range all {
		if rr.Header().Rrtype != dns.TypeOPT {
			kept = append(kept, rr)
		}
	}
	return kept
}
