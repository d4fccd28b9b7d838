package consul

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// Ports of an agent. Each host has its own network namespace, so all agents
// use the same ones.
const (
	HTTPPort = 8500 // also what `consul` commands use without -http-addr
	GRPCPort = 8502 // xDS, for Envoy
)

// fileConfig is an agent's configuration file.
// https://developer.hashicorp.com/consul/docs/reference/agent/configuration-file
type fileConfig struct {
	NodeName        string      `json:"node_name"`
	DataDir         string      `json:"data_dir"`
	BindAddr        string      `json:"bind_addr"`
	ClientAddr      string      `json:"client_addr"`
	Addresses       addresses   `json:"addresses"`
	Ports           ports       `json:"ports"`
	Server          bool        `json:"server"`
	BootstrapExpect int         `json:"bootstrap_expect,omitempty"`
	RetryJoin       []string    `json:"retry_join,omitempty"`
	RetryInterval   string      `json:"retry_interval,omitempty"`
	Performance     performance `json:"performance"`
	Limits          limits      `json:"limits"`
	Connect         *toggle     `json:"connect,omitempty"`
	Peering         toggle      `json:"peering"`
	LogLevel        string      `json:"log_level"`

	CheckUpdateInterval string `json:"check_update_interval"`

	DisableUpdateCheck        bool `json:"disable_update_check"`
	DisableAnonymousSignature bool `json:"disable_anonymous_signature"`
	EnableScriptChecks        bool `json:"enable_script_checks"`
	LeaveOnTerminate          bool `json:"leave_on_terminate"`
	SkipLeaveOnInterrupt      bool `json:"skip_leave_on_interrupt"`
}

type addresses struct {
	HTTP string `json:"http"`
}

// ports turns off (-1) what a lab does not use.
type ports struct {
	HTTP    int `json:"http"`
	GRPC    int `json:"grpc"`
	GRPCTLS int `json:"grpc_tls"`
	DNS     int `json:"dns"`
	SerfWAN int `json:"serf_wan"`
}

type performance struct {
	RaftMultiplier int `json:"raft_multiplier"`
}

// limits bounds the connections of one address to the agent's HTTP. All
// local processes count as one; the default, 200, is less than what the
// built-in proxy opens, one question for each new connection of its service,
// when 200 clients come at once: it then resets those it got no answer for.
type limits struct {
	HTTPMaxConnsPerClient int `json:"http_max_conns_per_client"`
}

// maxHTTPConns is well above what processes of one host open, and below the
// usual number of files that a process may have open on a server.
const maxHTTPConns = 8192

type toggle struct {
	Enabled bool `json:"enabled"`
}

// newFileConfig says what the file of c's agent holds. Three settings decide
// how fast a lab starts, and none of them gives up anything that production
// has: raft_multiplier 1 is what Consul recommends there (the default, 5,
// suits small machines and makes an election five times longer), agents try
// to join five times a second instead of every 30 s, and the server does not
// wait for others. check_update_interval is how long a changed output of a
// check waits before it reaches the catalog while the status stays the same:
// the default, 5 min, hides why a service does not get healthy, and 0 would
// wake all who watch the catalog whenever an answer differs from the last.
func newFileConfig(c AgentConfig) fileConfig {
	f := fileConfig{
		NodeName:   c.Node,
		DataDir:    c.Dir + "/data",
		BindAddr:   c.Address.String(),
		ClientAddr: c.Client.String(),
		Addresses:  addresses{HTTP: c.Client.String() + " unix://" + c.Socket},
		Ports:      ports{HTTP: HTTPPort, GRPC: GRPCPort, GRPCTLS: -1, DNS: -1, SerfWAN: -1},

		Performance: performance{RaftMultiplier: 1},
		Limits:      limits{HTTPMaxConnsPerClient: maxHTTPConns},
		LogLevel:    "warn",

		CheckUpdateInterval: "2s",

		DisableUpdateCheck:        true,
		DisableAnonymousSignature: true,
		SkipLeaveOnInterrupt:      true,
	}
	if c.Join == (netip.Addr{}) {
		f.Server = true
		f.BootstrapExpect = 1
		f.Connect = &toggle{Enabled: true}
	} else {
		f.RetryJoin = []string{c.Join.String()}
		f.RetryInterval = "200ms"
	}
	return f
}

func (f fileConfig) marshal() ([]byte, error) {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the configuration of agent %s: %w", f.NodeName, err)
	}
	return append(text, '\n'), nil
}
