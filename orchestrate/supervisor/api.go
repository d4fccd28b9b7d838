package supervisor

import (
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/process"
)

// UpRequest is the body of POST /up: the lab to bring to life.
type UpRequest struct {
	File          string           `json:"file"`   // name for messages; its folder is where commands run
	Source        []byte           `json:"source"` // text of the lab file
	Mesh          orchestrate.Mesh `json:"mesh"`
	Consul        string           `json:"consul"` // path of the program
	ConsulVersion string           `json:"consul_version"`
	Hold          bool             `json:"hold"` // the lab ends when the connection of POST /up does
	Publish       []Published      `json:"publish,omitempty"`
	UnprivUID     int              `json:"unpriv_uid"` // user id that Postgres runs as, inside

	Runtime  orchestrate.Runtime `json:"runtime,omitempty"`
	Name     string              `json:"name,omitempty"`      // of the lab on this machine
	StateDir string              `json:"state_dir,omitempty"` // its state folder, as seen outside
	Version  string              `json:"version,omitempty"`   // of meshlab
}

// Published is a loopback port of the user that leads to a service. Its
// listening socket is inherited by the supervisor, in the order of the list.
type Published struct {
	Service string `json:"service"` // instance
	Address string `json:"address"` // host:port to try
}

// Event is one line of the answer to POST /up: a step that began, goes on,
// ended or failed: Detail of one that goes on is what it does. The last line has Ready or Error.
type Event struct {
	Step    string  `json:"step,omitempty"`
	Done    bool    `json:"done,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // the step took
	Detail  string  `json:"detail,omitempty"`
	Error   string  `json:"error,omitempty"`
	Ready   *Status `json:"ready,omitempty"`
}

// Status is the answer to GET /status.
type Status struct {
	Lab         string              `json:"lab"`
	Mesh        orchestrate.Mesh    `json:"mesh"`
	Runtime     orchestrate.Runtime `json:"runtime,omitempty"` // "": namespaces, of an older version
	Ready       bool                `json:"ready"`
	Since       time.Time           `json:"since"`
	Nodes       []NodeStatus        `json:"nodes"`
	Services    []ServiceStatus     `json:"services"`
	Processes   []process.Info      `json:"processes"`
	Published   []Published         `json:"published,omitempty"`
	Environment Environment         `json:"environment"`
	Steps       []Event             `json:"steps,omitempty"`
	// Controller is what the controller of the switches says of itself; none:
	// it does not answer.
	Controller *controller.Health `json:"controller,omitempty"`
}

// NodeStatus describes a node.
type NodeStatus struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	IPv4  string `json:"ipv4,omitempty"`
	MAC   string `json:"mac,omitempty"`
	DPID  string `json:"dpid,omitempty"`
	Ports int    `json:"ports"`
}

// ServiceStatus describes an instance of a service.
type ServiceStatus struct {
	Name      string   `json:"name"`
	Service   string   `json:"service"`
	Node      string   `json:"node"`
	Address   string   `json:"address"`
	Health    string   `json:"health"`    // as Consul sees it: passing, warning, critical, or unknown
	Upstreams []string `json:"upstreams"` // "service at host:port"
}

// Environment is what the lab found of the machine.
type Environment struct {
	OpenVSwitch       string              `json:"open_vswitch"`
	Datapath          string              `json:"datapath"`
	Consul            string              `json:"consul"`
	Proxy             string              `json:"proxy,omitempty"`
	CongestionControl string              `json:"congestion_control"`
	TxChecksumOffload bool                `json:"tx_checksum_offload"`
	Runtime           orchestrate.Runtime `json:"runtime"`
	Docker            string              `json:"docker,omitempty"`              // version of the engine that runs the hosts; "": none does
	SwitchBufferBytes int                 `json:"switch_buffer_bytes,omitempty"` // receive buffer of a port of the userspace datapath
}

// problem is the body of an answer that is no success.
type problem struct {
	Error string `json:"error"`
}
