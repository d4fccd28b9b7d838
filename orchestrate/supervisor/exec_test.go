package supervisor

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a connected pair of sockets: what a verb has, and what the
// supervisor has.
func pair(t testing.TB) (verb, sup *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// receive sends head with files number of descriptors, then body, then ends,
// and returns what the supervisor makes of it.
func receive(t testing.TB, head []byte, files int, body []byte) (execRequest, []*os.File, error) {
	t.Helper()
	verb, sup := pair(t)
	var rights []byte
	if files > 0 {
		fds := make([]int, files)
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		for i := range fds {
			fds[i] = int(null.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	if len(head) > 0 {
		if _, _, err := verb.WriteMsgUnix(head, rights, nil); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		_, _ = verb.Write(body) // the receiver may stop before the end
		verb.Close()
	}()
	return receiveExec(sup)
}

func head(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func TestReceiveCommand(t *testing.T) {
	good := []byte(`{"node":"h1","args":["true"]}`)
	sockets := []byte(`{"sockets":{"node":"h1","network":"tcp4","count":2}}`)
	for name, tc := range map[string]struct {
		head  []byte
		files int
		body  []byte
		want  string // part of the error
	}{
		"good":              {head(len(good)), 3, good, ""},
		"nothing":           {nil, 0, nil, "receive command"},
		"head cut off":      {head(5)[:3], 3, nil, "head of 3 bytes"},
		"no files":          {head(len(good)), 0, good, "0 instead of 3"},
		"sockets + files":   {head(len(sockets)), 3, sockets, "3 files instead of 0"},
		"two files":         {head(len(good)), 2, good, "2 instead of 3"},
		"too many files":    {head(len(good)), 9, good, "instead of 3"},
		"too long":          {head(maxCommand + 1), 3, good, "over 1048576"},
		"longest number":    {[]byte{255, 255, 255, 255}, 3, good, "over 1048576"},
		"body cut off":      {head(len(good) + 1), 3, good, "EOF"},
		"no JSON":           {head(4), 3, []byte("true"), "receive command"},
		"no command":        {head(2), 3, []byte("{}"), "no command"},
		"an empty name":     {head(13), 3, []byte(`{"args":[""]}`), "no command"},
		"empty body":        {head(0), 3, nil, "receive command"},
		"no JSON, no files": {head(4), 0, []byte("true"), "receive command"},
		"body twice over":   {head(len(good)), 3, append(good[:len(good):len(good)], good...), ""},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, files, err := receive(t, tc.head, tc.files, tc.body)
			for _, f := range files {
				f.Close()
			}
			if tc.want == "" {
				if err != nil || len(files) != 3 || cmd.Node != "h1" || cmd.Args[0] != "true" || cmd.Sockets != nil {
					t.Errorf("%+v, %d files, %v", cmd, len(files), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "%!") {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzReceiveCommand(f *testing.F) {
	f.Add([]byte(`{"node":"h1","args":["true"],"env":["A=b"],"tty":true}`), uint32(54), uint8(3))
	f.Add([]byte(`{}`), uint32(1<<31), uint8(0))
	f.Add([]byte(`{"sockets":{"node":"h1","network":"udp4","count":3}}`), uint32(52), uint8(0))
	f.Add([]byte(`{"sockets":null,"args":["true"]}`), uint32(32), uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, size uint32, files uint8) {
		req, got, err := receive(t, head(int(size)), int(files%8), body)
		for _, f := range got {
			f.Close()
		}
		if len(got) > 4 { // the room for three, aligned
			t.Errorf("%d files", len(got))
		}
		if err != nil {
			return
		}
		command := len(got) == 3 && len(req.Args) > 0 && req.Sockets == nil
		wish := len(got) == 0 && req.Sockets != nil
		var same execRequest
		if int(size) > len(body) || json.Unmarshal(body[:size], &same) != nil || !command && !wish {
			t.Errorf("%+v, %d files out of %d, %d, %q", req, len(got), files, size, body)
		}
	})
}

// execServer serves commands outside any lab: those of no node.
func execServer(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exec.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &Supervisor{log: slog.New(slog.DiscardHandler)}
	go s.serveExec(l)
	return path
}

func TestExec(t *testing.T) {
	path := execServer(t)
	dir := t.TempDir()
	run := func(signals <-chan os.Signal, stdin string, args ...string) (int, string, error) {
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		if err := os.WriteFile(in, []byte(stdin), 0o600); err != nil {
			t.Fatal(err)
		}
		inf, err := os.Open(in)
		if err != nil {
			t.Fatal(err)
		}
		defer inf.Close()
		outf, err := os.Create(out)
		if err != nil {
			t.Fatal(err)
		}
		defer outf.Close()
		code, err := Exec(path, Command{Args: args, Env: []string{"PATH=/usr/bin:/bin"}}, Stdio{inf, outf, outf}, signals)
		text, rerr := os.ReadFile(out)
		if rerr != nil {
			t.Fatal(rerr)
		}
		return code, string(text), err
	}
	if code, out, err := run(nil, "text", "sh", "-c", "cat; exit 5"); code != 5 || out != "text" || err != nil {
		t.Errorf("%d, %q, %v", code, out, err)
	}
	if code, _, err := run(nil, "", "sh", "-c", "kill -TERM $$"); code != 128+15 || err != nil {
		t.Errorf("ended by a signal: %d, %v", code, err)
	}
	if _, _, err := run(nil, "", "/no/such/program"); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, _, err := run(nil, "", strings.Repeat("x", maxCommand)); err == nil || !strings.Contains(err.Error(), "over") {
		t.Errorf("a command that is too long: %v", err)
	}
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM // as if it came at once
	if code, _, err := run(signals, "", "sleep", "600"); code != 128+15 || err != nil {
		t.Errorf("a signal that is passed on: %d, %v", code, err)
	}
	if _, err := Exec(filepath.Join(dir, "none"), Command{Args: []string{"true"}}, Stdio{os.Stdin, os.Stdout, os.Stderr}, nil); err == nil {
		t.Error("no supervisor listens")
	}
}

// When the caller goes away, the command goes with all its children.
func TestExecCallerGone(t *testing.T) {
	s := &Supervisor{}
	verb, sup := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := json.Marshal(Command{Args: []string{"sh", "-c", "sleep 600 & echo ready; wait"}, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	fd := int(w.Fd())
	if _, _, err := verb.WriteMsgUnix(head(len(body)), unix.UnixRights(fd, fd, fd), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := verb.Write(body); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended := make(chan outcome, 1)
	req, files, err := receiveExec(sup)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		out := s.runCommand(sup, req.Command, files)
		for _, f := range files {
			f.Close()
		}
		ended <- out
	}()
	if _, err := io.ReadFull(r, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	verb.Close()
	select {
	case out := <-ended:
		if out.Exit != 128+9 {
			t.Errorf("%+v", out)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the command lives on")
	}
	// The pipe ends when its last writer has gone: the sleep too.
	rest := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(r)
		rest <- b
	}()
	select {
	case b := <-rest:
		if len(bytes.TrimSpace(b)) > 0 {
			t.Errorf("it printed %q", b)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a child of the command lives on")
	}
}
