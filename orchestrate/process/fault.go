package process

import (
	"fmt"
	"syscall"
)

// Kill ends a running process as a crash would, by SIGKILL. If it is one to
// keep running, it is started again by the usual rules.
func (m *Manager) Kill(name string) error { return m.signal(name, "kill", syscall.SIGKILL, Running) }

// Pause halts a running process, and all that it has started, until Resume.
func (m *Manager) Pause(name string) error { return m.signal(name, "pause", syscall.SIGSTOP, Running) }

// Resume lets a paused process go on. It is no error when it runs already.
func (m *Manager) Resume(name string) error {
	return m.signal(name, "resume", syscall.SIGCONT, Paused)
}

// signal sends a signal to a process that is in the state, or Paused.
func (m *Manager) signal(name, verb string, sig syscall.Signal, wanted State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.children[name]
	if !ok {
		return fmt.Errorf("%s %s: %w", verb, name, ErrUnknown)
	}
	switch state := c.info.State; {
	case sig == syscall.SIGCONT && state == Running:
		return nil
	case state != wanted && state != Paused:
		return fmt.Errorf("%s %s: it does not run: it is %s", verb, name, state)
	}
	if err := c.live.Signal(sig); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	switch sig {
	case syscall.SIGSTOP:
		c.info.State = Paused
	case syscall.SIGCONT:
		c.info.State = Running
	}
	return nil
}

// Hold ends a process by SIGKILL and keeps it from being started again until
// Release. Holding one that is held already is no error.
func (m *Manager) Hold(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.children[name]
	if !ok {
		return fmt.Errorf("hold %s: %w", name, ErrUnknown)
	}
	if c.info.State == Exited || closed(c.quit) {
		return fmt.Errorf("hold %s: it has ended", name)
	}
	if c.held == nil {
		c.held = make(chan struct{})
	}
	if c.info.State == Running || c.info.State == Paused {
		if err := c.live.Signal(syscall.SIGKILL); err != nil {
			return fmt.Errorf("hold %s: %w", name, err)
		}
	}
	return nil
}

// Release starts a process that Hold has ended again. It is no error when it
// is not held.
func (m *Manager) Release(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.children[name]
	if !ok {
		return fmt.Errorf("release %s: %w", name, ErrUnknown)
	}
	if c.held != nil {
		close(c.held)
		c.held = nil
	}
	return nil
}
