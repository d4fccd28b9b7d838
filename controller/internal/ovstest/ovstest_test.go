//go:build integration

package ovstest

import (
	"strings"
	"testing"
)

func TestTwoInstancesAtOnce(t *testing.T) {
	a, b := Start(t), Start(t)
	a.AddBridge("br0")
	b.AddBridge("br0")
	a.Ofctl("add-flow", "br0", "table=7,priority=5 actions=drop")
	if got := a.Ofctl("dump-flows", "br0"); !strings.Contains(got, "table=7") {
		t.Errorf("the flow is not in its bridge: %s", got)
	}
	if got := b.Ofctl("dump-flows", "br0"); strings.Contains(got, "table=7") {
		t.Errorf("the flow leaked into the other instance: %s", got)
	}
	a.KillSwitch()
	a.StartSwitch()
	if got := a.Appctl("ofproto/list"); !strings.Contains(got, "br0") {
		t.Errorf("the bridge did not come back after a crash: %q", got)
	}
}
