package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"meshlab.dev/meshlab/controller/mesh"
)

// Config says what to read.
type Config struct {
	Client   kubernetes.Interface
	Node     string // whose pods are local
	Network  string // of pods that name none, NAME or NAMESPACE/NAME; empty: that of Multus, when a pod is in one
	Selector string // of labels: pods that can be of the mesh; empty: all
	// Services says that the cluster is the registry: services are those of
	// pods and EndpointSlices, each of its namespace. Otherwise names are taken
	// as pods say them, and slices are not read.
	Services bool
	Logger   *slog.Logger // nil: silent
}

// Source follows a cluster. Its methods may be called from several goroutines,
// but for Run, which is to be called once.
type Source struct {
	cfg   Config
	ready chan struct{}

	aside sync.Mutex
	away  map[string]string // kinds of objects that cannot be read just now -> why, and what mends it

	mu      sync.Mutex
	view    *view
	changed chan struct{} // closed, and replaced, with each change
}

// New checks the configuration. Nothing is asked before Run.
func New(cfg Config) (*Source, error) {
	if cfg.Client == nil || cfg.Node == "" {
		return nil, errors.New("read cluster: Config.Client or Config.Node is missing")
	}
	if _, err := labels.Parse(cfg.Selector); err != nil {
		return nil, fmt.Errorf("read cluster: selector: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Source{cfg: cfg, ready: make(chan struct{}), away: map[string]string{}, view: newView(cfg.Node, cfg.Services), changed: make(chan struct{})}, nil
}

// Up tells whether the API server answered last.
func (s *Source) Up() bool { return s.synced() && len(s.Away()) == 0 }

// Away tells of each kind of objects that cannot be read just now why that is,
// and what mends it, sorted. What was read last stands.
func (s *Source) Away() []string {
	s.aside.Lock()
	defer s.aside.Unlock()
	return slices.Sorted(maps.Values(s.away))
}

// answered notes how a request for a kind of objects has ended.
func (s *Source) answered(kind string, err error) {
	if err != nil && (apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || errors.Is(err, errAskedOtherwise) || errors.Is(err, context.Canceled)) {
		return // it is asked again at once, or nobody asks any more
	}
	s.aside.Lock()
	before, failing := s.away[kind]
	now := ""
	if err == nil {
		delete(s.away, kind)
	} else {
		now = fmt.Sprintf("%s of the Kubernetes API: %v; %s", kind, err, advice(kind, err))
		s.away[kind] = now
	}
	s.aside.Unlock()
	switch {
	case err == nil && failing:
		s.cfg.Logger.Info("the API server answers again", "kind", kind)
	case err != nil && (!failing || reason(before) != reason(now)):
		s.cfg.Logger.Warn("the API server does not say what is asked; the last state stands", "kind", kind, "error", err, "mend", advice(kind, err))
	}
}

// reason is the part of such a text that says what mends it.
func reason(text string) string { return text[strings.LastIndex(text, "; ")+1:] }

func (s *Source) synced() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// Run follows the cluster until ctx ends, and returns ctx's error then. While
// the API server is away, what it said last stands; it is tried again for ever.
func (s *Source) Run(ctx context.Context) error {
	core := s.cfg.Client.CoreV1()
	kinds := []followed{
		s.follow("pods", &corev1.Pod{}, &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				o.LabelSelector = s.cfg.Selector
				return core.Pods("").List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.LabelSelector = s.cfg.Selector
				return core.Pods("").Watch(ctx, o)
			},
		}, func(key string, now any, at time.Time) {
			p, _ := now.(*Pod)
			s.view.setPod(key, p, at)
		}),
		s.follow("nodes", &corev1.Node{}, &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return core.Nodes().List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return core.Nodes().Watch(ctx, o)
			},
		}, func(key string, now any, at time.Time) {
			n, _ := now.(*Node)
			s.view.setNode(key, n, at)
		}),
	}
	if s.cfg.Services {
		endpoints := s.cfg.Client.DiscoveryV1().EndpointSlices("")
		kinds = append(kinds, s.follow("endpointslices", &discoveryv1.EndpointSlice{}, &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return endpoints.List(ctx, o) },
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return endpoints.Watch(ctx, o)
			},
		}, func(key string, now any, at time.Time) {
			slice, _ := now.(*Slice)
			s.view.setSlice(key, slice, at)
		}))
	}
	var running sync.WaitGroup
	defer running.Wait()
	var synced []cache.InformerSynced
	for _, k := range kinds {
		running.Go(func() { k.informer.RunWithContext(ctx) })
		synced = append(synced, k.taken)
	}
	if cache.WaitForCacheSync(ctx.Done(), synced...) {
		s.mu.Lock()
		pods, nodes := len(s.view.pods), len(s.view.nodes)
		s.mu.Unlock()
		s.cfg.Logger.Info("the cluster is known", "mesh_pods", pods, "nodes", nodes)
		close(s.ready)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// followed is a kind of objects that is followed.
type followed struct {
	informer cache.SharedIndexInformer
	// taken tells whether the view has all that there was at first. The
	// informer's own word, HasSynced, comes before that: it is for its store.
	taken cache.InformerSynced
}

// follow makes an informer that keeps values in place of objects, and hands
// each change to take, which holds the lock of the view.
func (s *Source) follow(kind string, object runtime.Object, lw *cache.ListWatch, take func(key string, now any, at time.Time)) followed {
	list, begin := lw.ListWithContextFunc, lw.WatchFuncWithContext
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			answered := s.asks(kind, patience)
			l, err := list(ctx, o)
			answered(err)
			return l, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			answered := s.asks(kind, patience)
			w, err := begin(ctx, o)
			answered(begun(w, o, err))
			return w, err
		},
	}, object, 0, nil)
	// These fail only once an informer has started.
	_ = informer.SetTransform(s.value)
	_ = informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
		if err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			s.cfg.Logger.Debug("a watch ended", "kind", kind, "error", err)
		}
	})
	changed := func(object any, gone bool) {
		at := time.Now()
		if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = last.Obj
		}
		key, err := cache.MetaNamespaceKeyFunc(object)
		if err != nil {
			return // value makes only what has a key
		}
		if gone {
			object = nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		take(key, object, at)
		close(s.changed)
		s.changed = make(chan struct{})
	}
	handler, _ := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { changed(o, false) },
		UpdateFunc: func(_, o any) { changed(o, false) },
		DeleteFunc: func(o any) { changed(o, true) },
	})
	return followed{informer, handler.HasSynced}
}

// value is what is kept of an object.
func (s *Source) value(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Pod:
		return Parse(o, s.cfg.Network), nil
	case *discoveryv1.EndpointSlice:
		return ParseSlice(o), nil
	case *corev1.Node:
		return parseNode(o), nil
	}
	return object, nil // a value already, or what the informer keeps for itself
}

// advice is what mends an error of the API server.
func advice(kind string, err error) string {
	switch {
	case apierrors.IsUnauthorized(err):
		return "the credentials are not valid, or have expired: in the cluster, look at the agent's service account; outside, renew the token in the kubeconfig, which is read again"
	case apierrors.IsForbidden(err):
		return "the agent's service account needs list and watch on " + kind + " (docs/kubernetes.md, RBAC)"
	}
	return "the agent tries again; look whether the API server runs and this node reaches it"
}

// each calls emit with what pick makes of the view: once it is complete, and
// then with each change for which it differs, until ctx ends, whose error it
// returns.
func each[T any](ctx context.Context, s *Source, pick func(*view) T, same func(a, b T) bool, emit func(T)) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ready:
	}
	var last T
	for first := true; ; {
		s.mu.Lock()
		now, changed := pick(s.view), s.changed
		s.mu.Unlock()
		if first || !same(last, now) {
			last, first = now, false
			emit(now)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// Snapshots calls emit with each state of the mesh, without policy.
func (s *Source) Snapshots(ctx context.Context, emit func(mesh.Snapshot)) error {
	return each(ctx, s, (*view).snapshot, func(a, b mesh.Snapshot) bool {
		return one(a.Services, b.Services) && one(a.Upstreams, b.Upstreams)
	}, emit)
}

// Hosts calls emit with each state of the network: pods that have an address
// in it, and the cluster's nodes, sorted by name.
func (s *Source) Hosts(ctx context.Context, emit func([]Host)) error {
	return each(ctx, s, (*view).network, one[Host], emit)
}

// Local calls emit with each state of the pods of this node that join the
// mesh, sorted by key.
func (s *Source) Local(ctx context.Context, emit func([]*Pod)) error {
	return each(ctx, s, (*view).local, func(a, b []*Pod) bool { return false }, emit)
}

// one tells whether two slices are the same.
func one[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

func parseNode(n *corev1.Node) *Node {
	out := &Node{Name: n.Name, Created: n.CreationTimestamp.Time, version: n.ResourceVersion}
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && isIPv4(a.Address) {
			out.Addr = a.Address
			break
		}
	}
	return out
}
