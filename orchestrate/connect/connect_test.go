package connect

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/topo"
)

func testConfig(p Proxy) Config {
	return Config{
		Lab: &topo.Lab{
			Name: "test",
			Services: []topo.Service{
				{Name: "web1", Service: "web", Node: "h1", Port: 80, Upstreams: []topo.Upstream{{Service: "db", BindPort: 9000}}},
				{Name: "db", Service: "db", Node: "h2", Port: 5432},
			},
			Client: &topo.Client{Node: "h1", Upstreams: []topo.Upstream{{Service: "web", BindPort: 9001}}},
		},
		Consul:  consul.Binary{Path: "/bin/consul", Version: "1.22.5"},
		Proxy:   p,
		Dir:     "/run/lab/sidecars",
		Sockets: map[string]string{"h1": "/run/lab/h1.sock", "h2": "/run/lab/h2.sock"},
	}
}

func TestSidecars(t *testing.T) {
	const envoy = "-grpc-addr=http://127.0.0.1:8502 -admin-bind=127.0.0.1:1900N -envoy-binary=/opt/envoy -- --log-level warning"
	for name, tc := range map[string]struct {
		proxy Proxy
		want  []string
	}{
		"built-in": {Proxy{Name: BuiltIn}, []string{
			"h1 connect proxy -sidecar-for=web1 -http-addr=unix:///run/lab/h1.sock -log-level=warn",
			"h2 connect proxy -sidecar-for=db -http-addr=unix:///run/lab/h2.sock -log-level=warn",
			"h1 connect proxy -sidecar-for=client -http-addr=unix:///run/lab/h1.sock -log-level=warn",
		}},
		// Two sidecars on h1: their admin ports differ.
		"envoy": {Proxy{Name: Envoy, Path: "/opt/envoy"}, []string{
			"h1 connect envoy -sidecar-for=web1 -http-addr=unix:///run/lab/h1.sock " + strings.Replace(envoy, "N", "0", 1),
			"h2 connect envoy -sidecar-for=db -http-addr=unix:///run/lab/h2.sock " + strings.Replace(envoy, "N", "0", 1),
			"h1 connect envoy -sidecar-for=client -http-addr=unix:///run/lab/h1.sock " + strings.Replace(envoy, "N", "1", 1),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			specs, err := Sidecars(testConfig(tc.proxy))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range specs {
				got = append(got, s.Node+" "+strings.Join(s.Args, " "))
			}
			if g, w := strings.Join(got, "\n"), strings.Join(tc.want, "\n"); g != w {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
			if specs[0].Name != "sidecar-web1" || specs[0].Dir != "/run/lab/sidecars/web1" || specs[0].Part != "sidecar" {
				t.Errorf("first sidecar %+v", specs[0])
			}
		})
	}
}

func TestSidecarErrors(t *testing.T) {
	c := testConfig(Proxy{Name: BuiltIn})
	delete(c.Sockets, "h2")
	if _, err := Sidecars(c); err == nil || !strings.Contains(err.Error(), "no agent on host h2") {
		t.Errorf("host without an agent: %v", err)
	}
	if _, err := Sidecars(testConfig(Proxy{Name: "other"})); err == nil || !strings.Contains(err.Error(), "unknown proxy") {
		t.Errorf("unknown proxy: %v", err)
	}
}

func TestListeners(t *testing.T) {
	got := Listeners(testConfig(Proxy{}).Lab)
	if len(got) != 1 || len(got["h1"]) != 2 || got["h1"][0].String() != "127.0.0.1:9000" || got["h1"][1].String() != "127.0.0.1:9001" {
		t.Errorf("got %v, want 9000 and 9001 on h1 and none on h2", got)
	}
}

func TestPublicListeners(t *testing.T) {
	lab := testConfig(Proxy{}).Lab
	lab.Nodes = []topo.Node{
		{Name: "h1", Kind: topo.KindHost, IPv4: netip.MustParsePrefix("10.0.0.1/24")},
		{Name: "h2", Kind: topo.KindHost, IPv4: netip.MustParsePrefix("10.0.0.2/24")},
	}
	lab.Services = append(lab.Services, topo.Service{Name: "web2", Service: "web", Node: "h1", Port: 81})
	got, err := PublicListeners(lab)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]netip.AddrPort{
		"sidecar-web1": netip.MustParseAddrPort("10.0.0.1:21000"),
		"sidecar-web2": netip.MustParseAddrPort("10.0.0.1:21001"),
		"sidecar-db":   netip.MustParseAddrPort("10.0.0.2:21000"),
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v: those of the services, not the client's", got, want)
	}
	lab.Nodes = nil
	if _, err := PublicListeners(lab); err == nil || !strings.Contains(err.Error(), `no host "h1"`) {
		t.Errorf("service on a host that is not there: %v", err)
	}
}

func TestDetect(t *testing.T) {
	for name, tc := range map[string]struct {
		script  string // what the envoy on the PATH does; "": there is none
		want    Proxy
		wantErr string
	}{
		"none":    {"", Proxy{Name: BuiltIn, Version: "1.22.5"}, ""},
		"envoy":   {`echo; echo "envoy  version: 84813eee/1.34.1/Clean/RELEASE/BoringSSL"`, Proxy{Name: Envoy, Version: "1.34.1"}, ""},
		"broken":  {"exit 127", Proxy{}, "take it off the PATH"},
		"strange": {"echo hello", Proxy{}, "X.Y.Z"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.script != "" {
				if err := os.WriteFile(filepath.Join(dir, "envoy"), []byte("#!/bin/sh\n"+tc.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if tc.want.Name == Envoy {
				tc.want.Path = filepath.Join(dir, "envoy")
			}
			t.Setenv("PATH", dir)
			got, err := Detect(t.Context(), consul.Binary{Path: "/bin/consul", Version: "1.22.5"})
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if (tc.wantErr == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error %v, want %q", err, tc.wantErr)
			}
		})
	}
}
