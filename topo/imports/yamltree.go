package imports

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"meshlab.dev/meshlab/topo"
)

// maxTree bounds the values of a YAML document, with those counted again that
// aliases repeat.
const maxTree = 100_000

// tree is a value of a YAML document, and where it stands. Aliases share what
// they stand for.
type tree struct {
	line  int
	value any     // of a scalar: string, int, float64, bool or nil
	text  string  // of a scalar, as it is written, without quotes
	list  []*tree // of a list
	keys  []key   // of a mapping
	kind  treeKind
	size  int // values in it, itself included
}

type treeKind int

const (
	scalarKind treeKind = iota
	listKind
	mappingKind
)

type key struct {
	name  string
	line  int
	value *tree
}

// treeError is where a YAML document cannot be read.
type treeError struct {
	line    int
	message string
}

func (e *treeError) Error() string { return e.message }

// readTree reads the one document of a YAML file. The error is a *treeError,
// or says why it is not YAML.
func readTree(src []byte) (*tree, error) {
	file, err := topo.ParseYAML(src)
	if err != nil {
		var y interface {
			GetMessage() string
		}
		if errors.As(err, &y) {
			err = errors.New(y.GetMessage())
		}
		return nil, &treeError{0, "not YAML: " + firstLine(err.Error())}
	}
	r := &treeReader{anchors: map[string]*tree{}}
	var root *tree
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			return nil, &treeError{lineOf(doc.Body), "a second YAML document; one is read"}
		}
		if root, err = r.read(doc.Body); err != nil {
			return nil, err
		}
	}
	if root == nil {
		return nil, &treeError{0, "the file says nothing"}
	}
	if root.kind != mappingKind {
		return nil, &treeError{root.line, "the file is no mapping"}
	}
	return root, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

type treeReader struct{ anchors map[string]*tree }

func (r *treeReader) read(n ast.Node) (*tree, error) {
	t, err := r.node(n)
	if err != nil {
		return nil, err
	}
	t.size = 1
	for _, e := range t.list {
		t.size += e.size
	}
	for _, k := range t.keys {
		t.size += 1 + k.value.size
	}
	if t.size > maxTree {
		return nil, &treeError{t.line, fmt.Sprintf("more than %d values, which no lab needs", maxTree)}
	}
	return t, nil
}

func (r *treeReader) node(n ast.Node) (*tree, error) {
	t := &tree{line: lineOf(n)}
	switch n := n.(type) {
	case nil:
	case *ast.NullNode:
	case *ast.MappingNode:
		return t, r.mapping(t, n.Values)
	case *ast.MappingValueNode:
		return t, r.mapping(t, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		t.kind = listKind
		for _, v := range n.Values {
			e, err := r.read(v)
			if err != nil {
				return nil, err
			}
			t.list = append(t.list, e)
		}
	case *ast.AnchorNode:
		v, err := r.read(n.Value) // once: anchors may lie within anchors
		if err != nil {
			return nil, err
		}
		if n.Name != nil {
			r.anchors[n.Name.String()] = v
		}
		shared := *v
		return &shared, nil
	case *ast.AliasNode:
		v := r.anchors[n.Value.String()]
		if v == nil {
			return nil, &treeError{t.line, "unknown alias " + quote(n.Value.String())}
		}
		shared := *v
		return &shared, nil
	case *ast.TagNode:
		return r.node(n.Value)
	case *ast.StringNode:
		t.value, t.text = n.Value, n.Value
	case *ast.LiteralNode:
		if n.Value != nil {
			t.value, t.text = n.Value.Value, n.Value.Value
		}
	case *ast.BoolNode:
		t.value, t.text = n.Value, n.GetToken().Value
	case *ast.IntegerNode:
		t.text = n.GetToken().Value
		t.value = t.text
		if v, err := strconv.Atoi(t.text); err == nil {
			t.value = v
		}
	case *ast.FloatNode:
		t.value, t.text = n.Value, n.GetToken().Value
	case *ast.InfinityNode, *ast.NanNode:
		t.text = n.GetToken().Value
		t.value = t.text
	default:
		return nil, &treeError{t.line, "YAML of a kind that is not read here"}
	}
	return t, nil
}

func (r *treeReader) mapping(t *tree, values []*ast.MappingValueNode) error {
	t.kind = mappingKind
	own := map[string]int{}
	var merged []key
	for _, mv := range values {
		v, err := r.read(mv.Value)
		if err != nil {
			return err
		}
		if _, ok := mv.Key.(*ast.MergeKeyNode); ok {
			sources := []*tree{v}
			if v.kind == listKind {
				sources = v.list
			}
			for _, s := range sources {
				merged = append(merged, s.keys...)
				if len(merged) > maxTree {
					return &treeError{t.line, "too many merged keys"}
				}
			}
			continue
		}
		name, err := keyName(mv.Key)
		if err != nil {
			return err
		}
		at := lineOf(mv.Key)
		if line := own[name]; line != 0 {
			return &treeError{at, fmt.Sprintf("%s is stated twice; the first is in line %d", quote(name), line)}
		}
		own[name] = at
		t.keys = append(t.keys, key{name, at, v})
	}
	if len(t.keys) > 0 {
		t.line = t.keys[0].line
	}
	for _, k := range merged {
		if own[k.name] == 0 {
			own[k.name] = max(k.line, 1)
			t.keys = append(t.keys, k)
		}
	}
	return nil
}

func keyName(n ast.Node) (string, error) {
	switch k := n.(type) {
	case *ast.StringNode:
		return k.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return n.GetToken().Value, nil
	case *ast.AnchorNode:
		return keyName(k.Value)
	}
	return "", &treeError{lineOf(n), "a key that is no plain name"}
}

// get returns the value of a key, nil when there is none or t is no mapping.
func (t *tree) get(name string) *tree {
	if t == nil {
		return nil
	}
	for _, k := range t.keys {
		if k.name == name {
			return k.value
		}
	}
	return nil
}

// lineOf returns where a key stands, the mapping's line when it does not.
func (t *tree) lineOf(name string) int {
	if t == nil {
		return 0
	}
	for _, k := range t.keys {
		if k.name == name {
			return k.line
		}
	}
	return t.line
}

// word is the text of a scalar, "" of anything else.
func (t *tree) word() string {
	if t == nil {
		return ""
	}
	return t.text
}

// words are the entries of a list of scalars, or the one scalar.
func (t *tree) words() []string {
	if t == nil {
		return nil
	}
	if t.kind == scalarKind && t.text != "" {
		return []string{t.text}
	}
	var out []string
	for _, e := range t.list {
		if e.kind == scalarKind {
			out = append(out, e.text)
		}
	}
	return out
}

// plainValue is the tree as maps, lists and scalars.
func (t *tree) plainValue() any {
	switch t.kind {
	case listKind:
		out := make([]any, 0, len(t.list))
		for _, e := range t.list {
			out = append(out, e.plainValue())
		}
		return out
	case mappingKind:
		out := map[string]any{}
		for _, k := range t.keys {
			out[k.name] = k.value.plainValue()
		}
		return out
	}
	return t.value
}
