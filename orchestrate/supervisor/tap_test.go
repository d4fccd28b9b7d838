package supervisor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/orchestrate/tap"
	"meshlab.dev/meshlab/scenarios/attribution"
	"meshlab.dev/meshlab/topo"
)

func TestTapPorts(t *testing.T) {
	lab, _, err := labs.Load("hashicups", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, lab.Switches = range []topo.Switches{topo.SwitchesShared, topo.SwitchesIsolated} {
		t.Run(string(lab.Switches), func(t *testing.T) { tapPortsOf(t, lab) })
	}
}

func tapPortsOf(t *testing.T, lab *topo.Lab) {
	ns := map[string]string{} // of the switch's end of the cable
	for _, l := range lab.Links {
		if lab.Switches == topo.SwitchesIsolated {
			ns[l.A.Node], ns[l.B.Node] = l.B.Node, l.A.Node
		}
	}
	ports, at := tapPorts(lab)
	var hosts []string
	for i, p := range ports {
		if p.Side == attribution.Sent {
			hosts = append(hosts, p.Host)
		}
		want := map[attribution.Side]tap.Port{
			attribution.Sent:      {NetNS: ns[p.Host], Device: p.Host, Direction: tap.In},
			attribution.Delivered: {NetNS: ns[p.Host], Device: p.Host, Direction: tap.Out},
			attribution.Loopback:  {NetNS: p.Host, Device: "lo", Direction: tap.Out},
		}[p.Side]
		if at[i] != want {
			t.Errorf("%+v is tapped at %+v, want %+v", p, at[i], want)
		}
	}
	// Nothing of a request is at the Consul server.
	if want := []string{"h1", "h2", "h3", "db1", "client"}; !slices.Equal(hosts, want) || len(at) != 3*len(want) {
		t.Errorf("taps at %v, %d in all", hosts, len(at))
	}
}

func TestReadTaps(t *testing.T) {
	const packet = `{"packet":{"port":1,"at":5,"src":"192.168.1.100:40000","dst":"192.168.1.11:8080","seq":7,"len":9}}`
	for name, tc := range map[string]struct {
		text    string
		packets int
		err     string
	}{
		"packets":           {packet + "\n" + packet + `{"end":{"packets":2,"dropped":3}}`, 2, ""},
		"nothing":           {`{"end":{"packets":0,"dropped":3}}`, 0, ""},
		"some are missing":  {packet + `{"end":{"packets":2}}`, 1, "1 packets of 2 came"},
		"ended by itself":   {`{"end":{"error":"taps were on for too long"}}`, 0, "too long"},
		"an empty line":     {`{}`, 0, "says nothing"},
		"cut off":           {packet, 1, "EOF"},
		"no such address":   {`{"packet":{"src":"nowhere"}}`, 0, "not an ip:port"},
		"nothing of a line": {``, 0, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			var c attribution.Capture
			err := readTaps(json.NewDecoder(strings.NewReader(tc.text)), &c)
			if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("error %v, want %q", err, tc.err)
			}
			if len(c.Packets) != tc.packets || err == nil && c.Dropped != 3 {
				t.Errorf("%d packets, %d dropped", len(c.Packets), c.Dropped)
			}
		})
	}
}
