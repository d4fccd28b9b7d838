package openloop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// ending is how long a generator process may take to end by itself.
const ending = 5 * time.Second

// Process is a generator in a process of its own: its garbage, its threads and
// its processor time are those of the load alone. It makes one trial at a
// time; its methods may be called by several goroutines.
type Process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *json.Decoder
	stderr tail

	mu     sync.Mutex // one call at a time
	broken error      // why it takes no more calls

	ended chan struct{} // closed when the process has ended
	exit  error         // of the process, once it has ended
}

// Start runs the command, whose standard input and output must be those of
// Main, and returns when it is ready to send what spec says.
//
// The process ends when it is closed, and when this process ends, however that
// happens. It is the leader of a process group, so that a Ctrl-C on the
// terminal is for the caller to act on.
func Start(ctx context.Context, command []string, spec scenarios.GeneratorSpec) (*Process, error) {
	if len(command) == 0 {
		return nil, errors.New("start the generator: no command given")
	}
	p := &Process{cmd: exec.Command(command[0], command[1:]...), ended: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the generator: %w", err)
	}
	// Not StdoutPipe: Wait would close it before the last answer is read.
	stdout, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the generator: %w", err)
	}
	p.stdin, p.out, p.cmd.Stdout = stdin, json.NewDecoder(stdout), write
	err = p.cmd.Start()
	write.Close()
	if err != nil {
		stdin.Close()
		stdout.Close()
		return nil, fmt.Errorf("start the generator: %w", err)
	}
	go func() {
		p.exit = p.cmd.Wait()
		close(p.ended)
	}()
	if _, err := p.call(ctx, spec, nil); err != nil {
		p.kill()
		return nil, fmt.Errorf("start the generator: %w", err)
	}
	return p, nil
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Trial makes one trial; see scenarios.Generator. When ctx is done before the
// trial has ended the process is killed, and makes no more trials.
func (p *Process) Trial(ctx context.Context, spec scenarios.TrialSpec) (scenarios.TrialOutcome, error) {
	o, err := p.call(ctx, spec, spec.Begun)
	if err != nil {
		return scenarios.TrialOutcome{}, fmt.Errorf("ask the generator for a trial: %w", err)
	}
	if o == nil {
		return scenarios.TrialOutcome{}, errors.New("ask the generator for a trial: its answer holds none")
	}
	return *o, nil
}

// call writes a spec and reads the answer. begun, if there is one, gets the
// start that the answer announces.
func (p *Process) call(ctx context.Context, spec any, begun func(time.Time)) (*scenarios.TrialOutcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return nil, p.broken
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var a answer
	done := make(chan error, 1)
	go func() {
		err := json.NewEncoder(p.stdin).Encode(spec)
		for {
			derr := p.out.Decode(&a)
			if derr != nil { // an answer tells more than a failed write
				done <- errors.Join(err, derr)
				return
			}
			if a.Start == nil {
				done <- nil
				return
			}
			if begun != nil {
				begun(*a.Start)
			}
			a = answer{}
		}
	}()
	select {
	case err := <-done:
		if err != nil {
			p.kill()
			p.broken = p.fault(err)
			return nil, p.broken
		}
	case <-ctx.Done():
		p.kill()
		<-done
		p.broken = fmt.Errorf("it was ended: %w", ctx.Err())
		return nil, p.broken
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.TrialOutcome, nil
}

// fault says why there was no answer.
func (p *Process) fault(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) {
		err = errors.New("it ended without an answer")
	}
	if text := strings.TrimSpace(p.stderr.String()); text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// kill ends the process and waits for that.
func (p *Process) kill() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// Close ends the process and gives up its connections; a trial that is under
// way ends with an error. It returns what is wrong with how the process ended,
// unless its calls have told that already.
func (p *Process) Close() error {
	if err := p.stdin.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("end the generator: %w", err)
	}
	select {
	case <-p.ended:
	case <-time.After(ending):
		p.kill()
		return fmt.Errorf("end the generator: it took more than %v and was killed", ending)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil || p.exit == nil {
		return nil
	}
	return fmt.Errorf("end the generator: %w", p.fault(p.exit))
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-most):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
