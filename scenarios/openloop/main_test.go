package openloop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// role is an environment variable: what the test's own program is to do
// instead of testing.
const role = "OPENLOOP_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "generate":
		if err := Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
	case "die":
		_, _ = os.Stderr.WriteString("no room left\n")
		os.Exit(7)
	case "die later":
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		_, _ = os.Stdout.WriteString("{}\n")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		os.Exit(7)
	case "babble":
		_, _ = os.Stdout.WriteString("hello\n")
	case "stay":
		_, _ = os.Stdout.WriteString("{}\n")
		time.Sleep(time.Minute)
	case "serve":
		if err := serveBare(); err != nil {
			os.Exit(1)
		}
	case "parent": // starts a generator and waits to be killed
		self, err := os.Executable()
		if err != nil {
			os.Exit(1)
		}
		p, err := Start(context.Background(), []string{"/usr/bin/env", role + "=generate", self}, generatorSpec(&target{url: "http://127.0.0.1:1"}))
		if err != nil {
			os.Exit(1)
		}
		_ = json.NewEncoder(os.Stdout).Encode(p.PID())
		time.Sleep(time.Minute)
	}
}

// command runs this test's program in a role.
func command(t testing.TB, name string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"/usr/bin/env", role + "=" + name, self}
}

func start(t *testing.T, name string, spec scenarios.GeneratorSpec) *Process {
	t.Helper()
	p, err := Start(t.Context(), command(t, name), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestProcess(t *testing.T) {
	one, two := serve(t, nil), serve(t, nil)
	p := start(t, "generate", generatorSpec(one, two))
	for n := range 3 {
		trial := trialSpec()
		trial.Seed, trial.Log, trial.Window = uint64(n), true, 50*time.Millisecond
		o := mustTrial(t, p, trial)
		for _, s := range o.Sides {
			if s.Requests != 100 || s.Errors != 0 || len(s.Log) != 100 || len(s.Windows) == 0 {
				t.Errorf("%d requests, errors %v", s.Requests, s.ErrorKind)
			}
			checkSide(t, s)
		}
		trial.Rate = 0
		if _, err := p.Trial(t.Context(), trial); err == nil || !strings.Contains(err.Error(), "rate 0") {
			t.Errorf("got %v, want that there is no rate; the generator goes on", err)
		}
	}
	if one.connections.Load() != 4 {
		t.Errorf("%d connections, want 4 that are kept", one.connections.Load())
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Trial(t.Context(), trialSpec()); err == nil {
		t.Error("made a trial after its end")
	}
}

func TestStartFails(t *testing.T) {
	good := generatorSpec(&target{url: "http://127.0.0.1:1"})
	bad := good
	bad.Connections = 0
	for _, tt := range []struct {
		name    string
		command []string
		spec    scenarios.GeneratorSpec
		want    string
	}{
		{"no command", nil, good, "no command"},
		{"no program", []string{"/nowhere"}, good, "/nowhere"},
		{"ends at once", command(t, "die"), good, "no room left"},
		{"another program", command(t, "babble"), good, "invalid character"},
		{"bad spec", command(t, "generate"), bad, "connections 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Start(t.Context(), tt.command, tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestProcessDies(t *testing.T) {
	p := start(t, "die later", generatorSpec(&target{url: "http://127.0.0.1:1"}))
	for range 2 {
		if _, err := p.Trial(t.Context(), trialSpec()); err == nil || !strings.Contains(err.Error(), "ended without an answer") {
			t.Errorf("got %v, want that it ended", err)
		}
	}
}

func TestTrialOfAProcessIsCancelled(t *testing.T) {
	arrived := make(chan struct{}, 100)
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	p := start(t, "generate", generatorSpec(s))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := p.Trial(ctx, trialSpec()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	gone(t, p.PID())
	if _, err := p.Trial(t.Context(), trialSpec()); err == nil {
		t.Error("made a trial after its end")
	}
	if err := p.Close(); err != nil {
		t.Errorf("closing says again what Trial said: %v", err)
	}
}

func TestCloseEndsATrial(t *testing.T) {
	arrived := make(chan struct{}, 100)
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	p := start(t, "generate", generatorSpec(s))
	done := make(chan error)
	go func() {
		_, err := p.Trial(t.Context(), trialSpec())
		done <- err
	}()
	<-arrived
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the trial ended well")
	}
}

// gone waits until there is no such process.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestGeneratorEndsWithItsParent(t *testing.T) {
	parent := command(t, "parent")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := os.StartProcess(parent[0], parent, &os.ProcAttr{Files: []*os.File{nil, w, os.Stderr}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	err = json.NewDecoder(r).Decode(&pid)
	if kerr := p.Kill(); kerr != nil {
		t.Error(kerr)
	}
	if _, werr := p.Wait(); werr != nil {
		t.Error(werr)
	}
	if err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}

func TestMainAnswersLineByLine(t *testing.T) {
	in, input := io.Pipe()
	output, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Main(t.Context(), in, out)
		out.Close()
	}()
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	ask := func(line string) string {
		t.Helper()
		if _, err := io.WriteString(input, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("no answer to %s: %v", line, lines.Err())
		}
		return lines.Text()
	}
	spec, err := json.Marshal(generatorSpec(serve(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	trial, err := json.Marshal(trialSpec())
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(string(spec)); got != "{}" {
		t.Errorf("ready is %s", got)
	}
	var o scenarios.TrialOutcome
	if err := json.Unmarshal([]byte(ask(string(trial))), &o); err != nil || len(o.Sides) != 1 || o.Sides[0].Requests != 100 {
		t.Errorf("got %+v, %v", o, err)
	}
	if got := ask(`{"requests":100,"speed":1}`); !strings.Contains(got, `"error":"read the spec: json: unknown field \"speed\""`) {
		t.Errorf("an unknown key is answered by %s", got)
	}
	if got := ask(string(trial)); !strings.HasPrefix(got, `{"started"`) {
		t.Errorf("it does not go on after an error: %s", got)
	}
	if got := ask("nonsense"); !strings.HasPrefix(got, `{"error":"read the spec: `) {
		t.Errorf("nonsense is answered by %s", got)
	}
	input.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestMainRefuses(t *testing.T) {
	for _, in := range []string{"", "{", "{}", `{"side":[]}`} {
		var out strings.Builder
		if err := Main(t.Context(), strings.NewReader(in), &out); err == nil {
			t.Errorf("%q: no error, output %s", in, out.String())
		}
		if in != "" && !strings.HasPrefix(out.String(), `{"error":"`) {
			t.Errorf("%q: output %q", in, out.String())
		}
	}
}

// Whoever breaks something during a trial must know when it starts.
func TestTrialAnnouncesItself(t *testing.T) {
	p := start(t, "generate", generatorSpec(serve(t, nil)))
	spec := trialSpec()
	spec.Announce = true
	var announced, told time.Time
	spec.Begun = func(at time.Time) { announced, told = at, time.Now() }
	o, err := p.Trial(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if !announced.Equal(o.Started) {
		t.Errorf("announced %v, started %v", announced, o.Started)
	}
	if late := told.Sub(announced); late > 500*time.Millisecond { // a busy machine; usually it is before the start
		t.Errorf("told %v after the start", late)
	}
}
