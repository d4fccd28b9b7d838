package supervisor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/client"
	"meshlab.dev/meshlab/topo"
)

// ErrNotCarried says that a mesh does not carry the protocol of a request.
var ErrNotCarried = errors.New("carries TCP only")

// Spec is what a request of the lab file is under a mesh. The error matches
// ErrNotCarried when the mesh does not carry the request's protocol: nothing
// else is wrong then, and the request is to be left out under that mesh.
func Spec(lab *topo.Lab, mesh orchestrate.Mesh, name string) (scenarios.RequestSpec, error) {
	req, ok := lab.Requests[name]
	if !ok {
		return scenarios.RequestSpec{}, fmt.Errorf("lab %s has no request %q: it has %v", lab.Name, name, slices.Sorted(maps.Keys(lab.Requests)))
	}
	if lab.Client == nil {
		return scenarios.RequestSpec{}, fmt.Errorf("lab %s has no client to send requests from", lab.Name)
	}
	if req.Protocol == topo.ProtocolUDP && mesh != orchestrate.Direct {
		return scenarios.RequestSpec{}, fmt.Errorf("request %s: protocol %s: mesh %s %w", name, req.Protocol, mesh, ErrNotCarried)
	}
	for _, u := range lab.Client.Upstreams {
		if u.Service != req.To {
			continue
		}
		addr, err := mesh.Address(lab, u)
		if err != nil {
			return scenarios.RequestSpec{}, err
		}
		return scenarios.RequestSpec{
			Protocol: scenarios.Protocol(req.Protocol), URL: "http://" + addr + req.Path,
			Method: req.Method, Headers: req.Headers, Body: req.Body,
			Status: req.Expect.Status, Contains: req.Expect.Contains, Matches: req.Expect.Matches,
		}, nil
	}
	return scenarios.RequestSpec{}, fmt.Errorf("request %s: the client has no upstream %s", name, req.To)
}

// firstRequests sends every request of the lab file once from the client
// host, until the answer is right. Those that the mesh does not carry it
// leaves out, and says so.
func (r *raising) firstRequests(ctx context.Context) (string, error) {
	if r.lab.Client == nil || len(r.lab.Requests) == 0 {
		return "the lab file has no requests", nil
	}
	var sent, skipped []string
	for _, name := range slices.Sorted(maps.Keys(r.lab.Requests)) {
		spec, err := Spec(r.lab, r.req.Mesh, name)
		if errors.Is(err, ErrNotCarried) {
			skipped = append(skipped, "; not sent: "+err.Error())
			continue
		}
		if err != nil {
			return "", err
		}
		if err := r.untilRight(ctx, spec); err != nil {
			return "", fmt.Errorf("request %s (%s from %s): %w", name, describe(spec), r.lab.Client.Node, err)
		}
		sent = append(sent, name)
	}
	return strings.Join(sent, ", ") + " answered as expected" + strings.Join(skipped, ""), nil
}

// describe is a request in a few words: "GET http://...", "grpc http://...".
func describe(spec scenarios.RequestSpec) string {
	return cmp.Or(spec.Method, string(spec.Protocol)) + " " + spec.URL
}

// requestLimit is how long the answer to one of the first requests may take.
const requestLimit = 5 * time.Second

func (r *raising) untilRight(ctx context.Context, spec scenarios.RequestSpec) error {
	req, err := client.Prepare(spec)
	if err != nil {
		return err
	}
	last := errors.New("no answer yet")
	for {
		err := requestOnce(ctx, hostDialer(r.lab.Client.Node), req)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// requestOnce sends one request on a connection of its own and checks the
// answer.
func requestOnce(ctx context.Context, d client.Dialer, req *client.Request) error {
	c := client.New(d)
	defer c.Close()
	if _, kind := c.Do(ctx, time.Now().Add(requestLimit), req); kind != "" {
		return errors.New(kind)
	}
	return nil
}

// hostDialer opens connections from inside a host. Addresses hold IP
// addresses: names would be looked up on another thread, outside.
type hostDialer string

func (node hostDialer) DialContext(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = netns.Do(string(node), func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// publish forwards the user's loopback ports to their services, for a
// browser; nothing that is measured passes here.
func (r *raising) publish() {
	for i, p := range r.req.Publish {
		for _, svc := range r.lab.Services {
			if svc.Name == p.Service {
				addr := fmt.Sprintf("%s:%d", orchestrate.HostAddr(r.lab, svc.Node), svc.Port)
				go forward(r.cfg.Published[i], svc.Node, addr)
			}
		}
	}
}

func forward(l net.Listener, node, addr string) {
	accept(l, func(in net.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		out, err := hostDialer(node).DialContext(ctx, "tcp4", addr)
		cancel()
		if err != nil {
			return // the browser sees the connection close, as with a dead server
		}
		defer out.Close()
		done := make(chan struct{}, 2)
		pipe := func(dst, src net.Conn) {
			_, _ = io.Copy(dst, src)
			_ = dst.(*net.TCPConn).CloseWrite()
			done <- struct{}{}
		}
		go pipe(out, in)
		go pipe(in, out)
		<-done
		<-done
	})
}

// serveLoad makes one attempt in a process of its own on the client host.
func (s *Supervisor) serveLoad(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	lab, ready := s.lab, s.status.Ready
	s.mu.Unlock()
	if !ready || lab.Client == nil {
		fail(w, http.StatusServiceUnavailable, errors.New("the lab is not ready, or has no client to send requests from"))
		return
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(r.Context(), self, "load")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = http.MaxBytesReader(w, r.Body, 8<<20), &out, &errs
	cmd.Env = baseEnv("/")
	cmd.WaitDelay = time.Second
	if err := netns.Do(lab.Client.Node, cmd.Start); err != nil {
		fail(w, http.StatusInternalServerError, fmt.Errorf("start load: %w", err))
		return
	}
	if err := cmd.Wait(); err != nil {
		fail(w, http.StatusInternalServerError, fmt.Errorf("load: %w: %s", err, strings.TrimSpace(errs.String())))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, out.String())
}

// serveFlows passes the controller's own account on.
func (s *Supervisor) serveFlows(w http.ResponseWriter, r *http.Request) {
	client := controller.NewClient(controllerSocket)
	defer client.Close()
	flows, err := client.Flows(r.Context())
	if err != nil {
		fail(w, http.StatusBadGateway, err)
		return
	}
	_ = json.NewEncoder(w).Encode(flows)
}
