package main

import (
	"context"
	"fmt"
	"time"

	"meshlab.dev/meshlab/orchestrate/consul"
)

// findConsul finds Consul, or builds it once, which takes minutes: it says so.
func findConsul(ctx context.Context, p *progress) (consul.Binary, error) {
	const step = "build consul"
	building := false
	said := time.Duration(0) // when a pipe was last told
	bin, err := consul.Find(ctx, consul.Options{Progress: func(e consul.Event) {
		switch e.Stage {
		case consul.StageSkip:
			p.line("  %s", e.Detail)
		case consul.StageDone:
			if building {
				p.finish(step, e.Detail, e.Elapsed)
			}
		default:
			if !building {
				building = true
				p.line("  Consul is not on the PATH and not in the cache: building it once, which takes some minutes.")
				p.start(step)
			}
			note := string(e.Stage) + " " + e.Detail
			if e.Stage == consul.StageCompile {
				note = fmt.Sprintf("compiling %d of %d packages", e.Done, e.Total)
			}
			p.report(note)
			if !p.tty && e.Elapsed-said > 30*time.Second {
				said = e.Elapsed
				p.line("  %s, %.0f s so far", note, e.Elapsed.Seconds())
			}
		}
	}})
	return bin, err
}
