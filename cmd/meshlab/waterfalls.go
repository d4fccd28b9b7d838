package main

import (
	"context"
	"fmt"
	"time"
)

// waterfallRequests is how many requests make up a waterfall's medians.
const waterfallRequests = 200

// waterfalls tells where the time of each request goes, under each mesh that
// is up.
func (r *measurement) waterfalls(ctx context.Context, up []raised, names []string) error {
	for _, name := range names {
		step := "waterfall of " + name
		begin := time.Now()
		r.p.start(step)
		for _, u := range up {
			r.report("under " + u.label)
			w, err := attribute(ctx, attributed{ctl: u.ctl, lab: u.lab.Lab, mesh: u.mesh, request: name, requests: waterfallRequests})
			if err != nil {
				return err
			}
			r.res.Waterfalls = append(r.res.Waterfalls, w)
		}
		r.p.finish(step, fmt.Sprintf("%d requests each, one after the other", waterfallRequests), time.Since(begin))
	}
	return nil
}
