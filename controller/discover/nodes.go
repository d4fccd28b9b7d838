package discover

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	nodesWait    = time.Minute           // longest wait of one query at Consul
	nodesSpacing = 20 * time.Millisecond // least time between two queries
)

// errEmpty is an answer without nodes. A catalog that has been filled lists
// at least the server that answers.
var errEmpty = errors.New("the catalog is not filled yet: it lists no node")

// Nodes makes a Config.Nodes that follows a Consul catalog with blocking
// queries, by the rules of Consul's documentation ("Blocking Queries",
// implementation details). A nil logger is silent.
func Nodes(c *api.Client, log *slog.Logger) func(context.Context, func([]Node)) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return func(ctx context.Context, emit func([]Node)) error {
		var index uint64
		retry, failing := firstRetry, false
		for ctx.Err() == nil {
			opts := (&api.QueryOptions{WaitIndex: index, WaitTime: nodesWait}).WithContext(ctx)
			answer, meta, err := c.Catalog().Nodes(opts)
			if err == nil && len(answer) == 0 {
				err = errEmpty
			}
			if ctx.Err() != nil {
				break
			}
			if err != nil {
				if !failing {
					log.Warn("consul query failed; the last state stands", "query", "nodes", "error", err)
				}
				failing, index = true, 0
				pause(ctx, retry/2+rand.N(retry/2))
				retry = min(2*retry, longestRetry)
				continue
			}
			if failing {
				log.Info("consul answers again", "query", "nodes")
				failing, retry = false, firstRetry
			}
			if meta.LastIndex < index {
				index = 0
			} else {
				index = max(meta.LastIndex, 1)
			}
			emit(nodesFrom(answer))
			pause(ctx, nodesSpacing)
		}
		return context.Cause(ctx)
	}
}

func nodesFrom(answer []*api.Node) []Node {
	out := make([]Node, 0, len(answer))
	for _, a := range answer {
		n := Node{Name: a.Node, Meta: a.Meta}
		texts := []string{a.Address}
		for _, key := range slices.Sorted(maps.Keys(a.TaggedAddresses)) {
			texts = append(texts, a.TaggedAddresses[key])
		}
		for _, text := range texts {
			if addr, err := netip.ParseAddr(text); err == nil && addr.Unmap().Is4() && !slices.Contains(n.Addrs, addr.Unmap()) {
				n.Addrs = append(n.Addrs, addr.Unmap())
			}
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
