package topo_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/topo"
)

func TestMachines(t *testing.T) {
	lab := parse(t, string(read(t, "testdata/machines.good.yaml")))
	if lab.Switches != topo.SwitchesIsolated {
		t.Errorf("switches %q", lab.Switches)
	}
	type link struct {
		mtu       int
		tunnel    topo.Tunnel
		character topo.Character
	}
	want := []link{
		{mtu: 1450},
		{mtu: 1400, character: topo.Character{Bandwidth: 1_500_000_000}},
		{mtu: 1450, character: topo.Character{Delay: 250 * time.Microsecond}},
		{mtu: 1450, tunnel: topo.TunnelVXLAN, character: topo.Character{Bandwidth: 100_000_000, Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.005}},
		{mtu: 1450}, {mtu: 1450}, // of the Consul server and the client
	}
	var got []link
	for _, l := range lab.Links {
		got = append(got, link{l.MTU, l.Tunnel, l.Character})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("links %+v, want %+v", got, want)
	}
	images := []topo.Service{
		{Image: "registry.example:5000/team/shop_web:v1.2"},
		{Image: "images/api v2.tar", Command: []string{"/api", "--listen", ":{{ port }}"}, Limits: topo.Limits{CPUs: 0.5, Memory: 256 << 20}},
		{Builtin: "echo", Limits: topo.Limits{CPUs: 2, Memory: 1_500_000_000}},
		{Image: "postgres@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
	}
	for i, w := range images {
		s := lab.Services[i]
		if s.Image != w.Image || s.Builtin != w.Builtin || !reflect.DeepEqual(s.Command, w.Command) || s.Limits != w.Limits {
			t.Errorf("service %+v, want %+v", s, w)
		}
		if s.IsArchive() != (i == 1) {
			t.Errorf("image %s: an archive: %v", s.Image, s.IsArchive())
		}
	}
}

// Without a tunnel, isolated switches keep the MTU of a cable.
func TestSwitchesWithoutTunnels(t *testing.T) {
	source := string(read(t, "testdata/machines.good.yaml"))
	lab := parse(t, strings.Replace(source, "tunnel: vxlan, ", "", 1))
	if l := lab.Links[0]; lab.Switches != topo.SwitchesIsolated || l.MTU != 1500 {
		t.Errorf("switches %s, link %+v", lab.Switches, l)
	}
	if lab := parse(t, "name: x\nnodes: { s1: { kind: switch } }\n"); lab.Switches != topo.SwitchesShared {
		t.Errorf("switches %q when the file says nothing", lab.Switches)
	}
}

func TestNeedsDocker(t *testing.T) {
	const head = `name: x
nodes: { h1: { kind: host }, s1: { kind: switch } }
links: [ { endpoints: ["h1:eth0", "s1:1"] } ]
services:
  plain: { node: h1, port: 80, builtin: echo, limits: {} }
`
	for name, tt := range map[string]struct{ service, why string }{
		"nothing": {"", ""},
		"image":   {"  web: { node: h1, port: 81, image: nginx }\n", `service "web" runs the image nginx (line 6)`},
		"cpus":    {"  own: { node: h1, port: 81, command: [x], limits: { cpus: 1 } }\n", `service "own" has limits (line 6)`},
		"memory":  {"  own: { node: h1, port: 81, builtin: echo, limits: { memory: 6MiB } }\n", `service "own" has limits (line 6)`},
	} {
		t.Run(name, func(t *testing.T) {
			why, ok := parse(t, head+tt.service).NeedsDocker()
			if why != tt.why || ok != (tt.why != "") {
				t.Errorf("NeedsDocker = %q, %v; want %q", why, ok, tt.why)
			}
		})
	}
}

func TestBandwidth(t *testing.T) {
	for s, want := range map[string]uint64{
		"8kbit": 8000, "8000bit": 8000, "100Mbit": 1e8, "100mbit": 1e8, "100 MBIT": 1e8, "1.5Gbit": 15e8, "100Gbit": 1e11, "unlimited": 0,
		"0.1Gbit": 1e8, "9600.4bit": 9600,
	} {
		got, err := topo.ParseBandwidth(s)
		if err != nil || got != want {
			t.Errorf("ParseBandwidth(%q) = %d, %v; want %d", s, got, err, want)
			continue
		}
		if back, err := topo.ParseBandwidth(topo.FormatBandwidth(got)); err != nil || back != got {
			t.Errorf("%q is written %q, and read as %d, %v", s, topo.FormatBandwidth(got), back, err)
		}
	}
	for _, s := range []string{"", "100", "Mbit", "-1Mbit", "1e3Mbit", "100Mb", "100MB", "100Mibit", "7999bit", "100.1Gbit", "0", "0bit", "1,5Gbit", "Unlimited", " 1Mbit", "NaNbit"} {
		if got, err := topo.ParseBandwidth(s); err == nil {
			t.Errorf("ParseBandwidth(%q) = %d", s, got)
		}
	}
}

func TestLoss(t *testing.T) {
	for s, want := range map[string]float64{"0%": 0, "1%": 0.01, "0.5%": 0.005, "100%": 1, "100.0 %": 1, "33.3%": 0.333, "0.001%": 0.00001} {
		got, err := topo.ParseLoss(s)
		if err != nil || got != want {
			t.Errorf("ParseLoss(%q) = %v, %v; want %v", s, got, err, want)
			continue
		}
		if back, err := topo.ParseLoss(topo.FormatLoss(got)); err != nil || back != got {
			t.Errorf("%q is written %q, and read as %v, %v", s, topo.FormatLoss(got), back, err)
		}
	}
	for _, s := range []string{"", "%", "1", "0.01", "-1%", "100.1%", "1e1%", "1%%", "NaN%"} {
		if got, err := topo.ParseLoss(s); err == nil {
			t.Errorf("ParseLoss(%q) = %v", s, got)
		}
	}
}

func TestMemory(t *testing.T) {
	for s, want := range map[string]int64{"6MiB": 6 << 20, "256MiB": 256 << 20, "1.5GiB": 3 << 29, "1TiB": 1 << 40, "6144KiB": 6 << 20, "512 MB": 512e6, "7000kB": 7e6} {
		if got, err := topo.ParseMemory(s); err != nil || got != want {
			t.Errorf("ParseMemory(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "256", "256m", "256Mi", "256mib", "5MiB", "2000TiB", "-1MiB", "1 PiB"} {
		if got, err := topo.ParseMemory(s); err == nil {
			t.Errorf("ParseMemory(%q) = %d", s, got)
		}
	}
}

func TestCharacter(t *testing.T) {
	for want, c := range map[string]topo.Character{
		"as fast as the machine":      {},
		"100Mbit, 5ms ± 1ms, 1% lost": {Bandwidth: 1e8, Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01},
		"250µs":                       {Delay: 250 * time.Microsecond},
		"0.5% lost":                   {Loss: 0.005},
	} {
		if got := c.String(); got != want {
			t.Errorf("%+v is %q, want %q", c, got, want)
		}
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, c := range []topo.Character{{Jitter: 1}, {Delay: 1, Jitter: 2}} {
		if c.Check() == nil {
			t.Errorf("%+v is good", c)
		}
	}
	for _, s := range []string{"0", "0s", "5ms", "250us", "10s"} {
		if _, err := topo.ParseDelay(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "5", "-1ms", "10.1s", "soon"} {
		if d, err := topo.ParseDelay(s); err == nil {
			t.Errorf("ParseDelay(%q) = %v", s, d)
		}
	}
}
