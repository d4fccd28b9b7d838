package reports

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is a column of plots under a title and a row of legend.
type figure struct {
	title  string
	bottom string // name of the x axis, shared by all panels
	height vg.Length
	panels []*plot.Plot
	legend []legendEntry
}

// drawOn draws the figure; plots are not changed by it, but they share fonts'
// caches, so one figure is drawn by one goroutine at a time.
func (f figure) drawOn(c draw.Canvas) {
	c = draw.Crop(c, vg.Points(4), -vg.Points(4), vg.Points(4), -vg.Points(6))
	text := f.panels[0].Title.TextStyle
	text.Font.Size = vg.Points(12)
	text.XAlign, text.YAlign = draw.XLeft, draw.YTop
	c.FillText(text, vg.Point{X: c.Min.X + vg.Points(6), Y: c.Max.Y}, f.title)
	c = draw.Crop(c, 0, 0, 0, -vg.Points(20))
	c = legendRow(c, f.panels[0].Legend.TextStyle, f.legend)
	c = draw.Crop(c, 0, -rightMargin, vg.Points(14), -vg.Points(4))
	text = f.panels[0].X.Label.TextStyle
	text.XAlign, text.YAlign = draw.XCenter, draw.YTop
	c.FillText(text, vg.Point{X: (c.Min.X + c.Max.X) / 2, Y: c.Min.Y - vg.Points(2)}, f.bottom)

	each := (c.Max.Y - c.Min.Y) / vg.Length(len(f.panels))
	canvases := make([]draw.Canvas, len(f.panels))
	for i := range f.panels {
		part := c
		part.Max.Y = c.Max.Y - vg.Length(i)*each - vg.Points(2)
		part.Min.Y = c.Max.Y - vg.Length(i+1)*each
		canvases[i] = part
	}
	alignLeft(f.panels, canvases)
	for i, p := range f.panels {
		p.Draw(canvases[i])
	}
}

// alignLeft makes the data areas of a column of plots begin at the same x,
// whatever the width of their labels.
func alignLeft(plots []*plot.Plot, canvases []draw.Canvas) {
	most := canvases[0].Min.X
	left := make([]vg.Length, len(plots))
	for i, p := range plots {
		left[i] = p.DataCanvas(canvases[i]).Min.X
		most = max(most, left[i])
	}
	for i := range canvases {
		canvases[i].Min.X += most - left[i]
	}
}

// dpi makes a figure of 17 cm about 1000 pixels wide.
const dpi = 150

func (f figure) png() ([]byte, error) {
	c := vgimg.PngCanvas{Canvas: vgimg.NewWith(
		vgimg.UseWH(figureWidth, f.height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))}
	f.drawOn(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("encode PNG of %s: %w", f.title, err)
	}
	return b.Bytes(), nil
}

func (f figure) svg() ([]byte, error) {
	c := vgsvg.New(figureWidth, f.height)
	f.drawOn(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("encode SVG of %s: %w", f.title, err)
	}
	return b.Bytes(), nil
}

// job is a figure still to be made, under the name of its files.
type job struct {
	name string
	make func() (figure, error)
}

// drawing is a figure that was made.
type drawing struct {
	title string
	svg   []byte
}

// render makes all figures, as many at a time as there are cores, and writes
// NAME.png and NAME.svg to dir. It returns them by name.
func render(ctx context.Context, dir string, jobs []job) (map[string]drawing, error) {
	out := make(map[string]drawing, len(jobs))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, runtime.GOMAXPROCS(0)))
	for _, j := range jobs {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := j.make()
			if err != nil {
				return fmt.Errorf("draw %s: %w", j.name, err)
			}
			png, err := f.png()
			if err != nil {
				return err
			}
			svg, err := f.svg()
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, j.name+".png"), png, 0o644); err != nil {
				return fmt.Errorf("write figure: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir, j.name+".svg"), onWhite(svg), 0o644); err != nil {
				return fmt.Errorf("write figure: %w", err)
			}
			mu.Lock()
			defer mu.Unlock()
			out[j.name] = drawing{title: f.title, svg: svg}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

var svgStart = regexp.MustCompile(`(?s)^.*?<svg[^>]*>`)

// onWhite puts a white ground below a figure that stands alone.
func onWhite(svg []byte) []byte {
	start := svgStart.Find(svg)
	return append(append(bytes.Clone(start), []byte("\n"+`<rect width="100%" height="100%" fill="#FFFFFF"/>`)...), svg[len(start):]...)
}

// inline returns a figure for the page: without the XML head, scalable, with
// a text for screen readers, and with colours that follow the page's mode.
func inline(d drawing, description string, escape func(string) string) string {
	s := string(d.svg)
	s = s[strings.Index(s, "<svg"):]
	start := svgStart.FindString(s)
	box := regexp.MustCompile(`viewBox="[^"]*"`).FindString(start)
	head := fmt.Sprintf(`<svg %s role="img" aria-label="%s" preserveAspectRatio="xMidYMid meet">`, box, escape(description))
	s = head + s[len(start):]
	return strings.NewReplacer(
		"#1A1A1A", "currentColor",
		"#D9D9D9", "var(--rule)",
		"#0072B2", "var(--blue)",
		"#D55E00", "var(--vermillion)",
		"#009E73", "var(--green)",
	).Replace(s)
}
