package register_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"
)

// fakeAgent answers as an agent of Consul does to what is asked here. A check
// that is registered again keeps its state.
type fakeAgent struct {
	client *api.Client

	mu       sync.Mutex
	services map[string]*api.AgentService
	checks   map[string]*api.AgentCheck
	asked    []string // all but reads
}

func newFakeAgent(t *testing.T) *fakeAgent {
	t.Helper()
	a := &fakeAgent{services: map[string]*api.AgentService{}, checks: map[string]*api.AgentCheck{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	config := api.DefaultConfig()
	config.Address = server.URL
	var err error
	if a.client, err = api.NewClient(config); err != nil {
		t.Fatal(err)
	}
	return a
}

// has puts an instance there, whose lease is passing or critical.
func (a *fakeAgent) has(owner, id, lease string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.services[id] = &api.AgentService{ID: id, Service: id, Meta: map[string]string{"meshlab-owner": owner}}
	for _, check := range []string{".lease", ".ready"} {
		a.checks[id+check] = &api.AgentCheck{CheckID: id + check, ServiceID: id, Status: lease}
	}
}

// writes are the requests so far that are no reads.
func (a *fakeAgent) writes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.asked...)
}

// lease is the state of an instance's lease; empty: there is none.
func (a *fakeAgent) lease(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.checks[id+".lease"]; c != nil {
		return c.Status
	}
	return ""
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/agent/")
	if r.Method == http.MethodPut {
		a.asked = append(a.asked, path)
	}
	id := path[strings.LastIndex(path, "/")+1:]
	filter := r.URL.Query().Get("filter")
	switch {
	case path == "services":
		mine := map[string]*api.AgentService{}
		for id, s := range a.services {
			if strings.Contains(filter, `"`+s.Meta["meshlab-owner"]+`"`) {
				mine[id] = s
			}
		}
		_ = json.NewEncoder(w).Encode(mine)
	case path == "checks":
		some := map[string]*api.AgentCheck{}
		for id, c := range a.checks {
			if !strings.Contains(filter, "Status") || c.Status == api.HealthPassing {
				some[id] = c
			}
		}
		_ = json.NewEncoder(w).Encode(some)
	case path == "service/register":
		var s api.AgentServiceRegistration
		_ = json.NewDecoder(r.Body).Decode(&s)
		a.services[s.ID] = &api.AgentService{ID: s.ID, Service: s.Name, Meta: s.Meta}
		for _, c := range s.Checks {
			if a.checks[c.CheckID] == nil {
				a.checks[c.CheckID] = &api.AgentCheck{CheckID: c.CheckID, ServiceID: s.ID, Status: c.Status}
			}
		}
	case strings.HasPrefix(path, "check/update/") && a.checks[id] != nil:
		var update struct{ Status string }
		_ = json.NewDecoder(r.Body).Decode(&update)
		a.checks[id].Status = update.Status
	case strings.HasPrefix(path, "service/deregister/") && a.services[id] != nil:
		delete(a.services, id)
		delete(a.checks, id+".lease")
		delete(a.checks, id+".ready")
	case strings.HasPrefix(path, "service/") && a.services[id] != nil:
		_ = json.NewEncoder(w).Encode(a.services[id])
	default:
		http.Error(w, "Unknown check or service", http.StatusNotFound)
	}
}
