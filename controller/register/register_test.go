package register_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/register"
)

// A request that nobody answers, at a connection that nobody ends, must not
// hold up the renewal of leases. The server knows what an agent of Consul
// answers to registrations and renewals, and forgets everything.
func TestARequestThatIsNotAnswered(t *testing.T) {
	const lease = 3 * time.Second
	var mu sync.Mutex
	hung := ""
	renewed := map[string]bool{} // since one was not answered
	all := make(chan struct{})
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		id, isLease := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/agent/check/update/"), ".lease")
		if !isLease {
			if r.Method == http.MethodGet {
				_, _ = io.WriteString(w, "{}")
			}
			return
		}
		mu.Lock()
		first := hung == ""
		if first {
			hung = id
		} else if renewed[id] = true; len(renewed) == 2 {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		mu.Unlock()
		if first {
			<-release
		}
	}))
	defer server.Close()
	defer close(release)
	config := api.DefaultConfig()
	config.Address = server.URL
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- register.Keep(ctx, register.Config{
			Client: client, Owner: "n1", Lease: lease,
			Instances: func(ctx context.Context, emit func([]register.Instance)) error {
				emit([]register.Instance{
					{ID: "a", Service: "a", Addr: netip.MustParseAddr("10.1.1.1"), Port: 80},
					{ID: "b", Service: "b", Addr: netip.MustParseAddr("10.1.1.2"), Port: 80},
				})
				<-ctx.Done()
				return ctx.Err()
			},
		})
	}()
	select {
	case <-all: // a second after the renewal that hung was given up
	case <-time.After(20 * lease):
		mu.Lock()
		t.Errorf("the renewal of %q is not answered, and only %v were renewed since", hung, renewed)
		mu.Unlock()
	}
	cancel()
	<-done
}

// keep runs Keep; stop ends it as SIGTERM would.
func keep(t *testing.T, client *api.Client, lease time.Duration) (tell func(...register.Instance), stop func()) {
	t.Helper()
	news := make(chan []register.Instance)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- register.Keep(ctx, register.Config{
			Client: client, Owner: "n1", Lease: lease,
			Instances: func(ctx context.Context, emit func([]register.Instance)) error {
				for {
					select {
					case <-ctx.Done():
						return ctx.Err()
					case all := <-news:
						emit(all)
					}
				}
			},
		})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Keep ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return func(all ...register.Instance) { news <- all }, stop
}

// soon polls until is true.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			t.Fatal("it does not come about: " + what)
		case <-tick.C:
		}
	}
}

// An agent that comes back after its lease does not leave instances critical
// until the next renewal.
func TestALeaseThatHadEnded(t *testing.T) {
	a := newFakeAgent(t)
	a.has("n1", "web", api.HealthCritical)
	tell, _ := keep(t, a.client, time.Hour)
	tell(register.Instance{ID: "web", Service: "web", Addr: netip.MustParseAddr("10.1.1.1"), Port: 80, Ready: true})
	soon(t, "the lease passes again", func() bool { return a.lease("web") == api.HealthPassing })
}

// Until it is told what runs here, an agent that was started anew keeps what the
// one before has registered, and does nothing else; not for ever.
func TestNobodyTellsYet(t *testing.T) {
	const lease = 300 * time.Millisecond
	a := newFakeAgent(t)
	a.has("n1", "web", api.HealthPassing)
	a.has("n1", "gone", api.HealthPassing)
	a.has("n1", "ended", api.HealthCritical)
	a.has("n2", "other", api.HealthPassing)
	begin := time.Now()
	keep(t, a.client, lease)
	renewed := func() int { return strings.Count(strings.Join(a.writes(), " "), "check/update/web.lease") }
	soon(t, "a lease is renewed again and again", func() bool { return renewed() >= 3 })
	after := func(leases time.Duration) int {
		soon(t, "time passes", func() bool { return time.Since(begin) > leases*lease })
		return renewed()
	}
	if then, later := after(30), after(33); later > then {
		t.Errorf("after more than 20 leases it renews %d times", later-then)
	}
	for _, asked := range a.writes() {
		if asked != "check/update/web.lease" && asked != "check/update/gone.lease" {
			t.Errorf("nobody has told anything, and Consul is asked for %s", asked)
		}
	}
}

// What has stopped meanwhile goes with the first word.
func TestTheFirstWord(t *testing.T) {
	a := newFakeAgent(t)
	a.has("n1", "web", api.HealthPassing)
	a.has("n1", "gone", api.HealthPassing)
	tell, _ := keep(t, a.client, 3*time.Second)
	soon(t, "leases are renewed", func() bool { return len(a.writes()) >= 2 })
	tell(register.Instance{ID: "web", Service: "web", Addr: netip.MustParseAddr("10.1.1.1"), Port: 80, Ready: true})
	soon(t, "one stays, the other goes", func() bool { return a.lease("web") == api.HealthPassing && a.lease("gone") == "" })
}
