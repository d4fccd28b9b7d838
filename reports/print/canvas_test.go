package print

import (
	"bytes"
	"image"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"gonum.org/v1/plot/vg"
)

// drawn returns the operators of a page of 200 by 100 points on which draw
// drew from 10 points right and above of the lower left corner.
func drawn(t *testing.T, draw func(c *canvas)) string {
	t.Helper()
	doc := fpdf.NewCustom(&fpdf.InitType{UnitStr: "pt", Size: fpdf.SizeType{Wd: 200, Ht: 100}})
	prepare(doc, "", "", time.Unix(0, 0), false)
	addSans(doc)
	doc.AddPage()
	draw(newCanvas(doc, 10, 90, 180, 80, 1))
	var b bytes.Buffer
	if err := doc.Output(&b); err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(b.String(), "stream\n")
	page, _, _ = strings.Cut(page, "endstream")
	return page
}

func TestCanvas(t *testing.T) {
	line := vg.Path{{Type: vg.MoveComp, Pos: vg.Point{X: 0, Y: 0}}, {Type: vg.LineComp, Pos: vg.Point{X: 20, Y: 5}}}
	for name, tt := range map[string]struct {
		draw func(c *canvas)
		want []string
	}{
		"line":       {func(c *canvas) { c.Stroke(line) }, []string{"10.00 10.00 m\n30.00 15.00 l\nS"}},
		"translated": {func(c *canvas) { c.Translate(vg.Point{X: 1, Y: 2}); c.Stroke(line) }, []string{"11.00 12.00 m\n31.00 17.00 l"}},
		"rotated":    {func(c *canvas) { c.Rotate(math.Pi / 2); c.Stroke(line) }, []string{"10.00 10.00 m\n5.00 30.00 l"}},
		"scaled":     {func(c *canvas) { c.Scale(2, 2); c.SetLineWidth(1.5); c.Stroke(line) }, []string{"50.00 20.00 l", "3.00 w"}},
		"popped":     {func(c *canvas) { c.Push(); c.Scale(2, 2); c.Pop(); c.Stroke(line) }, []string{"30.00 15.00 l"}},
		"dashed":     {func(c *canvas) { c.SetLineDash([]vg.Length{3, 1}, 0); c.Stroke(line) }, []string{"[3.00 1.00] 0.00 d", "S\n/GS1 gs\n[] 0.00 d"}},
		"no width":   {func(c *canvas) { c.SetLineWidth(0); c.Stroke(line) }, nil},
		"image": {func(c *canvas) {
			c.DrawImage(vg.Rectangle{Max: vg.Point{X: 4, Y: 4}}, image.NewRGBA(image.Rect(0, 0, 2, 2)))
		}, []string{"/I"}},
	} {
		t.Run(name, func(t *testing.T) {
			page := drawn(t, tt.draw)
			for _, want := range tt.want {
				if !strings.Contains(page, want) {
					t.Errorf("no %q in\n%s", want, page)
				}
			}
			if tt.want == nil && strings.Contains(page, " l\n") {
				t.Errorf("a line in\n%s", page)
			}
		})
	}
}

// TestCircle holds that an arc's curves begin and end on the circle, with
// handles at right angles to the radius.
func TestCircle(t *testing.T) {
	var p vg.Path
	p.Arc(vg.Point{X: 40, Y: 40}, 30, 0, 2*math.Pi)
	page := drawn(t, func(c *canvas) { c.Fill(p) })
	curves := regexp.MustCompile(`(?m)^([0-9.]+) ([0-9.]+) ([0-9.]+) ([0-9.]+) ([0-9.]+) ([0-9.]+) c$`).FindAllStringSubmatch(page, -1)
	if len(curves) != 4 {
		t.Fatalf("%d curves in\n%s", len(curves), page)
	}
	from := [2]float64{80, 50}
	for _, m := range curves {
		var v [6]float64
		for i := range v {
			v[i], _ = strconv.ParseFloat(m[i+1], 64)
		}
		// The middle of a cubic curve: (p0 + 3 p1 + 3 p2 + p3) / 8.
		x, y := (from[0]+3*v[0]+3*v[2]+v[4])/8, (from[1]+3*v[1]+3*v[3]+v[5])/8
		for _, at := range [][2]float64{{x, y}, {v[4], v[5]}} {
			if r := math.Hypot(at[0]-50, at[1]-50); math.Abs(r-30) > 0.03 {
				t.Errorf("%v lies %v from the middle", at, r)
			}
		}
		from = [2]float64{v[4], v[5]}
	}
}
