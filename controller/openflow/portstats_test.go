package openflow

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// portStatsEntry is an ofp_port_stats with 1, 2, 3... times scale as counters.
func portStatsEntry(number uint32, scale uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, number)
	b = binary.BigEndian.AppendUint32(b, 0)
	for i := range uint64(12) {
		b = binary.BigEndian.AppendUint64(b, (i+1)*scale)
	}
	return binary.BigEndian.AppendUint64(b, 0) // duration
}

func TestPortStats(t *testing.T) {
	s, c := dialFake(t, 0)
	s.setHandle(func(s *fakeSwitch, m message) {
		// ofp_port_stats_request of all ports (OpenFlow 1.3.5, section 7.3.5.6).
		if want := multipartBody(multipartPortStats, false, []byte{255, 255, 255, 255, 0, 0, 0, 0}); !slices.Equal(m.body, want) {
			t.Errorf("asked % x, want % x", m.body, want)
		}
		s.reply(typeMultipartReply, m.xid, multipartBody(multipartPortStats, true, portStatsEntry(1, 1)))
		s.reply(typeMultipartReply, m.xid, multipartBody(multipartPortStats, false, append(portStatsEntry(2, 1<<40), portStatsEntry(0xfffffffe, 3)...)))
	})
	got, err := c.PortStats(fakeContext(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []PortStats{
		{Number: 1, RxPackets: 1, TxPackets: 2, RxBytes: 3, TxBytes: 4},
		{Number: 2, RxPackets: 1 << 40, TxPackets: 2 << 40, RxBytes: 3 << 40, TxBytes: 4 << 40},
		{Number: 0xfffffffe, RxPackets: 3, TxPackets: 6, RxBytes: 9, TxBytes: 12},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	s.setHandle(func(s *fakeSwitch, m message) {
		s.reply(typeMultipartReply, m.xid, multipartBody(multipartPortStats, false, portStatsEntry(1, 1)[:104]))
	})
	if got, err := c.PortStats(fakeContext(t)); !errors.Is(err, errShort) {
		t.Errorf("an entry cut short: %+v, %v", got, err)
	}
}

func FuzzPortStats(f *testing.F) {
	f.Add(portStatsEntry(1, 7))
	f.Add(portStatsEntry(1, 7)[:111])
	f.Fuzz(func(t *testing.T, body []byte) {
		ports, err := decodePortStats(nil, body)
		if (err == nil) != (len(body)%112 == 0) || err == nil && len(ports)*112 != len(body) {
			t.Errorf("%d ports in %d bytes, %v", len(ports), len(body), err)
		}
	})
}
