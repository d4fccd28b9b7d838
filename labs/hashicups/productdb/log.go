package productdb

import (
	"bytes"
	"log/slog"
	"strings"
)

// lineLogger logs each line that Postgres prints. It is written to by one
// goroutine at a time: os/exec copies stdout and stderr in one when both are
// the same writer.
type lineLogger struct {
	log  *slog.Logger
	rest []byte // of a line not yet complete
	last string // the last line that told of an error, for the error of Run
}

func (l *lineLogger) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.rest = rest
		text := string(line)
		if strings.Contains(text, "FATAL:") || strings.Contains(text, "PANIC:") {
			l.last = text
			l.log.Error("postgres", "line", text)
			continue
		}
		l.log.Info("postgres", "line", text)
	}
}
