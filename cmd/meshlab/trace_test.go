package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/explain"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// traceable serves traces of one switch with h1 and h2 at a unix socket.
func traceable(t *testing.T) string {
	t.Helper()
	addr := netip.MustParseAddr
	n := explain.Network{
		Fabric: pipeline.Fabric{
			Mesh: true, VIP: addr("10.0.0.250"), Hairpin: addr("10.0.0.251"), VIPMAC: pipeline.MAC{2, 0, 0, 0, 0, 0xfa},
			Hosts: []pipeline.Host{{Name: "h1", Addr: addr("10.0.0.1"), MAC: pipeline.MAC{2, 0, 0, 0, 0, 1}}, {Name: "h2", Addr: addr("10.0.0.2"), MAC: pipeline.MAC{2, 0, 0, 0, 0, 2}}},
		},
		Datapaths: []pipeline.Datapath{{Name: "s1", Access: map[string]uint32{"h1": 1, "h2": 2}, Flood: []uint32{1, 2}}},
		Snapshot: mesh.Snapshot{
			Services:  []*mesh.Service{{Name: "api", Instances: []mesh.Instance{{ID: "api-1", Addr: netip.MustParseAddrPort("10.0.0.2:80"), Healthy: true, Weight: 1}}}},
			Upstreams: []mesh.Upstream{{Client: addr("10.0.0.1"), Source: "web", Destination: "api", BindPort: 9000}},
		},
	}
	p, err := pipeline.Compile(n.Fabric, n.Datapaths[0], n.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	n.Programs = map[string]pipeline.Program{"s1": p}
	dir, err := os.MkdirTemp("", "trace") // not t.TempDir: a socket's path has at most 107 bytes (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "status")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+explain.Path, explain.Handler(func() (explain.Network, error) { return n, nil }))
	srv := &http.Server{Handler: mux}
	go srv.Serve(ln) //nolint:errcheck // ends with Close
	t.Cleanup(func() { srv.Close() })
	return socket
}

func runTrace(args ...string) (string, error) {
	c := newTrace()
	c.PersistentFlags().String("output", "text", "")
	c.SilenceErrors, c.SilenceUsage = true, true
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(context.Background())
	return out.String(), err
}

func TestTraceVerb(t *testing.T) {
	socket := traceable(t)
	text, err := runTrace("web", "api", "--controller", socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"web on h1 (10.0.0.1:40000) to api (10.0.0.250:9000)", "s1, in by port 1 from h1", "=> reaches api at h2 (10.0.0.2:80)", "the answer comes back to h1 from 10.0.0.250:9000"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "actions=") {
		t.Errorf("rules without --verbose:\n%s", text)
	}
	if text, err = runTrace("web", "api", "--controller", socket, "--verbose"); err != nil || !strings.Contains(text, "actions=resubmit(") {
		t.Errorf("with --verbose: %v\n%s", err, text)
	}
	text, err = runTrace("h1", "h2:81", "--source-port", "7", "--controller", socket, "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var tr explain.Trace
	if err := json.Unmarshal([]byte(text), &tr); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if tr.From.Address != "10.0.0.1:7" || tr.There.Verdict.Outcome != explain.Reaches {
		t.Errorf("%+v", tr)
	}
}

func TestTraceVerbRefuses(t *testing.T) {
	socket := traceable(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nobody", "api", "--controller", socket}, `no host or service "nobody"`},
		{[]string{"web", "api", "--controller", socket, "--lab", "x"}, "none of the others can be"},
		{[]string{"web", "--controller", socket}, "accepts 2 arg"},
		{[]string{"web", "api", "--controller", filepath.Join(t.TempDir(), "none")}, "ask for a trace"},
	} {
		_, err := runTrace(c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.args, err, c.want)
		}
		if _, ok := err.(usageError); strings.Contains(c.want, "nobody") && !ok {
			t.Errorf("%q: %T is no usage error", c.args, err)
		}
	}
}

func TestPrintAgreement(t *testing.T) {
	for _, c := range []struct {
		a    explain.Agreement
		want string
	}{
		{explain.Agreement{Switches: []string{"s1"}, Steps: 3}, "Open vSwitch agrees: 3 steps in s1\n"},
		{explain.Agreement{Difference: "s1: why"}, "Open vSwitch does not agree: s1: why\n"},
	} {
		var text, asJSON bytes.Buffer
		if err := printTrace(&text, explain.Trace{}, &c.a, explain.TextOptions{}, false); err != nil || !strings.HasSuffix(text.String(), c.want) {
			t.Errorf("%v: %q", err, text.String())
		}
		if err := printTrace(&asJSON, explain.Trace{}, &c.a, explain.TextOptions{}, true); err != nil || !strings.Contains(asJSON.String(), `"agreement":{`) {
			t.Errorf("%v: %s", err, asJSON.String())
		}
	}
}
