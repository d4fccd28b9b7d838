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

// TestSharesOfMany counts the buckets of services with too many instances for
// slots. All must have the same weight: Open vSwitch 3.1 gave 100 buckets of
// weight 9 beside 100 of weight 1 all of 400 connections.
func TestSharesOfMany(t *testing.T) {
	type part struct{ instances, weight, buckets int }
	split := func(weight uint32, subset string) mesh.Leg {
		return mesh.Leg{Weight: weight, Targets: []mesh.Target{{Service: "api", Subset: subset}}}
	}
	for _, c := range []struct {
		name    string
		legs    []mesh.Leg
		v1, v2  part
		refused int
	}{
		{"equal", nil, part{70, 1, 490}, part{70, 1, 490}, 0},
		{"by weight", nil, part{64, 10, 360}, part{64, 19, 640}, 0},
		{"split", []mesh.Leg{split(9000, "v1"), split(1000, "v2")}, part{100, 1, 900}, part{30, 1, 100}, 0},
		{"split over more of the smaller part", []mesh.Leg{split(6000, "v1"), split(4000, "v2")}, part{200, 1, 600}, part{300, 1, 400}, 0},
		{"at least one bucket each", []mesh.Leg{split(6000, "v1"), split(4000, "v2")}, part{400, 1, 400}, part{600, 1, 600}, 0},
		{"a leg without instances", []mesh.Leg{split(5000, "v1"), split(5000, "v3")}, part{200, 1, 500}, part{1, 1, 0}, 500},
		{"the most, and a leg without instances", []mesh.Leg{split(9999, "v1"), split(1, "v3")}, part{1000, 1, 1000}, part{1, 1, 0}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, dps, _ := hashicups()
			svc := &mesh.Service{Name: "api", Legs: c.legs}
			for n, p := range []part{c.v1, c.v2} {
				for i := range p.instances {
					in := inst(fmt.Sprintf("v%d-%04d", n+1, i), fmt.Sprintf("%s:%d", []string{h2, h3}[n], 10000+i))
					in.Weight, in.Subsets = uint16(p.weight), []string{fmt.Sprintf("v%d", n+1)}
					svc.Instances = append(svc.Instances, in)
				}
			}
			p := mustCompile(t, f, dps[0], mesh.Snapshot{
				Services:  []*mesh.Service{svc},
				Upstreams: []mesh.Upstream{calls(h1, "web", "api", 9000)},
			})
			versions := map[string]string{} // by the mark of an instance
			for _, fl := range p.Flows {
				if _, rest, ok := strings.Cut(fl.Reason, " stays at "); ok && fl.Table == pipeline.TablePinned {
					_, mark, _ := strings.Cut(fl.String(), "ct_mark=")
					mark, _, _ = strings.Cut(mark, ",")
					versions[mark] = rest[:2]
				}
			}
			var v1, v2, refused int
			each := map[string]int{}
			for _, b := range p.Groups[0].Buckets {
				text := fmt.Sprint(b.Actions)
				each[text]++
				_, mark, _ := strings.Cut(text, "load:")
				mark, _, _ = strings.Cut(mark, "->")
				switch version := versions[mark]; {
				case b.Weight != 1:
					t.Fatalf("a bucket has weight %d", b.Weight)
				case version == "v1":
					v1++
				case version == "v2":
					v2++
				default:
					refused++
				}
			}
			if v1 != c.v1.buckets || v2 != c.v2.buckets || refused != c.refused {
				t.Errorf("%d buckets of v1, %d of v2, %d refuse; want %d, %d, %d", v1, v2, refused, c.v1.buckets, c.v2.buckets, c.refused)
			}
			if c.name == "equal" {
				for text, n := range each {
					if n != 7 {
						t.Fatalf("%s has %d buckets, want 7", text, n)
					}
				}
			}
		})
	}
}
