package attribution

import (
	"net/netip"
	"slices"
)

// flow is one TCP connection as one side of one host sees it.
type flow struct {
	host   string
	local  bool // on the loopback device
	caller bool // seen where the client of the connection is; on loopback always
	client netip.AddrPort
	server netip.AddrPort
}

// end of a connection: what stays of it on its way through switches, which may
// change the client's address and both of the server's.
type end struct {
	host   string
	server netip.AddrPort // as seen there
	port   uint16         // of the client
}

// segment is data that was seen.
type segment struct {
	at     int64
	seq    uint32
	length int
	answer bool // from the server
}

// end is the sequence number behind the segment.
func (s segment) end() uint32 { return s.seq + uint32(s.length) }

// after says whether sequence number a comes after b, both within half of all
// numbers of each other (RFC 9293, section 3.4).
func after(a, b uint32) bool { return int32(a-b) > 0 }

// flows sorts packets by connection and side. Those that belong to no known
// server are left out.
func (m *model) flows(packets []Packet, ports []Port) map[flow][]segment {
	all := map[flow][]segment{}
	for _, p := range packets {
		port := ports[p.Port]
		s := segment{at: p.At, seq: p.Seq, length: p.Payload}
		f := flow{host: port.Host, local: port.Side == Loopback}
		switch {
		case m.servers[p.Dst]:
			f.client, f.server, f.caller = p.Src, p.Dst, port.Side != Delivered
		case m.servers[p.Src]:
			f.client, f.server, f.caller = p.Dst, p.Src, port.Side != Sent
			s.answer = true
		default:
			continue
		}
		all[f] = append(all[f], s)
	}
	return all
}

// bytes is a stretch of a connection in one direction.
type bytes struct{ from, to uint32 } // to is behind the last one

func (b bytes) length() int { return int(int32(b.to - b.from)) }

// exchange is a request and its answer on one connection, as the caller's side
// saw them.
type exchange struct {
	flow
	number          int // on its connection, from 0
	request, answer bytes
	sent, answered  int64 // first byte of the request, last of the answer
	whole           bool  // no byte is missing; else the times are those in which bytes may be missing
}

// another is how far sequence numbers must be apart for a connection to be a
// new one between the same ports, in bytes. Packets that open connections
// carry no data and are not seen.
const another = 1 << 20

// mark is how far one direction of a connection has come.
type mark struct {
	seq  uint32 // behind the last byte
	seen bool
}

// next is where data goes on, of which s is the first to be seen: at the mark,
// or where s begins when there is none.
func (m mark) next(s segment) uint32 {
	if m.seen {
		return m.seq
	}
	return s.seq
}

// exchanges cuts a flow into exchanges: data of the client, then data of the
// server, until the client sends again. Data that is sent once more, or comes
// late, opens nothing.
func exchanges(f flow, segments []segment) (all []exchange) {
	const request, answer = 0, 1
	var top, before [2]mark // now; when the open exchange began
	var now exchange
	var begin int // of the open exchange, in segments
	open := false
	finish := func(end int) {
		if open {
			now.number = len(all)
			if !now.judge(segments[begin:end]) && now.number > 0 {
				// The end of the one before may be missing, or one between them.
				prev := &all[now.number-1]
				prev.whole, prev.answered = false, now.answered
			}
			all = append(all, now)
		}
		open = false
	}
	for i, s := range segments {
		way := request
		if s.answer {
			way = answer
		}
		if d := int32(s.seq - top[way].seq); top[way].seen && (d > another || d < -another) {
			finish(i)
			top = [2]mark{}
		}
		if top[way].seen && !after(s.end(), top[way].seq) {
			if open && !before[way].seen && after(now.part(way).from, s.seq) { // overtaken by what came behind it
				now.part(way).from = s.seq
			}
			continue
		}
		switch {
		case !s.answer && (!open || now.answer.length() > 0):
			finish(i)
			now, open, begin, before = exchange{flow: f}, true, i, top
			now.request = bytes{top[request].next(s), s.end()}
		case !s.answer:
			now.request.to = s.end()
		case open && now.answer.length() == 0:
			now.answer = bytes{top[answer].next(s), s.end()}
		case open:
			now.answer.to = s.end()
		}
		top[way] = mark{s.end(), true}
	}
	finish(len(segments))
	return all
}

func (e *exchange) part(way int) *bytes {
	if way == 0 {
		return &e.request
	}
	return &e.answer
}

// judge sets when the exchange was, from the segments of its time, of which
// there is at least one. It is false when the request or the answer does not
// begin where what was seen before it ended.
func (e *exchange) judge(segments []segment) (follows bool) {
	sent, begins := first(segments, e.request, false)
	_, goesOn := first(segments, e.answer, true)
	_, asked := complete(segments, e.request, false)
	answered, told := complete(segments, e.answer, true)
	if e.whole = asked && told && sent <= answered; e.whole {
		e.sent, e.answered = sent, answered
	} else {
		e.sent, e.answered = segments[0].at, segments[len(segments)-1].at
	}
	return begins && (goesOn || e.answer.length() == 0)
}

// complete returns when all bytes of b had been seen, and false when some were
// not, or when there are none.
func complete(segments []segment, b bytes, answer bool) (at int64, ok bool) {
	type part struct{ from, to int } // of b, in bytes from its start
	var have []part
	for _, s := range segments {
		if s.answer != answer {
			continue
		}
		from := int(int32(s.seq - b.from))
		p := part{max(from, 0), min(from+s.length, b.length())}
		if p.from >= p.to {
			continue
		}
		// Join it with all that it overlaps or touches.
		i, _ := slices.BinarySearchFunc(have, p.from, func(h part, v int) int { return h.to - v })
		j := i
		for j < len(have) && have[j].from <= p.to {
			p.from, p.to = min(p.from, have[j].from), max(p.to, have[j].to)
			j++
		}
		have = slices.Replace(have, i, j, p)
		if len(have) == 1 && have[0].from == 0 && have[0].to == b.length() {
			return s.at, true
		}
	}
	return 0, false
}

// first returns when the first byte of b was first seen.
func first(segments []segment, b bytes, answer bool) (at int64, ok bool) {
	return complete(segments, bytes{b.from, b.from + 1}, answer)
}
