package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"

	"meshlab.dev/meshlab/controller/mesh"
)

// The client is one in memory; kubetest asks a real API server.
func TestSourceFollowsTheCluster(t *testing.T) {
	web := podOf("web", keyService, "web", keyUpstreams, "api:9090,bad", keyStatus, status("10.1.1.1"))
	web.ResourceVersion = "1"
	client := fake.NewClientset(web)
	s, err := New(Config{Client: client, Node: "n1", Services: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	snaps := make(chan mesh.Snapshot, 100)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- s.Report(ctx) }()
	go func() { ended <- s.Snapshots(ctx, func(m mesh.Snapshot) { snaps <- m }) }()
	defer func() {
		cancel()
		for range 3 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
		}
	}()
	until := func(want string) {
		t.Helper()
		last := "nothing"
		for deadline := time.After(20 * time.Second); ; {
			select {
			case m := <-snaps:
				if last = tell(m); last == want {
					return
				}
			case <-deadline:
				t.Fatalf("got  %s\nwant %s", last, want)
			}
		}
	}
	until("web.default=default/web@10.1.1.1:8080, 10.1.1.1:web.default>api.default:9090")
	api := podOf("api", keyService, "api", keyStatus, status("10.1.1.2"))
	api.UID, api.ResourceVersion = "uid-2", "2"
	if _, err := client.CoreV1().Pods("default").Create(ctx, api, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until("api.default=default/api@10.1.1.2:8080, web.default=default/web@10.1.1.1:8080, 10.1.1.1:web.default>api.default:9090")
	if err := client.CoreV1().Pods("default").Delete(ctx, "api", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until("web.default=default/web@10.1.1.1:8080, 10.1.1.1:web.default>api.default:9090")
	if !s.Up() {
		t.Error("the API server answers, and Up says that it does not")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		p, err := client.CoreV1().Pods("default").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range p.Status.Conditions {
			found = found || c.Type == ConditionType && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, `"bad"`)
		}
		events, err := client.EventsV1().Events("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if found && len(events.Items) == 1 && events.Items[0].Reason == ReasonAnnotation {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("conditions %+v, %d events", p.Status.Conditions, len(events.Items))
		}
	}
}

// What the informers have, the view may not have yet: nothing is told before
// it has all.
func TestSourceTellsNothingBeforeAllIsTaken(t *testing.T) {
	const pods = 50
	var objects []runtime.Object
	for i := range pods {
		p := podOf(fmt.Sprint("web-", i), keyService, "web", keyStatus, status(fmt.Sprint("10.1.1.", i+1)))
		p.UID, p.ResourceVersion = types.UID(fmt.Sprint("uid-", i)), "1"
		objects = append(objects, p)
	}
	client := fake.NewClientset(objects...)
	var log strings.Builder
	s, err := New(Config{Client: client, Node: "n1", Services: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	s.mu.Lock() // the view takes nothing
	go func() { ended <- s.Run(ctx) }()
	select { // longer than informers take, and than who waits for them looks again
	case <-s.ready:
	case <-time.After(500 * time.Millisecond):
	}
	s.mu.Unlock()
	<-s.ready
	cancel()
	<-ended
	if !strings.Contains(log.String(), fmt.Sprint("mesh_pods=", pods)) {
		t.Errorf("the cluster is said to be known without all of its %d pods:\n%s", pods, log.String())
	}
}

// What client-go returns does not always say whether the API server answers.
func TestWhetherTheAPIServerAnswers(t *testing.T) {
	yes := true
	refusal := apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", field.ErrorList{field.Forbidden(field.NewPath("sendInitialEvents"), "")})
	for name, c := range map[string]struct {
		streamed *bool
		watch    watch.Interface
		err      error
		away     int
	}{
		"it does":                     {&yes, watch.NewFake(), nil, 0},
		"it cannot stream lists":      {&yes, nil, refusal, 0},
		"it refuses another watch":    {nil, nil, refusal, 1},
		"nobody is there":             {&yes, nil, errors.New("connection refused"), 1},
		"a connection does not begin": {nil, watch.NewEmptyWatch(), nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Config{Client: fake.NewClientset(), Node: "n1"})
			if err != nil {
				t.Fatal(err)
			}
			s.asks("pods", time.Hour)(begun(c.watch, metav1.ListOptions{SendInitialEvents: c.streamed}, c.err))
			if got := s.Away(); len(got) != c.away {
				t.Errorf("away: %q", got)
			}
		})
	}
}

// A request that hangs is told of while it does, and no longer.
func TestAnAPIServerThatHangs(t *testing.T) {
	s, err := New(Config{Client: fake.NewClientset(), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	answered := s.asks("pods", time.Millisecond)
	for deadline := time.Now().Add(20 * time.Second); len(s.Away()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is said of a request that hangs")
		}
	}
	if answered(nil); len(s.Away()) > 0 {
		t.Errorf("it is answered, and away is %q", s.Away())
	}
}

func TestConditionPatchNamesThePod(t *testing.T) {
	p := Parse(podOf("web", keyService, "a b"), "")
	patch, ok := conditionPatch(p, textOf(p.Problems), epoch).(map[string]any)
	if !ok || patch["metadata"].(map[string]any)["uid"] != p.UID {
		t.Errorf("the patch could hit a later pod of the same name: %v", patch)
	}
}
