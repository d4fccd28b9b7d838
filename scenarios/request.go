package scenarios

import "time"

// Protocol is how one request travels.
type Protocol string

// The protocols that load is sent over. The empty Protocol is HTTP1.
const (
	HTTP1      Protocol = "http1"       // HTTP/1.1, connections kept
	HTTP1Close Protocol = "http1-close" // HTTP/1.1, a connection of its own for each request
	HTTP2      Protocol = "http2"       // HTTP/2 without TLS, by prior knowledge (RFC 9113, section 3.3)
	GRPC       Protocol = "grpc"        // Fortio's ping service over gRPC
	TCPEcho    Protocol = "tcp"         // the body is sent, and must come back
	UDPEcho    Protocol = "udp"         // the same in one datagram
)

// Protocols returns all protocols.
func Protocols() []Protocol {
	return []Protocol{HTTP1, HTTP1Close, HTTP2, GRPC, TCPEcho, UDPEcho}
}

// RequestSpec is one kind of request, as it is sent, and what makes an answer
// to it right.
type RequestSpec struct {
	Protocol Protocol          `json:"protocol,omitempty"`
	URL      string            `json:"url"` // http://HOST:PORT/PATH; of grpc, tcp and udp host and port count
	Method   string            `json:"method,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
	Body     string            `json:"body,omitempty"`
	Status   int               `json:"status,omitempty"`   // expected, of HTTP
	Contains []string          `json:"contains,omitempty"` // expected in the body, all of them
	Matches  string            `json:"matches,omitempty"`  // expected of the body: a regular expression (RE2)
}

// LoadSpec is one closed-loop attempt to be made: what `meshlab load` reads on
// its standard input, inside the client host's namespace.
type LoadSpec struct {
	RequestSpec
	Connections int           `json:"connections"`
	Requests    int           `json:"requests"`
	Timeout     time.Duration `json:"timeout"` // of one request, nanoseconds
	Limit       time.Duration `json:"limit"`   // of the whole attempt, nanoseconds; what was not sent by then is an error
}

// Arrivals says how the intended starts of an open loop are spread.
type Arrivals string

// The two kinds of arrivals.
const (
	Constant Arrivals = "constant" // at equal distances
	Poisson  Arrivals = "poisson"  // at exponentially distributed distances: clients that do not know of each other (of all sides together; see TrialSpec)
)

// GeneratorSpec is what the open-loop generator gets once, before its first
// trial: the sides that it sends to, which stay connected until it ends.
type GeneratorSpec struct {
	Sides       []SideSpec    `json:"sides"`
	Connections int           `json:"connections"` // per side
	Timeout     time.Duration `json:"timeout"`     // of one request, nanoseconds
}

// SideSpec is one side of paired trials: a lab in which a mesh runs, as its
// client host sees it.
type SideSpec struct {
	Name  string         `json:"name"`
	Lab   string         `json:"lab"`  // path of the unix socket that hands out sockets of the lab; empty: this process' own network
	Node  string         `json:"node"` // host whose sockets are asked for
	Steps []WeightedStep `json:"steps"`
}

// WeightedStep is a request that is drawn in proportion to its weight. All
// sides of a slot send the step of the same index.
type WeightedStep struct {
	RequestSpec
	Weight int `json:"weight"`
}

// TrialSpec is one open-loop trial. Its arrivals are shared out among the
// active sides in slots: each slot has one arrival per side, in an order drawn
// anew, so that all sides meet the same moments of the machine. What is Poisson,
// or at equal distances, are the arrivals of all sides together; with k of them
// the distances of one side's have a squared coefficient of variation of
// (k + (k²-1)/6) / k² under Poisson: 1 of one alone, 0.63 of two, 0.48 of three.
type TrialSpec struct {
	Requests int           `json:"requests"` // per side
	Rate     float64       `json:"rate"`     // arrivals per second and side
	Arrivals Arrivals      `json:"arrivals"`
	Seed     uint64        `json:"seed"`               // of arrivals, order and steps
	Only     []int         `json:"only,omitempty"`     // indexes of the active sides; none: all
	Limit    time.Duration `json:"limit"`              // of the trial, nanoseconds; what was not sent by then is an error
	Window   time.Duration `json:"window"`             // width of SideOutcome.Windows, nanoseconds; 0: no windows
	Log      bool          `json:"log,omitempty"`      // keep each request
	Announce bool          `json:"announce,omitempty"` // call Begun; of a generator in another process: tell when the trial starts

	// Begun is called with the time of the trial's start, some milliseconds
	// before it; only with Announce. It must not block.
	Begun func(start time.Time) `json:"-"`
}

// TrialOutcome is what a trial came to.
type TrialOutcome struct {
	Started   time.Time        `json:"started"`
	Seconds   float64          `json:"seconds"`
	Sides     []SideOutcome    `json:"sides"` // by the index of GeneratorSpec.Sides; a side that was not active has zero Requests
	Generator GeneratorOutcome `json:"generator"`
}

// SideOutcome is one side's part of a trial.
type SideOutcome struct {
	Requests  int            `json:"requests"`
	Errors    int            `json:"errors"`
	ErrorKind map[string]int `json:"error_kinds,omitempty"`

	// Latency counts from the intended start of each request, so waiting for a
	// free connection and lateness of the generator are in it. Service counts
	// from the moment it was really sent. Both are of successes.
	Latency Distribution `json:"latency"`
	Service Distribution `json:"service"`

	Windows []Window    `json:"windows,omitempty"` // by intended start; only when asked for
	Log     []RequestAt `json:"log,omitempty"`     // in the order of intended starts; only when asked for
}

// Window is a stretch of a trial.
type Window struct {
	At     float64 `json:"at_s"`             // its start, since the trial's
	N      int     `json:"n"`                // successes that were to start in it
	Errors int     `json:"errors,omitempty"` // failures that were to start in it
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
}

// RequestAt is one request of the log.
type RequestAt struct {
	At      float64 `json:"at_ms"`      // intended start, since the trial's
	Late    float64 `json:"late_ms"`    // really sent so much later
	Service float64 `json:"service_ms"` // sent until answered
	Step    int     `json:"step"`
	Error   string  `json:"error,omitempty"`
}

// Distribution holds latencies: exact figures in milliseconds, and a
// histogram. All zero and empty when there is no value.
type Distribution struct {
	Min float64 `json:"min_ms"`
	Avg float64 `json:"avg_ms"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
	HDR string  `json:"hdr"` // hdrhistogram V2 compressed, base64; microseconds
}

// GeneratorOutcome is what the generator says of itself after a trial.
type GeneratorOutcome struct {
	// Lateness of the pacing: from intended to real start of requests that did
	// not have to wait for a connection.
	Lateness   Distribution `json:"lateness"`
	Queued     int          `json:"queued"` // requests that had to wait for a connection
	CPUSeconds float64      `json:"cpu_seconds"`
}
