package orchestrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"meshlab.dev/meshlab/topo"
)

// sleeper starts a process that lives until the test ends.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// record is that of a lab whose first process is pid.
func record(t *testing.T, pid int) Record {
	t.Helper()
	start, err := StartTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	return Record{Lab: "small", Name: "mine", Mesh: OVS, PID: pid, StartTime: start, Created: time.Now().Round(0)}
}

func newState(t *testing.T) State {
	t.Helper()
	return State{filepath.Join(t.TempDir(), "meshlab", "mine")}
}

func TestRecord(t *testing.T) {
	s := newState(t)
	if _, err := s.Read(); !errors.Is(err, ErrNotUp) {
		t.Errorf("read without a folder: %v", err)
	}
	claim, err := s.Claim(keep)
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	if _, err := s.Read(); !errors.Is(err, ErrNotUp) {
		t.Errorf("read without a record: %v", err)
	}
	want := record(t, os.Getpid())
	if err := s.Write(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read()
	if err != nil || !got.Created.Equal(want.Created) {
		t.Fatalf("%+v, %v", got, err)
	}
	got.Created = want.Created
	if got != want {
		t.Errorf("read %+v, wrote %+v", got, want)
	}
	if err := os.WriteFile(s.record(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(); err == nil || errors.Is(err, ErrNotUp) || !strings.Contains(err.Error(), "meshlab down mine") {
		t.Errorf("read a broken record: %v", err)
	}
}

func TestAliveAndKill(t *testing.T) {
	child := sleeper(t)
	r := record(t, child.Process.Pid)
	if !r.Alive() {
		t.Fatal("not alive")
	}
	later := r
	later.StartTime++ // another process that got the same number
	if later.Alive() {
		t.Error("a later process with the number of the lab's is taken for it")
	}
	if err := later.Kill(time.Second); err != nil || !r.Alive() {
		t.Errorf("kill of a lab that has ended: %v, alive %v", err, r.Alive())
	}
	if err := (Record{}).Kill(time.Second); err != nil {
		t.Errorf("kill without a process: %v", err)
	}
	if err := r.Kill(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if r.Alive() { // it is a zombie now: nobody has waited for it
		t.Error("alive after the kill")
	}
	_ = child.Wait()
	if _, err := StartTime(child.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("start time of a process that is gone: %v", err)
	}
	if err := r.Kill(time.Second); err != nil {
		t.Errorf("kill again: %v", err)
	}
}

// keep has nothing to undo.
func keep(Record) error { return nil }

// What a dead lab left outside its folder is removed before the record that
// tells of it.
func TestClaimUndoes(t *testing.T) {
	s := newState(t)
	claim, err := s.Claim(func(r Record) error { return fmt.Errorf("a record of a lab that never was: %v", r) })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(Record{Name: "mine", Runtime: Docker, Engine: "/engine.sock"}); err != nil {
		t.Fatal(err)
	}
	claim.Release()
	refused := errors.New("the engine refuses")
	if _, err := s.Claim(func(Record) error { return refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if r, err := s.Read(); err != nil || r.Engine != "/engine.sock" {
		t.Errorf("the record has gone, and its lab has not: %+v, %v", r, err)
	}
	var undone Record
	if claim, err = s.Claim(func(r Record) error { undone = r; return nil }); err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	if !undone.Contained() || undone.Engine != "/engine.sock" {
		t.Errorf("undone: %+v", undone)
	}
	if _, err := s.Read(); !errors.Is(err, ErrNotUp) {
		t.Errorf("the record is still there: %v", err)
	}
}

func TestRuntimes(t *testing.T) {
	for _, r := range Runtimes() {
		if got, err := ParseRuntime(string(r)); err != nil || got != r {
			t.Errorf("%s: %v, %v", r, got, err)
		}
	}
	if _, err := ParseRuntime("podman"); err == nil || !strings.Contains(err.Error(), "namespaces or docker") {
		t.Error(err)
	}
	var old Record
	if err := json.Unmarshal([]byte(`{"lab": "hashicups", "pid": 7}`), &old); err != nil || old.Contained() {
		t.Errorf("a record of an older version: %+v, %v", old, err)
	}
}

func TestClaim(t *testing.T) {
	s := newState(t)
	claim, err := s.Claim(keep)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(keep); !errors.Is(err, ErrUp) {
		t.Errorf("claim of a claimed lab: %v", err)
	}
	if _, err := s.Lock(); !errors.Is(err, ErrUp) {
		t.Errorf("lock of a claimed lab: %v", err)
	}
	// The lab's first process inherits the claim and outlives `up`.
	child := exec.Command("sleep", "600")
	child.ExtraFiles = []*os.File{claim.File()}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(record(t, child.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	claim.Release()
	if _, err := s.Claim(keep); !errors.Is(err, ErrUp) || !strings.Contains(err.Error(), "meshlab down mine") {
		t.Errorf("claim of a lab that lives: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if claim, err = s.Claim(keep); err != nil {
		t.Fatalf("claim of a dead lab: %v", err)
	}
	if _, err := s.Read(); !errors.Is(err, ErrNotUp) {
		t.Errorf("the dead lab's record is still there: %v", err)
	}
	if err := claim.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(s.Dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the root stays after its last lab: %v", err)
	}
	if _, err := s.Lock(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lock of a lab that is gone: %v", err)
	}
}

// Many take the claim, and remove the folder each time: never two at once,
// though the folder that one waits for may be gone when the lock comes.
func TestClaimRace(t *testing.T) {
	s := newState(t)
	var holding sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for won := 0; won < 50; {
				claim, err := s.Claim(keep)
				if errors.Is(err, ErrUp) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if !holding.TryLock() {
					t.Error("two hold the claim")
					return
				}
				won++
				if err := os.WriteFile(s.Log(), nil, 0o600); err != nil {
					t.Error(err) // the folder is that of another
				}
				holding.Unlock()
				if err := claim.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestStateRootOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	s := newState(t)
	root := filepath.Dir(s.Dir)
	if err := errors.Join(os.Mkdir(root, 0o700), os.Chown(root, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	refused(t, s, "another user")
}

// A link would lead Claim to whatever folder of the user's another one likes.
func TestStateRootIsLink(t *testing.T) {
	s := newState(t)
	victim := t.TempDir()
	mine := filepath.Join(victim, "mine", "work")
	if err := errors.Join(os.MkdirAll(mine, 0o700), os.Symlink(victim, filepath.Dir(s.Dir))); err != nil {
		t.Fatal(err)
	}
	refused(t, s, "not a folder")
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("a folder behind the link has gone: %v", err)
	}
}

// refused holds that nothing is read from or made in a root that is not ours.
func refused(t *testing.T, s State, want string) {
	t.Helper()
	_, claim := s.Claim(keep)
	_, lock := s.Lock()
	_, read := s.Read()
	for name, err := range map[string]error{"claim": claim, "lock": lock, "read": read} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAddress(t *testing.T) {
	host := netip.MustParsePrefix("10.0.0.2/24")
	lab := &topo.Lab{
		Mesh:     topo.Mesh{VIP: netip.MustParseAddr("10.0.0.250")},
		Nodes:    []topo.Node{{Name: "h2", Kind: topo.KindHost, IPv4: host, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}},
		Services: []topo.Service{{Name: "shop-1", Service: "shop", Node: "h2", Port: 8080}},
	}
	shop := topo.Upstream{Service: "shop", BindPort: 9090}
	for mesh, want := range map[Mesh]string{
		Direct:        "10.0.0.2:8080",
		OVS:           "10.0.0.250:9090",
		ConsulConnect: "127.0.0.1:9090",
	} {
		if got, err := mesh.Address(lab, shop); err != nil || got != want {
			t.Errorf("%s: %q, %v instead of %q", mesh, got, err, want)
		}
	}
	if got, err := Direct.Address(lab, topo.Upstream{Service: "none"}); err == nil {
		t.Errorf("an upstream without an instance: %q", got)
	}
	if a := HostAddr(lab, "h9"); a.IsValid() {
		t.Errorf("address of a host that is not there: %v", a)
	}
}

func TestParseMesh(t *testing.T) {
	for _, m := range Meshes() {
		if got, err := ParseMesh(string(m)); err != nil || got != m {
			t.Errorf("%s: %q, %v", m, got, err)
		}
	}
	if _, err := ParseMesh("OVS"); err == nil || !strings.Contains(err.Error(), "direct, ovs, consul-connect") {
		t.Errorf("unknown mesh: %v", err)
	}
	if _, err := ParseMesh("ov"); err == nil || !strings.Contains(err.Error(), `did you mean "ovs"?`) {
		t.Errorf("a mistyped mesh: %v", err)
	}
}
