package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// More instances than fit into one message to the switch must not keep the
// switch from getting any flow at all.
func TestMoreInstancesThanAGroupHolds(t *testing.T) {
	f, dps, _ := hashicups()
	svc := &mesh.Service{Name: "api", Affinity: true}
	for i := range 1100 {
		svc.Instances = append(svc.Instances, inst(fmt.Sprintf("api-%04d", i), fmt.Sprintf("%s:%d", h2, 10000+i)))
	}
	p, err := pipeline.Compile(f, dps[0], mesh.Snapshot{
		Services:  []*mesh.Service{svc},
		Upstreams: []mesh.Upstream{{Client: f.Hosts[0].Addr, Source: "web", Destination: "api", BindPort: 9000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Groups) != 1 || len(p.Groups[0].Buckets) != 1000 {
		t.Fatalf("%d groups, the first with %d buckets; want one with 1000", len(p.Groups), len(p.Groups[0].Buckets))
	}
	if all := strings.Join(p.Warnings, "; "); !strings.Contains(all, "api has 1100 healthy instances") {
		t.Errorf("warnings %q do not tell of it", all)
	}
	if all := strings.Join(p.Warnings, "; "); !strings.Contains(all, "do not stay at one") {
		t.Errorf("warnings %q do not tell that affinity is not had", all)
	}
}
