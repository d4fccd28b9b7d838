// Package scenarios says what is measured and what came out: the matrix of
// cells, the order in which the meshes take turns, and the result document.
// It sends no request itself (scenarios/fortio does) and brings up no lab
// (orchestrate does).
package scenarios

import (
	"encoding/json"
	"time"
)

// SchemaVersion is the version of the result document. It grows with every
// change that a reader of older documents would stumble over.
const SchemaVersion = 1

// Result is the document that one run of `meshlab bench` writes.
type Result struct {
	SchemaVersion int         `json:"schema_version"`
	ID            string      `json:"id"` // unique: UTC start time and 4 random bytes
	Started       time.Time   `json:"started"`
	Finished      time.Time   `json:"finished"`
	Command       []string    `json:"command"` // what repeats the run
	Seed          uint64      `json:"seed"`    // of the order of meshes
	Environment   Environment `json:"environment"`
	Meshes        []MeshInfo  `json:"meshes"`
	Labs          []LabInfo   `json:"labs"`
	Ceiling       []Ceiling   `json:"generator_ceiling"`
	Cells         []Cell      `json:"cells"`
}

// Environment is what a reader must know of the machine to believe, or to
// repeat, the figures.
type Environment struct {
	Meshlab           string `json:"meshlab"` // version or commit of meshlab itself
	Go                string `json:"go"`
	OS                string `json:"os"` // pretty name of the distribution
	Kernel            string `json:"kernel"`
	CPU               string `json:"cpu"`
	Cores             int    `json:"cores"`
	MemoryBytes       uint64 `json:"memory_bytes"`
	Virtualization    string `json:"virtualization"` // hypervisor flag and vendor, or "none"
	OpenVSwitch       string `json:"open_vswitch"`
	Datapath          string `json:"datapath"` // netdev (userspace) or system (kernel)
	Consul            string `json:"consul"`
	Proxy             string `json:"proxy"` // of consul-connect: "Consul built-in proxy" or "Envoy <version>"
	Postgres          string `json:"postgres"`
	CongestionControl string `json:"congestion_control"` // inside the lab's hosts
	TxChecksumOffload bool   `json:"tx_checksum_offload"`
	SwitchBufferBytes int    `json:"switch_buffer_bytes,omitempty"` // receive buffer of each port of a userspace datapath
	Root              bool   `json:"root"`                          // false: run by an ordinary user
}

// MeshInfo tells what a mesh gives beside latency, so that nobody compares
// unlike things unknowingly.
type MeshInfo struct {
	Name     string `json:"name"`      // direct, ovs, consul-connect
	DataPath string `json:"data_path"` // what a request passes through, in a few words
	MTLS     bool   `json:"mtls"`
	L7       bool   `json:"l7"`
	Gives    string `json:"gives"` // one sentence
}

// LabInfo describes one lab of the run.
type LabInfo struct {
	Name string `json:"name"`
	Pods Pods   `json:"pods"`
	File string `json:"file"` // the lab file's whole text
	SVG  string `json:"svg"`  // the picture of its topology

	Traffic *Traffic `json:"traffic,omitempty"` // nil: no mesh of the run counts, or its counters could not be read
}

// Pods tells how the services are spread, in the thesis' words.
type Pods string

// The two ways of the thesis' Table 4.
const (
	SingleNode    Pods = "SN" // every service on one host
	MultipleNodes Pods = "MN" // services spread over several hosts
)

// Ceiling is what the generator reaches against a bare loopback server in
// the same run: a cell near it measures the generator, not the mesh.
type Ceiling struct {
	Connections int     `json:"connections"`
	Attempt     Attempt `json:"attempt"`
}

// Cell is one request under one mesh, at one number of connections, in one lab.
type Cell struct {
	Request     string    `json:"request"` // name of the request in the lab file
	Pods        Pods      `json:"pods"`
	Connections int       `json:"connections"`
	Mesh        string    `json:"mesh"`
	Attempts    []Attempt `json:"attempts"` // in the order they ran; the first one is kept apart in every figure
}

// Attempt is one closed-loop run of a cell: a fixed number of requests over
// a fixed number of connections, each sending its next request when the
// answer to the last is complete.
type Attempt struct {
	Started   time.Time      `json:"started"`
	Seconds   float64        `json:"seconds"` // wall time of the whole attempt
	Requests  int            `json:"requests"`
	Errors    int            `json:"errors"`
	ErrorKind map[string]int `json:"error_kinds,omitempty"` // what went wrong, how often

	// Latencies of successful requests, in milliseconds, from the exact
	// per-request values.
	// All zero when there was no success.
	Min float64 `json:"min_ms"`
	Avg float64 `json:"avg_ms"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`

	RequestsPerSecond float64 `json:"requests_per_second"` // successes per second of Seconds

	HDR    string          `json:"hdr"`    // of the successes: hdrhistogram V2 compressed, base64; microseconds; empty without a success
	Fortio json.RawMessage `json:"fortio"` // of the successes: stats.HistogramData of Fortio; seconds
}

// LoadSpec is one attempt to be made: what `meshlab load` reads on its
// standard input, inside the client host's namespace.
type LoadSpec struct {
	URL         string            `json:"url"`
	Method      string            `json:"method"`
	Headers     map[string]string `json:"headers,omitempty"`
	Body        string            `json:"body,omitempty"`
	Status      int               `json:"status"`             // expected
	Contains    []string          `json:"contains,omitempty"` // expected in the body
	Connections int               `json:"connections"`
	Requests    int               `json:"requests"`
	Timeout     time.Duration     `json:"timeout"` // of one request, nanoseconds
	Limit       time.Duration     `json:"limit"`   // of the whole attempt, nanoseconds; what was not sent by then is an error
}
