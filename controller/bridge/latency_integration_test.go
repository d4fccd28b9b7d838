//go:build integration

package bridge_test

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/consul"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
)

// answers notes when Consul's answers about a service arrive.
type answers struct {
	http.RoundTripper
	mu   sync.Mutex
	last time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.RoundTripper.RoundTrip(r)
	if err == nil && strings.HasPrefix(r.URL.Path, "/v1/health/service/api") {
		a.mu.Lock()
		a.last = time.Now()
		a.mu.Unlock()
	}
	return res, err
}

func (a *answers) arrived() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// BenchmarkConsulToSwitch flips a check in a real Consul, and tells apart how
// long Consul took to answer the controller's blocking query, and how long
// from that answer to the switch's confirmation:
//
//	go test -tags integration -run '^$' -bench ConsulToSwitch -benchtime 1x ./controller/bridge
func BenchmarkConsulToSwitch(b *testing.B) {
	const flips = 200
	l := newLab(b)
	confirmed := make(chan time.Time, 1)
	l.config.Metrics = metrics.New(time.Now)
	l.config.Converged = func(string, time.Duration) {
		select {
		case confirmed <- time.Now():
		default:
		}
	}
	heard := &answers{}
	var watched *api.Client
	ready := make(chan struct{})
	l.control(func(ctx context.Context, emit func(mesh.Snapshot)) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ready:
			return consul.Watch(ctx, consul.Config{Client: watched, Spacing: time.Millisecond}, emit)
		}
	})
	client, socket := l.agent()
	var d net.Dialer
	heard.RoundTripper = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}
	var err error
	if watched, err = api.NewClient(&api.Config{Address: "consul", HttpClient: &http.Client{Transport: heard}}); err != nil {
		b.Fatal(err)
	}
	close(ready)
	l.upstream(client)
	if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: "a", Name: "api", Address: "192.168.1.12", Port: 80,
		Check: &api.AgentServiceCheck{CheckID: "flip", TTL: "1h", Status: api.HealthPassing},
	}); err != nil {
		b.Fatal(err)
	}
	l.healthy(1)
	var consulMS, ourMS []float64
	for b.Loop() {
		for i := range flips {
			status := api.HealthCritical
			if i%2 == 1 {
				status = api.HealthPassing
			}
			select {
			case <-confirmed: // of a change before
			default:
			}
			begin := time.Now()
			if err := client.Agent().UpdateTTL("flip", "", status); err != nil {
				b.Fatal(err)
			}
			select {
			case end := <-confirmed:
				answer := heard.arrived()
				consulMS = append(consulMS, answer.Sub(begin).Seconds()*1e3)
				ourMS = append(ourMS, end.Sub(answer).Seconds()*1e3)
			case <-time.After(patience):
				b.Fatal("the switch does not follow")
			}
		}
	}
	slices.Sort(consulMS)
	slices.Sort(ourMS)
	b.ReportMetric(consulMS[len(consulMS)/2], "consul-median-ms")
	b.ReportMetric(ourMS[len(ourMS)/2], "answer-to-switch-median-ms")
	b.ReportMetric(ourMS[len(ourMS)*95/100], "answer-to-switch-p95-ms")
	b.ReportMetric(0, "ns/op")
}
