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
const SchemaVersion = 2

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

	// Of schema_version 2 on.
	Preflight   *Preflight     `json:"preflight,omitempty"`
	Scenarios   []ScenarioInfo `json:"scenarios,omitempty"`
	Duets       []Duet         `json:"duets,omitempty"`
	Ramps       []Ramp         `json:"ramps,omitempty"`
	Waterfalls  []Waterfall    `json:"waterfalls,omitempty"`
	Calibration *Calibration   `json:"calibration,omitempty"` // of the machine; nil: it is not calibrated
}

// ScenarioInfo is a scenario file of the run.
type ScenarioInfo struct {
	Name string `json:"name"`
	File string `json:"file"` // its whole text
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
	Runtime           string `json:"runtime,omitempty"`             // what the hosts are: namespaces, docker or kubernetes; empty, of an older version: namespaces
	Docker            string `json:"docker,omitempty"`              // version of the engine whose containers the hosts are
	Root              bool   `json:"root"`                          // false: run by an ordinary user
	Fingerprint       string `json:"fingerprint,omitempty"`         // of what a calibration depends on; see Environment.Sum

	// Of runs on Kubernetes. All above then is of the node that the client's pod was on.
	Cluster *Cluster `json:"cluster,omitempty"`

	// Group ties documents of different machines together that are one
	// measurement: of a cloud lab, whose two clusters have a mesh each, every
	// document holds what one cluster did. Ratios of two meshes are taken
	// across the documents of one group, and reports mark them: the meshes took
	// no turns. It is the same text in each and in no other document, as the ID
	// of the run is. Empty: the document stands alone.
	Group string `json:"group,omitempty"`
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

	Traffic *Traffic      `json:"traffic,omitempty"` // nil: no mesh of the run counts, or its counters could not be read
	Links   []LinkTraffic `json:"links,omitempty"`   // what the links carried under load

	Placement []Placed `json:"placement,omitempty"` // where its hosts were, on a cluster
}

// Placed says on which node of a cluster a host of a lab was. Hosts may share
// one.
type Placed struct {
	Host string `json:"host"`
	Node int    `json:"node"` // index in Environment.Cluster.Nodes
}

// LinkTraffic is what a link of the topology carried while a mesh was under
// load, in both directions.
type LinkTraffic struct {
	Mesh    string  `json:"mesh"`
	A       string  `json:"a"` // endpoints as in the lab file: node:interface
	B       string  `json:"b"`
	Seconds float64 `json:"seconds"`
	AToB    Counter `json:"a_to_b"`
	BToA    Counter `json:"b_to_a"`
}

// Counter is traffic in one direction.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"` // with Ethernet headers
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
