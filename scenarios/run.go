package scenarios

import (
	"context"
	"fmt"
	"time"
)

// Target is a lab in which a mesh runs, as seen from its client host.
type Target interface {
	// Spec returns what a request of the lab file is under this mesh: URL,
	// method, headers, body and what is expected. It returns an error when the
	// lab has no such request.
	Spec(request string) (RequestSpec, error)
	// Load makes one attempt. Requests that go wrong are counted in the
	// Attempt; an error means that the attempt could not be made at all.
	Load(ctx context.Context, spec LoadSpec) (Attempt, error)
}

// Event tells how far a run is. One is sent before each step, and one at the
// end of the run.
type Event struct {
	Step      Step          // the step that starts now; the zero Step at the end
	Done      int           // cells finished, of all meshes
	Total     int           // cells
	StepsDone int           // attempts and warm-ups finished
	Steps     int           // attempts and warm-ups in all
	Elapsed   time.Duration // since the run started
	Left      time.Duration // estimate of the time still needed; 0 before the first step ends
}

// spare is what an attempt may take beyond its own limit, to start and to
// report.
const spare = 15 * time.Second

// Run makes every attempt of the plan, one at a time, and returns the cells
// in the order of Config: pods, requests, connections, meshes. It calls lab
// before every step with the mesh and the kind of pods, so lab should hand
// out what it already holds; progress may be nil.
//
// It returns an error when the configuration is invalid, when the lab does
// not know a request, when an attempt cannot be made, and when ctx is done.
// The cells whose attempts are complete are returned with the error; whole
// cells with failed requests are no error, they are data.
func Run(ctx context.Context, c Config, lab func(mesh string, pods Pods) Target, progress func(Event)) ([]Cell, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("check the matrix: %w", err)
	}
	steps := Plan(c)
	cells := emptyCells(c)
	at := make(map[cellKey]int, len(cells))
	for i, cell := range cells {
		at[keyOf(cell)] = i
	}

	started := time.Now()
	done := 0
	report := func(i int) {
		if progress == nil {
			return
		}
		e := Event{Done: done, Total: len(cells), StepsDone: i, Steps: len(steps), Elapsed: time.Since(started)}
		if i < len(steps) {
			e.Step = steps[i]
		}
		e.Left = left(e.Elapsed, i, len(steps))
		progress(e)
	}

	for i, s := range steps {
		report(i)
		a, err := runStep(ctx, c, s, lab(s.Mesh, s.Pods))
		if err != nil {
			return complete(cells, c.Repeats), err
		}
		if s.WarmUp() {
			continue
		}
		cell := &cells[at[cellKey{s.Point, s.Mesh}]]
		cell.Attempts = append(cell.Attempts, a)
		if len(cell.Attempts) == c.Repeats {
			done++
		}
	}
	report(len(steps))
	return cells, nil
}

func runStep(ctx context.Context, c Config, s Step, target Target) (Attempt, error) {
	name := fmt.Sprintf("%s under %s", s.Point, s.Mesh)
	if err := ctx.Err(); err != nil {
		return Attempt{}, fmt.Errorf("measure %s: %w", name, err)
	}
	request, err := target.Spec(s.Request)
	if err != nil {
		return Attempt{}, fmt.Errorf("look up request %q of the lab: %w", s.Request, err)
	}
	spec := LoadSpec{RequestSpec: request, Connections: s.Connections, Requests: c.Count, Timeout: c.Timeout, Limit: c.Limit}
	if s.WarmUp() {
		spec.Requests = max(c.WarmUp, s.Connections)
	}

	ctx, cancel := context.WithTimeout(ctx, c.Limit+c.Timeout+spare)
	defer cancel()
	a, err := target.Load(ctx, spec)
	if err != nil {
		return Attempt{}, fmt.Errorf("measure %s, attempt %d: %w", name, s.Attempt, err)
	}
	if s.WarmUp() {
		return a, nil
	}
	if err := a.validate(); err != nil {
		return Attempt{}, fmt.Errorf("measure %s, attempt %d: the load generator answered nonsense: %w", name, s.Attempt, err)
	}
	return a, nil
}

// left estimates the time still needed from the mean time of a step so far.
func left(elapsed time.Duration, done, steps int) time.Duration {
	if done == 0 {
		return 0
	}
	return time.Duration(float64(elapsed) / float64(done) * float64(steps-done))
}

type cellKey struct {
	Point
	mesh string
}

func keyOf(c Cell) cellKey {
	return cellKey{c.Point(), c.Mesh}
}

// Point returns where in the matrix the cell lies.
func (c Cell) Point() Point {
	return Point{Pods: c.Pods, Request: c.Request, Connections: c.Connections}
}

func emptyCells(c Config) []Cell {
	var cells []Cell
	for _, p := range c.Pods {
		for _, r := range c.Requests {
			for _, n := range c.Connections {
				for _, m := range c.Meshes {
					cells = append(cells, Cell{Request: r, Pods: p, Connections: n, Mesh: m})
				}
			}
		}
	}
	return cells
}

// complete returns the cells that have all their attempts.
func complete(cells []Cell, repeats int) []Cell {
	var whole []Cell
	for _, c := range cells {
		if len(c.Attempts) == repeats {
			whole = append(whole, c)
		}
	}
	return whole
}
