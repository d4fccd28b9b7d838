package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/orchestrate/sandbox"
	"meshlab.dev/meshlab/topo"
)

// LaunchConfig says which lab to bring to life, and how.
type LaunchConfig struct {
	Name          string // of this lab on this machine
	Lab           *topo.Lab
	File          string // absolute path of the lab file; a bare name for an embedded one
	Source        []byte
	Mesh          orchestrate.Mesh
	Runtime       orchestrate.Runtime // "": namespaces
	Consul        string              // path of the program
	ConsulVersion string
	Version       string // of meshlab
	Publish       bool   // forward the loopback ports that the lab file asks for
	Hold          bool   // the lab ends with the calling process
	Command       string // hidden verb that calls sandbox.Init and, inside, Run
	// Program is the meshlab that the lab runs on: its supervisor, controller,
	// services and load. "": this program. Another one must know all that is
	// asked of labs side by side: Launch matches ErrTooOld if it does not.
	Program string
}

// killWait is how long the kernel may take to remove a lab.
const killWait = 30 * time.Second

// ErrLeft says that something of a lab that did not come up is left.
var ErrLeft = errors.New("something of the lab is left; `meshlab down` removes it")

// Launch brings a lab to life in a sandbox of its own. When it returns an
// error nothing of the lab is left, whatever the reason, the end of ctx
// among them, unless the error matches ErrLeft.
func Launch(ctx context.Context, cfg LaunchConfig, report func(Event)) (st Status, err error) {
	if err := preflight(); err != nil {
		return Status{}, err
	}
	engine, err := findEngine(ctx, cfg)
	if err != nil {
		return Status{}, err
	}
	if cfg.Program, err = programPath(cfg.Program); err != nil {
		return Status{}, err
	}
	state := orchestrate.StateOf(cfg.Name)
	claim, err := state.Claim(func(left orchestrate.Record) error { return removeContainers(ctx, state, left) })
	if err != nil {
		return Status{}, fmt.Errorf("lab %s: %w", cfg.Name, err)
	}
	defer claim.Release()
	var rec orchestrate.Record
	defer func() {
		if err != nil {
			err = rollBack(ctx, err, state, rec, claim)
		}
	}()

	in, err := openListeners(state, cfg)
	if err != nil {
		return Status{}, err
	}
	defer in.close()
	log, err := os.OpenFile(state.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Status{}, fmt.Errorf("create supervisor's log: %w", err)
	}
	defer log.Close()
	// The supervisor reads the end of this pipe when this program is killed.
	hangup, alive, err := os.Pipe()
	if err != nil {
		return Status{}, fmt.Errorf("make pipe to supervisor: %w", err)
	}
	defer alive.Close()
	binds, err := sharedWithContainers(state, engine)
	if err != nil {
		return Status{}, err
	}
	proc, err := sandbox.Start(sandbox.Config{
		Program: cfg.Program, Args: append([]string{cfg.Command, "--listeners", strconv.Itoa(len(in.published))}, binds...),
		Files: append([]*os.File{hangup}, in.files...), Held: claim.File(), Log: log,
	})
	hangup.Close()
	if err != nil {
		return Status{}, err
	}
	// Before anybody collects it: one that has ended at once still has a time.
	start, err := orchestrate.StartTime(proc.Pid)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = proc.Wait() // collects it, should it end before this program does
	}()
	if err != nil {
		return Status{}, fmt.Errorf("start supervisor with %s: %w%s", cmp.Or(cfg.Program, "this program"), err, logText(state))
	}
	rec = orchestrate.Record{
		Lab: cfg.Lab.Name, Name: cfg.Name, Mesh: cfg.Mesh, PID: proc.Pid, StartTime: start,
		Created: time.Now(), Version: cfg.Version, Runtime: cmp.Or(cfg.Runtime, orchestrate.Namespaces), Engine: engine,
	}
	if err := state.Write(rec); err != nil {
		return Status{}, err
	}
	in.close() // only the supervisor listens: when it ends, callers see it
	if cfg.Program != "" {
		if err := knowsSockets(ctx, state.Exec()); err != nil {
			return Status{}, fmt.Errorf("start lab %s with %s: %w%s", cfg.Name, cfg.Program, err, logText(state))
		}
	}
	st, err = NewClient(state.Control()).Up(ctx, UpRequest{
		File: cfg.File, Source: cfg.Source, Mesh: cfg.Mesh, Consul: cfg.Consul, ConsulVersion: cfg.ConsulVersion,
		Publish: in.published, Hold: cfg.Hold, UnprivUID: unprivilegedUID(),
		Runtime: rec.Runtime, Name: cfg.Name, StateDir: state.Dir, Version: cfg.Version,
	}, report)
	if err == nil && rec.Contained() && st.Runtime != rec.Runtime { // another program, that does not know the word
		err = fmt.Errorf("start lab %s with %s: %w for runtime %s", cfg.Name, cfg.Program, ErrTooOld, rec.Runtime)
	}
	if errors.Is(err, errEnded) {
		select {
		case <-ended:
			err = fmt.Errorf("%w%s", err, cmp.Or(logText(state), ": it was killed, or a `meshlab down` elsewhere has removed the lab"))
		case <-time.After(killWait):
		}
	}
	return st, err
}

// errEnded says that the supervisor has gone without a word.
var errEnded = errors.New("the lab's supervisor ended before the lab was ready")

// rollBack ends a lab that did not come up because of err, and returns err.
// The state of a lab that will not end stays: `down` needs it.
func rollBack(ctx context.Context, err error, state orchestrate.State, rec orchestrate.Record, claim *orchestrate.Claim) error {
	undo := rec.Kill(killWait)
	if undo == nil {
		undo = removeContainers(ctx, state, rec)
	}
	if undo == nil {
		undo = claim.Remove()
	}
	if undo != nil {
		return fmt.Errorf("%w\n%w: %w", err, ErrLeft, undo)
	}
	return err
}

// Remove ends the named lab and removes its state, and its containers also when
// its state folder has gone. It is no error when it has ended already; the bool says whether there was anything to remove. When
// it returns without error, no process of the lab is left, also of one that
// `up` was killed over, or whose record is broken. The end of ctx ends only
// the wait for another meshlab that is at work on the same lab.
func Remove(ctx context.Context, name string) (bool, error) {
	return RemoveState(ctx, orchestrate.StateOf(name))
}

// RemoveState is Remove for the lab with that state folder.
func RemoveState(ctx context.Context, state orchestrate.State) (bool, error) {
	name := filepath.Base(state.Dir)
	deadline := time.Now().Add(killWait)
	for found := false; ; found = true {
		rec, err := state.Read()
		if err == nil {
			found = true // whoever removes the folder then: `up` may be faster
			if err := rec.Kill(killWait); err != nil {
				return true, err
			}
		}
		claim, err := state.Lock()
		switch {
		case errors.Is(err, fs.ErrNotExist) && found:
			return true, nil
		case errors.Is(err, fs.ErrNotExist):
			return removeIfLost(ctx, state)
		case err == nil:
			return true, removeDead(ctx, state, claim)
		case !errors.Is(err, orchestrate.ErrUp):
			return true, err
		}
		// Its record is broken, or `up` has not written it yet.
		if err := state.Holder().Kill(killWait); err != nil {
			return true, err
		}
		if time.Now().After(deadline) {
			return true, fmt.Errorf("remove lab %s: another meshlab has been holding it for %v; `fuser %s` names it", name, killWait, state.Dir)
		}
		select { // `up` is between two states, or is rolling back
		case <-ctx.Done():
			return true, fmt.Errorf("remove lab %s: %w while another meshlab holds it", name, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// RemoveEnded removes the state folder of a lab that has ended, and what it
// names. It never ends a lab: the bool is false when there is none, or one that
// lives, is coming up, or is being removed by another meshlab.
func RemoveEnded(ctx context.Context, state orchestrate.State) (bool, error) {
	claim, err := state.Lock()
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, orchestrate.ErrUp):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, removeDead(ctx, state, claim)
}

// removeDead removes what is left of a lab whose first process has ended, and
// whose claim the caller has. When the engine of its containers does not
// answer, the state stays, so that it can be done again.
func removeDead(ctx context.Context, state orchestrate.State, claim *orchestrate.Claim) error {
	rec, err := state.Read()
	if err == nil {
		err = removeContainers(ctx, state, rec)
	} else {
		err = removeUnrecorded(ctx, state)
	}
	if err != nil {
		claim.Release()
		return err
	}
	return claim.Remove()
}

// preflight names what would make every lab fail, before anything is made.
func preflight() error {
	for _, program := range []string{"ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-appctl"} {
		if _, err := ovs.Program(program); err != nil {
			return err
		}
	}
	if ovs.KernelDatapath() {
		return nil // needs no tun device
	}
	const tun = "/dev/net/tun"
	f, err := os.OpenFile(tun, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the userspace datapath of Open vSwitch needs a tun device: %w; remedy: sudo modprobe tun", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the userspace datapath of Open vSwitch needs a tun device: %w; remedy: sudo chmod 0666 %s", err, tun)
	case err != nil:
		return fmt.Errorf("the userspace datapath of Open vSwitch needs a tun device: %w", err)
	}
	return f.Close()
}

// inherited is what the supervisor gets from the verb.
type inherited struct {
	files     []*os.File
	published []Published
}

func (in *inherited) close() {
	for _, f := range in.files {
		f.Close()
	}
	in.files = nil
}

func openListeners(state orchestrate.State, cfg LaunchConfig) (in *inherited, err error) {
	in = &inherited{}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	for _, path := range []string{state.Control(), state.Exec()} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return in, fmt.Errorf("listen on %s: %w", path, err)
		}
		l.SetUnlinkOnClose(false)
		if err := in.add(l); err != nil {
			return in, err
		}
	}
	if !cfg.Publish {
		return in, nil
	}
	for _, svc := range cfg.Lab.Services {
		if svc.Publish == nil {
			continue
		}
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(*svc.Publish)})
		if err != nil {
			return in, fmt.Errorf("publish service %s: %w; `publish: 0` in the lab file takes any free port, and --no-publish none", svc.Name, err)
		}
		in.published = append(in.published, Published{Service: svc.Name, Address: l.Addr().String()})
		if err := in.add(l); err != nil {
			return in, err
		}
	}
	return in, nil
}

func (in *inherited) add(l interface {
	File() (*os.File, error)
	Close() error
}) error {
	f, err := l.File()
	if err != nil {
		return fmt.Errorf("pass listener on: %w", err)
	}
	in.files = append(in.files, f)
	return l.Close()
}

// unprivilegedUID is a user id with an entry in /etc/passwd, under which
// programs run that refuse to be root.
func unprivilegedUID() int {
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			if uid, err := strconv.Atoi(u.Uid); err == nil {
				return uid
			}
		}
	}
	return 65534
}

// logText is what the supervisor has printed, for an error message.
func logText(state orchestrate.State) string {
	b, err := os.ReadFile(state.Log())
	if err != nil || len(b) == 0 {
		return ""
	}
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return "\n" + string(b)
}
