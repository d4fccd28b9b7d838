// Package builtin lists the services that the program itself can run in a lab,
// so that a lab file names them instead of a command. It holds the list only:
// each service is a package of its own, and how a lab starts one is not decided
// here.
package builtin

import (
	"context"
	"log/slog"
	"slices"

	"meshlab.dev/meshlab/labs/builtin/echo"
	"meshlab.dev/meshlab/labs/builtin/ping"
	"meshlab.dev/meshlab/labs/hashicups/frontend"
	"meshlab.dev/meshlab/labs/hashicups/payments"
	"meshlab.dev/meshlab/labs/hashicups/productapi"
	"meshlab.dev/meshlab/labs/hashicups/productdb"
	"meshlab.dev/meshlab/labs/hashicups/publicapi"
)

// Env answers the value of an environment variable, "" when it is not set.
type Env func(key string) string

// Builtin is one service that the program can run.
type Builtin struct {
	Name    string // as a lab file names it, for example "hashicups/frontend"
	Summary string // one line for a list
	// Unprivileged says that the service refuses to run under user id 0.
	Unprivileged bool
	// Run serves until ctx ends, and returns nil then. A missing or malformed
	// variable is an error at once, which names every such variable.
	Run func(ctx context.Context, env Env, log *slog.Logger) error
}

// All returns every service, sorted by name.
func All() []Builtin {
	return []Builtin{
		{
			Name:    "echo",
			Summary: "Says who answered and what was asked, and can ask one upstream",
			Run:     adapt(echo.Run),
		},
		{
			Name:    "hashicups/frontend",
			Summary: "HashiCups: the coffee shop's page and pictures; /api goes to public-api",
			Run:     adapt(frontend.Run),
		},
		{
			Name:    "hashicups/payments",
			Summary: "HashiCups: takes card details and gives them back encrypted",
			Run:     adapt(payments.Run),
		},
		{
			Name:    "hashicups/product-api",
			Summary: "HashiCups: coffees, users and orders over REST, on Postgres",
			Run:     adapt(productapi.Run),
		},
		{
			Name:         "hashicups/product-db",
			Summary:      "HashiCups: a real Postgres with the nine coffees in it",
			Unprivileged: true,
			Run:          adapt(productdb.Run),
		},
		{
			Name:    "hashicups/public-api",
			Summary: "HashiCups: GraphQL over product-api and payments",
			Run:     adapt(publicapi.Run),
		},
		{
			Name:    "ping/grpc",
			Summary: "Fortio's ping over gRPC: gives the payload back",
			Run:     adapt(ping.RunGRPC),
		},
		{
			Name:    "ping/tcp",
			Summary: "Gives back what comes over a TCP connection",
			Run:     adapt(ping.RunTCP),
		},
		{
			Name:    "ping/udp",
			Summary: "Gives back each UDP datagram",
			Run:     adapt(ping.RunUDP),
		},
	}
}

// Lookup returns the service with this name, and whether there is one.
func Lookup(name string) (Builtin, bool) {
	all := All()
	i := slices.IndexFunc(all, func(b Builtin) bool { return b.Name == name })
	if i < 0 {
		return Builtin{}, false
	}
	return all[i], true
}

// Names returns every service's name, sorted.
func Names() []string {
	all := All()
	names := make([]string, len(all))
	for i, b := range all {
		names[i] = b.Name
	}
	return names
}

// adapt gives a service's own Run the shape of the list: the services do not
// know this package.
func adapt(run func(context.Context, func(string) string, *slog.Logger) error) func(context.Context, Env, *slog.Logger) error {
	return func(ctx context.Context, env Env, log *slog.Logger) error {
		return run(ctx, env, log)
	}
}
