package dns

import (
	"net/netip"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
)

func TestNewRefuses(t *testing.T) {
	good := func() Config {
		return Config{Addr: testVIP, MAC: testVIPMAC, Domain: "consul",
			Snapshot: func() (mesh.Snapshot, bool) { return mesh.Snapshot{}, true }, Send: func(uint32, []byte) {}}
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":              {func(*Config) {}, ""},
		"no address":        {func(c *Config) { c.Addr = netip.Addr{} }, "virtual address"},
		"IPv6":              {func(c *Config) { c.Addr = netip.MustParseAddr("2001:db8::1") }, "virtual address"},
		"loopback":          {func(c *Config) { c.Addr = netip.MustParseAddr("127.0.0.1") }, "virtual address"},
		"no MAC":            {func(c *Config) { c.MAC = [6]byte{} }, "MAC"},
		"MAC of a group":    {func(c *Config) { c.MAC = [6]byte{1} }, "MAC"},
		"no domain":         {func(c *Config) { c.Domain = "" }, "domain"},
		"no snapshot":       {func(c *Config) { c.Snapshot = nil }, "Snapshot"},
		"no way out":        {func(c *Config) { c.Send = nil }, "Send"},
		"forward to itself": {func(c *Config) { c.Forward = []netip.AddrPort{netip.AddrPortFrom(testVIP, 53)} }, "forward"},
		"forward to none":   {func(c *Config) { c.Forward = []netip.AddrPort{{}} }, "forward"},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			c := good()
			tc.change(&c)
			s, err := New(c)
			if err == nil {
				s.Close()
			}
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
