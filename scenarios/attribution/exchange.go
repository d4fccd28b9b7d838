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
// sees them.
type exchange struct {
	flow
	request, answer bytes
	sent, answered  int64 // first byte of the request, last of the answer
}

// exchanges cuts a flow into exchanges: data of the client, then data of the
// server, until the client sends again. Data that is sent once more, or comes
// late, opens nothing. An exchange that has no answer, or whose answer has
// holes, is left out.
func exchanges(f flow, segments []segment) (all []exchange) {
	const request, answer = 0, 1
	type mark struct {
		seq  uint32 // behind the last byte seen in one direction
		seen bool
	}
	var top, before [2]mark // now; when the open exchange began
	var now exchange
	var begin int // of the open exchange, in segments
	open := false
	finish := func(end int) {
		if !open || now.answer.length() <= 0 {
			return
		}
		var whole bool
		if now.answered, whole = complete(segments[begin:end], now.answer, true); whole {
			all = append(all, now)
		}
	}
	for i, s := range segments {
		way := request
		if s.answer {
			way = answer
		}
		if top[way].seen && !after(s.end(), top[way].seq) {
			if open && (!before[way].seen || after(s.end(), before[way].seq)) { // overtaken by what came behind it
				now.stretch(s)
			}
			continue
		}
		switch {
		case !s.answer && (!open || now.answer.length() > 0):
			finish(i)
			now = exchange{flow: f, request: bytes{s.seq, s.end()}, sent: s.at}
			open, begin, before = true, i, top
		case open:
			now.stretch(s)
		}
		top[way] = mark{s.end(), true}
	}
	finish(len(segments))
	return all
}

// stretch makes a segment part of the exchange.
func (e *exchange) stretch(s segment) {
	b := &e.request
	if s.answer {
		b = &e.answer
	}
	if b.length() <= 0 {
		*b = bytes{s.seq, s.end()}
		return
	}
	if after(b.from, s.seq) {
		b.from = s.seq
	}
	if after(s.end(), b.to) {
		b.to = s.end()
	}
}

// complete returns when the last byte of b had been seen for the first time,
// and false when some were not seen at all.
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
