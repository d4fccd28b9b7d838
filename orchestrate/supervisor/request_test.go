package supervisor

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/client"
)

func TestSpec(t *testing.T) {
	lab, _, err := labs.Load("protocols", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		mesh    orchestrate.Mesh
		request string
		want    scenarios.RequestSpec
		err     string
		left    bool // the request is to be left out
	}{
		"HTTP":        {orchestrate.Direct, "http1", scenarios.RequestSpec{Protocol: scenarios.HTTP1, URL: "http://10.10.0.1:8080/", Method: "GET", Status: 200, Contains: []string{"web"}}, "", false},
		"HTTP/2":      {orchestrate.OVS, "http2", scenarios.RequestSpec{Protocol: scenarios.HTTP2, URL: "http://10.10.0.254:9080/", Method: "GET", Status: 200, Matches: `"name":"web"`}, "", false},
		"gRPC":        {orchestrate.ConsulConnect, "grpc", scenarios.RequestSpec{Protocol: scenarios.GRPC, URL: "http://127.0.0.1:9081", Body: "hello"}, "", false},
		"TCP":         {orchestrate.OVS, "tcp", scenarios.RequestSpec{Protocol: scenarios.TCPEcho, URL: "http://10.10.0.254:9082", Body: "hello"}, "", false},
		"UDP":         {orchestrate.Direct, "udp", scenarios.RequestSpec{Protocol: scenarios.UDPEcho, URL: "http://10.10.0.2:8083", Body: "hello"}, "", false},
		"UDP by ovs":  {orchestrate.OVS, "udp", scenarios.RequestSpec{}, "request udp: protocol udp: mesh ovs carries TCP only", true},
		"UDP sidecar": {orchestrate.ConsulConnect, "udp", scenarios.RequestSpec{}, "mesh consul-connect carries TCP only", true},
		"unknown":     {orchestrate.OVS, "sctp", scenarios.RequestSpec{}, `no request "sctp"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Spec(lab, tc.mesh, tc.request)
			if len(got.Headers) == 0 {
				got.Headers = nil
			}
			if !reflect.DeepEqual(got, tc.want) || (err == nil) != (tc.err == "") || errors.Is(err, ErrNotCarried) != tc.left {
				t.Fatalf("got  %+v, %v\nwant %+v", got, err, tc.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%v, want %q", err, tc.err)
				}
				return
			}
			if _, err := client.Prepare(got); err != nil {
				t.Errorf("it cannot be sent: %v", err)
			}
		})
	}
}

// topo and scenarios name the protocols alike, without knowing each other.
func TestProtocolsAreTheSame(t *testing.T) {
	lab, _, err := labs.Load("protocols", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range scenarios.Protocols() {
		if spec, err := Spec(lab, orchestrate.Direct, string(p)); err != nil || spec.Protocol != p {
			t.Errorf("%s: %+v, %v", p, spec, err)
		}
	}
	if len(lab.Requests) != len(scenarios.Protocols()) {
		t.Errorf("%d requests, %d protocols", len(lab.Requests), len(scenarios.Protocols()))
	}
}

func TestRequestOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = w.Write([]byte("hello"))
	}))
	t.Cleanup(server.Close)
	good := scenarios.RequestSpec{URL: server.URL, Method: "GET", Status: 200, Contains: []string{"ell"}, Matches: "^h.*o$"}
	for name, tc := range map[string]struct {
		change func(*scenarios.RequestSpec)
		want   string
	}{
		"right":          {func(*scenarios.RequestSpec) {}, ""},
		"a status":       {func(s *scenarios.RequestSpec) { s.URL += "/broken" }, "status 502"},
		"a text":         {func(s *scenarios.RequestSpec) { s.Contains = []string{"bye"} }, "bye"},
		"a pattern":      {func(s *scenarios.RequestSpec) { s.Matches = "^o" }, "^o"},
		"nobody answers": {func(s *scenarios.RequestSpec) { s.URL = "http://127.0.0.1:1" }, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := good
			tc.change(&spec)
			req, err := client.Prepare(spec)
			if err != nil {
				t.Fatal(err)
			}
			err = requestOnce(t.Context(), hostDialer(""), req)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
