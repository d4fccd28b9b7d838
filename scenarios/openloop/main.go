package openloop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// memory is what the heap of a generator process may grow to before garbage
// is collected during a trial, in bytes.
const memory = 1 << 30

// answer is a line that the generator process writes: to a GeneratorSpec, to
// say that it is ready or why not, and to each TrialSpec. With Start the trial's
// outcome follows in another line.
type answer struct {
	Error                   string     `json:"error,omitempty"`
	Start                   *time.Time `json:"start,omitempty"`
	*scenarios.TrialOutcome            // nil: the answer to the GeneratorSpec, or an error
}

// Main is the generator as a process of its own, what `meshlab generate` does:
// it reads a GeneratorSpec as JSON from stdin and writes `{}` when it is
// ready, then makes a trial of each TrialSpec that it reads and writes its
// TrialOutcome, one line each; `{"error":"..."}` where one could not be made. A
// trial that is to announce itself has a line `{"start":"..."}` before that.
// It returns when stdin ends, which ends a trial too, or when ctx is done.
//
// The process is taken over: garbage is collected between trials only.
func Main(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memory))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	in := values(ctx, cancel, stdin)
	var spec scenarios.GeneratorSpec
	first, ok := <-in
	if !ok {
		return errors.New("standard input is empty; it takes a generator spec as JSON, then trial specs")
	}
	out := json.NewEncoder(stdout)
	reply := func(o *scenarios.TrialOutcome, err error) error {
		a := answer{TrialOutcome: o}
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("write the outcome: %w", err)
		}
		return nil
	}
	err := first.decode(&spec)
	var engine *Engine
	if err == nil {
		engine, err = New(ctx, spec)
	}
	if err != nil {
		return errors.Join(err, reply(nil, err))
	}
	defer engine.Close()
	engine.collect = runtime.GC
	if err := reply(nil, nil); err != nil {
		return err
	}
	for next := range in {
		var (
			spec    scenarios.TrialSpec
			outcome scenarios.TrialOutcome
		)
		err := next.decode(&spec)
		if err == nil {
			spec.Begun = func(start time.Time) { _ = out.Encode(answer{Start: &start}) } // without a reader the outcome cannot be written either
			outcome, err = engine.Trial(ctx, spec)
		}
		if ctx.Err() != nil {
			return nil // nobody waits for the outcome
		}
		if err := reply(&outcome, err); err != nil {
			return err
		}
	}
	return nil
}

// input is a JSON value of standard input, or what was there instead.
type input struct {
	value json.RawMessage
	err   error
}

func (i input) decode(to any) error {
	if i.err != nil {
		return fmt.Errorf("read the spec: %w", i.err)
	}
	return strict(i.value, to)
}

// values reads one JSON value after the other, and calls ended when there are
// no more. A fault in one is the last that is read.
func values(ctx context.Context, ended func(), r io.Reader) <-chan input {
	c := make(chan input)
	go func() {
		defer close(c)
		dec := json.NewDecoder(r)
		for {
			var i input
			if i.err = dec.Decode(&i.value); errors.Is(i.err, io.EOF) {
				ended()
				return
			}
			select {
			case c <- i:
			case <-ctx.Done():
				return
			}
			if i.err != nil {
				return
			}
		}
	}()
	return c
}

// strict decodes one JSON value whose keys must all be known.
func strict(value []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return fmt.Errorf("read the spec: %w", err)
	}
	return nil
}
