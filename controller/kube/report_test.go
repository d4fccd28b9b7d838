package kube

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// A condition that nobody may write must not cost an event at each try, nor a
// try at each change of the cluster.
func TestAReportThatIsRefused(t *testing.T) {
	pod := podOf("web", keyService, "web", keyUpstreams, "bad", keyStatus, status("10.1.1.1"))
	client := fake.NewClientset(pod)
	refuse, patches := true, 0
	client.PrependReactor("patch", "pods", func(k8stesting.Action) (bool, runtime.Object, error) {
		patches++
		return refuse, nil, errors.New("the policy of this cluster forbids it")
	})
	var log strings.Builder
	s, err := New(Config{Client: client, Node: strings.Repeat("n", 200), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r := newReports(s)
	events := func() (n int) {
		for _, a := range client.Actions() {
			if a.GetVerb() == "create" && a.GetResource().Resource == "events" {
				n++
			}
		}
		return n
	}
	parsed := []*Pod{Parse(pod, "")}
	r.all(t.Context(), parsed, false)
	for range 10 { // something else has changed
		r.all(t.Context(), parsed, false)
	}
	if patches != 1 {
		t.Errorf("%d patches before the next try is due, want 1", patches)
	}
	for range 3 {
		r.all(t.Context(), parsed, true)
	}
	if patches != 4 || events() != 1 {
		t.Errorf("%d patches and %d events after three more tries, want 4 and 1", patches, events())
	}
	if n := strings.Count(log.String(), "cannot take part"); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, log.String())
	}
	refuse = false
	r.all(t.Context(), parsed, true)
	if len(r.failing) > 0 || events() != 1 {
		t.Errorf("when it is taken: %v fail, %d events", r.failing, events())
	}
	r.all(t.Context(), nil, false)
	if len(r.told)+len(r.events) > 0 {
		t.Errorf("of a pod that has gone are kept %v %v", r.told, r.events)
	}
}

// The API server takes no longer names (ReportingInstanceLengthLimit).
func TestEventOfANodeWithALongName(t *testing.T) {
	s, err := New(Config{Client: fake.NewClientset(), Node: strings.Repeat("n", 200)})
	if err != nil {
		t.Fatal(err)
	}
	p := Parse(podOf("web", keyService, "a b"), "")
	if e := newReports(s).event(p, p.Problems[0], epoch); len(e.ReportingInstance) > 128 || e.Type != corev1.EventTypeWarning {
		t.Errorf("%+v", e)
	}
}
