package main

import (
	"context"
	"slices"

	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/doctor"
	"meshlab.dev/meshlab/topo"
)

// database is the builtin service that needs the machine's Postgres.
const database = "hashicups/product-db"

// lacks tells all that this machine lacks for a lab, before anything is made
// or built for it.
func lacks(ctx context.Context, lab *topo.Lab) error {
	return doctor.Lack(ctx, doctor.Needs{
		Postgres: slices.ContainsFunc(lab.Services, func(s topo.Service) bool { return s.Builtin == database }),
		Consul:   consul.Needed(lab),
	})
}
