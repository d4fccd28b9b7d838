package controller

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a configuration file. The file of a lab with hundreds of hosts
// stays below them.
const (
	maxConfig       = 16 << 20 // bytes
	maxConfigDepth  = 32       // mappings and lists inside each other
	maxConfigErrors = 50
)

// decodeYAML reads a document into a pointer to a struct, by the json tags
// of its fields, as encoding/json does. Keys that no field has are errors, and
// so are keys that are stated twice. The error tells all problems that it
// found, one line each: name:line:column: what. It does not panic, whatever
// the text is.
func decodeYAML(name string, text []byte, into any) error {
	d := &yamlDecoder{name: name}
	root, err := parseYAML(text)
	if err != nil {
		return fmt.Errorf("%s%w", name, err)
	}
	if root != nil {
		d.decode(root, reflect.ValueOf(into).Elem(), "the file")
	}
	return d.err()
}

// parseYAML gives the one document of a text, nil when it is empty. Its
// error begins with the place. Deep nesting is refused first: the parser
// recurses without a bound.
func parseYAML(text []byte) (root ast.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf(": not YAML: the parser gave up: %v", r)
		}
	}()
	if len(text) > maxConfig {
		return nil, fmt.Errorf(": %d bytes; at most %d are read", len(text), maxConfig)
	}
	tokens := lexer.Tokenize(string(text))
	flow, run := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
			run = 0
		case token.StringType, token.CollectEntryType:
			run = 0
		default:
			run++ // openers such as "- - -" follow each other without a value between
		}
		if flow > maxConfigDepth || run > 4*maxConfigDepth {
			return nil, fmt.Errorf("%s: nested too deeply", tokenPlace(t))
		}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var at interface {
			GetToken() *token.Token
			GetMessage() string
		}
		if errors.As(err, &at) {
			return nil, fmt.Errorf("%s: not YAML: %s", tokenPlace(at.GetToken()), at.GetMessage())
		}
		return nil, fmt.Errorf(": not YAML: %w", err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			return nil, fmt.Errorf("%s: there is a second document; one is expected", tokenPlace(doc.Body.GetToken()))
		}
		root = doc.Body
	}
	return root, nil
}

func tokenPlace(t *token.Token) string {
	if t == nil || t.Position == nil {
		return ""
	}
	return fmt.Sprintf(":%d:%d", t.Position.Line, t.Position.Column)
}

// yamlDecoder collects what does not fit instead of stopping at it.
type yamlDecoder struct {
	name  string
	found []yamlProblem
}

type yamlProblem struct {
	line, column int
	text         string
}

func (d *yamlDecoder) bad(n ast.Node, format string, args ...any) {
	p := yamlProblem{text: d.name + tokenPlace(n.GetToken()) + ": " + fmt.Sprintf(format, args...)}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.line, p.column = t.Position.Line, t.Position.Column
	}
	d.found = append(d.found, p)
}

func (d *yamlDecoder) err() error {
	slices.SortStableFunc(d.found, func(a, b yamlProblem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var errs []error
	for i, p := range d.found {
		if i == maxConfigErrors {
			errs = append(errs, fmt.Errorf("%s: %d more problems", d.name, len(d.found)-i))
			break
		}
		errs = append(errs, errors.New(p.text))
	}
	return errors.Join(errs...)
}

func (d *yamlDecoder) decode(n ast.Node, v reflect.Value, what string) {
	switch n.(type) {
	case *ast.NullNode:
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Slice && v.Kind() != reflect.Map {
			d.bad(n, "%s has no value", what)
		}
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode, *ast.DirectiveNode:
		d.bad(n, "%s: anchors, aliases, merge keys, tags and directives are not supported", what)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, u, what)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, v.Elem(), what)
	case reflect.Struct:
		fields := map[string]reflect.Value{}
		collectFields(v, fields)
		d.mapping(n, what, func(key string, at, value ast.Node) {
			field, ok := fields[key]
			if !ok {
				d.bad(at, "unknown key %.64q%s", key, suggest(key, fields))
				return
			}
			d.decode(value, field, key)
		})
	case reflect.Slice:
		d.list(n, v, what)
	case reflect.Map:
		d.entries(n, v, what)
	default:
		if err := yaml.NodeToValue(n, v.Addr().Interface(), yaml.Strict()); err != nil {
			d.bad(n, "%s must be %s", what, kindName(v.Kind()))
		}
	}
}

func (d *yamlDecoder) text(n ast.Node, into encoding.TextUnmarshaler, what string) {
	if _, ok := n.(ast.ScalarNode); !ok {
		d.bad(n, "%s must be a single value", what)
		return
	}
	text := n.GetToken().Value
	if s, ok := n.(*ast.StringNode); ok {
		text = s.Value
	}
	if err := into.UnmarshalText([]byte(text)); err != nil {
		d.bad(n, "%s: %v", what, err)
	}
}

func (d *yamlDecoder) list(n ast.Node, v reflect.Value, what string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.bad(n, "%s must be a list", what)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		d.decode(item, v.Index(i), "an entry of "+what)
	}
}

// entries reads a mapping whose keys the file chooses: text or numbers.
func (d *yamlDecoder) entries(n ast.Node, v reflect.Value, what string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.mapping(n, what, func(key string, at, value ast.Node) {
		k := reflect.New(v.Type().Key()).Elem()
		if k.Kind() == reflect.String {
			k.SetString(key)
		} else if number, err := strconv.ParseUint(key, 10, k.Type().Bits()); err == nil {
			k.SetUint(number)
		} else {
			d.bad(at, "%s has the key %.64q; it must be a number from 0", what, key)
			return
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, e, key)
		v.SetMapIndex(k, e)
	})
}

// mapping calls each for every key of a mapping, once.
func (d *yamlDecoder) mapping(n ast.Node, what string, each func(key string, at, value ast.Node)) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.bad(n, "%s must be a mapping", what)
		return
	}
	seen := map[string]bool{}
	for _, mv := range values {
		var key string
		switch k := mv.Key.(type) {
		case *ast.StringNode:
			key = k.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			key = k.GetToken().Value
		default:
			d.bad(mv, "%s has a key that is not a plain name", what)
			continue
		}
		if seen[key] {
			d.bad(mv.Key, "%.64q is stated twice", key)
			continue
		}
		seen[key] = true
		each(key, mv.Key, mv.Value)
	}
}

// collectFields notes the fields of a struct by their json names; those of an
// embedded struct count as its own.
func collectFields(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			collectFields(v.Field(i), into)
		case f.IsExported() && name != "" && name != "-":
			into[name] = v.Field(i)
		}
	}
}

// suggest is the end of a message: the known key that a mistyped one most
// likely meant, at most a third of it different; empty when none is near.
func suggest(key string, known map[string]reflect.Value) string {
	if len(key) > 64 {
		return ""
	}
	best, least := "", max(1, len(key)/3)+1
	for name := range known {
		d := levenshtein.Distance(key, name, nil)
		if d < least || d == least && best != "" && name < best {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	default:
		return "a number in range"
	}
}
