package ovs

import (
	"slices"
	"strings"
	"testing"
)

func TestInstances(t *testing.T) {
	shared, s1, s2 := Shared(), Isolated("s1"), Isolated("s2")
	for _, c := range []struct{ got, want string }{
		// Where ovs-vsctl looks by itself.
		{shared.dbSocket(), "/run/openvswitch/db.sock"},
		{shared.ManagementSocket("s1"), "/run/openvswitch/s1.mgmt"},
		{shared.SwitchName(), "ovs-vswitchd"},
		{s1.SwitchName(), "ovs-vswitchd@s1"},
		{s1.ManagementSocket("s1"), "/run/meshlab/switch/s1/s1.mgmt"},
	} {
		if c.got != c.want {
			t.Errorf("%s instead of %s", c.got, c.want)
		}
	}
	if s1.Run == s2.Run || s1.Data == s2.Data || s1.dbSocket() == s2.dbSocket() || strings.HasPrefix(s1.Run, shared.Run) {
		t.Errorf("instances share folders: %+v, %+v", s1, s2)
	}
	// unix(7): sun_path has 108 bytes with the zero at the end.
	if long := Isolated(strings.Repeat("n", 14)).ManagementSocket(strings.Repeat("n", 14)); len(long) > 107 {
		t.Errorf("the path of a socket has %d bytes", len(long))
	}
}

func TestTLSArguments(t *testing.T) {
	if got := (TLSFiles{}).arguments(); got != nil {
		t.Errorf("without files: %q", got)
	}
	got := TLSFiles{CA: "/a", Certificate: "/b", Key: "/c"}.arguments()
	if !slices.Equal(got, []string{"--private-key=/c", "--certificate=/b", "--ca-cert=/a"}) {
		t.Errorf("%q", got)
	}
}
