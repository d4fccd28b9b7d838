package supervisor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/netns"
)

// Command is a command to run inside a lab. It comes over the exec socket as
// JSON after its length, with which its three standard files come.
type Command struct {
	Node string   `json:"node"` // a host or a switch; "" is where the controller is, and switches that are not isolated
	Args []string `json:"args"`
	Env  []string `json:"env"`
	TTY  bool     `json:"tty"` // standard input is a terminal of the command's own
}

type outcome struct {
	Exit  int    `json:"exit"`
	Error string `json:"error,omitempty"`
}

// maxCommand bounds an encoded Command, in bytes.
const maxCommand = 1 << 20

// Stdio are the standard files that a command inherits.
type Stdio struct{ In, Out, Err *os.File }

// Exec runs a command in the lab whose exec socket is at path, with the
// caller's own standard files, and returns its exit code: 128 and the
// signal's number when a signal ended it. Signals that arrive are passed on
// to the command; when the caller goes away, the command is killed.
func Exec(path string, cmd Command, stdio Stdio, signals <-chan os.Signal) (int, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return 0, fmt.Errorf("speak to the lab's supervisor: %w", err)
	}
	defer c.Close()
	body, err := json.Marshal(cmd)
	if err != nil {
		return 0, fmt.Errorf("encode command: %w", err)
	}
	if len(body) > maxCommand {
		return 0, fmt.Errorf("run command: arguments and environment take %d bytes, over %d", len(body), maxCommand)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	rights := unix.UnixRights(int(stdio.In.Fd()), int(stdio.Out.Fd()), int(stdio.Err.Fd()))
	if _, _, err := c.WriteMsgUnix(head, rights, nil); err != nil {
		return 0, fmt.Errorf("send command: %w", err)
	}
	if _, err := c.Write(body); err != nil {
		return 0, fmt.Errorf("send command: %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case <-ended:
				return
			case sig := <-signals:
				if n, ok := sig.(syscall.Signal); ok {
					_, _ = c.Write([]byte{byte(n)}) // fails when the lab has ended: the read below says so
				}
			}
		}
	}()
	var out outcome
	if err := json.NewDecoder(c).Decode(&out); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, errors.New("the lab ended while the command ran")
		}
		return 0, fmt.Errorf("wait for command: %w", err)
	}
	if out.Error != "" {
		return 0, errors.New(out.Error)
	}
	return out.Exit, nil
}

// serveExec answers commands and requests for sockets until the listener is
// closed.
func (s *Supervisor) serveExec(l *net.UnixListener) {
	accept(l, func(c net.Conn) { s.answerExec(c.(*net.UnixConn)) }) // of a unix listener
}

func (s *Supervisor) answerExec(c *net.UnixConn) {
	req, files, err := receiveExec(c)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(files) == 0 {
		s.serveSockets(c, req.Sockets, err)
		return
	}
	out := outcome{}
	if err != nil {
		out.Error = err.Error()
	} else {
		out = s.runCommand(c, req.Command, files)
	}
	_ = json.NewEncoder(c).Encode(out) // the caller may be gone: nothing to do then
}

// accept handles every connection in a goroutine of its own, and closes it
// afterwards, until the listener is closed. Other errors, such as too many
// open files, pass (accept(2)).
func accept(l net.Listener, handle func(net.Conn)) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer c.Close()
			handle(c)
		}()
	}
}

// runCommand runs a command with its three standard files; c brings signals,
// and the end of the caller.
func (s *Supervisor) runCommand(c *net.UnixConn, cmd Command, files []*os.File) outcome {
	ns, err := s.namespaceOf(cmd.Node)
	if err != nil {
		return outcome{Error: err.Error()}
	}
	var child *exec.Cmd
	err = netns.Do(ns, func() error {
		child = exec.Command(s.program(cmd.Args[0]), cmd.Args[1:]...)
		child.Env, child.Dir = s.commandEnv(cmd), "/"
		child.Stdin, child.Stdout, child.Stderr = files[0], files[1], files[2]
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: cmd.TTY}
		return child.Start()
	})
	if err != nil {
		return outcome{Error: fmt.Sprintf("run %s on %s: %v", cmd.Args[0], cmd.Node, err)}
	}
	ended := make(chan struct{})
	go func() {
		for b := make([]byte, 1); ; {
			sig := syscall.SIGKILL // the caller has gone away
			_, err := io.ReadFull(c, b)
			if err == nil {
				sig = syscall.Signal(b[0])
			}
			select {
			case <-ended: // what the command left in the background may stay
				return
			default:
				_ = syscall.Kill(-child.Process.Pid, sig) // the whole group: the command leads one
			}
			if err != nil {
				return
			}
		}
	}()
	err = child.Wait()
	close(ended)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return outcome{}
	case errors.As(err, &exit):
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			return outcome{Exit: 128 + int(ws.Signal())}
		}
		return outcome{Exit: exit.ExitCode()}
	}
	return outcome{Error: err.Error()}
}

// execRequest is what arrives at the exec socket: a command with three files,
// or a request for sockets with none.
type execRequest struct {
	Command
	Sockets *SocketRequest `json:"sockets"`
}

// receiveExec reads one request. Files are to be closed, with an error too.
func receiveExec(c *net.UnixConn) (req execRequest, files []*os.File, err error) {
	head, oob := make([]byte, 4), make([]byte, unix.CmsgSpace(3*4))
	n, oobn, _, _, err := c.ReadMsgUnix(head, oob)
	if err != nil {
		return req, nil, fmt.Errorf("receive command: %w", err)
	}
	if files, err = receivedFiles(oob[:oobn]); err != nil {
		return req, files, err
	}
	if n != len(head) {
		return req, files, fmt.Errorf("receive command: head of %d bytes instead of %d", n, len(head))
	}
	if len(files) != 3 && len(files) != 0 {
		return req, files, fmt.Errorf("receive files of command: %d instead of 3", len(files))
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxCommand {
		return req, files, fmt.Errorf("receive command: %d bytes, over %d", size, maxCommand)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return req, files, fmt.Errorf("receive command: %w", err)
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return req, files, fmt.Errorf("receive command: %w", err)
	}
	switch {
	case len(files) == 0 && req.Sockets == nil:
		return req, files, errors.New("receive files of command: 0 instead of 3")
	case len(files) == 0:
		return req, files, nil
	case req.Sockets != nil:
		return req, files, fmt.Errorf("receive request for sockets: %d files instead of 0", len(files))
	case len(req.Args) == 0 || req.Args[0] == "":
		return req, files, errors.New("run command: no command given")
	}
	return req, files, nil
}

func receivedFiles(oob []byte) (files []*os.File, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("receive files of command: %w", err)
	}
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, fmt.Errorf("receive files of command: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stdio"))
		}
	}
	return files, nil
}

// program is the path of a command of a node: Consul's is that of the lab,
// which need not be on the PATH.
func (s *Supervisor) program(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "consul" && s.req.Consul != "" {
		return s.req.Consul
	}
	return name
}

// commandEnv is the environment of a command: Open vSwitch's commands find the
// instance of the node, and Consul's the agent of the node, or where none runs
// that of the server's host, unless the caller says otherwise.
func (s *Supervisor) commandEnv(cmd Command) []string {
	const address = "CONSUL_HTTP_ADDR="
	env := slices.Clip(cmd.Env)
	if i, ok := s.instanceFor(cmd.Node); ok {
		env = append(env, "OVS_RUNDIR="+i.Run) // the caller's is a folder outside of the lab, if any
	}
	s.mu.Lock()
	lab, req := s.lab, s.req
	s.mu.Unlock()
	if lab == nil || slices.ContainsFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, address) }) {
		return env
	}
	agents, err := consul.Agents(lab, req.Consul, consulDir)
	if err != nil || len(agents) == 0 {
		return env
	}
	agent := agents[0]
	for _, a := range agents {
		if a.Spec.Node == cmd.Node {
			agent = a
		}
	}
	return append(env, address+"unix://"+agent.Socket)
}
