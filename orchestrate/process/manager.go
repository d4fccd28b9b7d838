package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// State tells how a process is doing.
type State string

// The states of a process.
const (
	Starting State = "starting" // for the first time
	Running  State = "running"
	Paused   State = "paused"
	Waiting  State = "restarting" // ended, and will be started again
	Held     State = "held"       // ended, and will be started again after Release
	Exited   State = "exited"
)

// stopWait is how long a process may take to end by itself.
const stopWait = 5 * time.Second

// Info describes a process of a lab.
type Info struct {
	Name     string    `json:"name"`
	Node     string    `json:"node"`
	Part     Part      `json:"part"`
	State    State     `json:"state"`
	PID      int       `json:"pid"` // inside the lab; of one in a container: on the machine
	Started  time.Time `json:"started"`
	Restarts int       `json:"restarts"`
	Exit     string    `json:"exit,omitempty"` // how it last ended
}

// Manager owns the processes of one lab. Its methods may be called from any
// goroutine.
type Manager struct {
	logs    string
	runtime Runtime

	mu       sync.Mutex
	children map[string]*child
	ended    map[Part]time.Duration // processor time of what has ended
}

type child struct {
	spec Spec
	info Info
	live Live          // what runs, or ran last
	held chan struct{} // while it is held; closed by Release
	log  *lumberjack.Logger
	quit chan struct{} // closed by Stop
	done chan struct{} // closed when it has ended for good
}

// NewManager makes a manager that writes what processes print into files
// below logs, and starts them by the runtime.
func NewManager(logs string, runtime Runtime) (*Manager, error) {
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("create log folder: %w", err)
	}
	return &Manager{logs: logs, runtime: runtime, children: map[string]*child{}, ended: map[Part]time.Duration{}}, nil
}

// LogFile is where the output of the named process goes.
func (m *Manager) LogFile(name string) string {
	return filepath.Join(m.logs, strings.ReplaceAll(name, "/", "_")+".log")
}

// startLimit bounds how long a runtime may take to start a program: it is for
// a busy machine that starts many containers at once.
const startLimit = 2 * time.Minute

// Start starts a process. It returns once the program runs, not once it is
// of use. Several may be started at once.
func (m *Manager) Start(s Spec) error {
	c := &child{
		spec: s,
		info: Info{Name: s.Name, Node: s.Node, Part: s.Part, State: Starting},
		log:  &lumberjack.Logger{Filename: m.LogFile(s.Name), MaxSize: 8, MaxBackups: 1},
		quit: make(chan struct{}),
		done: make(chan struct{}),
	}
	m.mu.Lock()
	old, ok := m.children[s.Name]
	if ok && old.info.State != Exited {
		m.mu.Unlock()
		return fmt.Errorf("start %s: it is running already", s.Name)
	}
	m.children[s.Name] = c
	m.mu.Unlock()
	err := m.launch(c)
	if err != nil {
		c.log.Close()
		m.mu.Lock()
		if delete(m.children, s.Name); ok {
			m.children[s.Name] = old // its log and its end are still of interest
		}
		m.mu.Unlock()
		close(c.done)
		return err
	}
	go m.watch(c)
	return nil
}

// launch runs the program once. The caller does not hold the lock.
func (m *Manager) launch(c *child) error {
	if c.spec.Dir != "" {
		if err := os.MkdirAll(c.spec.Dir, 0o755); err != nil {
			return fmt.Errorf("create folder of %s: %w", c.spec.Name, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	live, err := m.runtime.Start(ctx, c.spec, c.log)
	if err != nil {
		return fmt.Errorf("start %s: %w", c.spec.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c.live = live
	c.info.State, c.info.PID, c.info.Started = Running, live.PID(), time.Now()
	if closed(c.quit) || c.held != nil { // stopped or held meanwhile
		_ = live.Signal(syscall.SIGKILL)
	}
	if c.spec.Started != nil {
		c.spec.Started()
	}
	return nil
}

// Pauses before a process is started again. One that has run for steady did
// not end because of how it starts, and is missed: it is started at once.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	steady       = 10 * time.Second
)

// watch waits for the end of a process and starts it again if it should run.
func (m *Manager) watch(c *child) {
	defer close(c.done)
	defer c.log.Close()
	pause := firstPause
	for {
		cpu, err := c.live.Wait()
		m.mu.Lock()
		c.info.Exit = exitText(err)
		m.ended[c.spec.Part] += cpu
		again := (c.spec.KeepRunning || c.held != nil) && !closed(c.quit)
		c.info.State = Exited
		if again {
			c.info.State = Waiting
		}
		if time.Since(c.info.Started) > steady {
			pause = 0
		}
		m.mu.Unlock()
		if !again {
			return
		}
		fmt.Fprintf(c.log, "meshlab: %s ended (%s); starting it again in %v\n", c.spec.Name, exitText(err), pause)
		var ok bool
		if pause, ok = m.relaunch(c, pause); !ok {
			return
		}
	}
}

// relaunch starts a process after a pause, and goes on trying when that fails,
// which may be a lack of memory or processes that passes. It returns how long
// the next pause should be; false says that the process was to stop.
func (m *Manager) relaunch(c *child, pause time.Duration) (next time.Duration, ok bool) {
	for {
		select {
		case <-time.After(pause):
		case <-c.quit:
		}
		pause = min(max(2*pause, firstPause), longestPause)
		if !m.released(c) {
			return 0, false
		}
		err := m.launch(c)
		m.mu.Lock()
		if err == nil {
			c.info.Restarts++
		} else {
			c.info.Exit = err.Error()
		}
		m.mu.Unlock()
		if err == nil {
			return pause, true
		}
		fmt.Fprintf(c.log, "meshlab: %v; trying again in %v\n", err, pause)
	}
}

// released waits while a process is held; false says that it was to stop.
func (m *Manager) released(c *child) bool {
	for {
		m.mu.Lock()
		held := c.held
		switch {
		case closed(c.quit):
			c.info.State = Exited
		case held != nil:
			c.info.State = Held
		default:
			c.info.State = Waiting
		}
		state := c.info.State
		m.mu.Unlock()
		switch state {
		case Exited:
			return false
		case Waiting:
			return true
		}
		select {
		case <-held:
		case <-c.quit:
		}
	}
}

// Stop ends a process: SIGTERM, and SIGKILL when it has not ended after five
// seconds. Stopping a process that is not running is no error.
func (m *Manager) Stop(ctx context.Context, name string) error {
	m.mu.Lock()
	c, ok := m.children[name]
	if !ok {
		m.mu.Unlock()
		return fmt.Errorf("stop %s: %w", name, ErrUnknown)
	}
	if !closed(c.quit) {
		close(c.quit)
	}
	live := c.live
	switch c.info.State {
	case Paused:
		_ = live.Signal(syscall.SIGTERM)
		_ = live.Signal(syscall.SIGCONT)
	case Running:
		_ = live.Signal(syscall.SIGTERM)
	}
	m.mu.Unlock()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	case <-time.After(stopWait):
	}
	if live != nil {
		_ = live.Signal(syscall.SIGKILL)
	}
	<-c.done
	return nil
}

// ErrUnknown says that the lab has no process of that name.
var ErrUnknown = errors.New("no such process")

// List describes all processes, sorted by node and name.
func (m *Manager) List() []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Info, 0, len(m.children))
	for _, c := range m.children {
		list = append(list, c.info)
	}
	slices.SortFunc(list, func(a, b Info) int {
		return strings.Compare(a.Node+"\x00"+a.Name, b.Node+"\x00"+b.Name)
	})
	return list
}

// Tail returns the last n lines that a process has printed.
func (m *Manager) Tail(name string, n int) (string, error) {
	f, err := os.Open(m.LogFile(name))
	if err != nil {
		return "", fmt.Errorf("read log of %s: %w", name, err)
	}
	defer f.Close()
	const window = 256 << 10
	if st, err := f.Stat(); err == nil && st.Size() > window {
		if _, err := f.Seek(-window, io.SeekEnd); err != nil {
			return "", fmt.Errorf("read log of %s: %w", name, err)
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return "", fmt.Errorf("read log of %s: %w", name, err)
	}
	lines := strings.SplitAfter(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, ""), nil
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
