package shape

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/topo"
)

func TestNetemQdisc(t *testing.T) {
	attrs := netlink.QdiscAttrs{LinkIndex: 7, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
	for name, tc := range map[string]struct {
		character topo.Character
		want      netlink.NetemQdiscAttrs // latency and jitter in us, loss in percent, rate in bytes a second
	}{
		"delay and loss":    {topo.Character{Delay: 5 * time.Millisecond, Loss: 0.01}, netlink.NetemQdiscAttrs{Latency: 5000, Loss: 1, Limit: maxFrames}},
		"bandwidth":         {topo.Character{Bandwidth: 100_000_000}, netlink.NetemQdiscAttrs{Rate64: 12_500_000, Limit: 825}},
		"little bandwidth":  {topo.Character{Bandwidth: 1_000_000}, netlink.NetemQdiscAttrs{Rate64: 125_000, Limit: queueFrames}},
		"jitter, in order":  {topo.Character{Delay: 2000, Jitter: 1000}, netlink.NetemQdiscAttrs{Latency: 2, Jitter: 1, Rate64: orderly / 8, Limit: maxFrames}},
		"jitter and a rate": {topo.Character{Delay: 2000, Jitter: 1000, Bandwidth: 8_000_000}, netlink.NetemQdiscAttrs{Latency: 2, Jitter: 1, Rate64: 1_000_000, Limit: 66}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := *netemQdisc(7, tc.character), *netlink.NewNetem(attrs, tc.want); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}
