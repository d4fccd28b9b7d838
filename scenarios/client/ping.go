package client

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"fortio.org/fortio/fgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// ping is a connection to Fortio's ping service.
type ping struct {
	conn   *grpc.ClientConn
	client fgrpc.PingServerClient
	fault  faults
	again  resends
	seq    int64
}

// faults remembers what gRPC only tells in words: the error that broke the
// connection, or kept it from being opened.
type faults struct{ last atomic.Pointer[error] }

func (f *faults) note(err error) { f.last.Store(&err) }

// watched is a connection that notes why it ends.
type watched struct {
	net.Conn
	fault *faults
}

func (c watched) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.fault.note(err)
	}
	return n, err
}

// resends counts what gRPC sends a second time without being asked: a call
// that the server says it has not begun. No option of it turns that off.
type resends struct{ n atomic.Int64 }

func (r *resends) HandleRPC(_ context.Context, s stats.RPCStats) {
	if b, ok := s.(*stats.Begin); ok && b.IsTransparentRetryAttempt {
		r.n.Add(1)
	}
}

func (*resends) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (*resends) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (*resends) HandleConn(context.Context, stats.ConnStats) {}

// openPing connects, and waits until the server has greeted it (RFC 9113,
// section 3.4).
func openPing(ctx context.Context, d Dialer, address string) (link, error) {
	l := &ping{}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0), // never
		grpc.WithStatsHandler(&l.again),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			c, err := d.DialContext(ctx, "tcp", address)
			if err != nil {
				l.fault.note(err)
				return nil, err
			}
			return watched{c, &l.fault}, nil
		}))
	if err != nil {
		return nil, fmt.Errorf("prepare a connection of gRPC: %w", err)
	}
	l.conn, l.client = conn, fgrpc.NewPingServerClient(conn)
	conn.Connect()
	for s := conn.GetState(); s != connectivity.Ready; s = conn.GetState() {
		if s == connectivity.TransientFailure || !conn.WaitForStateChange(ctx, s) {
			err := l.explain(ctx, status.Error(codes.Unavailable, "not connected"))
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// explain puts what happened to the connection in the place of gRPC's words
// for it.
func (l *ping) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if cause := l.fault.last.Load(); cause != nil && status.Code(err) == codes.Unavailable {
		return *cause
	}
	return err
}

func (l *ping) exchange(ctx context.Context, deadline time.Time, r *Request, body *bytes.Buffer) (answer, error) {
	ctx, cancel := context.WithDeadline(metadata.NewOutgoingContext(ctx, r.metadata), deadline)
	defer cancel()
	l.seq++
	before := l.again.n.Load()
	got, err := l.client.Ping(ctx, &fgrpc.PingMessage{Seq: l.seq, Ts: time.Now().UnixNano(), Payload: string(r.body)})
	switch {
	case l.again.n.Load() != before:
		return answer{}, errAgain
	case err != nil:
		return answer{}, l.explain(ctx, err)
	case got.GetSeq() != l.seq || got.GetPayload() != string(r.body):
		return answer{}, errDiffers
	}
	body.WriteString(got.GetPayload())
	return answer{}, nil
}

func (l *ping) usable() bool { return !l.ended() }

func (l *ping) ended() bool { return l.conn.GetState() != connectivity.Ready }

func (l *ping) close() { _ = l.conn.Close() }
