package controller

import (
	"slices"
	"testing"
)

func TestWays(t *testing.T) {
	for _, c := range []struct{ text, network, address, home string }{
		{"/run/ovs/s1.mgmt", "unix", "/run/ovs/s1.mgmt", "/run/ovs"},
		{"unix:/run/ovs/s1.mgmt", "unix", "/run/ovs/s1.mgmt", "/run/ovs"},
		{"/run/a:b/s1.mgmt", "unix", "/run/a:b/s1.mgmt", "/run/a:b"},
		{"tcp:192.0.2.1:6653", "tcp", "192.0.2.1:6653", ""},
		{"tls:[2001:db8::1]:6653", "tls", "[2001:db8::1]:6653", ""},
		{"tls:s1.example:6653", "tls", "s1.example:6653", ""},
	} {
		d := Datapath{Address: c.text}
		network, address, err := d.Way()
		if err != nil || network != c.network || address != c.address || d.Home() != c.home {
			t.Errorf("%s: network %q, address %q, home %q, error %v", c.text, network, address, d.Home(), err)
		}
	}
}

func TestRunDirs(t *testing.T) {
	c := FileConfig{Datapaths: []Datapath{
		{Address: "/run/a/s1.mgmt"}, {Address: "/run/a/s2.mgmt"}, {Address: "tls:192.0.2.1:1", RunDir: "/run/b"}, {Address: "tls:192.0.2.2:1"},
	}}
	if got := c.RunDirs(); !slices.Equal(got, []string{"/run/a", "/run/b"}) {
		t.Errorf("of a lab: %q", got)
	}
	if got := (FileConfig{OVSDB: DefaultOVSDB}).RunDirs(); !slices.Equal(got, []string{"/run/openvswitch"}) {
		t.Errorf("of a machine: %q", got)
	}
}

func TestTLSOfADatapath(t *testing.T) {
	got := TLS{Key: "own.key", Name: "node1"}.Or(TLS{CA: "ca", Certificate: "cert", Key: "key"}).Or(TLS{Name: "s1"})
	if want := (TLS{CA: "ca", Certificate: "cert", Key: "own.key", Name: "node1"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
