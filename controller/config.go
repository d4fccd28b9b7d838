package controller

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"meshlab.dev/meshlab/controller/pipeline"
)

// DefaultDrain is how long a deregistered instance keeps its connections
// when the configuration does not say.
const DefaultDrain = Duration(10 * time.Minute)

// FileConfig is the configuration of a controller that runs as a process of
// its own: YAML, of which JSON is a part. docs/controller.md explains each
// key.
type FileConfig struct {
	Consul        *Consul `json:"consul,omitempty"`         // none: no services, plain switching and ARP
	DefaultPolicy string  `json:"default_policy,omitempty"` // between services that no intention names: one of the Policy constants

	// The network, as OVSDB and Consul's catalog describe it.
	VIP     netip.Addr   `json:"vip,omitzero"`
	Hairpin netip.Addr   `json:"hairpin,omitzero"`
	VIPMAC  pipeline.MAC `json:"vip_mac,omitzero"`  // 02:00 and the four bytes of VIP, when not given
	Bridges []string     `json:"bridges,omitempty"` // none: those with external_ids:meshlab=true
	OVSDB   string       `json:"ovsdb,omitempty"`   // DefaultOVSDB when not given
	Node    string       `json:"node,omitempty"`    // what tunnels of other machines call this one; its host name when not given

	// Kubernetes is where an agent reads hosts, and maybe services; none: it is
	// no agent.
	Kubernetes *Kubernetes `json:"kubernetes,omitempty"`

	// The network as a lab states it, in place of the keys above.
	Fabric    pipeline.Fabric `json:"fabric,omitzero"`
	Datapaths []Datapath      `json:"datapaths,omitempty"`
	// DatapathType is that of the bridges: netdev or system
	// (ovs-vswitchd.conf.db(5), Bridge, "datapath_type").
	DatapathType string `json:"datapath_type,omitempty"`
	// TLS is for the datapaths that are reached by it.
	TLS TLS `json:"tls,omitzero"`

	Drain     Duration `json:"drain,omitempty"`      // DefaultDrain when not given
	DNS       *DNS     `json:"dns,omitempty"`        // none: no names are answered
	Metrics   string   `json:"metrics,omitempty"`    // host:port to serve /metrics and /healthz at; none: neither
	Traces    *Traces  `json:"traces,omitempty"`     // none: connections are not traced
	Status    string   `json:"status,omitempty"`     // path of the unix socket for status; none: no status
	Standby   string   `json:"standby,omitempty"`    // path of the lock of which only the holder works; none: works at once
	LogFormat string   `json:"log_format,omitempty"` // text or json; text when not given
	LogLevel  LogLevel `json:"log_level,omitempty"`  // info when not given
}

// Default policies.
const (
	PolicyConsul = "consul" // what Consul's agent is configured for
	PolicyAllow  = "allow"
	PolicyDeny   = "deny"
)

// DefaultOVSDB is where Open vSwitch's database listens (ovsdb-server(1)).
const DefaultOVSDB = "unix:/run/openvswitch/db.sock"

// ManagementSocket is the path at which a bridge takes OpenFlow connections:
// ovs-vswitchd makes it in the run directory, where the database's socket is
// too (ovs-vswitchd(8), "Controller and Manager connections").
func (c FileConfig) ManagementSocket(bridge string) string {
	return filepath.Join(filepath.Dir(strings.TrimPrefix(c.OVSDB, "unix:")), bridge+".mgmt")
}

// RunDirs are the run directories of the Open vSwitches on this machine that
// the datapaths belong to.
func (c FileConfig) RunDirs() []string {
	if !c.Static() {
		return []string{filepath.Dir(c.ManagementSocket(""))}
	}
	var dirs []string
	for _, d := range c.Datapaths {
		if home := d.Home(); home != "" && !slices.Contains(dirs, home) {
			dirs = append(dirs, home)
		}
	}
	return dirs
}

// Static tells whether the file states the network, as that of a lab does.
func (c FileConfig) Static() bool { return len(c.Datapaths) > 0 }

// Consul says how to reach Consul's HTTP API. What is not given, the
// environment variables of Consul's client say (CONSUL_HTTP_ADDR and so on).
type Consul struct {
	Address   string `json:"address,omitempty"`    // 127.0.0.1:8500, https://consul.example:8501 or unix:///run/consul.sock
	TokenFile string `json:"token_file,omitempty"` // file with an ACL token
	CAFile    string `json:"ca_file,omitempty"`    // PEM, to check the server's certificate with
	CertFile  string `json:"cert_file,omitempty"`  // PEM, to be checked by the server; needs KeyFile
	KeyFile   string `json:"key_file,omitempty"`
}

// DNS says which names the switches answer at the virtual address.
type DNS struct {
	Domain     string     `json:"domain,omitempty"`     // consul when not given
	Datacenter string     `json:"datacenter,omitempty"` // that names may have, as in web.service.dc1.consul; none: they may not
	Recursors  []Recursor `json:"recursors,omitempty"`  // who is asked for other names; none: they are refused
}

// Recursor is a DNS server; in text 10.0.0.2 or 10.0.0.2:5353.
type Recursor struct{ netip.AddrPort }

// UnmarshalText reads an address, with port 53 (RFC 1035, section 4.2) when
// there is none.
func (r *Recursor) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		r.AddrPort = netip.AddrPortFrom(addr, 53)
		return nil
	}
	ap, err := netip.ParseAddrPort(string(text))
	if err != nil || ap.Port() == 0 {
		return fmt.Errorf("%q is no address of a server; write 10.0.0.2 or 10.0.0.2:53", text)
	}
	r.AddrPort = ap
	return nil
}

// Traces says where the spans of connections go.
type Traces struct {
	Endpoint string `json:"endpoint"`         // URL of an OTLP collector, such as http://127.0.0.1:4318
	Sample   Sample `json:"sample,omitempty"` // DefaultSample when not given
}

// DefaultSample is the share of connections that is traced when the
// configuration does not say.
const DefaultSample Sample = 64

// Sample is the share of one in that many; in text 1/64.
type Sample uint32

// MarshalText writes 1/64.
func (s Sample) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "1/%d", s), nil }

// UnmarshalText reads 1/64 and 1. Switches choose by bits of a hash, so only
// powers of two up to 32768 can be had.
func (s *Sample) UnmarshalText(text []byte) error {
	digits, _ := strings.CutPrefix(string(text), "1/")
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || n > 1<<15 || n&(n-1) != 0 {
		return fmt.Errorf("%q is no share; write 1, 1/2, 1/4 and so on, up to 1/32768", text)
	}
	*s = Sample(n)
	return nil
}

// LogLevel is the least level that is logged; in text debug, info, warn or
// error.
type LogLevel slog.Level

// MarshalText writes info.
func (l LogLevel) MarshalText() ([]byte, error) {
	return []byte(strings.ToLower(slog.Level(l).String())), nil
}

// UnmarshalText reads the four names.
func (l *LogLevel) UnmarshalText(text []byte) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(level.String(), string(text)) {
			*l = LogLevel(level)
			return nil
		}
	}
	return fmt.Errorf("%q is no level; write debug, info, warn or error", text)
}

// Duration is a time.Duration that is written "10m" in a file.
type Duration time.Duration

// MarshalText writes the duration as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads; negative is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration; write 90s or 10m", text)
	}
	if v < 0 {
		return fmt.Errorf("%s is negative", text)
	}
	*d = Duration(v)
	return nil
}

// LoadConfig reads and validates a configuration file, and completes it with
// what is not given. The error tells all that is wrong, one line each, with
// the place in the file where there is one.
func LoadConfig(path string) (FileConfig, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return FileConfig{}, fmt.Errorf("read controller configuration: %w", err)
	}
	return parseConfig(path, text)
}

// LoadAgentConfig is LoadConfig for an agent: override changes what the file
// says before it is completed and validated. Without a file, path is empty.
func LoadAgentConfig(path string, override func(*FileConfig)) (FileConfig, error) {
	var text []byte
	if path != "" {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			return FileConfig{}, fmt.Errorf("read agent configuration: %w", err)
		}
	}
	return ParseAgentConfig(cmp.Or(path, "flags"), text, override)
}

// ParseAgentConfig is LoadAgentConfig of a text, which errors call by name.
// override may be nil.
func ParseAgentConfig(name string, text []byte, override func(*FileConfig)) (FileConfig, error) {
	return parseWith(name, text, func(c *FileConfig) {
		if c.Kubernetes == nil {
			c.Kubernetes = &Kubernetes{}
		}
		if override != nil {
			override(c)
		}
	})
}

func parseConfig(path string, text []byte) (FileConfig, error) {
	return parseWith(path, text, func(*FileConfig) {})
}

func parseWith(path string, text []byte, override func(*FileConfig)) (FileConfig, error) {
	c := FileConfig{Drain: DefaultDrain}
	if err := decodeYAML(path, text, &c); err != nil {
		return FileConfig{}, err
	}
	override(&c)
	c.complete()
	if err := c.validate(); err != nil {
		return FileConfig{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c *FileConfig) complete() {
	c.DefaultPolicy = cmp.Or(c.DefaultPolicy, PolicyConsul)
	c.LogFormat = cmp.Or(c.LogFormat, "text")
	if c.DNS != nil {
		c.DNS.Domain = cmp.Or(c.DNS.Domain, "consul")
	}
	if c.Traces != nil {
		c.Traces.Sample = cmp.Or(c.Traces.Sample, DefaultSample)
	}
	if c.Static() {
		c.DatapathType = cmp.Or(c.DatapathType, "netdev")
		return
	}
	c.OVSDB = cmp.Or(c.OVSDB, DefaultOVSDB)
	c.completeAgent()
	if c.VIPMAC == (pipeline.MAC{}) && c.VIP.Is4() {
		ip := c.VIP.As4()
		c.VIPMAC = pipeline.MAC{0x02, 0x00, ip[0], ip[1], ip[2], ip[3]}
	}
}

// Network is the part of the fabric that the file states: all of it for a
// lab, all but the hosts otherwise.
func (c FileConfig) Network() pipeline.Fabric {
	f := c.Fabric
	if !c.Static() {
		f = pipeline.Fabric{Mesh: true, VIP: c.VIP, Hairpin: c.Hairpin, VIPMAC: c.VIPMAC}
	}
	f.DNS = f.Mesh && c.DNS != nil
	if f.Mesh && c.Traces != nil {
		f.TraceEvery = uint32(c.Traces.Sample)
	}
	return f
}

func (c FileConfig) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Static() {
		if c.VIP.IsValid() || c.Hairpin.IsValid() || c.VIPMAC != (pipeline.MAC{}) || len(c.Bridges) > 0 || c.OVSDB != "" || c.Node != "" {
			bad("datapaths state the network; remove them, or vip, hairpin, vip_mac, bridges, ovsdb and node")
		}
		if t := c.DatapathType; t != "netdev" && t != "system" {
			bad("datapath_type is %q; write netdev or system", t)
		}
		if c.TLS.Name != "" {
			bad("tls: name is %q for all datapaths; write it in the tls of the one that it is the name of", c.TLS.Name)
		}
		errs = append(errs, validate(c.Network(), c.Datapaths))
	} else {
		if len(c.Fabric.Hosts) > 0 || c.Fabric.Mesh || c.DatapathType != "" || c.TLS != (TLS{}) {
			bad("fabric, datapath_type and tls need datapaths beside them; without these, write vip and hairpin")
		}
		if c.VIP.IsValid() {
			errs = append(errs, c.Network().Validate())
		} else {
			bad("vip is missing, or not an address; write the virtual address of all upstreams, such as 10.1.1.254")
		}
		if path, ok := strings.CutPrefix(c.OVSDB, "unix:"); !ok || !filepath.IsAbs(path) {
			bad("ovsdb is %q; the bridges are reached by sockets beside the database's, so write unix:/path", c.OVSDB)
		}
	}
	for i, name := range c.Bridges {
		if name == "" || strings.ContainsAny(name, "/\x00") {
			bad("bridges: %q is no name of a bridge", name)
		}
		if slices.Contains(c.Bridges[:i], name) {
			bad("bridges: %s is listed twice", name)
		}
	}
	errs = append(errs, c.validateAgent())
	if k := c.Consul; k != nil && (k.CertFile == "") != (k.KeyFile == "") {
		bad("consul: cert_file and key_file need each other")
	}
	switch c.DefaultPolicy {
	case PolicyConsul, PolicyAllow, PolicyDeny:
	default:
		bad("default_policy is %q; write consul, allow or deny", c.DefaultPolicy)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("log_format is %q; write text or json", c.LogFormat)
	}
	if c.Metrics != "" {
		if _, port, err := net.SplitHostPort(c.Metrics); err != nil || port == "" {
			bad("metrics is %q; write host:port, such as 127.0.0.1:9464", c.Metrics)
		}
	}
	for key, path := range map[string]string{"status": c.Status, "standby": c.Standby} {
		if path != "" && !filepath.IsAbs(path) {
			bad("%s is %q; write an absolute path", key, path)
		}
	}
	return errors.Join(errs...)
}

// validate tells what would keep the datapaths from being compiled.
func validate(f pipeline.Fabric, dps []Datapath) error {
	var errs []error
	if len(dps) == 0 {
		errs = append(errs, errors.New("there is no datapath; list at least one"))
	}
	seen := map[string]bool{}
	for _, dp := range dps {
		if network, _, err := dp.Way(); err != nil {
			errs = append(errs, err)
		} else if network != NetworkTLS && dp.TLS != (TLS{}) {
			errs = append(errs, fmt.Errorf("datapath %s: tls needs an address tls:HOST:PORT; this one is %q", dp.Name, dp.Address))
		}
		if dp.RunDir != "" && !filepath.IsAbs(dp.RunDir) {
			errs = append(errs, fmt.Errorf("datapath %s: run_dir is %q; write an absolute path", dp.Name, dp.RunDir))
		}
		if seen[dp.Name] {
			errs = append(errs, fmt.Errorf("datapath %s is listed twice", dp.Name))
		}
		seen[dp.Name] = true
		if err := pipeline.Check(f, dp.Datapath); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
