package consul

import (
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-bexpr"
)

// subset is one of those that a service-resolver defines.
type subset struct {
	service, name, filter string
	eval                  *bexpr.Evaluator // nil: no filter
	broken                bool             // the filter does not compile
}

// maxFilterSteps bounds the work of reading one filter; a usual one takes
// some hundred steps.
const maxFilterSteps = 100_000

// subsetsOf compiles the subsets of an entry, sorted by name. One whose
// filter does not compile is there, and has no instance.
func subsetsOf(e *api.ServiceResolverConfigEntry, n *notes) []subset {
	if e == nil {
		return nil
	}
	var out []subset
	for _, name := range slices.Sorted(maps.Keys(e.Subsets)) {
		s := subset{service: e.Name, name: name, filter: e.Subsets[name].Filter}
		if s.filter != "" {
			var err error
			if s.eval, err = bexpr.CreateEvaluator(s.filter, bexpr.WithMaxExpressions(maxFilterSteps)); err != nil {
				s.broken = true
				n.addf("service-resolver %s: subset %s has no instance, its filter %q cannot be read: %v", e.Name, name, s.filter, err)
			}
		}
		out = append(out, s)
	}
	return out
}

// subsetsFor names the subsets that an instance belongs to, sorted. Filters
// that cannot be evaluated go to broken, by the name of their subset.
//
// Consul itself evaluates a subset's filter over the health entry of the
// instance's sidecar, which takes tags and meta from the instance; here it is
// that of the instance, since there need not be a sidecar.
func subsetsFor(e *api.ServiceEntry, subsets []subset, broken map[string]error) []string {
	var in []string
	for _, s := range subsets {
		if s.broken {
			continue
		}
		if s.eval != nil {
			ok, err := s.eval.Evaluate(e)
			if err != nil {
				broken[s.name] = err
			}
			if !ok || err != nil {
				continue
			}
		}
		in = append(in, s.name)
	}
	return in
}
