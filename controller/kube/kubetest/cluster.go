package kubetest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// The stand-ins make objects of the API real, as far as networks go:
//
//	a node        a network namespace with an Open vSwitch of its own and a bridge
//	              br1, on an underlay that the nodes share; no tunnel, no flow
//	a pod         a network namespace with an interface for each network that its
//	              annotation asks for, at br1, as Multus and ovs-cni leave it
//	              and eth0 in the cluster's own network
//	a container   a process in that namespace, see program
//	a Deployment  pods; there are no replica sets in between
//	a namespace   goes when it is deleted, after what is in it
//
// There are no service addresses, no DNS, no images, no probes and no volumes
// but of ConfigMaps.

// Bridge is the bridge of each node that pods are attached to.
const Bridge = "br1"

// underlay is the Linux bridge that joins the nodes, and the prefix of their
// addresses.
const (
	underlay       = "underlay"
	underlayPrefix = "192.168.50."
)

// Cluster is an API server with the stand-ins for what works on its objects.
type Cluster struct {
	*Server
	Nodes []*Node

	ctx     context.Context // ends before the API server does
	dynamic dynamic.Interface
	pods    cache.SharedIndexInformer
	kubelet map[string]*standInKubelet // by node
	change  chan struct{}              // something that the controllers work on has changed
	images  map[string]string          // see SetImage

	mu     sync.Mutex
	leases map[string]netip.Addr // network -> the last address that was given away
	events []string              // what the stand-ins could not do
}

// StandInCluster starts an API server with nodes of these names. All of it
// ends with the test.
func StandInCluster(t testing.TB, nodes ...string) *Cluster {
	t.Helper()
	s := Start(t)
	s.ApplyDefinitions()
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cluster{
		Server: s, ctx: ctx, kubelet: map[string]*standInKubelet{},
		change: make(chan struct{}, 1), leases: map[string]netip.Addr{},
		images: map[string]string{},
	}
	var err error
	quiet := rest.CopyConfig(s.Config)
	quiet.WarningHandler = rest.NoWarnings{} // the end of a namespace deletes kinds that are deprecated
	if c.dynamic, err = dynamic.NewForConfig(quiet); err != nil {
		t.Fatalf("make client: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.mu.Lock()
			defer c.mu.Unlock()
			t.Logf("what the stand-ins could not do:\n%s", strings.Join(c.events, "\n"))
		}
	})
	c.startUnderlay()
	c.startClusterNetwork()
	for i, name := range nodes {
		n := c.startNode(name, i+1)
		c.Nodes = append(c.Nodes, n)
		c.kubelet[name] = newKubelet(c, n)
	}
	factory := informers.NewSharedInformerFactory(s.Client, 0)
	c.pods = factory.Core().V1().Pods().Informer()
	deployments := factory.Apps().V1().Deployments().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { c.changed(o) },
		UpdateFunc: func(_, o any) { c.changed(o) },
		DeleteFunc: func(o any) { c.gone(o) },
	}
	for _, informer := range []cache.SharedIndexInformer{c.pods, deployments, namespaces} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			t.Fatalf("watch: %v", err)
		}
	}
	factory.Start(ctx.Done())
	var controllers sync.WaitGroup
	controllers.Go(func() { c.control(deployments.GetStore(), namespaces.GetStore()) })
	t.Cleanup(func() {
		cancel()
		controllers.Wait()
		factory.Shutdown()
		for _, k := range c.kubelet {
			k.end()
		}
	})
	return c
}

// changed hands an object to who works on it.
func (c *Cluster) changed(object any) {
	if pod, ok := object.(*corev1.Pod); ok {
		if k := c.kubelet[pod.Spec.NodeName]; k != nil {
			k.update(pod)
		}
	}
	c.wake()
}

// wake lets the controllers look.
func (c *Cluster) wake() {
	select {
	case c.change <- struct{}{}:
	default: // they have yet to look
	}
}

func (c *Cluster) gone(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		if k := c.kubelet[pod.Spec.NodeName]; k != nil {
			k.forget(pod)
		}
	}
	c.wake()
}

// note keeps what went wrong, for the log of a test that fails.
func (c *Cluster) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// Pods returns the pods of the namespace default that have a label with this
// value and are not being deleted, sorted by name: Pods("app", "nginx").
func (c *Cluster) Pods(label, value string) []corev1.Pod {
	c.t.Helper()
	list, err := c.Client.CoreV1().Pods(metav1.NamespaceDefault).List(c.t.Context(), metav1.ListOptions{LabelSelector: label + "=" + value})
	if err != nil {
		c.t.Fatalf("list pods: %v", err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// Ready waits until a pod with this label is ready, and returns it.
func (c *Cluster) Ready(label, value string) corev1.Pod {
	c.t.Helper()
	var found corev1.Pod
	Eventually(c.t, fmt.Sprintf("a pod with %s=%s to be ready", label, value), func(context.Context) error {
		pods := c.Pods(label, value)
		for _, p := range pods {
			if ready(p) {
				found = p
				return nil
			}
		}
		return fmt.Errorf("%d pods, none is ready", len(pods))
	})
	return found
}

func ready(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// SetReady writes the condition Ready of a pod, as a kubelet does whose probe
// has a new result.
func (c *Cluster) SetReady(pod corev1.Pod, status corev1.ConditionStatus) {
	c.t.Helper()
	if err := c.patchReady(c.t.Context(), &pod, status, ""); err != nil {
		c.t.Fatalf("write the condition of pod %s: %v", pod.Name, err)
	}
}

// Dial returns a function that connects from inside a pod.
func (c *Cluster) Dial(pod corev1.Pod) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		err := inNetNS(podNetNS(&pod), func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// HTTPClient sends its requests from inside a pod. It makes a connection for
// each.
func (c *Cluster) HTTPClient(pod corev1.Pod) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: c.Dial(pod), DisableKeepAlives: true}, Timeout: 10 * time.Second}
}

// inNetNS runs fn with its thread in a namespace. Sockets that fn makes and
// processes that it starts stay there; goroutines that it starts do not.
func inNetNS(name string, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(name)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = fn()
		}
		result <- err
	}()
	return <-result
}

// run runs a command of the rig, in words.
func run(ctx context.Context, words ...string) error {
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// runAll runs commands until one fails; their words have no spaces.
func runAll(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		if err := run(ctx, strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}
