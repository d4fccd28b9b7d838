package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"meshlab.dev/meshlab/orchestrate/kube"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/client"
)

// loadPlan is what the pod that sends the load is told.
type loadPlan struct {
	Matrix  scenarios.Config                            `json:"matrix"`
	Targets map[string]map[string]scenarios.RequestSpec `json:"targets"` // mesh -> request -> what to send
	Ready   time.Duration                               `json:"ready"`   // that each request has until it is answered for the first time
}

// loadProgress is what it tells meanwhile: what it does, or how far the matrix
// is.
type loadProgress struct {
	Step  string           `json:"step,omitempty"`
	Event *scenarios.Event `json:"event,omitempty"`
}

// loadResult is what it has measured. With an error the cells are those that
// were complete by then.
type loadResult struct {
	Environment scenarios.Environment `json:"environment"` // of the pod
	Ceiling     []scenarios.Ceiling   `json:"ceiling"`
	Cells       []scenarios.Cell      `json:"cells"`
	Error       string                `json:"error,omitempty"`
}

// How long the load tries to read its plan and to write its result while the
// API server is away. The client gives up before that.
const (
	takeOver = 5 * time.Minute
	handOver = 15 * time.Minute
)

// newKubeLoad is what the pod of 'bench --kube' runs that sends the load.
func newKubeLoad() *cobra.Command {
	var namespace string
	c := &cobra.Command{
		Use:    kube.LoadVerb + " --namespace NAME",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			cfg, err := rest.InClusterConfig()
			if err != nil {
				return fmt.Errorf("find the cluster that this pod is in: %w", err)
			}
			cfg.UserAgent = "meshlab-load/" + version()
			cluster, err := kubernetes.NewForConfig(cfg)
			if err != nil {
				return fmt.Errorf("make a client for Kubernetes: %w", err)
			}
			l := kubeLoad{post: kube.NewPost(cluster.CoreV1(), namespace)}
			if err := l.run(ctx); err != nil {
				return err
			}
			<-ctx.Done() // the pod stays until the client removes it
			return nil
		},
	}
	c.Flags().StringVar(&namespace, "namespace", "", "namespace of the run")
	return c
}

// kubeLoad measures, and tells the client by its post.
type kubeLoad struct {
	post  kube.Post
	quiet time.Time // until when nothing is told, as the API server is away
}

func (l *kubeLoad) run(ctx context.Context) error {
	first, cancel := context.WithTimeoutCause(ctx, takeOver, fmt.Errorf("the API server did not answer for %v", takeOver))
	defer cancel()
	text, err := l.post.Plan(first)
	if err != nil {
		return err
	}
	var plan loadPlan
	if err := json.Unmarshal(text, &plan); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	res := loadResult{Environment: scenarios.Host()}
	res.Environment.CongestionControl = congestionControl()
	if err := l.measure(ctx, plan, &res); err != nil {
		res.Error = err.Error()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	out, err := json.Marshal(res)
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	last, cancel := context.WithTimeoutCause(ctx, handOver, fmt.Errorf("the API server did not take it for %v", handOver))
	defer cancel()
	err = l.post.Result(last, out)
	if !errors.Is(err, kube.ErrTooLarge) {
		return err
	}
	if out, err = json.Marshal(loadResult{Environment: res.Environment, Error: err.Error()}); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return l.post.Result(last, out)
}

func (l *kubeLoad) measure(ctx context.Context, plan loadPlan, res *loadResult) error {
	for _, mesh := range plan.Matrix.Meshes {
		for _, name := range slices.Sorted(maps.Keys(plan.Targets[mesh])) {
			l.tell(ctx, loadProgress{Step: fmt.Sprintf("first answer to %s under %s", name, mesh)})
			if err := firstAnswer(ctx, plan.Ready, plan.Targets[mesh][name]); err != nil {
				return fmt.Errorf("request %s under %s: %w", name, mesh, err)
			}
		}
	}
	l.tell(ctx, loadProgress{Step: "the generator's own ceiling"})
	var err error
	if res.Ceiling, err = ceilings(ctx, plan.Matrix); err != nil {
		return err
	}
	res.Cells, err = scenarios.Run(ctx, plan.Matrix,
		func(mesh string, _ scenarios.Pods) scenarios.Target { return kubeTarget{mesh, plan.Targets[mesh]} },
		func(e scenarios.Event) { l.tell(ctx, loadProgress{Event: &e}) })
	return err
}

// tellWithin bounds what telling may take: it is done between attempts, and
// the next of these waits for it.
const tellWithin = 2 * time.Second

// tell tells the client how far things are. That the API server does not take
// it is no error: it gets a while to come back.
func (l *kubeLoad) tell(ctx context.Context, p loadProgress) {
	if time.Now().Before(l.quiet) {
		return
	}
	text, err := json.Marshal(p)
	if err != nil {
		return // of numbers and strings: it cannot fail
	}
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	if err := l.post.Progress(ctx, text); err != nil {
		fmt.Fprintln(os.Stderr, "tell the client:", err)
		l.quiet = time.Now().Add(10 * tellWithin)
	}
}

// firstAnswer sends a request until its answer is right.
func firstAnswer(ctx context.Context, within time.Duration, spec scenarios.RequestSpec) error {
	request, err := client.Prepare(spec)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	last := "no answer yet"
	for {
		c := client.New(&net.Dialer{})
		_, kind := c.Do(ctx, time.Now().Add(requestTimeout), request)
		c.Close()
		if kind == "" {
			return nil
		}
		if ctx.Err() == nil {
			last = kind
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not answered as it should be within %v: %s", spec.URL, within, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// kubeTarget is a lab under a mesh, as the pod that sends the load sees it.
type kubeTarget struct {
	mesh  string
	specs map[string]scenarios.RequestSpec
}

func (t kubeTarget) Spec(request string) (scenarios.RequestSpec, error) {
	spec, ok := t.specs[request]
	if !ok {
		return spec, fmt.Errorf("the plan has no request %s under %s", request, t.mesh)
	}
	return spec, nil
}

// Load makes an attempt in a process of its own, as in labs on one machine.
func (t kubeTarget) Load(ctx context.Context, spec scenarios.LoadSpec) (scenarios.Attempt, error) {
	var a scenarios.Attempt
	in, err := json.Marshal(spec)
	if err != nil {
		return a, fmt.Errorf("write the load spec: %w", err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "load")
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &stderr
	if err := cmd.Run(); err != nil {
		return a, fmt.Errorf("run the load generator: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return a, fmt.Errorf("read what the load generator printed: %w", err)
	}
	return a, nil
}

// congestionControl is that of connections of this network namespace (tcp(7)).
func congestionControl() string {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(text))
}
