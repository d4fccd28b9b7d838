package controller

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/pipeline"
)

const daemonFile = `# a controller of its own
consul: {address: "127.0.0.1:8500", token_file: /etc/meshlab/token}
default_policy: deny
vip: 10.0.0.250
hairpin: 10.0.0.254
bridges: [br0, br1]
ovsdb: unix:/run/openvswitch/db.sock
drain: 90s
dns:
  recursors: [10.0.0.2, "10.0.0.3:5353"]
metrics: 127.0.0.1:9464
traces: {endpoint: "http://127.0.0.1:4318", sample: 1/64}
status: /run/meshlab/controller.sock
standby: /run/meshlab/controller.lock
log_format: json
log_level: debug
`

func TestDaemonConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "controller.yaml")
	if err := os.WriteFile(path, []byte(daemonFile), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	want := FileConfig{
		Consul:        &Consul{Address: "127.0.0.1:8500", TokenFile: "/etc/meshlab/token"},
		DefaultPolicy: PolicyDeny,
		VIP:           netip.MustParseAddr("10.0.0.250"), Hairpin: netip.MustParseAddr("10.0.0.254"),
		VIPMAC:  pipeline.MAC{0x02, 0, 10, 0, 0, 250},
		Bridges: []string{"br0", "br1"}, OVSDB: DefaultOVSDB, Drain: Duration(90 * time.Second),
		DNS: &DNS{Domain: "consul", Recursors: []Recursor{
			{netip.MustParseAddrPort("10.0.0.2:53")}, {netip.MustParseAddrPort("10.0.0.3:5353")}}},
		Metrics: "127.0.0.1:9464", Traces: &Traces{Endpoint: "http://127.0.0.1:4318", Sample: 64},
		Status: "/run/meshlab/controller.sock", Standby: "/run/meshlab/controller.lock",
		LogFormat: "json", LogLevel: LogLevel(slog.LevelDebug),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if f := got.Network(); !f.Mesh || !f.DNS || f.TraceEvery != 64 || f.VIP != want.VIP || f.VIPMAC != want.VIPMAC {
		t.Errorf("network %+v", f)
	}
	if s := got.ManagementSocket("br0"); s != "/run/openvswitch/br0.mgmt" {
		t.Errorf("socket %s", s)
	}
}

func TestSmallestConfig(t *testing.T) {
	got, err := parseConfig("c.yaml", []byte("vip: 10.0.0.250\nhairpin: 10.0.0.254\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Drain != DefaultDrain || got.OVSDB != DefaultOVSDB || got.DefaultPolicy != PolicyConsul || got.LogFormat != "text" ||
		got.Consul != nil || got.Network().DNS || got.Network().TraceEvery != 0 {
		t.Errorf("got %+v", got)
	}
}

// TestLabConfig holds that the JSON of a lab is read back as it was written.
func TestLabConfig(t *testing.T) {
	want := FileConfig{
		Fabric: pipeline.Fabric{Mesh: true, VIP: netip.MustParseAddr("192.168.1.250"), Hairpin: netip.MustParseAddr("192.168.1.251"),
			VIPMAC: pipeline.MAC{2, 0, 0, 0, 0, 0xfa},
			Hosts:  []pipeline.Host{{Name: "h1", Addr: netip.MustParseAddr("192.168.1.11"), MAC: pipeline.MAC{0, 0, 0, 0, 0, 1}}}},
		Datapaths: []Datapath{{
			Datapath: pipeline.Datapath{Name: "s1", DPID: 1<<64 - 1, Access: map[string]uint32{"h1": 1}, ToHost: map[string]uint32{},
				Flood: []uint32{1, 2}, Trunks: map[uint32]pipeline.Peer{2: {Datapath: "s2", Port: 7}, 3: {}}},
			Address: "tls:192.0.2.1:6653", TLS: TLS{Key: "/etc/s1.key", Name: "node1"}, RunDir: "/run/ovs1"}},
		TLS:    TLS{CA: "/etc/ca.pem", Certificate: "/etc/cert.pem", Key: "/etc/key.pem"},
		Consul: &Consul{Address: "unix:///run/consul.sock"}, Status: "/run/status.sock", Drain: Duration(time.Minute),
		DatapathType: "system", DefaultPolicy: PolicyConsul, LogFormat: "text",
	}
	for _, indent := range []string{"", "  ", "\t"} {
		text, err := json.MarshalIndent(want, "", indent)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseConfig("c.json", text)
		if err != nil {
			t.Fatalf("indent %q: %v", indent, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("indent %q: got\n%+v\nwant\n%+v", indent, got, want)
		}
	}
}

func TestConfigProblems(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "status:", "staus:", `c.yaml:13:1: unknown key "staus"; did you mean "status"?`},
		{"unknown key inside", "recursors:", "recursor:", `c.yaml:10:3: unknown key "recursor"; did you mean "recursors"?`},
		{"unknown key, none near", "vip:", "x9:", `c.yaml:4:1: unknown key "x9"`},
		{"two problems", "vip:", "x9:\nx8:", `c.yaml:5:1: unknown key "x8"`},
		{"stated twice", "status:", "metrics:", `c.yaml:13:1: "metrics" is stated twice`},
		{"no address", "10.0.0.250", "10.0.0", "c.yaml:4:6: vip: "},
		{"no IPv4 address", "10.0.0.250", "fd00::1", "vip fd00::1 is not an IPv4 address"},
		{"no virtual address", "vip: 10.0.0.250", "", "vip is missing"},
		{"hairpin is vip", "10.0.0.254", "10.0.0.250", "vip and hairpin are both"},
		{"no list", "[br0, br1]", "br0", "c.yaml:6:10: bridges must be a list"},
		{"list of lists", "[br0, br1]", "[[br0]]", "an entry of bridges must be text"},
		{"bridge twice", "[br0, br1]", "[br0, br0]", "br0 is listed twice"},
		{"bridge is a path", "[br0, br1]", "[../br0]", `"../br0" is no name`},
		{"duration without unit", "90s", "90", `c.yaml:8:8: drain: "90" is no duration`},
		{"negative duration", "90s", "-1s", "drain: -1s is negative"},
		{"duration as a list", "90s", "[1s]", "drain must be a single value"},
		{"share of three", "1/64", "1/3", `sample: "1/3" is no share`},
		{"recursor's name", "10.0.0.2,", "dns.example,", `"dns.example" is no address`},
		{"policy", "policy: deny", "policy: never", `default_policy is "never"`},
		{"level", "debug", "loud", `log_level: "loud" is no level`},
		{"format", "json", "xml", `log_format is "xml"`},
		{"metrics without port", "127.0.0.1:9464", "127.0.0.1", `metrics is "127.0.0.1"`},
		{"relative path", "/run/meshlab/controller.lock", "controller.lock", "standby is"},
		{"database by TCP", "unix:/run/openvswitch/db.sock", "tcp:127.0.0.1:6640", "ovsdb is"},
		{"half a certificate", "token_file", "cert_file", "need each other"},
		{"mapping without value", "{endpoint: \"http://127.0.0.1:4318\", sample: 1/64}", "yes", "c.yaml:12:9: traces must be a mapping"},
		{"anchor", "10.0.0.250", "&a 10.0.0.250", "anchors"},
		{"no value", "10.0.0.250", "", "vip has no value"},
		{"two documents", "log_level", "---\nlog_level", "second document"},
		{"not YAML", "[br0, br1]", "[br0", "not YAML"},
		{"deep", "[br0, br1]", strings.Repeat("[", 1<<14), "nested too deeply"},
		{"deep without brackets", "bridges: [br0, br1]", "bridges:\n" + strings.Repeat("- ", 1<<14), "nested too deeply"},
		{"both networks", "vip:", "datapaths: [{name: s1, address: /run/s1.mgmt}]\nvip:", "datapaths state the network"},
		{"TLS without datapaths", "vip:", "tls: {ca: /x}\nvip:", "need datapaths beside them"},
		{"half a lab", "vip:", "fabric: {mesh: true}\nvip:", "need datapaths beside them"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(daemonFile, c.old) {
				t.Fatalf("the file has no %q", c.old)
			}
			_, err := parseConfig("c.yaml", []byte(strings.Replace(daemonFile, c.old, c.new, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestLabConfigProblems(t *testing.T) {
	const good = `{"fabric":{"hosts":[{"name":"h1","addr":"192.168.1.11","mac":"00:00:00:00:00:01"}]},
		"datapaths":[{"name":"s1","dpid":1,"access":{"h1":1},"to_host":{},"flood":[1],"trunks":{"2":{}},"address":"/run/s1.mgmt"}]}`
	if _, err := parseConfig("c.json", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key of a datapath", `"flood"`, `"flod"`, `unknown key "flod"; did you mean "flood"?`},
		{"no bridge", `"/run/s1.mgmt"`, `""`, "no address"},
		{"unknown host", `{"h1":1}`, `{"h2":1}`, "h2"},
		{"datapath of no kind", `"datapaths"`, `"datapath_type":"x","datapaths"`, `datapath_type is "x"`},
		{"OpenFlow's old port by a name", `"/run/s1.mgmt"`, `"ssl:192.0.2.1:6653"`, `address "ssl:192.0.2.1:6653": write unix:/path, tcp:HOST:PORT or tls:HOST:PORT`},
		{"no port", `"/run/s1.mgmt"`, `"tls:192.0.2.1"`, `write tls:HOST:PORT, such as tls:192.0.2.1:6653`},
		{"port 0", `"/run/s1.mgmt"`, `"tcp:192.0.2.1:0"`, `write tcp:HOST:PORT`},
		{"port too large", `"/run/s1.mgmt"`, `"tcp:192.0.2.1:65536"`, `write tcp:HOST:PORT`},
		{"no host", `"/run/s1.mgmt"`, `"tcp::6653"`, `write tcp:HOST:PORT`},
		{"no path", `"/run/s1.mgmt"`, `"unix:"`, `write unix:/path`},
		{"TLS of a socket", `"address"`, `"tls":{"ca":"/x"},"address"`, `tls needs an address tls:HOST:PORT; this one is "/run/s1.mgmt"`},
		{"one name for all", `"datapaths"`, `"tls":{"name":"x"},"datapaths"`, `write it in the tls of the one`},
		{"relative run directory", `"address"`, `"run_dir":"run","address"`, `run_dir is "run"; write an absolute path`},
		{"port out of range", `{"h1":1}`, `{"h1":4294967296}`, "h1 must be a number in range"},
		{"negative port", `{"h1":1}`, `{"h1":-1}`, "h1 must be a number in range"},
		{"trunk without number", `{"2":{}}`, `{"x":{}}`, `trunks has the key "x"`},
		{"more behind it", `"}]}`, `"}]}{}`, "c.json:"},
		{"bad hardware address", "00:00:00:00:00:01", "00:00:00:00:00:01:02:03", "mac: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseConfig("c.json", []byte(strings.Replace(good, c.old, c.new, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add(daemonFile)
	f.Add(`{"datapaths":[{"name":"s1","dpid":1,"access":{"h1":1},"trunks":{"2":{}}}]}`)
	f.Add("vip: &a [*a]\n<<: {}\n? - - -\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig("c.yaml", []byte(text))
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		if _, err := parseConfig("c.json", again); err != nil {
			t.Errorf("read what was written: %v\n%s", err, again)
		}
	})
}
