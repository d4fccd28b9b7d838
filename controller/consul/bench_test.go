package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("service-%05d", i)
	}
	return out
}

// three are three instances, the first of which has the given status.
func three(name, status string) []*api.ServiceEntry {
	out := make([]*api.ServiceEntry, 3)
	for i := range out {
		id := fmt.Sprintf("%s-%d", name, i)
		out[i] = entry(fmt.Sprintf("h%d", i), fmt.Sprintf("10.0.0.%d", i+1), api.AgentService{Service: name, ID: id, Port: 80, Tags: []string{"v1"},
			Meta: map[string]string{"version": "v1"}, Weights: api.AgentWeights{Passing: 1, Warning: 1}}, api.HealthPassing)
	}
	out[0].Checks[0].Status = status
	return out
}

var statuses = [2]string{api.HealthCritical, api.HealthPassing}

// BenchmarkApply is the work between a decoded answer about one of many
// services and the snapshot.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			all := names(n)
			r := filled(silent{}, all...)
			for _, name := range all {
				r.setHealth(name, three(name, api.HealthPassing))
			}
			r.snapshot()
			name := all[n/2]
			answers := [2][]*api.ServiceEntry{three(name, statuses[0]), three(name, statuses[1])}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r.setHealth(name, answers[i%2])
				if _, changed := r.snapshot(); !changed {
					b.Fatal("nothing has changed")
				}
				i++
			}
		})
	}
}

// registryOfMany answers for many services, as Consul does, and writes the
// next answer about one of them when the benchmark says so.
type registryOfMany struct {
	names   []string
	news    chan string // status of the first instance of the one
	sent    chan time.Time
	one     string
	waiting chan struct{} // the question about the one has come
}

func (m *registryOfMany) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	index, _ := strconv.Atoi(r.URL.Query().Get("index"))
	answer := func(body any) {
		text, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		w.Header().Set("X-Consul-Index", strconv.Itoa(index+1))
		if index > 0 {
			m.sent <- time.Now()
		}
		_, _ = w.Write(text) // a client that is gone needs no answer
	}
	switch {
	case name == "self":
		_, _ = w.Write([]byte(`{"DebugConfig": {"DefaultIntentionPolicy": "allow"}}`))
	case index > 0 && name == m.one:
		select {
		case m.waiting <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		select {
		case status := <-m.news:
			answer(three(name, status))
		case <-r.Context().Done():
		}
	case index > 0:
		<-r.Context().Done()
	case strings.HasPrefix(r.URL.Path, "/v1/config/"):
		answer([]int{})
	case name == "services":
		list := map[string][]string{consulService: {}}
		for _, s := range m.names {
			list[s] = nil
		}
		answer(list)
	default:
		answer(three(name, api.HealthPassing))
	}
}

// BenchmarkWatch is the time from Consul's answer about one of many services
// to emit after a quiet time, over HTTP and with one blocking query for each
// service.
func BenchmarkWatch(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			m := &registryOfMany{names: names(n), news: make(chan string), sent: make(chan time.Time, 1), waiting: make(chan struct{})}
			m.one = m.names[n/2]
			ln := newPipes()
			srv := httptest.NewUnstartedServer(m)
			srv.Listener.Close()
			srv.Listener = ln
			srv.Start()
			client, err := api.NewClient(&api.Config{Address: "pipe", HttpClient: &http.Client{Transport: &http.Transport{DialContext: ln.dial, MaxIdleConnsPerHost: -1}}})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			emitted, done := make(chan time.Time, 1), make(chan error, 1)
			go func() {
				done <- Watch(ctx, Config{Client: client, Logger: slog.New(slog.DiscardHandler), Spacing: time.Nanosecond, Debounce: time.Nanosecond},
					func(mesh.Snapshot) { emitted <- time.Now() })
			}()
			<-emitted
			var took []time.Duration
			i := 0
			for b.Loop() {
				<-m.waiting
				m.news <- statuses[i%2]
				sent := <-m.sent
				took = append(took, (<-emitted).Sub(sent))
				i++
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs/p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs/p99")
			cancel()
			<-done
			srv.CloseClientConnections()
			srv.Close()
		})
	}
}
