package figures

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Job is a figure still to be made, under the name of its files.
type Job struct {
	Name string
	Make func() (*Figure, error)
}

// Drawing is a figure that was made, for a page.
type Drawing struct {
	Title       string
	Description string
	Inline      string // see Figure.Inline
}

// Render makes all figures, as many at a time as there are cores, and writes
// NAME.png and NAME.svg to dir, or nothing when dir is empty. It returns them
// by name. It stops at the first error, and when ctx is done.
func Render(ctx context.Context, dir string, jobs []Job) (map[string]Drawing, error) {
	out := make(map[string]Drawing, len(jobs))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, runtime.GOMAXPROCS(0)))
	for _, j := range jobs {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := j.Make()
			if err != nil {
				return fmt.Errorf("draw %s: %w", j.Name, err)
			}
			d := Drawing{Title: f.Title, Description: f.Description}
			if d.Inline, err = f.Inline(); err != nil {
				return err
			}
			if dir != "" {
				if err := f.write(filepath.Join(dir, j.Name)); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out[j.Name] = d
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// write writes the figure as PNG and SVG.
func (f *Figure) write(path string) error {
	png, err := f.PNG()
	if err != nil {
		return err
	}
	svg, err := f.SVG()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".png", png, 0o644); err != nil {
		return fmt.Errorf("write figure: %w", err)
	}
	if err := os.WriteFile(path+".svg", svg, 0o644); err != nil {
		return fmt.Errorf("write figure: %w", err)
	}
	return nil
}
