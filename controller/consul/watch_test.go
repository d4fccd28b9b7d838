package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// answer is what the catalog of a scripted agent says.
type answer struct {
	index    string
	filtered bool // by ACLs
	services map[string][]string
}

// agent answers each question for the list of services with what the test
// sends next. Each service has one instance, and keeps it. It has no leader
// for the given number of questions for one.
type agent struct {
	lists      chan answer
	leaderless atomic.Int32
	early      atomic.Int32 // other questions that came before there was one
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var now answer
	var body any
	switch name := path.Base(r.URL.Path); {
	case name == "leader":
		switch left := a.leaderless.Add(-1); {
		case left < 0:
			_, _ = w.Write([]byte(`"10.0.0.1:8300"`))
		case left%2 == 0:
			_, _ = w.Write([]byte(`""`))
		default:
			http.Error(w, "No known Consul servers", http.StatusInternalServerError)
		}
		return
	case a.leaderless.Load() >= 0:
		a.early.Add(1)
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
		return
	case name == "self":
		_, _ = w.Write([]byte(`{"DebugConfig": {"DefaultIntentionPolicy": "deny"}}`))
		return
	case strings.HasPrefix(r.URL.Path, "/v1/config/") && !r.URL.Query().Has("consistent"):
		http.Error(w, "a server that has just begun would list nothing", http.StatusInternalServerError)
		return
	case strings.HasPrefix(r.URL.Path, "/v1/config/") && r.URL.Query().Get("index") == "":
		now.index, body = "5", []api.ConfigEntry{}
	case name == "services":
		select {
		case now = <-a.lists:
			body = now.services
		case <-r.Context().Done():
			return
		}
	case r.URL.Query().Get("index") != "":
		<-r.Context().Done()
		return
	default:
		now.index = "5"
		body = []*api.ServiceEntry{entry("h1", "10.0.0.1", api.AgentService{Service: name, ID: name, Port: 80}, api.HealthPassing)}
	}
	w.Header().Set("X-Consul-Index", now.index)
	w.Header().Set("X-Consul-LastContact", "0")
	if now.filtered {
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
	}
	_ = json.NewEncoder(w).Encode(body) // a client that is gone needs no answer
}

// watch gives what Watch emits about an agent that the test plays.
func watch(t *testing.T, leaderless int) (*agent, <-chan mesh.Snapshot) {
	t.Helper()
	return watchWith(t, leaderless, Config{Recovery: time.Nanosecond})
}

func watchWith(t *testing.T, leaderless int, cfg Config) (*agent, <-chan mesh.Snapshot) {
	t.Helper()
	a := &agent{lists: make(chan answer)}
	a.leaderless.Store(int32(leaderless))
	srv := httptest.NewServer(a)
	client, err := api.NewClient(&api.Config{Address: srv.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Client, cfg.Debounce = client, time.Nanosecond
	ctx, cancel := context.WithCancel(context.Background())
	done, snaps := make(chan error, 1), make(chan mesh.Snapshot, 10)
	go func() {
		done <- Watch(ctx, cfg, func(s mesh.Snapshot) { snaps <- s })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
		srv.Close()
	})
	return a, snaps
}

func await(t *testing.T, snaps <-chan mesh.Snapshot) mesh.Snapshot {
	t.Helper()
	select {
	case s := <-snaps:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("no snapshot within 10 s")
		return mesh.Snapshot{}
	}
}

// A question that Consul's servers get before they have a leader is answered
// seconds after they have one.
func TestAsksNothingWithoutLeader(t *testing.T) {
	a, snaps := watch(t, 4)
	a.lists <- answer{index: "7", services: map[string][]string{"consul": {}, "web": {}}}
	if s := await(t, snaps); len(s.Services) != 1 {
		t.Errorf("snapshot %+v, want web", s)
	}
	if early := a.early.Load(); early > 0 {
		t.Errorf("%d questions came before there was a leader", early)
	}
}

// An agent whose servers have not filled the catalog answers with an empty
// list and no error. That must neither count as the first state nor wipe one.
func TestEmptyCatalogSaysNothing(t *testing.T) {
	empty := answer{index: "1", services: map[string][]string{}}
	filled := answer{index: "7", services: map[string][]string{"consul": {}, "web": {}}}
	more := answer{index: "9", services: map[string][]string{"consul": {}, "web": {}, "site": {}}}
	a, snaps := watch(t, 0)
	a.lists <- empty
	a.lists <- filled
	if first := await(t, snaps); len(first.Services) != 1 || len(first.Services[0].Instances) != 1 || !first.DefaultDeny {
		t.Errorf("the first snapshot is %+v, want web with one instance, and deny", first)
	}
	a.lists <- empty
	a.lists <- more
	// The second empty list changes nothing, so the next has a service more.
	if second := await(t, snaps); len(second.Services) != 2 {
		t.Errorf("the second snapshot is %+v, want site and web", second)
	}
}

// A token may hide Consul's own service; the list then counts as it is.
func TestFilteredCatalogCounts(t *testing.T) {
	a, snaps := watch(t, 0)
	a.lists <- answer{index: "7", filtered: true, services: map[string][]string{}}
	if s := await(t, snaps); len(s.Services) != 0 {
		t.Errorf("snapshot %+v, want an empty one", s)
	}
}

// Agents of Consul that have begun again take checks for critical until these
// have run. What they say in that time must not reach anybody.
func TestLastStateStandsWhileConsulRecovers(t *testing.T) {
	const recovery = 2 * time.Second
	empty := answer{index: "1", services: map[string][]string{}}
	filled := answer{index: "7", services: map[string][]string{"consul": {}, "web": {}}}
	without := answer{index: "8", services: map[string][]string{"consul": {}}}
	more := answer{index: "9", services: map[string][]string{"consul": {}, "web": {}, "site": {}}}
	a, snaps := watchWith(t, 0, Config{Recovery: recovery})
	a.lists <- filled
	await(t, snaps)
	away := time.Now()
	a.lists <- empty
	a.lists <- without
	a.lists <- more
	if s := await(t, snaps); len(s.Services) != 2 {
		t.Errorf("snapshot %+v, want web and site: that web was gone for a while is Consul's recovery", s)
	}
	if took := time.Since(away); took < recovery {
		t.Errorf("the snapshot came %v after Consul was away, want %v at least", took, recovery)
	}
}
