package consul

import (
	"cmp"
	"fmt"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// intentionsOf turns the sources of an entry into intentions. What layer 4
// cannot decide is denied, and a source that cannot be a service of this
// mesh is left out: it fits no connection here, whatever its action.
func intentionsOf(destination string, e *api.ServiceIntentionsConfigEntry, n *notes) []mesh.Intention {
	var out []mesh.Intention
	for _, s := range e.Sources {
		if s == nil {
			continue // Consul sends none such
		}
		warnf := func(format string, args ...any) {
			n.addf("service-intentions %s: source %s %s", destination, s.Name, fmt.Sprintf(format, args...))
		}
		if s.Peer != "" || elsewhere(s.Namespace) || elsewhere(s.Partition) {
			warnf("is of another peer, namespace or partition and is left out: no connection comes from there")
			continue
		}
		allow := s.Action == api.IntentionActionAllow
		switch {
		case len(s.Permissions) > 0:
			warnf("has permissions for requests, which layer 4 does not see; all is denied")
			allow = false
		case s.Action != api.IntentionActionAllow && s.Action != api.IntentionActionDeny:
			warnf("has action %q, which is neither allow nor deny; all is denied", s.Action)
		case allow && e.JWT != nil && len(e.JWT.Providers) > 0:
			warnf("is allowed with a JWT, which layer 4 does not see; all is denied")
			allow = false
		}
		if s.SamenessGroup != "" || s.Type != "" && s.Type != api.IntentionSourceConsul {
			// It may mean services of this mesh, and others.
			if allow {
				warnf("of sameness group %q, type %q is not allowed: only services of the catalog are known", s.SamenessGroup, s.Type)
				continue
			}
			warnf("of sameness group %q, type %q is denied by its name alone", s.SamenessGroup, s.Type)
		}
		out = append(out, mesh.Intention{Source: s.Name, Destination: destination, Allow: allow, Precedence: s.Precedence})
	}
	return out
}

// elsewhere is true for a namespace or partition of a source that leaves the
// default one out.
func elsewhere(name string) bool { return foreign(name) && name != mesh.Wildcard }

// compareIntentions sorts the highest precedence first.
func compareIntentions(a, b mesh.Intention) int {
	deny := func(i mesh.Intention) int {
		if i.Allow {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(b.Precedence, a.Precedence), cmp.Compare(a.Destination, b.Destination),
		cmp.Compare(a.Source, b.Source), cmp.Compare(deny(a), deny(b)))
}
