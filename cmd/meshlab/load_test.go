//go:build integration

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// loadReport is what a load has seen. A request fails when its connection
// does, or when no answer has come after answerLimit.
type loadReport struct {
	Connections int // kept alive: one request after the other
	Broken      int // of these
	Requests    int // answered, on these
	Pause       time.Duration
	Pauses      []time.Duration // longest wait of each connection for an answer, sorted

	New       int // connections for one request each
	NewFailed int
	NewLate   int // that took longer than a late answer does
	NewPause  time.Duration

	Errors []string // the first of them
}

const (
	answerLimit  = 20 * time.Second
	lateAnswer   = 500 * time.Millisecond
	requestPause = 5 * time.Millisecond // between two requests of a connection
	newPause     = 20 * time.Millisecond
	errorsShown  = 3
)

// load is a steady load from a node of a lab.
type load struct {
	stdin  io.Closer
	counts chan int // answers so far, several times a second
	report chan loadReport
}

// startLoad runs a load from a node against an address until stop.
func (l lab) startLoad(t *testing.T, node, address string, connections int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := l.command(ctx, "exec", "--lab", l.name, node, "--", "/usr/bin/env", stageVar+"=load",
		filepath.Join(os.Getenv(binVar), "bin", "test"), address, fmt.Sprint(connections))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ld := &load{stdin: stdin, counts: make(chan int, 1), report: make(chan loadReport, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(ld.report)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var n int
			var r loadReport
			if json.Unmarshal(lines.Bytes(), &n) == nil {
				select {
				case <-ld.counts: // nobody wanted to know
				default:
				}
				ld.counts <- n
			} else if json.Unmarshal(lines.Bytes(), &r) == nil {
				ld.report <- r
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = cmd.Wait() // killed, or long at its end
	})
	return ld
}

// more waits for n more answers.
func (ld *load) more(t *testing.T, n int) {
	t.Helper()
	until, deadline := -1, time.After(verbLimit)
	for {
		select {
		case count := <-ld.counts:
			if until < 0 {
				until = count + n
			}
			if count >= until {
				return
			}
		case <-deadline:
			t.Fatal("the load gets no answers")
		}
	}
}

// stop ends the load and returns what it has seen.
func (ld *load) stop(t *testing.T) loadReport {
	t.Helper()
	if err := ld.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case r, ok := <-ld.report:
		if !ok {
			t.Fatal("the load has ended without a report")
		}
		return r
	case <-time.After(2 * answerLimit):
		t.Fatal("the load does not end")
	}
	return loadReport{}
}

// generate is what the test program does on a node: load, until its standard
// input ends.
func generate(address string, connections int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var answers atomic.Int64
	var mu sync.Mutex
	r := loadReport{Connections: connections}
	failed := func(count *int, err error) {
		mu.Lock()
		defer mu.Unlock()
		*count++
		if len(r.Errors) < errorsShown {
			r.Errors = append(r.Errors, time.Now().Format("15:04:05.000 ")+err.Error())
		}
	}
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			n, longest, err := keepAsking(ctx, address, &answers)
			if err != nil {
				failed(&r.Broken, err)
			}
			mu.Lock()
			defer mu.Unlock()
			r.Requests += n
			r.Pauses = append(r.Pauses, longest)
		})
	}
	all.Go(func() {
		for tick := time.NewTicker(newPause); ctx.Err() == nil; <-tick.C {
			all.Go(func() {
				begin := time.Now()
				err := askOnce(address)
				took := time.Since(begin)
				if err != nil {
					failed(&r.NewFailed, err)
				}
				mu.Lock()
				defer mu.Unlock()
				r.New++
				if took > lateAnswer {
					r.NewLate++
				}
				r.NewPause = max(r.NewPause, took)
			})
		}
	})
	out := json.NewEncoder(os.Stdout)
	for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		if err := out.Encode(answers.Load()); err != nil {
			return err
		}
	}
	all.Wait()
	slices.Sort(r.Pauses)
	r.Pause = r.Pauses[len(r.Pauses)-1]
	return out.Encode(r)
}

// keepAsking sends one request after the other on one connection until ctx
// ends or the connection does.
func keepAsking(ctx context.Context, address string, answers *atomic.Int64) (n int, longest time.Duration, err error) {
	conn, err := net.DialTimeout("tcp", address, answerLimit)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	tick := time.NewTicker(requestPause)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		begin := time.Now()
		if err := ask(conn, in); err != nil {
			return n, longest, err
		}
		longest = max(longest, time.Since(begin))
		answers.Add(1)
		n++
	}
	return n, longest, nil
}

func askOnce(address string) error {
	conn, err := net.DialTimeout("tcp", address, answerLimit)
	if err != nil {
		return err
	}
	defer conn.Close()
	return ask(conn, bufio.NewReader(conn))
}

func ask(conn net.Conn, in *bufio.Reader) error {
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: load\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answer %s", resp.Status)
	}
	return nil
}
