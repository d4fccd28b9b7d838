package datapath

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is the control socket of an ovs-vswitchd with a scripted answer.
type fake struct {
	path   string
	answer func(method string, params []string) string // a whole JSON value without its id

	mu    sync.Mutex
	asked []string
}

func newFake(t *testing.T, answer func(method string, params []string) string) *fake {
	t.Helper()
	// Not t.TempDir: a unix socket's path has at most 107 bytes (unix(7)).
	dir, err := os.MkdirTemp("", "dp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fake{path: filepath.Join(dir, "ovs-vswitchd.77.ctl"), answer: answer}
	if err := os.WriteFile(filepath.Join(dir, "ovs-vswitchd.pid"), []byte("77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go f.serve(conn)
		}
	}()
	return f
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	d := json.NewDecoder(conn)
	for {
		var r request
		if d.Decode(&r) != nil {
			return
		}
		f.mu.Lock()
		f.asked = append(f.asked, r.Method+" "+strings.Join(r.Params, " "))
		f.mu.Unlock()
		body := f.answer(r.Method, r.Params)
		if body == "" {
			return
		}
		fmt.Fprint(conn, strings.ReplaceAll(body, "ID", fmt.Sprint(r.ID)))
	}
}

func (f *fake) questions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func says(text string) string {
	quoted, _ := json.Marshal(text)
	return `{"id":ID,"result":` + string(quoted) + `,"error":null}`
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		name, path, dp string
		ok             bool
	}{
		{"userspace", "/run/openvswitch", Userspace, true},
		{"kernel", "/run/openvswitch/x.ctl", Kernel, true},
		{"no path", "", Userspace, false},
		{"no name", "/run/openvswitch", "", false},
		{"half a name", "/run/openvswitch", "netdev@", false},
		{"an option", "/run/openvswitch", "zone=1", false},
	} {
		if _, err := New(c.path, c.dp); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSetLimitsSendsTheDifference(t *testing.T) {
	const have = "default limit=0\nzone=1,limit=10,count=3\nzone=2,limit=20,count=0\nzone=3,limit=30,count=0\n"
	get := "dpctl/ct-get-limits " + Userspace
	for _, c := range []struct {
		name string
		want map[uint16]uint32
		asks []string
	}{
		{"nothing to do", map[uint16]uint32{1: 10, 2: 20, 3: 30}, []string{get}},
		{"one new, one other, one gone", map[uint16]uint32{1: 10, 2: 21, 9: 5},
			[]string{get, "dpctl/ct-set-limits " + Userspace + " zone=2,limit=21 zone=9,limit=5", "dpctl/ct-del-limits " + Userspace + " zone=3"}},
		{"none", nil, []string{get, "dpctl/ct-del-limits " + Userspace + " zone=1,2,3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, func(method string, _ []string) string {
				if method == "dpctl/ct-get-limits" {
					return says(have)
				}
				return `{"id":ID,"result":""}`
			})
			for _, path := range []string{f.path, filepath.Dir(f.path)} {
				f.mu.Lock()
				f.asked = nil
				f.mu.Unlock()
				control, err := New(path, Userspace)
				if err != nil {
					t.Fatal(err)
				}
				if err := control.SetLimits(testContext(t), c.want); err != nil {
					t.Fatal(err)
				}
				if got := f.questions(); !reflect.DeepEqual(got, c.asks) {
					t.Errorf("asked %q, want %q", got, c.asks)
				}
			}
		})
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name        string
		answer      string
		unsupported bool
		want        string // part of the error
	}{
		{"no such operation", `{"id":ID,"error":"ovs-vswitchd: failed to get conntrack limit (Operation not supported)\n"}`, true, "Operation not supported"},
		{"no such command", `{"id":ID,"result":null,"error":"\"dpctl/ct-get-limits\" is not a valid command (use ...)\n"}`, true, "not a valid command"},
		{"another datapath", `{"id":ID,"error":"ovs-vswitchd: invalid argument x@y (Invalid argument)\n"}`, false, "Invalid argument"},
		{"another question", `{"id":99,"result":""}`, false, "another question"},
		{"no id", `{"result":""}`, false, "another question"},
		{"no JSON", `zone=1`, false, "invalid character"},
		{"an error that is no text", `{"id":ID,"error":{}}`, false, "read its error"},
		{"hung up", "", false, "ends early"},
		{"half a line", says("zone=1,limit=2"), false, "want zone, limit and count"},
		{"zone too large", says("zone=65536,limit=2,count=1"), false, "value out of range"},
		{"limit too large", says("zone=1,limit=4294967296,count=1"), false, "value out of range"},
		{"negative count", says("zone=1,limit=2,count=-1"), false, "invalid syntax"},
		{"other words", says("zone=1,most=2,count=1"), false, "does not begin with limit="},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, func(string, []string) string { return c.answer })
			control, err := New(f.path, Userspace)
			if err != nil {
				t.Fatal(err)
			}
			_, err = control.Limits(testContext(t))
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrUnsupported) != c.unsupported {
				t.Errorf("error %v, unsupported %t", err, errors.Is(err, ErrUnsupported))
			}
			if err := control.SetLimits(testContext(t), map[uint16]uint32{1: 2}); err == nil {
				t.Error("limits are set without being read")
			}
		})
	}
	control, err := New(filepath.Join(t.TempDir(), "none.ctl"), Userspace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Limits(testContext(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no ovs-vswitchd: %v", err)
	}
	if err := control.SetLimits(testContext(t), map[uint16]uint32{1: 0}); err == nil || !strings.Contains(err.Error(), "limit 0") {
		t.Errorf("limit 0: %v", err)
	}
}

func TestContextEndsAQuestion(t *testing.T) {
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	f := newFake(t, func(string, []string) string { <-never; return "" })
	control, err := New(f.path, Userspace)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := control.Limits(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
}

// Lines of dpctl/dump-conntrack of Open vSwitch 3.1, userspace datapath.
const (
	ended  = "tcp,orig=(src=10.0.0.1,dst=244.0.0.2,sport=36582,dport=1),reply=(src=244.0.0.2,dst=10.0.0.1,sport=1,dport=36582),zone=5,mark=7,labels=0x247d,protoinfo=(state=TIME_WAIT)"
	ended2 = "tcp,orig=(src=10.0.0.1,dst=244.0.0.2,sport=36583,dport=1),reply=(src=244.0.0.2,dst=10.0.0.1,sport=1,dport=36583),zone=5,protoinfo=(state=TIME_WAIT)"
	open   = "tcp,orig=(src=10.0.0.1,dst=244.0.0.2,sport=36584,dport=1),reply=(src=244.0.0.2,dst=10.0.0.1,sport=1,dport=36584),zone=5,mark=7,protoinfo=(state=ESTABLISHED)"
)

func TestRelieve(t *testing.T) {
	text := strings.Join([]string{open, ended, ended2, ""}, "\n")
	f := newFake(t, func(method string, _ []string) string {
		if method == "dpctl/ct-get-limits" {
			return says("default limit=0\nzone=4,limit=10,count=4\nzone=5,limit=10,count=5\n")
		}
		return says(text)
	})
	control, err := New(f.path, Userspace)
	if err != nil {
		t.Fatal(err)
	}
	var got []Connection
	forget := func(_ context.Context, ended []Connection) error {
		got = ended
		return nil
	}
	n, err := control.Relieve(testContext(t), forget)
	want := []Connection{
		{5, netip.MustParseAddrPort("10.0.0.1:36582"), netip.MustParseAddrPort("244.0.0.2:1")},
		{5, netip.MustParseAddrPort("10.0.0.1:36583"), netip.MustParseAddrPort("244.0.0.2:1")},
	}
	if err != nil || n != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d, %v: forgot %v, want %v", n, err, got, want)
	}
	asked := []string{"dpctl/ct-get-limits netdev@ovs-netdev", "dpctl/dump-conntrack netdev@ovs-netdev zone=5"}
	if got := f.questions(); !reflect.DeepEqual(got, asked) {
		t.Errorf("asked %q, want %q", got, asked)
	}
	broken := errors.New("broken")
	if _, err := control.Relieve(testContext(t), func(context.Context, []Connection) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of forget", err)
	}
	text = strings.Repeat(ended+"\n", mostEnded+1)
	if n, err := control.Relieve(testContext(t), forget); n != mostEnded || err != nil {
		t.Errorf("%d at once, %v; want %d", n, err, mostEnded)
	}
	text = open
	if n, err := control.Relieve(testContext(t), func(context.Context, []Connection) error { return broken }); n != 0 || err != nil {
		t.Errorf("none has ended: %d, %v", n, err)
	}
}

func TestParseEnded(t *testing.T) {
	if _, ok := parseEnded(ended, 5); !ok {
		t.Error("an ended connection is not taken")
	}
	for name, line := range map[string]string{
		"open":         open,
		"empty":        "",
		"another zone": strings.Replace(ended, "zone=5,", "zone=55,", 1),
		"UDP":          strings.Replace(ended, "tcp,", "udp,", 1),
		"IPv6":         strings.Replace(ended, "10.0.0.1", "fe80::1", 1),
		"no address":   strings.Replace(ended, "10.0.0.1", "x", 1),
		"port":         strings.Replace(ended, "36582", "70000", 1),
		"no dst":       strings.Replace(ended, "dst=", "dts=", 1),
		"cut":          ended[:40],
	} {
		if got, ok := parseEnded(line, 5); ok {
			t.Errorf("%s: taken as %v", name, got)
		}
	}
}

// The bytes are those that ovs-ofctl 3.1 sent for
// ct-flush br0 zone=5 ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.2,ct_nw_proto=6,ct_tp_src=7,ct_tp_dst=8.
func TestFlushBody(t *testing.T) {
	const want = "000023200000002006000000000000000000004800000000" +
		"0000001400000000000000000000ffff0a00000100000000" +
		"0001001400000000000000000000ffff0a00000200000000" +
		"000200080007000000030008000800000002000800050000"
	c := Connection{5, netip.MustParseAddrPort("10.0.0.1:7"), netip.MustParseAddrPort("10.0.0.2:8")}
	if got := hex.EncodeToString(c.FlushBody()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{says(ended), `{"id":1,"result":"","error":null}`, `{"id":1,"error":"x"}`, `{"id":1,"error":[]}`, `{`, `[]`, `"`} {
		f.Add([]byte(strings.ReplaceAll(s, "ID", "1")))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		text, err := decodeAnswer(json.NewDecoder(strings.NewReader(string(in))), 1)
		if err != nil && text != "" {
			t.Errorf("both %q and %v", text, err)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, s := range []string{ended, open, "default limit=0\nzone=5,limit=10,count=3\n", "zone=5,limit=,count=", "tcp,orig=(src=),"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if limits, err := parseLimits(text); err == nil && len(limits) > strings.Count(text, "zone=") {
			t.Errorf("%d zones in %q", len(limits), text)
		}
		if c, ok := parseEnded(text, 5); ok && (!c.Src.Addr().Is4() || !c.Dst.Addr().Is4() || len(c.FlushBody()) != 96) {
			t.Errorf("%q is taken as %v", text, c)
		}
	})
}
