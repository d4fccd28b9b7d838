package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// fakeAgent stands in for an agent whose check goes through the given states,
// one at each question, and keeps the last; it records what is written. A real
// agent cannot be made to change between two given questions.
type fakeAgent struct {
	states  []string
	written []string
	refuses bool
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/v1/agent/services":
		_ = json.NewEncoder(w).Encode(map[string]api.AgentService{"web1": {ID: "web1", Service: "web", Port: 80}})
	case "/v1/agent/checks":
		_ = json.NewEncoder(w).Encode(map[string]api.AgentCheck{
			"service:web1": {CheckID: "service:web1", ServiceID: "web1", Status: f.states[0]},
			"other":        {CheckID: "other", Status: api.HealthPassing}, // of the node
		})
		if len(f.states) > 1 {
			f.states = f.states[1:]
		}
	case "/v1/catalog/register":
		var reg api.CatalogRegistration
		_ = json.NewDecoder(req.Body).Decode(&reg)
		if f.refuses {
			http.Error(w, "no such thing", http.StatusBadRequest)
			return
		}
		text := reg.Node + " " + reg.Service.ID
		for _, c := range reg.Checks {
			text += " " + c.CheckID + "=" + c.Status
		}
		f.written = append(f.written, text)
		_, _ = w.Write([]byte("true"))
	default:
		http.NotFound(w, req)
	}
}

func TestAnnounce(t *testing.T) {
	const passing, critical = api.HealthPassing, api.HealthCritical
	good, bad := "h1 web1 service:web1=passing", "h1 web1 service:web1=critical"
	for _, tc := range []struct {
		name   string
		states []string
		want   []string
	}{
		{"at once", []string{passing}, []string{good}},
		{"not before it is healthy", []string{critical, critical, passing}, []string{good}},
		{"fails while it is written", []string{passing, critical}, []string{good, bad}},
		{"fails for a moment", []string{passing, critical, passing}, []string{good, bad, good}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fakeAgent{states: tc.states}
			s := httptest.NewServer(f)
			defer s.Close()
			client, err := api.NewClient(&api.Config{Address: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := Announce(ctx, client, "h1"); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(f.written, tc.want) {
				t.Errorf("written: %q, want %q", f.written, tc.want)
			}
		})
	}
}

func TestAnnounceGivesUp(t *testing.T) {
	s := httptest.NewServer(&fakeAgent{states: []string{api.HealthCritical}})
	defer s.Close()
	client, err := api.NewClient(&api.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = Announce(ctx, client, "h1")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "services of h1") || !strings.Contains(err.Error(), "checks fail") {
		t.Error(err)
	}
}

func TestAnnounceRefused(t *testing.T) {
	s := httptest.NewServer(&fakeAgent{states: []string{api.HealthPassing}, refuses: true})
	defer s.Close()
	client, err := api.NewClient(&api.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Announce(ctx, client, "h1"); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "no such thing") {
		t.Error(err)
	}
}
