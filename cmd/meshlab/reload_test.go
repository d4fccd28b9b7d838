package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/pipeline"
	"meshlab.dev/meshlab/controller/spans"
)

// TestEveryKeyReloadsOrSaysNo holds that no key of the file is forgotten: each
// is fixed, or something looks at it again after a reload.
func TestEveryKeyReloadsOrSaysNo(t *testing.T) {
	live := []string{
		"consul", "default_policy", // registrySettings
		"vip", "hairpin", "vip_mac", "bridges", "ovsdb", "node", // networkSettings
		"drain",     // asked for at each use
		"tls",       // asked for at each connection
		"log_level", // set by reload
	}
	typ := reflect.TypeFor[controller.FileConfig]()
	for i := range typ.NumField() {
		key, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if slices.Contains(live, key) == slices.Contains(fixed(), key) {
			t.Errorf("key %s must be in exactly one of the lists, that of the test and that of fixed keys", key)
		}
	}
	for _, key := range fixed() {
		if !slices.ContainsFunc(reflect.VisibleFields(typ), func(f reflect.StructField) bool {
			return strings.HasPrefix(f.Tag.Get("json"), key+",")
		}) {
			t.Errorf("there is no key %s", key)
		}
	}
}

func TestMerge(t *testing.T) {
	old := controller.FileConfig{VIP: netip.MustParseAddr("10.0.0.250"), Metrics: "127.0.0.1:1", Bridges: []string{"br0"}}
	next := old
	next.VIP, next.Metrics, next.Drain = netip.MustParseAddr("10.0.0.251"), "127.0.0.1:2", controller.Duration(time.Second)
	taken, left := merge(&next, old)
	if !slices.Equal(taken, []string{"vip", "drain"}) || !slices.Equal(left, []string{"metrics"}) || next.Metrics != old.Metrics || next.VIP == old.VIP {
		t.Errorf("taken %q, left %q: %+v", taken, left, next)
	}
	// A file of a lab in place of one that is none.
	next = controller.FileConfig{Datapaths: []controller.Datapath{{}}, Fabric: pipeline.Fabric{Mesh: true}}
	if _, left = merge(&next, old); !slices.Contains(left, "vip") || !slices.Contains(left, "datapaths") || next.Static() || next.VIP != old.VIP {
		t.Errorf("left %q: %+v", left, next)
	}
}

func TestSettingsNoticeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	c := controller.FileConfig{Consul: &controller.Consul{TokenFile: path}}
	read := func(text string) any {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return registrySettings(c)
	}
	a, b, again := read("a"), read("b"), read("a")
	if reflect.DeepEqual(a, b) || !reflect.DeepEqual(a, again) {
		t.Errorf("settings with token a %v, b %v, a again %v", a, b, again)
	}
}

// A watch that follows settings begins anew when a file that these name has
// other content, as that of a token.
func TestFollowingNoticesFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) { // at once: the watch may look meanwhile
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	cfg := controller.FileConfig{Consul: &controller.Consul{TokenFile: path}}
	d := newDaemon("", cfg, io.Discard)
	d.load = func() (controller.FileConfig, error) { return cfg, nil }
	begun := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- following(ctx, d, consulSettings, func(ctx context.Context, cfg controller.FileConfig) error {
			text, err := os.ReadFile(cfg.Consul.TokenFile)
			begun <- string(text)
			<-ctx.Done()
			return err
		})
	}()
	wait := func(want string) {
		t.Helper()
		select {
		case got := <-begun:
			if got != want {
				t.Fatalf("the watch begins with token %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the watch goes on without token %q", want)
		}
	}
	wait("a")
	d.reload() // nothing has changed
	write("b")
	d.reload()
	wait("b")
	cancel()
	<-done
	if len(begun) > 0 {
		t.Error("the watch began anew although nothing had changed")
	}
}

// An agent that loses its registry by SIGHUP would take all services away.
func TestMergeKeepsTheRegistryOfAnAgent(t *testing.T) {
	with := controller.FileConfig{Consul: &controller.Consul{Address: "127.0.0.1:1"}, Kubernetes: &controller.Kubernetes{Registry: controller.RegistryConsul}}
	next := controller.FileConfig{Kubernetes: &controller.Kubernetes{Registry: controller.RegistryKubernetes}}
	if _, left := merge(&next, with); next.Consul == nil || !slices.Contains(left, "consul") {
		t.Errorf("left %q: %+v", left, next)
	}
}

func TestConsulClient(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
	if c, err := consulClient(controller.FileConfig{}); c != nil || err != nil {
		t.Errorf("without consul: %v, error %v", c, err)
	}
	for _, c := range []struct {
		name   string
		consul controller.Consul
		want   string // part of the error of a question, or of that of making the client
	}{
		{"environment", controller.Consul{}, "127.0.0.1:1"},
		{"address", controller.Consul{Address: "127.0.0.1:2"}, "127.0.0.1:2"},
		{"socket", controller.Consul{Address: "unix:///nowhere/s"}, "/nowhere/s"},
		{"no token file", controller.Consul{TokenFile: "/nowhere/token"}, "/nowhere/token"},
		{"no CA file", controller.Consul{Address: "https://127.0.0.1:2", CAFile: "/nowhere/ca"}, "/nowhere/ca"},
	} {
		client, err := consulClient(controller.FileConfig{Consul: &c.consul})
		if err == nil {
			_, err = client.Status().Leader()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestDescribe(t *testing.T) {
	in := controller.Health{OK: true, Role: "active", Snapshot: 3, Datapaths: []controller.DatapathHealth{{InSync: true}, {}}}
	waiting, standby := in, in
	waiting.Snapshot, standby.Role = 0, "standby"
	notReady := standby
	notReady.OK = false
	lock := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(lock, []byte("77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		health   controller.Health
		placed   bool
		registry string
		want     string
	}{
		{in, true, "Consul", "1 of 2 bridges in sync with snapshot 3"},
		{in, false, "Consul", "waiting for Open vSwitch"},
		{waiting, true, "Consul", "waiting for Consul; 1 of 2 bridges carry what is known"},
		{waiting, true, "the Kubernetes API", "waiting for the Kubernetes API; 1 of 2 bridges carry what is known"},
		{standby, true, "Consul", "standby, ready to take over 2 bridges from process 77"},
		{notReady, true, "Consul", "standby, not ready: waiting for Consul and Open vSwitch; process 77 works"},
	} {
		if got := describe(c.health, c.placed, lock, c.registry); got != c.want {
			t.Errorf("%+v: %q, want %q", c.health, got, c.want)
		}
	}
}

func TestHalfOfALearnedFlow(t *testing.T) {
	fields := map[flow.Field]uint64{flow.IPv4Src: 0x0a000001, flow.TCPSrc: 40000, flow.Reg5: 9000, flow.Reg6: 7}
	got := half(controller.FlowRemoved{Table: pipeline.TableForwardSpans, Duration: time.Second, Idle: time.Millisecond, Packets: 3, Bytes: 180, Fields: fields})
	want := spans.Event{Client: netip.MustParseAddrPort("10.0.0.1:40000"), BindPort: 9000, Instance: 7, Duration: time.Second, Idle: time.Millisecond, Packets: 3, Bytes: 180}
	if got != want {
		t.Errorf("forward: %+v, want %+v", got, want)
	}
	got = half(controller.FlowRemoved{Table: pipeline.TableReplySpans, Fields: map[flow.Field]uint64{flow.IPv4Dst: 0x0a000001, flow.TCPDst: 40000, flow.Reg6: 7}})
	if want = (spans.Event{Reply: true, Client: netip.MustParseAddrPort("10.0.0.1:40000"), Instance: 7}); got != want {
		t.Errorf("reply: %+v, want %+v", got, want)
	}
}
