package openloop

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"fortio.org/fortio/fgrpc"
	"google.golang.org/grpc"

	"meshlab.dev/meshlab/scenarios"
)

// ears are where servers of all protocols listen.
type ears struct {
	http, grpc, tcp net.Listener
	udp             net.PacketConn
}

// listen opens them in the network of the calling thread.
func (e *ears) listen() (err error) {
	for _, l := range []*net.Listener{&e.http, &e.grpc, &e.tcp} {
		if *l, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	e.udp, err = net.ListenPacket("udp4", "127.0.0.1:0")
	return err
}

type pings struct{}

func (pings) Ping(_ context.Context, in *fgrpc.PingMessage) (*fgrpc.PingMessage, error) {
	return in, nil
}

// serve answers all protocols.
func (e ears) serve(t *testing.T) {
	h := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})}
	h.Protocols.SetHTTP1(true)
	h.Protocols.SetUnencryptedHTTP2(true)
	g := grpc.NewServer()
	fgrpc.RegisterPingServerServer(g, pings{})
	t.Cleanup(func() {
		h.Close()
		g.Stop()
		e.tcp.Close()
		e.udp.Close()
	})
	go func() { _ = h.Serve(e.http) }()
	go func() { _ = g.Serve(e.grpc) }()
	go func() {
		for {
			c, err := e.tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	go func() {
		for b := make([]byte, 1<<16); ; {
			n, from, err := e.udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = e.udp.WriteTo(b[:n], from)
		}
	}()
}

// step is one request of the protocol.
func (e ears) step(p scenarios.Protocol) scenarios.WeightedStep {
	s := scenarios.WeightedStep{Weight: 1}
	s.Protocol, s.Body = p, "beans"
	address := e.http.Addr()
	switch p {
	case scenarios.GRPC:
		address = e.grpc.Addr()
	case scenarios.TCPEcho:
		address = e.tcp.Addr()
	case scenarios.UDPEcho:
		address = e.udp.LocalAddr()
	case scenarios.HTTP2:
		s.Status, s.Contains = http.StatusOK, []string{"HTTP/2.0"}
	default:
		s.Status, s.Contains = http.StatusOK, []string{"HTTP/1.1"}
	}
	s.URL = "http://" + address.String()
	return s
}

// allProtocols sends all protocols at once over sockets of the lab.
func allProtocols(t *testing.T, lab *fakeLab, e ears) {
	spec := scenarios.GeneratorSpec{Connections: 2, Timeout: 5 * time.Second, Sides: []scenarios.SideSpec{{Name: "lab", Lab: lab.path, Node: "client"}}}
	for _, p := range scenarios.Protocols() {
		spec.Sides[0].Steps = append(spec.Sides[0].Steps, e.step(p))
	}
	engine := newEngine(t, spec)
	for range 2 {
		trial := trialSpec()
		trial.Requests, trial.Log = 300, true
		o := mustTrial(t, engine, trial)
		if o.Sides[0].Errors != 0 {
			t.Error(o.Sides[0].ErrorKind)
		}
		seen := make(map[int]int)
		for _, r := range o.Sides[0].Log {
			seen[r.Step]++
		}
		if len(seen) != len(scenarios.Protocols()) {
			t.Errorf("steps were sent so often: %v", seen)
		}
	}
}

func TestAllProtocolsOverSocketsOfALab(t *testing.T) {
	var e ears
	if err := e.listen(); err != nil {
		t.Fatal(err)
	}
	e.serve(t)
	allProtocols(t, newFakeLab(t), e)
}
