package labs_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/topo"
)

func TestManyHosts(t *testing.T) {
	for name, tc := range map[string]struct {
		size   labs.ManyHosts
		trunks string // the links between switches
	}{
		"tree":       {labs.ManyHosts{Hosts: 2, Switches: 6, Shape: labs.Tree}, "s1-s2 s1-s3 s2-s4 s2-s5 s3-s6"},
		"mesh":       {labs.ManyHosts{Hosts: 3, Switches: 4, Shape: labs.Mesh}, "s1-s2 s1-s3 s2-s3 s1-s4 s2-s4 s3-s4"},
		"star":       {labs.ManyHosts{Hosts: 1, Switches: 4, Shape: labs.Star}, "s1-s2 s1-s3 s1-s4"},
		"one switch": {labs.ManyHosts{Hosts: 500, Switches: 1, Shape: labs.Mesh}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			lab := manyHosts(t, tc.size)
			hosts := map[string]int{}
			var trunks []string
			for _, l := range lab.Links {
				if l.A.Port != 0 {
					trunks = append(trunks, l.A.Node+"-"+l.B.Node)
				} else if strings.HasPrefix(l.A.Node, "h") {
					hosts[l.B.Node]++
				}
			}
			if got := strings.Join(trunks, " "); got != tc.trunks {
				t.Errorf("trunks %s, want %s", got, tc.trunks)
			}
			for s := 1; s <= tc.size.Switches; s++ {
				if got := hosts[fmt.Sprintf("s%d", s)]; got != tc.size.Hosts {
					t.Errorf("s%d has %d hosts, want %d", s, got, tc.size.Hosts)
				}
			}
			if len(lab.Services) != tc.size.Switches {
				t.Errorf("%d instances at %d switches", len(lab.Services), tc.size.Switches)
			}
		})
	}
	// The largest ones are labs too.
	for _, shape := range labs.Shapes() {
		lab := manyHosts(t, labs.ManyHosts{Hosts: 10, Switches: 50, Shape: shape})
		if len(lab.Nodes) != 552 {
			t.Errorf("%d nodes as %s", len(lab.Nodes), shape)
		}
	}
}

func manyHosts(t *testing.T, size labs.ManyHosts) *topo.Lab {
	t.Helper()
	source, err := size.Source()
	if err != nil {
		t.Fatal(err)
	}
	lab, err := topo.Parse("lab.yaml", source, topo.Options{Builtins: builtins})
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

func TestNeighbours(t *testing.T) {
	for switches, fits := range map[int]bool{4: true, 30: true, 31: false, 50: false} {
		size := labs.ManyHosts{Hosts: 10, Switches: switches, Shape: labs.Tree}
		if got := size.Neighbours(); (got <= labs.MaxNeighbours) != fits {
			t.Errorf("10 hosts at each of %d switches make %d neighbours", switches, got)
		}
	}
}

func TestManyHostsOfBadSizes(t *testing.T) {
	for name, tc := range map[string]struct {
		size labs.ManyHosts
		want []string
	}{
		"nothing":           {labs.ManyHosts{}, []string{"0 hosts", "0 switches", `shape ""`}},
		"negative":          {labs.ManyHosts{Hosts: -1, Switches: -1, Shape: labs.Tree}, []string{"-1 hosts", "-1 switches"}},
		"too many switches": {labs.ManyHosts{Hosts: 1, Switches: 51, Shape: labs.Tree}, []string{"51 switches: 1 to 50"}},
		"too many hosts":    {labs.ManyHosts{Hosts: 126, Switches: 4, Shape: labs.Tree}, []string{"126 hosts at each of 4 switches: at most 500 in all"}},
		"huge":              {labs.ManyHosts{Hosts: 1 << 62, Switches: 4, Shape: labs.Tree}, []string{"at most 500 in all"}},
		"unknown shape":     {labs.ManyHosts{Hosts: 1, Switches: 1, Shape: "ring"}, []string{`shape "ring": it is tree, mesh or star`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.size.Source()
			for _, w := range tc.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v, want %s", err, w)
				}
			}
		})
	}
}

// The lab of the catalogue is what init makes by default.
func TestManyHostsOfTheCatalogue(t *testing.T) {
	_, source, err := labs.Load(labs.ManyHostsName, builtins)
	if err != nil {
		t.Fatal(err)
	}
	want, err := labs.DefaultManyHosts().Source()
	if err != nil || !bytes.Equal(source, want) {
		t.Errorf("%v; got\n%s\nwant\n%s", err, source, want)
	}
}
