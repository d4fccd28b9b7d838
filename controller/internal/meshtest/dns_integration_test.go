//go:build integration

package meshtest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// withDNS has the switches pass questions to the controller.
func withDNS(f *pipeline.Fabric) { f.DNS = true }

// resolver asks the virtual address.
type resolver struct {
	r       *rig
	host    string
	network string
}

func (r *rig) resolver(host, network string) resolver { return resolver{r, host, network} }

// ask gives the answers as text without TTL, sorted, and the response code.
func (d resolver) ask(name string, kind uint16) (answers []string, code string, err error) {
	q := new(mdns.Msg)
	q.SetQuestion(name, kind)
	c := &mdns.Client{Net: d.network, Timeout: time.Second}
	var conn *mdns.Conn
	if err := d.r.ovs.In(d.host, func() (err error) {
		conn, err = c.Dial(vip + ":53")
		return err
	}); err != nil {
		return nil, "", err
	}
	defer conn.Close()
	a, _, err := c.ExchangeWithConn(q, conn)
	if err != nil {
		return nil, "", err
	}
	for _, rr := range a.Answer {
		switch rr := rr.(type) {
		case *mdns.A:
			answers = append(answers, rr.A.String())
		case *mdns.SRV:
			answers = append(answers, fmt.Sprint(rr.Port))
		default:
			answers = append(answers, rr.String())
		}
	}
	slices.Sort(answers)
	return answers, mdns.RcodeToString[a.Rcode], nil
}

func TestDNSThroughTheSwitch(t *testing.T) {
	r := newRig(t, withDNS)
	a, b := r.serve("h2", h2+":8001"), r.serve("h3", h3+":8002")
	both := mesh.Snapshot{
		Services: []*mesh.Service{{Name: "api", Instances: []mesh.Instance{a.Instance, b.Instance}}},
		// Two callers on two hosts have two bind ports.
		Upstreams: []mesh.Upstream{calls(t, "web@"+h1+" -> api:9000"), calls(t, "jobs@"+h3+" -> api:9100")},
	}
	r.begin(both)
	for _, network := range []string{"udp", "tcp"} {
		for _, q := range []struct {
			host, name string
			kind       uint16
			want       []string
			code       string
		}{
			{"h1", "api.service.consul.", mdns.TypeA, []string{h2, h3}, "NOERROR"},
			{"h1", "API.Service.Consul.", mdns.TypeA, []string{h2, h3}, "NOERROR"},
			{"h1", "api.service.consul.", mdns.TypeSRV, []string{"8001", "8002"}, "NOERROR"},
			{"h1", "api.virtual.consul.", mdns.TypeA, []string{vip}, "NOERROR"},
			{"h1", "api.virtual.consul.", mdns.TypeSRV, []string{"9000"}, "NOERROR"},
			{"h3", "api.virtual.consul.", mdns.TypeSRV, []string{"9100"}, "NOERROR"},
			{"h2", "api.virtual.consul.", mdns.TypeSRV, nil, "NOERROR"},
			{"h1", "api.service.consul.", mdns.TypeAAAA, nil, "NOERROR"},
			{"h1", "nobody.service.consul.", mdns.TypeA, nil, "NXDOMAIN"},
			{"h1", "example.com.", mdns.TypeA, nil, "REFUSED"},
		} {
			got, code, err := r.resolver(q.host, network).ask(q.name, q.kind)
			if err != nil || code != q.code || !slices.Equal(got, q.want) {
				t.Errorf("%s asks for %s %s over %s: %v %s, error %v; want %v %s",
					q.host, q.name, mdns.TypeToString[q.kind], network, got, code, err, q.want, q.code)
			}
		}
	}

	// What the answer says can be called.
	if err := r.mustOpen("h3", 0, vip+":9100").ask(); err != nil {
		t.Error(err)
	}

	one := both
	one.Services = []*mesh.Service{{Name: "api", Instances: []mesh.Instance{b.Instance}}}
	resolver := r.resolver("h1", "udp")
	for i, step := range []struct {
		snap mesh.Snapshot
		want []string
	}{{one, []string{h3}}, {both, []string{h2, h3}}} {
		start := time.Now()
		r.emit(step.snap)
		r.until("the answer to follow", func() bool {
			got, _, err := resolver.ask("api.service.consul.", mdns.TypeA)
			return err == nil && slices.Equal(got, step.want)
		})
		took := time.Since(start)
		t.Logf("change %d: the answer followed after %v", i, took.Round(100*time.Microsecond))
		if took > time.Second {
			t.Errorf("change %d: the answer followed after %v, want at most 1 s", i, took)
		}
	}
}
