package reports

import (
	"image/color"

	"gonum.org/v1/plot/vg"
)

// The meshes that the report knows by name. Others are shown as they are
// called, and have no part in the summary.
const (
	direct  = "direct"
	ovs     = "ovs"
	connect = "consul-connect"
)

// label returns what a mesh is called in the report.
func label(mesh string) string {
	switch mesh {
	case direct:
		return "Plain switching"
	case ovs:
		return "Mesh in the switches"
	case connect:
		return "Consul Connect"
	}
	return mesh
}

// look is how a mesh is drawn. Colours are of the palette of Okabe and Ito
// ("Color Universal Design", 2008), which people with any common kind of
// colour blindness tell apart; dashes repeat the distinction.
type look struct {
	color  color.RGBA
	dashes []vg.Length
}

func looks(i int, mesh string) look {
	blue := look{color.RGBA{0x00, 0x72, 0xB2, 0xFF}, nil}
	vermillion := look{color.RGBA{0xD5, 0x5E, 0x00, 0xFF}, []vg.Length{vg.Points(7), vg.Points(3)}}
	green := look{color.RGBA{0x00, 0x9E, 0x73, 0xFF}, []vg.Length{vg.Points(1.5), vg.Points(2)}}
	others := []look{
		{color.RGBA{0xCC, 0x79, 0xA7, 0xFF}, []vg.Length{vg.Points(7), vg.Points(2), vg.Points(1), vg.Points(2)}},
		{color.RGBA{0xE6, 0x9F, 0x00, 0xFF}, []vg.Length{vg.Points(3), vg.Points(3)}},
		{color.RGBA{0x56, 0xB4, 0xE9, 0xFF}, []vg.Length{vg.Points(10), vg.Points(4)}},
	}
	switch mesh {
	case ovs:
		return blue
	case connect:
		return vermillion
	case direct:
		return green
	}
	return others[i%len(others)]
}
