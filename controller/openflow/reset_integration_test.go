//go:build integration

package openflow

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/openflow/packet"
)

// TestResetRefusesConnection lets a real TCP stack connect to an address
// that nobody has: the packet comes to us, the reset goes back, and the
// client must see "connection refused" at once.
func TestResetRefusesConnection(t *testing.T) {
	ovs, c := dialOVS(t)
	ctx := testContext(t)
	host := fmt.Sprintf("resethost-%d", os.Getpid())
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	ip("netns", "add", host)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", host).CombinedOutput(); err != nil {
			t.Errorf("remove network namespace %s: %v: %s", host, err, out)
		}
	})
	ip("-n", host, "link", "add", "eth0", "address", "02:00:00:00:00:11", "type", "veth", "peer", "name", "p1", "netns", ovs.NetNS)
	ip("-n", ovs.NetNS, "link", "set", "p1", "up")
	ip("-n", host, "link", "set", "eth0", "up")
	ip("-n", host, "address", "add", "10.9.0.1/24", "dev", "eth0")
	ip("-n", host, "neighbour", "add", "10.9.0.99", "lladdr", "02:00:6d:6c:00:01", "dev", "eth0")
	ovs.Vsctl("add-port", bridge, "p1", "--", "set", "Interface", "p1", "ofport_request=1")

	toUs := flow.Flow{Priority: 10,
		Match:   flow.Match{flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP), flow.IPv4Dst.Is(0x0a090063)},
		Actions: []flow.Action{flow.Controller{MaxLen: 0xffff}}}.Seal()
	if err := c.Apply(ctx, Change{AddFlows: slices.Values([]flow.Flow{toUs})}); err != nil {
		t.Fatal(err)
	}
	go func() {
		for in := range c.PacketIns() {
			p, err := packet.ParseTCP(in.Data)
			if err != nil {
				t.Errorf("packet of a real stack: %v", err)
				continue
			}
			if err := c.PacketOut(ctx, flow.PortController, packet.BuildReset(p), []flow.Action{flow.Output{Port: in.InPort}}); err != nil {
				t.Errorf("send reset: %v", err)
			}
		}
	}()
	connect, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(connect, "ip", "netns", "exec", host, "bash", "-c", "exec 3<>/dev/tcp/10.9.0.99/80").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Connection refused") {
		t.Errorf("connect: %v: %s, want the refusal", err, out)
	}
}
