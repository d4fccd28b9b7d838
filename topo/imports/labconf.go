package imports

import (
	"bytes"
	"strconv"
	"strings"
)

// entry is a line of lab.conf: LAB_NAME="..." or device[key]=value.
type entry struct {
	line       int
	device     string // "": of the lab
	key, value string
}

// maxLine bounds a line of lab.conf, in bytes.
const maxLine = 4096

// parseLabConf reads lab.conf (Kathará's manual, kathara-lab.conf(5)): one
// statement a line, values bare or in quotes, # begins a comment. fail makes
// the error for a line that is none of these.
func parseLabConf(src []byte, fail func(line int, format string, args ...any) error) ([]entry, error) {
	var out []entry
	if bytes.IndexByte(src, 0) >= 0 {
		return nil, fail(0, "the file is not text")
	}
	n := 0
	for raw := range bytes.Lines(src) {
		n++
		if len(raw) > maxLine {
			return nil, fail(n, "the line has more than %d bytes", maxLine)
		}
		line := strings.TrimSpace(strings.TrimPrefix(string(raw), "\ufeff"))
		if line == "" || line[0] == '#' {
			continue
		}
		left, right, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fail(n, "%s is neither device[key]=value nor LAB_...=value", quote(line))
		}
		e := entry{line: n}
		left = strings.TrimSpace(left)
		if name, rest, ok := strings.Cut(left, "["); ok {
			key, after, closed := strings.Cut(rest, "]")
			if !closed || strings.TrimSpace(after) != "" || name == "" || key == "" {
				return nil, fail(n, "%s is not device[key]", quote(left))
			}
			e.device, e.key = strings.TrimSpace(name), strings.Trim(strings.TrimSpace(key), `"'`)
		} else {
			e.key = left
		}
		if strings.ContainsAny(e.device+e.key, " \t\"'`$;&|<>()") || e.device == "" && e.key == "" {
			return nil, fail(n, "%s is no name", quote(left))
		}
		value, complaint := labConfValue(strings.TrimSpace(right))
		if complaint != "" {
			return nil, fail(n, "%s", complaint)
		}
		e.value = value
		out = append(out, e)
	}
	return out, nil
}

// labConfValue takes the quotes and the comment off a value; complaint is
// what is wrong with it.
func labConfValue(s string) (value string, complaint string) {
	if s == "" {
		return "", ""
	}
	if q := s[0]; q == '"' || q == '\'' {
		end := strings.IndexByte(s[1:], q)
		if end < 0 {
			return "", "the value " + quote(s) + " has no closing quote"
		}
		rest := strings.TrimSpace(s[end+2:])
		if rest != "" && rest[0] != '#' {
			return "", "the value " + quote(s) + " goes on behind its quotes"
		}
		return s[1 : end+1], ""
	}
	if i := strings.Index(s, " #"); i >= 0 {
		s = strings.TrimSpace(s[:i])
	}
	return s, ""
}

// ifaceIndex reads the number of an interface, as in h1[0].
func ifaceIndex(key string) (int, bool) {
	n, err := strconv.ParseUint(key, 10, 16)
	return int(n), err == nil
}
