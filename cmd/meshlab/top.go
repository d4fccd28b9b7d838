package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// trafficSource is what a live view asks.
type trafficSource interface {
	Traffic(ctx context.Context) (metrics.Traffic, error)
	Status(ctx context.Context) (supervisor.Status, error)
}

// namedLab is a lab that is up, by the name that --lab takes; its supervisor
// knows the name in the lab file alone.
type namedLab struct {
	*supervisor.Client
	name string
}

func trafficOf(state orchestrate.State) namedLab {
	return namedLab{supervisor.NewClient(state.Control()), filepath.Base(state.Dir)}
}

func (l namedLab) Status(ctx context.Context) (supervisor.Status, error) {
	st, err := l.Client.Status(ctx)
	st.Lab = l.name
	return st, err
}

// topEvery is the time from one view to the next, topLimit how long a lab may
// take to tell what is in it.
const (
	topEvery = time.Second
	topLimit = 5 * time.Second
)

// view is one look at the traffic of a lab.
type view struct {
	Time time.Time `json:"time"`
	Lab  string    `json:"lab"`
	metrics.Traffic
	Health map[string]string `json:"health"` // as Consul sees it, by id of the instance
}

// look asks for a view.
func look(ctx context.Context, source trafficSource) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, topLimit)
	defer cancel()
	st, err := source.Status(ctx)
	if err != nil {
		return view{}, err
	}
	traffic, err := source.Traffic(ctx)
	if err != nil {
		return view{}, err
	}
	v := view{Time: time.Now(), Lab: st.Lab, Traffic: traffic, Health: map[string]string{}}
	for _, s := range st.Services {
		v.Health[s.Node+"/"+s.Name] = s.Health // as package consul of the controller makes an instance's id
	}
	return v, nil
}

// hasRates tells whether any switch has been read twice.
func (v view) hasRates() bool {
	return slices.ContainsFunc(v.Datapaths, func(d metrics.DatapathTraffic) bool { return d.IntervalSeconds > 0 })
}

// lookForRates asks for a view with rates, which a lab that has just come up
// needs some seconds for. When it has none then, neither has the view.
func lookForRates(ctx context.Context, source trafficSource, every time.Duration) (view, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for tries := 1; ; tries++ {
		v, err := look(ctx, source)
		if err != nil || v.hasRates() || tries == 5 {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func newTop() *cobra.Command {
	var once bool
	c := labFlag(&cobra.Command{
		Use:   "top [LAB]",
		Short: "What flows through the mesh of a lab, live",
		Long: `Show what services send to each other and what their instances get, as the
switches count it, every second. In a pipe, one table follows the other.
Requests inside a connection cannot be counted at layer 4.

Keys: q or Ctrl-C ends.`,
		Example: "  meshlab top\n  meshlab top hashicups --once\n  meshlab top --output json | jq .edges",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := c.Flags().Set("lab", args[0]); err != nil {
					return usageError{err}
				}
			}
			state, err := liveLab(c)
			if err != nil {
				return err
			}
			source := trafficOf(state)
			show := printView
			if wantJSON(c) {
				show = func(out io.Writer, v view) error { return json.NewEncoder(out).Encode(v) }
			}
			out := c.OutOrStdout()
			if once {
				v, err := lookForRates(c.Context(), source, topEvery)
				if err != nil {
					return err
				}
				return show(out, v)
			}
			var screen *screen
			if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !wantJSON(c) {
				if screen, err = openScreen(f, os.Stdin); err != nil {
					return err
				}
				defer screen.close()
				show = func(_ io.Writer, v view) error { return screen.show(v) }
			}
			return follow(c.Context(), source, topEvery, screen.keys(), func(v view, err error) error {
				if err == nil {
					return show(out, v)
				}
				if rec, gone := state.Read(); gone != nil || !rec.Alive() {
					return err
				}
				if screen != nil {
					return screen.say(err.Error())
				}
				fmt.Fprintln(c.ErrOrStderr(), "meshlab:", err)
				return nil
			})
		},
	})
	c.Flags().BoolVar(&once, "once", false, "show it once and end")
	return c
}

// follow looks again and again, until a key ends it, ctx ends or show returns
// an error. It gives show each view, or why there is none.
func follow(ctx context.Context, source trafficSource, every time.Duration, keys <-chan byte, show func(view, error) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		v, err := look(ctx, source)
		if ctx.Err() != nil {
			return nil
		}
		if err := show(v, err); err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case key := <-keys:
				if endsTop(key) {
					return nil
				}
			case <-tick.C:
				waiting = false
			}
		}
	}
}

// endsTop tells whether a key ends the view: q, and what a terminal in raw
// mode makes of Ctrl-C and Ctrl-D.
func endsTop(key byte) bool { return key == 'q' || key == 'Q' || key == 3 || key == 4 }
