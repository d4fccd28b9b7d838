package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// leaderless answers as Consul does that has no leader yet, until it leads.
type leaderless struct{ leads atomic.Bool }

func (l *leaderless) RoundTrip(*http.Request) (*http.Response, error) {
	body := `""`
	if l.leads.Load() {
		body = `"10.0.0.1:8300"`
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// A registry that has just begun to answer is not called down for seconds more:
// `meshlab ps` after `meshlab up` would say so.
func TestProbeSeesConsulComeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		consul := &leaderless{}
		client, err := api.NewClient(&api.Config{Address: "consul.invalid", HttpClient: &http.Client{Transport: consul}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var p registryProbe
		done := make(chan struct{})
		go func() { defer close(done); p.watch(ctx, client) }()
		time.Sleep(5*time.Second + probeAgain/2)
		synctest.Wait()
		if p.up.Load() {
			t.Error("up without a leader")
		}
		consul.leads.Store(true)
		time.Sleep(probeAgain)
		synctest.Wait()
		if !p.up.Load() {
			t.Errorf("not up %v after there is a leader", probeAgain)
		}
		cancel()
		<-done
	})
}

func TestStatusNamesDocker(t *testing.T) {
	for runtime, want := range map[orchestrate.Runtime]bool{orchestrate.Namespaces: false, orchestrate.Docker: true, "": false} {
		var out strings.Builder
		st := supervisor.Status{Lab: "web", Mesh: orchestrate.OVS, Runtime: runtime, Since: time.Now()}
		if err := printStatus(&out, st); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "on Docker"); got != want {
			t.Errorf("runtime %q: %s", runtime, out.String())
		}
	}
}
