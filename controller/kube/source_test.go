package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

func TestConditionPatchNamesThePod(t *testing.T) {
	p := Parse(podOf("web", keyService, "a b"), "")
	patch, ok := conditionPatch(p, textOf(p.Problems), epoch).(map[string]any)
	if !ok || patch["metadata"].(map[string]any)["uid"] != p.UID {
		t.Errorf("the patch could hit a later pod of the same name: %v", patch)
	}
}
