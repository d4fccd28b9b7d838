package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	reportAgain = 5 * time.Second  // after a report that was not taken, twice as long after each further one
	reportLast  = 5 * time.Minute  // the longest such pause
	reportLimit = 10 * time.Second // for one request
	maxNote     = 1024             // bytes of an event's note (events.k8s.io/v1, Event, "note")
	maxInstance = 128              // bytes of its reportingInstance (kubernetes, pkg/apis/core/validation, ReportingInstanceLengthLimit)

	reporter     = "meshlab.dev/agent"
	reasonJoined = "InMesh"
)

// Report tells the owners of this node's pods what keeps these out of the
// mesh, until ctx ends: by an event for each new problem, and by the condition
// ConditionType, which is false for as long as there is one. A pod without
// problems costs no request. What stands on a pod already, from before a
// restart too, is not told again.
func (s *Source) Report(ctx context.Context) error {
	pods := make(chan []*Pod, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, stop := context.WithCancelCause(ctx)
	watching.Go(func() {
		stop(s.Local(ctx, func(now []*Pod) {
			select {
			case <-pods: // nobody has taken it yet
			default:
			}
			pods <- now
		}))
	})
	r := newReports(s)
	var now []*Pod
	var again <-chan time.Time // when what was not taken is tried again; nil: all was taken
	for pause := reportAgain; ; {
		due := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case now = <-pods:
		case <-again:
			due, again = true, nil
		}
		r.all(ctx, now, due)
		switch {
		case len(r.failing) == 0:
			again, pause = nil, reportAgain
		case again == nil:
			again, pause = time.After(pause), min(2*pause, reportLast)
		}
	}
}

// reports is what has been told. All keys are UIDs of pods.
type reports struct {
	source  *Source
	told    map[string]string          // condition's message that was written, and is not seen yet
	failing map[string]string          // the message that was not taken
	events  map[string]map[string]bool // of those: texts of problems -> an event was taken
}

func newReports(s *Source) *reports {
	return &reports{source: s, told: map[string]string{}, failing: map[string]string{}, events: map[string]map[string]bool{}}
}

// all tells what is to be told of pods. What was not taken is tried again only
// when that is due: pods change often.
func (r *reports) all(ctx context.Context, pods []*Pod, due bool) {
	here := map[string]bool{}
	for _, p := range pods {
		here[p.UID] = true
		text := textOf(p.Problems)
		if p.Condition.Set && p.Condition.Text == text && p.Condition.True == (text == "") {
			r.forget(p.UID)
			continue
		}
		told, ok := r.told[p.UID]
		if !p.Condition.Set && !ok && text == "" {
			r.forget(p.UID)
			continue
		}
		if ok && told == text {
			continue
		}
		last, failed := r.failing[p.UID]
		if failed && last == text && !due {
			continue
		}
		err := r.tell(ctx, p, text)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			if r.failing[p.UID] = text; !failed {
				r.source.cfg.Logger.Warn("a pod was not told what is wrong with it", "pod", p.Key(), "problem", text, "error", err,
					"mend", "the agent's service account needs patch on pods/status and create on events (docs/kubernetes.md, RBAC)")
			}
			continue
		}
		r.forget(p.UID)
		r.told[p.UID] = text
	}
	for _, uid := range slices.Concat(slices.Collect(maps.Keys(r.told)), slices.Collect(maps.Keys(r.failing))) {
		if !here[uid] {
			r.forget(uid)
		}
	}
}

func (r *reports) forget(uid string) {
	delete(r.told, uid)
	delete(r.failing, uid)
	delete(r.events, uid)
}

// textOf is what the condition says; empty: all is well.
func textOf(problems []Problem) string {
	var all []string
	for _, p := range problems {
		all = append(all, p.Text)
	}
	return strings.Join(all, "; ")
}

func (r *reports) tell(ctx context.Context, p *Pod, text string) error {
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	now := time.Now()
	var errs []error
	for _, problem := range p.Problems {
		if strings.Contains(p.Condition.Text, problem.Text) || strings.Contains(r.told[p.UID], problem.Text) {
			continue
		}
		taken, tried := r.events[p.UID][problem.Text]
		if taken { // and the condition was not
			continue
		}
		if !tried {
			r.source.cfg.Logger.Warn("a pod cannot take part in the mesh as it says", "pod", p.Key(), "reason", problem.Reason, "problem", problem.Text)
		}
		_, err := r.source.cfg.Client.EventsV1().Events(p.Namespace).Create(ctx, r.event(p, problem, now), metav1.CreateOptions{})
		if r.events[p.UID] == nil {
			r.events[p.UID] = map[string]bool{}
		}
		r.events[p.UID][problem.Text] = err == nil
		errs = append(errs, err)
	}
	patch, err := json.Marshal(conditionPatch(p, text, now))
	if err != nil {
		return fmt.Errorf("write condition: %w", err)
	}
	_, err = r.source.cfg.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return errors.Join(append(errs, err)...)
}

func (r *reports) event(p *Pod, problem Problem, now time.Time) *eventsv1.Event {
	note, node := problem.Text, r.source.cfg.Node
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote-3], "") + "..."
	}
	node = node[:min(len(node), maxInstance)]
	return &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{GenerateName: "meshlab-", Namespace: p.Namespace},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: reporter, ReportingInstance: node,
		Action: "Join", Reason: problem.Reason, Note: note, Type: corev1.EventTypeWarning,
		Regarding: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)},
	}
}

// conditionPatch sets one condition and leaves the others. The UID keeps it
// from a later pod of the same name.
func conditionPatch(p *Pod, text string, now time.Time) any {
	condition := corev1.PodCondition{Type: ConditionType, Status: corev1.ConditionTrue, Reason: reasonJoined, LastTransitionTime: metav1.NewTime(now)}
	if text != "" {
		condition.Status, condition.Reason, condition.Message = corev1.ConditionFalse, p.Problems[0].Reason, text
	}
	// A message that is left out of a merge would stay as it was.
	type plain struct {
		Type               corev1.PodConditionType `json:"type"`
		Status             corev1.ConditionStatus  `json:"status"`
		Reason             string                  `json:"reason"`
		Message            string                  `json:"message"`
		LastTransitionTime metav1.Time             `json:"lastTransitionTime"`
	}
	return map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status": map[string]any{"conditions": []plain{{
			condition.Type, condition.Status, condition.Reason, condition.Message, condition.LastTransitionTime,
		}}},
	}
}
