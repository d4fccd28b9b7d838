package consul

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// noteRouter warns of what a service-router asks for above layer 4. Routes
// below one that catches all are never reached, under Consul either.
func noteRouter(e *api.ServiceRouterConfigEntry, n *notes) {
	for i := range e.Routes {
		route := &e.Routes[i]
		what := fmt.Sprintf("service-router %s: route %d", e.Name, i+1)
		if !catchesAll(route) {
			to := e.Name
			if d := route.Destination; d != nil {
				if d.Service != "" {
					to = d.Service
				}
				if d.ServiceSubset != "" {
					to += " subset " + d.ServiceSubset
				}
			}
			n.addf("%s (%s) to %s is not taken, layer 4 sees no requests", what, describe(route.Match.HTTP), to)
			continue
		}
		if d := route.Destination; d != nil {
			what += " catches all and is taken, but not its"
			for _, part := range []struct {
				name string
				set  bool
			}{
				{"prefix_rewrite", d.PrefixRewrite != ""},
				{"request_timeout", d.RequestTimeout != 0},
				{"idle_timeout", d.IdleTimeout != 0},
				{"retries", d.NumRetries != 0 || d.RetryOnConnectFailure || len(d.RetryOnStatusCodes) > 0 || len(d.RetryOn) > 0},
				{"request_headers", changesHeaders(d.RequestHeaders)},
				{"response_headers", changesHeaders(d.ResponseHeaders)},
			} {
				if part.set {
					n.addf("%s %s", what, part.name)
				}
			}
		}
		return
	}
}

// describe says what a route matches.
func describe(m *api.ServiceRouteHTTPMatch) string {
	var parts []string
	add := func(format, value string) {
		if value != "" {
			parts = append(parts, fmt.Sprintf(format, value))
		}
	}
	add("path %s", m.PathExact)
	add("path prefix %s", m.PathPrefix)
	add("path regex %s", m.PathRegex)
	for _, h := range m.Header {
		add("header %s", h.Name)
	}
	for _, q := range m.QueryParam {
		add("query parameter %s", q.Name)
	}
	add("methods %s", strings.Join(m.Methods, " "))
	return strings.Join(parts, ", ")
}

func changesHeaders(h *api.HTTPHeaderModifiers) bool {
	return h != nil && (len(h.Add) > 0 || len(h.Set) > 0 || len(h.Remove) > 0)
}

func noteSplitter(e *api.ServiceSplitterConfigEntry, n *notes) {
	for i, split := range e.Splits {
		for _, part := range []struct {
			name    string
			headers *api.HTTPHeaderModifiers
		}{{"request_headers", split.RequestHeaders}, {"response_headers", split.ResponseHeaders}} {
			if changesHeaders(part.headers) {
				n.addf("service-splitter %s: %s of split %d are not changed, layer 4 sees no headers", e.Name, part.name, i+1)
			}
		}
	}
}

// noteResolver warns of what a service-resolver asks for that its chain does
// not show, or that is shown there and has no equivalent.
func noteResolver(e *api.ServiceResolverConfigEntry, n *notes) {
	warnf := func(format string, args ...any) {
		n.addf("service-resolver %s: %s", e.Name, fmt.Sprintf(format, args...))
	}
	if e.ConnectTimeout != 0 {
		warnf("connect_timeout is left to the client, which opens the connection itself")
	}
	if e.RequestTimeout != 0 {
		warnf("request_timeout is not kept, layer 4 sees no requests")
	}
	if p := e.PrioritizeByLocality; p != nil && p.Mode != "" && p.Mode != "none" {
		warnf("prioritize_by_locality %s is not followed", p.Mode)
	}
	if e.Redirect != nil && e.Redirect.SamenessGroup != "" {
		warnf("redirect to sameness group %s is not followed", e.Redirect.SamenessGroup)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Failover)) {
		f := e.Failover[name]
		if f.SamenessGroup != "" {
			warnf("failover of %s to sameness group %s is not followed", name, f.SamenessGroup)
		}
		if f.Policy != nil && f.Policy.Mode != "" && f.Policy.Mode != "sequential" {
			warnf("failover policy %s of %s is taken as sequential", f.Policy.Mode, name)
		}
	}
	lb := e.LoadBalancer
	if lb == nil {
		return
	}
	switch lb.Policy {
	case "", "random", "round_robin": // each connection to any instance, all the same
	case "ring_hash", "maglev":
		for _, p := range lb.HashPolicies {
			if !p.SourceIP {
				warnf("hash policy %s %s is not followed, layer 4 sees no requests", p.Field, p.FieldValue)
			}
		}
	default:
		warnf("load balancer policy %s is not followed, instances are chosen by their weights", lb.Policy)
	}
}

func noteProxyDefaults(e *api.ProxyConfigEntry, n *notes) {
	for _, x := range e.EnvoyExtensions {
		n.addf("proxy-defaults: Envoy extension %s is not run, there is no Envoy", x.Name)
	}
	if p := e.PrioritizeByLocality; p != nil && p.Mode != "" && p.Mode != "none" {
		n.addf("proxy-defaults: prioritize_by_locality %s is not followed", p.Mode)
	}
	if p := e.FailoverPolicy; p != nil && p.Mode != "" && p.Mode != "sequential" {
		n.addf("proxy-defaults: failover policy %s is taken as sequential", p.Mode)
	}
}
