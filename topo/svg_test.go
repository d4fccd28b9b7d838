package topo_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"meshlab.dev/meshlab/topo"
)

func TestPictures(t *testing.T) {
	files := map[string]string{"full.good": "testdata/full.good.yaml", "machines.good": "testdata/machines.good.yaml"}
	for _, name := range []string{"hashicups", "hashicups-single-node", "protocols", "single-upstream"} {
		files[name] = "../labs/catalogue/" + name + "/lab.yaml"
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			lab := parse(t, string(read(t, file)))
			golden(t, "testdata/"+name+".dot", []byte(topo.DOT(lab)))
			golden(t, "testdata/"+name+".mmd", []byte(topo.Mermaid(lab)))
		})
	}
	for _, name := range []string{"full.good", "machines.good"} {
		golden(t, "testdata/"+name+".svg", topo.SVG(parse(t, string(read(t, files[name])))))
	}
}

// The picture of each lab of the catalogue stands beside its file.
func TestPicturesOfTheCatalogue(t *testing.T) {
	for _, file := range glob(t, "../labs/catalogue/*/lab.yaml") {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			lab := parse(t, string(read(t, file)))
			golden(t, filepath.Join(filepath.Dir(file), "lab.svg"), topo.SVG(lab))
		})
	}
}

func TestSVGSaysEverything(t *testing.T) {
	lab := parse(t, string(read(t, "../labs/catalogue/hashicups/lab.yaml")))
	svg := string(topo.SVG(lab))
	for _, n := range lab.Nodes {
		if !strings.Contains(svg, ">"+n.Name+"<") {
			t.Errorf("no node %s", n.Name)
		}
		if n.Kind == topo.KindHost && !strings.Contains(svg, ">"+n.IPv4.String()+"<") {
			t.Errorf("no address of %s", n.Name)
		}
	}
	for _, s := range lab.Services {
		if !strings.Contains(svg, fmt.Sprintf(">%s :%d<", s.Name, s.Port)) {
			t.Errorf("no service %s", s.Name)
		}
		for _, u := range s.Upstreams {
			if !strings.Contains(svg, fmt.Sprintf(">→ %s :%d<", u.Service, u.BindPort)) {
				t.Errorf("no upstream %s of %s", u.Service, s.Name)
			}
		}
	}
	if !strings.Contains(svg, "192.168.1.250") {
		t.Error("no virtual address")
	}
	if got := strings.Count(svg, "<polyline"); got != len(lab.Links) {
		t.Errorf("%d links drawn of %d", got, len(lab.Links))
	}
	d := xml.NewDecoder(bytes.NewReader([]byte(svg)))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
}

var nodeRect = regexp.MustCompile(`<rect x="([\d.-]+)" y="([\d.-]+)" width="([\d.-]+)" height="([\d.-]+)" rx="6"`)
var viewBox = regexp.MustCompile(`viewBox="0 0 (\d+) (\d+)"`)

// On whatever graph, the boxes of nodes stay apart and inside the picture.
func TestBoxesNeverOverlap(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		lab := parse(t, randomLab(rng, 1+rng.IntN(12)))
		svg := string(topo.SVG(lab))
		var boxes [][4]float64
		for _, m := range nodeRect.FindAllStringSubmatch(svg, -1) {
			var b [4]float64
			for i := range b {
				b[i], _ = strconv.ParseFloat(m[i+1], 64)
			}
			boxes = append(boxes, b)
		}
		if len(boxes) != len(lab.Nodes) {
			t.Fatalf("%d boxes for %d nodes", len(boxes), len(lab.Nodes))
		}
		size := viewBox.FindStringSubmatch(svg)
		width, _ := strconv.ParseFloat(size[1], 64)
		height, _ := strconv.ParseFloat(size[2], 64)
		for i, a := range boxes {
			if a[0] < 0 || a[1] < 0 || a[0]+a[2] > width || a[1]+a[3] > height {
				t.Fatalf("box %v is outside the picture of %vx%v", a, width, height)
			}
			for _, b := range boxes[:i] {
				if a[0] < b[0]+b[2] && b[0] < a[0]+a[2] && a[1] < b[1]+b[3] && b[1] < a[1]+a[3] {
					t.Fatalf("boxes %v and %v overlap", a, b)
				}
			}
		}
	}
}
