package consul

import "strings"

// remedy reads what the go command printed and says how to mend it.
func remedy(output string) string {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(output, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("no space left on device", "disk quota exceeded"):
		return "free 4 GB in Go's build cache (`go clean -cache` empties it) and in the cache folder, or set GOCACHE and MESHLAB_CACHE to a larger disk"
	case has("signal: killed", "cannot allocate memory"):
		return "the compiler ran out of memory: free 2 GB, or build with `GOMAXPROCS=1`"
	case has("dial tcp", "no such host", "i/o timeout", "connection refused", "TLS handshake", "network is unreachable",
		"module lookup disabled", "Forbidden", "server response"):
		return "the module proxy did not answer: check the network and `go env GOPROXY`, or put a consul " + Version + " on the PATH"
	case has("requires go >=", "toolchain not available", "download go1"):
		return "install Go 1.26 from https://go.dev/dl, or put a consul " + Version + " on the PATH"
	case has("permission denied", "read-only file system"):
		return "set GOCACHE, GOMODCACHE and MESHLAB_CACHE to folders that you may write"
	}
	return "put a consul " + Version + " on the PATH, or mend what the go command says and try again"
}

// lastLines keeps the end of what a command printed.
type lastLines struct{ lines []string }

const keptLines = 6

func (l *lastLines) add(line string) {
	if strings.HasPrefix(line, "go: downloading ") {
		return
	}
	l.lines = append(l.lines, line)
	if len(l.lines) > keptLines {
		l.lines = l.lines[1:]
	}
}

func (l *lastLines) String() string { return strings.Join(l.lines, " | ") }
