package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
)

// Path is where Handler is mounted, and where Ask asks.
const Path = "/trace"

// Handler answers GET /trace with a Trace as JSON. present gives the network
// of the moment. A question that cannot be asked is answered with status 400,
// other failures with 500; the body is then {"error": "..."}.
func Handler(present func() (Network, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := func(code int, v any) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(v) // the reader has gone; there is nobody to tell
		}
		q, err := parseQuery(r.URL.Query())
		var t Trace
		if err == nil {
			var n Network
			if n, err = present(); err == nil {
				t, err = TraceOf(n, q)
			}
		}
		var wrong *QuestionError
		switch {
		case errors.As(err, &wrong):
			answer(http.StatusBadRequest, problem{err.Error()})
		case err != nil:
			answer(http.StatusInternalServerError, problem{err.Error()})
		default:
			answer(http.StatusOK, t)
		}
	})
}

type problem struct {
	Error string `json:"error"`
}

func (q Question) query() url.Values {
	v := url.Values{"from": {q.From}, "to": {q.To}}
	if q.Protocol != "" {
		v.Set("proto", q.Protocol)
	}
	if q.Flags != "" {
		v.Set("flags", q.Flags)
	}
	if q.SourcePort != 0 {
		v.Set("sport", strconv.Itoa(int(q.SourcePort)))
	}
	return v
}

func parseQuery(v url.Values) (Question, error) {
	q := Question{From: v.Get("from"), To: v.Get("to"), Protocol: v.Get("proto"), Flags: v.Get("flags")}
	if q.From == "" || q.To == "" {
		return q, bad("the question needs from and to")
	}
	if text := v.Get("sport"); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return q, bad("source port %q is not in 1..65535", text)
		}
		q.SourcePort = uint16(port)
	}
	return q, nil
}

// Forward passes questions on to the controller whose status socket is at a
// path: what stands between a controller and its users mounts it at Path.
func Forward(socket string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "controller"
		},
		Transport: dialing(socket),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			_ = json.NewEncoder(w).Encode(problem{fmt.Sprintf("ask the controller for a trace: %v", err)}) // the reader has gone
		},
	}
}

func dialing(socket string) http.RoundTripper {
	var d net.Dialer
	return &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
		DisableKeepAlives: true,
	}
}

// maxAnswer bounds what Ask reads.
const maxAnswer = 64 << 20

// Ask puts a question to whoever answers GET /trace at a unix socket: a
// controller, or the supervisor of a lab. A question that cannot be asked
// gives a *QuestionError.
func Ask(ctx context.Context, socket string, q Question) (Trace, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://controller"+Path+"?"+q.query().Encode(), nil)
	if err != nil {
		return Trace{}, fmt.Errorf("ask for a trace: %w", err)
	}
	res, err := (&http.Client{Transport: dialing(socket)}).Do(req)
	if err != nil {
		return Trace{}, fmt.Errorf("ask for a trace at %s: %w", socket, err)
	}
	defer res.Body.Close()
	body := json.NewDecoder(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode != http.StatusOK {
		var p problem
		if err := body.Decode(&p); err != nil || p.Error == "" {
			return Trace{}, fmt.Errorf("ask for a trace at %s: %s", socket, res.Status)
		}
		if res.StatusCode == http.StatusBadRequest {
			return Trace{}, &QuestionError{p.Error}
		}
		return Trace{}, fmt.Errorf("ask for a trace at %s: %s", socket, p.Error)
	}
	var t Trace
	if err := body.Decode(&t); err != nil {
		return Trace{}, fmt.Errorf("read the trace: %w", err)
	}
	return t, nil
}
