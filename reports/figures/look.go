package figures

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Look is how a series is drawn: a colour, and dashes, a mark and a hatch that
// say the same once more in print without colours. Colours are of the palette
// of Okabe and Ito ("Color Universal Design", 2008), which people with any
// common kind of colour blindness tell apart.
type Look int

// The looks.
const (
	Blue Look = iota
	Vermillion
	Green
	Purple
	Orange
	Sky
	Yellow
	Black
)

// LookOf returns the look of a mesh: the known ones have their own in every
// figure, of others i chooses.
func LookOf(mesh string, i int) Look {
	switch mesh {
	case "ovs":
		return Blue
	case "consul-connect":
		return Vermillion
	case "direct":
		return Green
	}
	return []Look{Purple, Orange, Sky, Black}[max(i, 0)%4]
}

// Looks returns the looks of meshes that are drawn together. One that comes up
// again, as of two builds, gets a look that no other has, while there are any.
func Looks(meshes []string) []Look {
	looks := make([]Look, len(meshes))
	used := make(map[Look]bool)
	for i, m := range meshes {
		look := LookOf(m, i)
		for next := range Black + 1 {
			if !used[look] {
				break
			}
			look = []Look{Purple, Orange, Sky, Black, Blue, Vermillion, Green, Yellow}[next]
		}
		used[look] = true
		looks[i] = look
	}
	return looks
}

// Ink, rule and paper are the colours of text and lines, of lines in the
// background, and of the ground. Inline replaces them, and the palette, by
// those of the page.
var (
	ink   = color.RGBA{0x1A, 0x1A, 0x1A, 0xFF}
	rule  = color.RGBA{0xD9, 0xD9, 0xD9, 0xFF}
	paper = color.RGBA{0xFF, 0xFF, 0xFF, 0xFF}
)

// variable returns the page's variable for a colour of a drawing: the nearest
// one, for a canvas rounds colours that are not opaque.
func variable(c color.RGBA) string {
	near := func(a, b uint8) bool { return max(a, b)-min(a, b) <= 2 }
	for _, v := range []struct {
		color color.RGBA
		name  string
	}{
		{ink, "currentColor"}, {rule, "var(--rule)"}, {paper, "var(--ground)"},
		{Blue.Color(), "var(--blue)"}, {Vermillion.Color(), "var(--vermillion)"}, {Green.Color(), "var(--green)"},
		{Purple.Color(), "var(--purple)"}, {Orange.Color(), "var(--orange)"}, {Sky.Color(), "var(--sky)"}, {Yellow.Color(), "var(--yellow)"},
	} {
		if near(c.R, v.color.R) && near(c.G, v.color.G) && near(c.B, v.color.B) {
			return v.name
		}
	}
	return ""
}

// Color returns the look's colour on white.
func (l Look) Color() color.RGBA {
	switch l {
	case Blue:
		return color.RGBA{0x00, 0x72, 0xB2, 0xFF}
	case Vermillion:
		return color.RGBA{0xD5, 0x5E, 0x00, 0xFF}
	case Green:
		return color.RGBA{0x00, 0x9E, 0x73, 0xFF}
	case Purple:
		return color.RGBA{0xCC, 0x79, 0xA7, 0xFF}
	case Orange:
		return color.RGBA{0xE6, 0x9F, 0x00, 0xFF}
	case Sky:
		return color.RGBA{0x56, 0xB4, 0xE9, 0xFF}
	case Yellow:
		return color.RGBA{0xF0, 0xE4, 0x42, 0xFF}
	}
	return ink
}

func (l Look) dashes() []vg.Length {
	switch l {
	case Vermillion:
		return []vg.Length{vg.Points(7), vg.Points(3)}
	case Green:
		return []vg.Length{vg.Points(1.5), vg.Points(2)}
	case Purple:
		return []vg.Length{vg.Points(7), vg.Points(2), vg.Points(1), vg.Points(2)}
	case Orange:
		return []vg.Length{vg.Points(3), vg.Points(3)}
	case Sky:
		return []vg.Length{vg.Points(10), vg.Points(4)}
	case Yellow:
		return []vg.Length{vg.Points(10), vg.Points(2), vg.Points(3), vg.Points(2)}
	}
	return nil
}

func (l Look) line(width float64) draw.LineStyle {
	return draw.LineStyle{Color: l.Color(), Width: vg.Points(width), Dashes: l.dashes()}
}

// solid is the line of the look without its dashes.
func (l Look) solid(width float64) draw.LineStyle {
	return draw.LineStyle{Color: l.Color(), Width: vg.Points(width)}
}

func (l Look) fill(alpha uint8) color.NRGBA {
	c := l.Color()
	return color.NRGBA{c.R, c.G, c.B, alpha}
}

// shape returns the outline of the look's mark around the origin.
func (l Look) shape() shape {
	return []shape{disc, square, triangle, diamond, pentagon, kite, hexagon, disc}[min(max(l, 0), Black)]
}

// shape is a mark: a polygon of the unit circle, or the circle itself.
type shape struct {
	corners int     // 0: the circle
	turn    float64 // of the first corner, in turns from the top
}

// The marks.
var (
	disc     = shape{}
	square   = shape{corners: 4, turn: 0.125}
	triangle = shape{corners: 3}
	diamond  = shape{corners: 4}
	pentagon = shape{corners: 5}
	kite     = shape{corners: 3, turn: 0.5}
	hexagon  = shape{corners: 6}
)

// hatch is a pattern of lines over an area.
type hatch struct {
	rising, falling, level bool
	gap                    vg.Length
}

func (l Look) hatch() hatch {
	return []hatch{
		{rising: true, gap: 5},
		{falling: true, gap: 5},
		{},
		{level: true, gap: 3},
		{rising: true, falling: true, gap: 6},
		{rising: true, gap: 2.5},
		{falling: true, gap: 2.5},
		{level: true, gap: 6},
	}[min(max(l, 0), Black)]
}
