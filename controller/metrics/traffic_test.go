package metrics

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/pipeline"
)

func TestTraffic(t *testing.T) {
	c := newClock()
	a := New(c.Now)
	sent := pipeline.Counter{Kind: pipeline.CountSent, Source: "web", Destination: "api"}
	a.Learn("s1", map[uint64]pipeline.Counter{
		1: sent,
		2: {Kind: pipeline.CountOpened, Source: "web", Destination: "api"},
		3: {Kind: pipeline.CountChosen, Destination: "api", Instance: "h1/api-1"},
		4: {Kind: pipeline.CountChosen, Destination: "api", Instance: "h2/api-2"},
		5: {Kind: pipeline.CountReceived, Destination: "api", Instance: "h1/api-1"},
		6: {Kind: pipeline.CountSpoofed, Host: "h1"},
		7: {Kind: pipeline.CountSpoofed, Host: "h2"},
		8: {Kind: pipeline.CountRefused},
		9: {Kind: pipeline.CountDNS},
		// Told once more by instance, and forbidden but never tried: neither is a row.
		10: {Kind: pipeline.CountResets},
		11: {Kind: pipeline.CountRepeated},
		12: {Kind: pipeline.CountDenied, Source: "guest", Destination: "api"},
	})
	a.Learn("s2", map[uint64]pipeline.Counter{1: sent, 2: {Kind: pipeline.CountDenied, Source: "*", Destination: "api"}})
	poll := func(dp string, more uint64) {
		var stats []Stat
		for cookie := range uint64(12) {
			stats = append(stats, Stat{cookie, 100*cookie + more*cookie, 10_000*cookie + 100*more*cookie})
		}
		a.Begin(dp).End(stats)
	}
	poll("s1", 0)
	poll("s2", 0)
	first := a.Traffic()
	if first.Datapaths[0].IntervalSeconds != 0 || first.Edges[1].Bytes != (Figure{Total: 40_000}) {
		t.Errorf("after the first reading there are rates: %+v", first)
	}
	c.advance(2 * time.Second)
	poll("s1", 10)
	c.advance(2 * time.Second)
	poll("s2", 10)
	a.Add("s1", pipeline.Counter{Kind: pipeline.CountResets, Source: "web", Destination: "api", Instance: "h1/api-1"}, 4)
	a.Add("s1", pipeline.Counter{Kind: pipeline.CountRepeated, Destination: "api", Instance: "h1/api-1"}, 2)

	got := a.Traffic()
	if len(got.Datapaths) != 2 || len(got.Edges) != 2 || len(got.Instances) != 2 {
		t.Fatalf("got %+v", got)
	}
	s1, s2 := got.Datapaths[0], got.Datapaths[1]
	if s1.Name != "s1" || s1.IntervalSeconds != 2 || s2.IntervalSeconds != 4 || !s2.Read.Equal(c.now) {
		t.Errorf("datapaths: %+v", got.Datapaths)
	}
	if s1.Spoofed != (Figure{1430, 65}) || s1.Refused != (Figure{880, 40}) || s1.DNS != (Figure{990, 45}) {
		t.Errorf("s1 as a whole: %+v", s1)
	}
	if want := (Edge{Source: "*", Destination: "api", Denied: Figure{220, 5}}); got.Edges[0] != want {
		t.Errorf("denied: %+v, want %+v", got.Edges[0], want)
	}
	// Packets of cookie 1 at s1 (10 in 2 s) and s2 (10 in 4 s), SYNs of cookie 2 at s1 (20 in 2 s).
	if want := (Edge{Source: "web", Destination: "api", Attempts: Figure{220, 10}, Packets: Figure{440, 17.5}, Bytes: Figure{44_000, 1750}}); got.Edges[1] != want {
		t.Errorf("edge: %+v, want %+v", got.Edges[1], want)
	}
	one := got.Instances[0]
	if want := (Instance{Service: "api", ID: "h1/api-1", Connections: Figure{330, 15}, Share: 15.0 / 35,
		Packets: Figure{550, 25}, Bytes: Figure{55_000, 2500}, Resets: Figure{4, 2}, Repeated: Figure{2, 1}}); one != want {
		t.Errorf("instance: %+v, want %+v", one, want)
	}
	if two := got.Instances[1]; two.ID != "h2/api-2" || two.Share != 20.0/35 {
		t.Errorf("the other instance: %+v", two)
	}

	c.advance(stale)
	old := a.Traffic()
	if old.Datapaths[0].IntervalSeconds != 0 || old.Edges[1].Bytes != (Figure{Total: 44_000}) || old.Instances[0].Share != 0 {
		t.Errorf("rates of long ago are shown as those of now: %+v", old)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"source":"*","destination":"api","attempts":{"total":0,"per_second":0},`; !strings.Contains(string(text), want) {
		t.Errorf("the JSON lacks %s: %s", want, text)
	}
}

// Edges that nothing uses are there, with zeros: a graph shows them.
func TestIdleEdgesAreListed(t *testing.T) {
	s := newStory()
	got := s.Traffic()
	if len(got.Edges) != 1 || got.Edges[0] != (Edge{Source: "web", Destination: "api"}) || len(got.Instances) != 0 {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkTraffic(b *testing.B) {
	a := New(newClock().Now)
	const services = 10_000
	counters := map[uint64]pipeline.Counter{}
	for i := range uint64(services) {
		service := fmt.Sprintf("service-%d", i)
		counters[8*i] = pipeline.Counter{Kind: pipeline.CountSent, Source: "client", Destination: service}
		counters[8*i+1] = pipeline.Counter{Kind: pipeline.CountOpened, Source: "client", Destination: service}
		for n := range uint64(3) {
			id := fmt.Sprintf("h%d/%s", n, service)
			counters[8*i+2+2*n] = pipeline.Counter{Kind: pipeline.CountChosen, Destination: service, Instance: id}
			counters[8*i+3+2*n] = pipeline.Counter{Kind: pipeline.CountReceived, Destination: service, Instance: id}
		}
	}
	a.Learn("s1", counters)
	b.Run("rates", func(b *testing.B) {
		for b.Loop() {
			a.Traffic()
		}
	})
	b.Run("page", func(b *testing.B) {
		e, err := NewExporter(Config{Traffic: a, Loop: loop{}, Refresh: keep})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			e.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
		}
	})
}
