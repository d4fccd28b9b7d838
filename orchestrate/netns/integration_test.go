//go:build integration

package netns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"testing"

	vishvananda "github.com/vishvananda/netns"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// create makes a namespace for the time of the test.
func create(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("outside a lab only root may make a network namespace")
	}
	name := fmt.Sprintf("meshlabtest-%d", os.Getpid())
	_, err := os.Stat("/run/netns")
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := netns.Create(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vishvananda.DeleteNamed(name); err != nil {
			t.Error(err)
		}
		if fresh {
			_ = os.Remove("/run/netns") // unless somebody else uses it by now
		}
	})
	return name
}

func TestCreate(t *testing.T) {
	name := create(t)
	if err := netns.Create(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := netns.Open("meshlabtest-none"); err == nil {
		t.Error("opened a namespace that is not there")
	}
	if err := netns.Do("meshlabtest-none", func() error { t.Error("it ran"); return nil }); err == nil {
		t.Error("entered a namespace that is not there")
	}
}

func TestDo(t *testing.T) {
	name := create(t)
	self := func() string {
		ns, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		return ns
	}
	outside := self()
	var inside string
	var l net.Listener
	err := netns.Do(name, func() (err error) {
		inside = self()
		l, err = net.Listen("tcp4", "0.0.0.0:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if inside == outside {
		t.Error("it ran outside")
	}
	if c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)); err == nil {
		c.Close()
		t.Error("the socket is one of this namespace")
	}
	for range 50 { // no thread of the program may be left inside
		done := make(chan string)
		go func() { done <- self() }()
		if got := <-done; got != outside {
			t.Fatalf("a goroutine runs in %s", got)
		}
	}
	want := errors.New("its own")
	if err := netns.Do(name, func() error { return want }); !errors.Is(err, want) {
		t.Errorf("its error is %v", err)
	}
}

func TestSysctl(t *testing.T) {
	name := create(t)
	const key = "net/ipv4/tcp_tw_reuse"
	before, err := os.ReadFile("/proc/sys/" + key)
	if err != nil {
		t.Fatal(err)
	}
	value := "1"
	if string(before) == "1\n" {
		value = "0"
	}
	err = netns.Do(name, func() error {
		if err := netns.Sysctl(key, value); err != nil {
			return err
		}
		got, err := os.ReadFile("/proc/sys/" + key)
		if string(got) != value+"\n" {
			t.Errorf("inside it is %q", got)
		}
		return errors.Join(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile("/proc/sys/" + key); string(after) != string(before) {
		t.Errorf("outside it has changed from %q to %q", before, after)
	}
	if err := netns.Sysctl("net/ipv4/no_such_key", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that is not there: %v", err)
	}
}
