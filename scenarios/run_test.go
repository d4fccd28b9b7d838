package scenarios

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeTarget answers every attempt at once and books what it was asked.
type fakeTarget struct {
	t     *testing.T
	mesh  string
	pods  Pods
	calls *[]call
	fault func(n int) (*Attempt, error) // of the n-th call, from 1; nil, nil: none
}

type call struct {
	mesh string
	pods Pods
	spec LoadSpec
}

func (f fakeTarget) Spec(request string) (RequestSpec, error) {
	if request == "unknown" {
		return RequestSpec{}, errors.New("the lab has frontend and api")
	}
	return RequestSpec{URL: "http://" + f.mesh + "/" + request, Status: 200}, nil
}

func (f fakeTarget) Load(ctx context.Context, spec LoadSpec) (Attempt, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		f.t.Error("an attempt without an end")
	}
	*f.calls = append(*f.calls, call{f.mesh, f.pods, spec})
	if f.fault != nil {
		if a, err := f.fault(len(*f.calls)); a != nil || err != nil {
			if a == nil {
				a = &Attempt{}
			}
			return *a, err
		}
	}
	ms := make([]float64, spec.Requests)
	for i := range ms {
		ms[i] = float64(len(*f.calls))
	}
	return attempt(f.t, ms...), nil
}

func smallMatrix() Config {
	c := Quick()
	c.Meshes = []string{"direct", "ovs"}
	c.Pods = []Pods{SingleNode, MultipleNodes}
	c.Requests = []string{"api"}
	c.Connections = []int{1, 8}
	c.Count, c.Repeats, c.WarmUp = 10, 3, 4
	return c
}

func TestRun(t *testing.T) {
	c := smallMatrix()
	var calls []call
	var events []Event
	cells, err := Run(t.Context(), c, func(mesh string, pods Pods) Target {
		return fakeTarget{t: t, mesh: mesh, pods: pods, calls: &calls}
	}, func(e Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}

	steps := Plan(c)
	if len(calls) != len(steps) {
		t.Fatalf("%d attempts for %d steps", len(calls), len(steps))
	}
	for i, s := range steps {
		want := LoadSpec{
			RequestSpec: RequestSpec{URL: "http://" + s.Mesh + "/api", Status: 200},
			Connections: s.Connections, Requests: 10, Timeout: c.Timeout, Limit: c.Limit,
		}
		if s.WarmUp() {
			want.Requests = max(4, s.Connections) // at least one per connection
		}
		got := calls[i]
		if got.mesh != s.Mesh || got.pods != s.Pods || got.spec.URL != want.URL || got.spec.Connections != want.Connections ||
			got.spec.Requests != want.Requests || got.spec.Timeout != want.Timeout || got.spec.Limit != want.Limit {
			t.Errorf("step %d, %+v: sent %+v", i, s, got)
		}
	}

	if len(cells) != 8 {
		t.Fatalf("%d cells, want 8", len(cells))
	}
	for i, cell := range cells {
		if len(cell.Attempts) != 3 {
			t.Errorf("cell %d has %d attempts, want 3 without the warm-up", i, len(cell.Attempts))
		}
		// The fake's latency is the number of the call: attempts in order.
		if !slices.IsSortedFunc(cell.Attempts, func(a, b Attempt) int { return int(a.P50 - b.P50) }) {
			t.Errorf("cell %d: the attempts are not in the order they ran", i)
		}
	}
	if c := cells[1]; c.Mesh != "ovs" || c.Pods != SingleNode || c.Connections != 1 {
		t.Errorf("second cell is %+v", c)
	}

	if len(events) != len(steps)+1 {
		t.Fatalf("%d events, want one per step and one at the end", len(events))
	}
	if e := events[0]; e.Done != 0 || e.Total != 8 || e.Left != 0 || e.Step != steps[0] {
		t.Errorf("first event %+v", e)
	}
	if e := events[len(events)-1]; e.Done != 8 || e.StepsDone != e.Steps || e.Left != 0 || e.Step != (Step{}) {
		t.Errorf("last event %+v", e)
	}
}

func TestLeft(t *testing.T) {
	if got := left(10*time.Second, 5, 20); got != 30*time.Second {
		t.Errorf("5 of 20 steps in 10 s: %v left, want 30 s", got)
	}
}

func TestRunKeepsFailedRequests(t *testing.T) {
	all := Attempt{Requests: 10, Errors: 10, ErrorKind: map[string]int{"timeout": 10}, Seconds: 1}
	var calls []call
	cells, err := Run(t.Context(), smallMatrix(), func(mesh string, pods Pods) Target {
		return fakeTarget{t: t, mesh: mesh, pods: pods, calls: &calls, fault: func(int) (*Attempt, error) { return &all, nil }}
	}, nil)
	if err != nil || len(cells) != 8 || cells[0].Attempts[0].Errors != 10 {
		t.Errorf("%d cells, %v: failed requests are data", len(cells), err)
	}
}

func TestRunStops(t *testing.T) {
	broken := errors.New("nsenter: no such process")
	ctx, cancel := context.WithCancel(t.Context())
	tests := []struct {
		name   string
		ctx    context.Context
		change func(*Config)
		fault  func(n int) (*Attempt, error)
		want   string
		is     error
		cells  int
	}{
		{"invalid matrix", t.Context(), func(c *Config) { c.Repeats = 0 }, nil, "repeats 0", nil, 0},
		{"unknown request", t.Context(), func(c *Config) { c.Requests = []string{"unknown"} }, nil, "the lab has frontend and api", nil, 0},
		{"attempt cannot be made", t.Context(), nil, func(n int) (*Attempt, error) {
			if n == 10 { // two cells have all of their 3 attempts after 8 steps
				return nil, broken
			}
			return nil, nil
		}, "8 connections under", broken, 2},
		{"nonsense from the generator", t.Context(), nil, func(int) (*Attempt, error) { return &Attempt{}, nil }, "nonsense", nil, 0},
		{"cancelled", ctx, nil, func(n int) (*Attempt, error) {
			if n == 3 {
				cancel()
			}
			return nil, nil
		}, "measure", context.Canceled, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := smallMatrix()
			if tt.change != nil {
				tt.change(&c)
			}
			var calls []call
			cells, err := Run(tt.ctx, c, func(mesh string, pods Pods) Target {
				return fakeTarget{t: t, mesh: mesh, pods: pods, calls: &calls, fault: tt.fault}
			}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %q, %v", err, tt.want, tt.is)
			}
			if len(cells) != tt.cells {
				t.Errorf("%d whole cells, want %d", len(cells), tt.cells)
			}
		})
	}
}
