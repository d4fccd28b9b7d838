package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The containers of pods that are the lab's: of a service, and of the load.
const (
	serviceContainer = "service"
	loadContainer    = "load"
)

// What a pod can be waited for.
func hasAddress(p *corev1.Pod) bool { return p.Status.PodIP != "" }
func hasStarted(p *corev1.Pod) bool {
	return p.Status.Phase != corev1.PodPending && p.Status.Phase != ""
}
func isReady(p *corev1.Pod) bool {
	return p.Status.PodIP != "" && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// await waits until pods are as they should be, and returns their addresses. A
// pod that cannot become so ends it, after some patience with what mends itself,
// and so does the time that all have; the error says what the cluster says of it.
func (d *Deployment) await(ctx context.Context, names []string, good func(*corev1.Pod) bool, tell Tell) (map[string]netip.Addr, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("not ready within %v", readyWithin))
	defer cancel()
	since := map[string]time.Time{} // pod and trouble -> when it was seen first
	answered := time.Now()
	var waiting []stuck
	for {
		list, err := d.cluster.Client.CoreV1().Pods(d.namespace).List(ctx, metav1.ListOptions{LabelSelector: labelPod})
		switch {
		case err == nil:
			answered = time.Now()
		case ctx.Err() == nil && (lasting(err) || time.Since(answered) > outage):
			return nil, fmt.Errorf("wait for pods: %w", err)
		}
		if err == nil {
			have := map[string]netip.Addr{}
			waiting = nil
			for i := range list.Items {
				pod := &list.Items[i]
				if !slices.Contains(names, pod.Name) {
					continue
				}
				if good(pod) {
					have[pod.Name], _ = netip.ParseAddr(pod.Status.PodIP) // a pod that has only started may have none
					continue
				}
				t := look(pod)
				waiting = append(waiting, stuck{pod, t})
				key := pod.Name + t.kind
				if since[key].IsZero() {
					since[key] = time.Now()
				}
				if t.patience > 0 && time.Since(since[key]) > t.patience || t.final {
					return nil, d.explain(ctx, pod, t)
				}
			}
			if len(have) == len(names) {
				return have, nil
			}
			for _, name := range names {
				if !slices.ContainsFunc(list.Items, func(p corev1.Pod) bool { return p.Name == name }) {
					return nil, fmt.Errorf("pod %s is gone before it was ready: somebody has deleted it, or its node", name)
				}
			}
			slices.SortFunc(waiting, func(a, b stuck) int { return cmp.Compare(a.pod.Name, b.pod.Name) })
			if len(waiting) > 0 {
				tell.say("%d of %d pods: %s: %s", len(have), len(names), waiting[0].pod.Name, waiting[0].text)
			}
		}
		select {
		case <-ctx.Done():
			if len(waiting) == 0 || errors.Is(ctx.Err(), context.Canceled) {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("%w: %s", context.Cause(ctx), d.explainAll(context.WithoutCancel(ctx), waiting))
		case <-time.After(poll):
		}
	}
}

// trouble is what a pod that is not ready says.
type trouble struct {
	kind     string
	text     string
	patience time.Duration // that it may last; 0: as long as all may take
	final    bool          // it will not mend
	mend     string
}

// stuck is a pod that is not as it should be.
type stuck struct {
	pod *corev1.Pod
	trouble
}

// lastWords bounds the questions for why pods are not ready, when the time that
// they had is over.
const lastWords = 15 * time.Second

// explainAll says what is wrong with pods.
func (d *Deployment) explainAll(ctx context.Context, pods []stuck) string {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	var all []string
	for _, s := range pods {
		all = append(all, d.explain(ctx, s.pod, s.trouble).Error())
	}
	return strings.Join(all, "; ")
}

// How long what may mend itself is waited for.
const (
	pullPatience  = 90 * time.Second // a registry, or credentials that a node has yet to get
	crashPatience = 2 * time.Minute  // services whose upstream is not there yet end, and are started again
	placePatience = 2 * time.Minute  // a cluster may add a node
)

// look finds what keeps a pod from being ready.
func look(pod *corev1.Pod) trouble {
	if why := died(pod); why != "" {
		return trouble{kind: "died", text: why, final: true}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return trouble{kind: c.Reason, text: "no node takes it: " + c.Message, patience: placePatience,
				mend: "make room on the nodes, or take one that is larger"}
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		w := s.State.Waiting
		if w == nil || w.Reason == "ContainerCreating" || w.Reason == "PodInitializing" {
			continue
		}
		t := trouble{kind: s.Name + w.Reason, text: fmt.Sprintf("container %s: %s: %s", s.Name, w.Reason, w.Message), patience: pullPatience}
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
			t.kind = s.Name + "image" // the first two take turns
			t.text = fmt.Sprintf("container %s: image %s cannot be pulled: %s: %s", s.Name, s.Image, w.Reason, w.Message)
			t.mend = "check the reference (--image), and that the nodes may pull it (--pull-secret)"
		case "CrashLoopBackOff":
			t.patience = crashPatience
			if last := s.LastTerminationState.Terminated; last != nil {
				t.text = fmt.Sprintf("container %s ends again and again: %s", s.Name, ended(last))
			}
		}
		return t
	}
	if pod.Spec.NodeName == "" {
		return trouble{kind: "unplaced", text: "not placed on a node yet"}
	}
	if pod.Status.PodIP == "" {
		return trouble{kind: "starting", text: "starting on node " + pod.Spec.NodeName}
	}
	return trouble{kind: "unready", text: "runs on node " + pod.Spec.NodeName + ", and is not ready yet"}
}

// died says why a pod has ended; empty: it has not.
func died(pod *corev1.Pod) string {
	if pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded {
		return ""
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if t := s.State.Terminated; t != nil && (t.ExitCode != 0 || pod.Status.Phase == corev1.PodSucceeded) {
			return fmt.Sprintf("container %s: %s", s.Name, ended(t))
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", pod.Status.Phase, pod.Status.Reason, pod.Status.Message))
}

// loadDied says why the load has ended; empty: it has not. A sidecar goes on
// without it, and so does the pod.
func loadDied(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == loadContainer && s.State.Terminated != nil {
			return fmt.Sprintf("container %s: %s", s.Name, ended(s.State.Terminated))
		}
	}
	return died(pod)
}

// ended is the end of a container in words, with the end of what it printed.
func ended(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" {
		text += " (" + t.Reason + ")"
	}
	if m := strings.TrimSpace(t.Message); m != "" {
		text += ": " + m
	}
	return text
}

// explain makes an error of what is wrong with a pod, with the last warning of
// the cluster about it.
func (d *Deployment) explain(ctx context.Context, pod *corev1.Pod, t trouble) error {
	text := fmt.Sprintf("pod %s", pod.Name)
	if pod.Spec.NodeName != "" {
		text += " on node " + pod.Spec.NodeName
	}
	text += ": " + t.text
	events, err := d.cluster.Client.CoreV1().Events(d.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod.Name + ",type=" + corev1.EventTypeWarning})
	if err == nil && len(events.Items) > 0 {
		last := slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b)) })
		if !strings.Contains(text, last.Message) {
			text += fmt.Sprintf(" (%s: %s)", last.Reason, last.Message)
		}
	}
	if t.mend != "" {
		text += "; " + t.mend
	}
	return errors.New(text)
}

func eventTime(e corev1.Event) time.Time {
	if !e.LastTimestamp.IsZero() {
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}

// lasting tells whether an error of the API server will not mend.
func lasting(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err)
}

// retriable is an error of a webhook or of an API server that is busy.
func retriable(err error) bool {
	return apierrors.IsInternalError(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
}

func isNothing(err error) bool { return errors.Is(err, errNothing) }
