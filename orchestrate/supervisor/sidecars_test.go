package supervisor

import (
	"net"
	"net/netip"
	"testing"
)

func TestListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	at := func(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }
	for name, tc := range map[string]struct {
		addr netip.AddrPort
		want bool
	}{
		"listener":     {at(l.Addr()), true},
		"other host":   {netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), at(l.Addr()).Port()), false},
		"a connection": {at(conn.LocalAddr()), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := listens("/proc/self", tc.addr); got != tc.want || err != nil {
				t.Errorf("%s: %v, %v, want %v", tc.addr, got, err, tc.want)
			}
		})
	}
	// One that is gone does not fail to listen: it must not be ended for that.
	if got, err := listens("/proc/1073741824", at(l.Addr())); err == nil {
		t.Errorf("no such process: %v without an error", got)
	}
}
