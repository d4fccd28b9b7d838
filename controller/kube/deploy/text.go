package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// mark is what the text of an object has at one place beside its value, or in
// place of it. In expressions, %d is how far a block is to be indented.
type mark struct {
	note  string // comment above it, without #
	raw   string // in place of a scalar
	text  string // template in place of a scalar: the lines of a block of text
	block string // expression of a map or a list in its place; without any, its key goes too
	when  string // template's condition under which the place is there
	more  string // expression of a list: elements after those of this one
}

// marks are those of an object, by path: "spec/template/spec/containers/0".
// A key that itself has a slash cannot be marked.
type marks map[string]mark

// writer writes an object as YAML, keys in the alphabet's order, which is also
// that of their importance in all that is written here.
type writer struct {
	out   strings.Builder
	marks marks
	used  map[string]bool
}

// objectText is an object as YAML. It is an error if a mark has no place, but
// for one that is only a note.
func objectText(o runtime.Object, m marks) (string, error) {
	tree, err := treeOf(o)
	if err != nil {
		return "", err
	}
	w := &writer{marks: m, used: map[string]bool{}}
	w.mapping(tree, "", 0)
	for path, one := range m {
		if !w.used[path] && one != (mark{note: one.note}) {
			return "", fmt.Errorf("write %s: it has no %s", tree["kind"], path)
		}
	}
	return w.out.String(), nil
}

// treeOf is an object as maps and lists, without what servers fill in.
func treeOf(o runtime.Object) (map[string]any, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write object: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("write object: %w", err)
	}
	delete(tree, "status")
	prune(tree)
	return tree, nil
}

// prune takes away what is empty: encoding writes structs without anything in
// them, and times that are null.
func prune(v any) (empty bool) {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, v any) bool { return prune(v) })
		return len(v) == 0
	case []any:
		for _, element := range v {
			prune(element)
		}
		return len(v) == 0
	}
	return false
}

func (w *writer) line(indent int, format string, args ...any) {
	w.out.WriteString(strings.Repeat(" ", indent))
	fmt.Fprintf(&w.out, format, args...)
	w.out.WriteByte('\n')
}

func (w *writer) mark(path string) mark {
	m, ok := w.marks[path]
	if ok {
		w.used[path] = true
	}
	return m
}

func join(path, key string) string { return strings.TrimPrefix(path+"/"+key, "/") }

func (w *writer) mapping(tree map[string]any, path string, indent int) {
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		at := join(path, key)
		w.entry(key, tree[key], at, indent, w.mark(at))
	}
}

func (w *writer) entry(key string, value any, path string, indent int, m mark) {
	w.open(m, indent)
	switch {
	case m.block != "":
		w.line(indent, "{{- with %s }}", m.block)
		w.line(indent, "%s:", scalar(key))
		w.line(indent+2, "{{- toYaml . | nindent %d }}", indent+2)
		w.line(indent, "{{- end }}")
	case m.text != "":
		w.line(indent, "%s: |", scalar(key))
		w.line(indent+2, "{{- "+m.text+" }}", indent+2)
	case m.raw != "":
		w.line(indent, "%s: %s", scalar(key), m.raw)
	default:
		w.value(scalar(key)+":", value, path, indent, m)
	}
	w.close(m, indent)
}

func (w *writer) open(m mark, indent int) {
	if m.note != "" {
		for line := range strings.SplitSeq(m.note, "\n") {
			w.line(indent, "# %s", line)
		}
	}
	if m.when != "" {
		w.line(indent, "{{- if %s }}", m.when)
	}
}

func (w *writer) close(m mark, indent int) {
	if m.when != "" {
		w.line(indent, "{{- end }}")
	}
}

func (w *writer) value(head string, value any, path string, indent int, m mark) {
	switch v := value.(type) {
	case map[string]any:
		w.line(indent, "%s", head)
		w.mapping(v, path, indent+2)
	case []any:
		w.line(indent, "%s", head)
		for i, element := range v {
			w.element(element, join(path, strconv.Itoa(i)), indent+2)
		}
		if m.more != "" {
			w.line(indent+2, "{{- with %s }}", m.more)
			w.line(indent+2, "{{- toYaml . | nindent %d }}", indent+2)
			w.line(indent+2, "{{- end }}")
		}
	case string:
		if strings.Contains(v, "\n") {
			w.line(indent, "%s |", head)
			for line := range strings.SplitSeq(strings.TrimSuffix(v, "\n"), "\n") {
				w.line(indent+2, "%s", line)
			}
			return
		}
		w.line(indent, "%s %s", head, scalar(v))
	default:
		w.line(indent, "%s %s", head, scalar(v))
	}
}

// element writes a list's element: a map begins on the line of its dash.
func (w *writer) element(value any, path string, indent int) {
	m := w.mark(path)
	w.open(m, indent)
	tree, ok := value.(map[string]any)
	if !ok {
		w.line(indent, "- %s", scalar(value))
	} else {
		inner := &writer{marks: w.marks, used: w.used}
		inner.mapping(tree, path, indent+2)
		text := inner.out.String()
		w.out.WriteString(strings.Repeat(" ", indent) + "- " + text[indent+2:])
	}
	w.close(m, indent)
}

// plainScalar is text that YAML reads as the same text without quotes
// (YAML 1.2, section 7.3.3), with a letter or a slash first and no colon but in
// words.
var plainScalar = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*$`)

// words that YAML 1.1 takes for something else than text.
var words = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

// scalar is a value without structure as YAML; an expression stays as it is.
func scalar(v any) string {
	s, ok := v.(string)
	if !ok {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(text)
	}
	if strings.HasPrefix(s, "{{") || plainScalar.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) {
		return s
	}
	text, err := json.Marshal(s) // its escapes are YAML's
	if err != nil {
		return strconv.Quote(s)
	}
	return string(text)
}
