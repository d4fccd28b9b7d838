package supervisor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrTooOld says that the meshlab which a lab runs on does not know what it
// is asked for.
var ErrTooOld = errors.New("the meshlab of this lab is too old")

// programPath makes a path absolute, for a sandbox starts in another folder.
// The empty path stays: it is this program.
func programPath(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("find the program of the lab: %w", err)
	}
	if found, err = filepath.Abs(found); err != nil {
		return "", fmt.Errorf("find the program of the lab: %w", err)
	}
	return found, nil
}

// versionLimit bounds the time that a program takes to say its version: it may
// be any program.
const versionLimit = 10 * time.Second

// ProgramVersion is the version that the meshlab at path says of itself. The
// error names the path, and says so when the program is no meshlab.
func ProgramVersion(ctx context.Context, path string) (string, error) {
	path, err := programPath(path)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	version, ok := strings.CutPrefix(string(out), "meshlab ")
	if version = strings.TrimSpace(version); !ok || version == "" || len(version) > 200 || strings.ContainsRune(version, '\n') {
		return "", fmt.Errorf("ask %s for its version: it is no meshlab: it says %.80q", path, out)
	}
	return version, nil
}

// knowsSockets asks the supervisor behind an exec socket for no sockets at
// all. One that knows of them refuses in the words of their protocol, a length
// first; one that does not takes the question for a command without files,
// and answers with JSON alone. The error matches ErrTooOld then.
func knowsSockets(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, networkLimit)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("speak to its supervisor: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	question := []byte(`{"sockets":{}}`)
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(question))), question...)); err != nil {
		return fmt.Errorf("speak to its supervisor: %w", err)
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(c, answer); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("speak to its supervisor: %w", context.Cause(ctx))
		}
		return fmt.Errorf("its supervisor ended: %w", err)
	}
	if bytes.HasPrefix(answer, []byte("{")) {
		return fmt.Errorf("%w to measure with: it cannot hand out sockets", ErrTooOld)
	}
	return nil
}
