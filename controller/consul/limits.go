package consul

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// RateKey is the key in the meta of service-defaults that limits the new
// connections to a service, in connections per second. Consul has no field
// for it.
const RateKey = "meshlab-connections-per-second"

// outbound is what callers of a service state for their connections to it.
type outbound struct {
	connections uint32 // 0: no limit
	ejection    mesh.Ejection
}

// inboundOf reads what a service's own entry states: connections that one
// instance takes, and new connections per second. 0: no limit.
func inboundOf(e *api.ServiceConfigEntry) (connections, rate uint32) {
	if e == nil {
		return 0, 0
	}
	if r, err := strconv.ParseUint(e.Meta[RateKey], 10, 32); err == nil {
		rate = uint32(r)
	}
	return clamp(e.MaxInboundConnections), rate
}

func clamp(n int) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

// noteDefaults warns of what a service-defaults entry asks for, and what is
// not a matter of who calls whom.
func noteDefaults(e *api.ServiceConfigEntry, n *notes) {
	warnf := func(format string, args ...any) {
		n.addf("service-defaults %s: %s", e.Name, fmt.Sprintf(format, args...))
	}
	if v, ok := e.Meta[RateKey]; ok {
		if r, err := strconv.ParseUint(v, 10, 32); err != nil || r == 0 {
			warnf("meta %s is %q; give it a whole number of at least 1", RateKey, v)
		}
	}
	if e.LocalConnectTimeoutMs != 0 {
		warnf("local_connect_timeout_ms is left to the client, which connects to the instance itself")
	}
	if e.LocalRequestTimeoutMs != 0 {
		warnf("local_request_timeout_ms is not kept, layer 4 sees no requests")
	}
	if e.MaxRequestHeadersKB != nil {
		warnf("max_request_headers_kb is not kept, layer 4 sees no requests")
	}
	if e.RateLimits != nil {
		warnf("rate_limits are not kept, layer 4 sees no requests; meta %s limits new connections", RateKey)
	}
	if e.Destination != nil {
		warnf("destinations outside the mesh are not reached, there is no terminating gateway")
	}
	for _, x := range e.EnvoyExtensions {
		warnf("Envoy extension %s is not run, there is no Envoy", x.Name)
	}
	if e.UpstreamConfig == nil {
		return
	}
	noteUpstreams(e.UpstreamConfig.Defaults, "upstream defaults", warnf)
	for _, u := range e.UpstreamConfig.Overrides {
		if u == nil {
			continue
		}
		if u.Peer != "" || foreign(u.Namespace) || foreign(u.Partition) {
			warnf("upstream %s is of another peer, namespace or partition; its settings have no effect", u.Name)
			continue
		}
		noteUpstreams(u, "upstream "+u.Name, warnf)
	}
}

func noteUpstreams(u *api.UpstreamConfig, what string, warnf func(string, ...any)) {
	if u == nil {
		return
	}
	if u.EnvoyListenerJSON != "" || u.EnvoyClusterJSON != "" {
		warnf("%s: Envoy's JSON has no effect, there is no Envoy", what)
	}
	if u.ConnectTimeoutMs != 0 {
		warnf("%s: connect_timeout_ms is left to the client, which opens the connection itself", what)
	}
	if l := u.Limits; l != nil {
		if l.MaxPendingRequests != nil {
			warnf("%s: max_pending_requests is not kept, layer 4 sees no requests", what)
		}
		if l.MaxConcurrentRequests != nil {
			warnf("%s: max_concurrent_requests is not kept, layer 4 sees no requests", what)
		}
		if l.MaxConnections != nil && *l.MaxConnections < 1 {
			warnf("%s: max_connections %d is not kept; give it a number of at least 1, or deny the calls by an intention", what, *l.MaxConnections)
		}
	}
	if p := u.PassiveHealthCheck; p != nil {
		if v := p.EnforcingConsecutive5xx; v != nil && *v != 100 {
			warnf("%s: enforcing_consecutive_5xx is not followed, each instance that fails max_failures times in a row is ejected", what)
		}
		if p.Consecutive5xx != nil {
			warnf("%s: consecutive_5xx is not counted, layer 4 sees no answers; max_failures counts connections", what)
		}
		if p.ConsecutiveGatewayFailure != nil || p.EnforcingConsecutiveGatewayFailure != nil {
			warnf("%s: gateway failures are not counted, layer 4 sees no answers", what)
		}
	}
}

// envoyFailures is what Envoy takes for a passive health check that does not
// say how many failures eject an instance (outlier_detection.proto,
// consecutive_5xx).
const envoyFailures = 5

func ejectionOf(p *api.PassiveHealthCheck) mesh.Ejection {
	e := mesh.Ejection{Failures: cmp.Or(p.MaxFailures, envoyFailures), Interval: max(p.Interval, 0)}
	if p.BaseEjectionTime != nil {
		e.BaseTime = max(*p.BaseEjectionTime, 0)
	}
	if p.MaxEjectionPercent != nil {
		// Of 0 per cent, Envoy ejects one all the same.
		e.MaxPercent = min(max(*p.MaxEjectionPercent, 1), 100)
	}
	return e
}

// statement is what the service-defaults entry of a caller says of one
// upstream: its own settings, or else those for all. One replaces the other
// as a whole, limits and health check each, as under Consul.
func statement(e api.ConfigEntry, destination string) (limits *api.UpstreamLimits, check *api.PassiveHealthCheck) {
	defaults, _ := e.(*api.ServiceConfigEntry)
	if defaults == nil || defaults.UpstreamConfig == nil {
		return nil, nil
	}
	take := func(u *api.UpstreamConfig) {
		if u.Limits != nil {
			limits = u.Limits
		}
		if u.PassiveHealthCheck != nil {
			check = u.PassiveHealthCheck
		}
	}
	if u := defaults.UpstreamConfig.Defaults; u != nil {
		take(u)
	}
	for _, u := range defaults.UpstreamConfig.Overrides {
		if u != nil && u.Name == destination && u.Peer == "" && !foreign(u.Namespace) && !foreign(u.Partition) {
			take(u)
		}
	}
	return limits, check
}

// outboundOf puts together what the callers of each service state. Under
// Consul a limit holds for one calling proxy; a switch has one per service
// for all its hosts. Their sum never refuses what Consul would allow, and is
// the same when one proxy calls. It takes a limit of every caller.
func outboundOf(upstreams []mesh.Upstream, defaults map[string]api.ConfigEntry) (map[string]outbound, []string) {
	stated := func(e api.ConfigEntry) bool {
		defaults, ok := e.(*api.ServiceConfigEntry)
		return ok && defaults.UpstreamConfig != nil
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(defaults)), stated) {
		return nil, nil
	}
	type proxy struct {
		client netip.Addr
		source string
	}
	callers := map[string]map[proxy]bool{}
	for _, u := range upstreams {
		if callers[u.Destination] == nil {
			callers[u.Destination] = map[proxy]bool{}
		}
		callers[u.Destination][proxy{u.Client, u.Source}] = true
	}
	out := map[string]outbound{}
	var n notes
	for _, name := range slices.Sorted(maps.Keys(callers)) {
		var o outbound
		var sum uint64
		limited, unlimited, differ := map[string]bool{}, false, false
		for p := range callers[name] {
			limits, check := statement(defaults[p.source], name)
			if limits == nil || limits.MaxConnections == nil || *limits.MaxConnections < 1 {
				unlimited = true
			} else {
				limited[p.source] = true
				sum += uint64(clamp(*limits.MaxConnections))
			}
			if check != nil {
				e := ejectionOf(check)
				differ = differ || o.ejection != mesh.Ejection{} && o.ejection != e
				o.ejection = laxer(o.ejection, e)
			}
		}
		switch from := slices.Sorted(maps.Keys(limited)); {
		case len(from) == 0:
		case unlimited:
			n.addf("service-defaults %s: max_connections to %s is not kept, because other callers of %s have no limit and a switch has one for all", from[0], name, name)
		default:
			o.connections = uint32(min(sum, math.MaxUint32))
			if len(callers[name]) > 1 {
				n.addf("service-defaults %s: max_connections to %s is kept as the sum over all %d calling proxies, at each switch", from[0], name, len(callers[name]))
			}
		}
		if differ {
			n.addf("service %s: its callers' passive health checks differ, the one that ejects least holds for all", name)
		}
		if o != (outbound{}) {
			out[name] = o
		}
	}
	return out, n
}

// laxer is the one of two settings that ejects less; the zero value is none.
func laxer(a, b mesh.Ejection) mesh.Ejection {
	if a == (mesh.Ejection{}) {
		return b
	}
	order := cmp.Or(-cmp.Compare(a.Failures, b.Failures), cmp.Compare(percentOf(a), percentOf(b)),
		cmp.Compare(baseOf(a), baseOf(b)), cmp.Compare(intervalOf(a), intervalOf(b)))
	if order > 0 {
		return b
	}
	return a
}

// What a zero in an ejection means, as mesh.Ejection says.
func percentOf(e mesh.Ejection) uint32         { return cmp.Or(e.MaxPercent, 10) }
func baseOf(e mesh.Ejection) time.Duration     { return cmp.Or(e.BaseTime, 30*time.Second) }
func intervalOf(e mesh.Ejection) time.Duration { return cmp.Or(e.Interval, 10*time.Second) }
